"""Where `reproduce` builds again: a work folder in the store, the file with a file system in it, the mount point.

A run that was killed leaves a folder (and, in the worst case, its engine); the next one removes both.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from build import elsewhere, engine, private, proc
from build import store as stores
from build.errors import BuildError, EngineError

PREFIX = "reproduce"
PURPOSE = "building under other conditions"
POINTS = Path("/run/spark-runtime-elsewhere")
# No index in folders, so that they list files as they were made; no journal, as nothing outlives the run.
FEATURES = "^dir_index,^has_journal,^resize_inode"
MKFS = Path("usr/sbin/mke2fs")


@dataclass(frozen=True, kw_only=True)
class Workplace:
    """``work``: the folder that stays visible; ``point``: where the place is seen, by those inside alone."""

    work: Path
    point: Path
    disk: str


@contextlib.contextmanager
def opened(store: Path, tools: Path, *, size: int, disk: bool) -> Iterator[Workplace]:
    """A work folder, gone afterwards with all that runs for it.

    ``size``: bytes that will be written there. ``disk``: whether they go into a file system of their own.
    """
    sweep(store)
    stores.require_space(store, size, PURPOSE)
    with stores.scratch(store, PREFIX) as work:
        point = points(store) / work.name
        proc.run(proc.as_root(["mkdir", "-p", "-m", "755", point], purpose=PURPOSE))
        try:
            yield Workplace(work=work, point=point, disk=_disk(work, tools, size) if disk else "")
        finally:
            clear(store, work)


def points(store: Path) -> Path:
    """The mount points of one store's runs."""
    return POINTS / private.places(store).run.name


def _disk(work: Path, tools: Path, size: int) -> str:
    """A sparse file with an empty ext4 in it, that takes only what is written to it."""
    if not os.path.exists("/dev/loop-control"):
        raise EngineError(
            "the condition 'order' cannot be made here",
            why="it needs a file system of its own, and this machine has no loop devices (/dev/loop-control)",
            todo="run it on the machine itself rather than in a container, or --vary the others only",
        )
    path = work / "disk"
    with open(path, "xb") as stream:
        stream.truncate(size + size // 5)
    proc.run([*engine.loader(tools), tools / MKFS, "-q", "-t", "ext4", "-O", FEATURES, path])
    return str(path)


def sweep(store: Path) -> None:
    """Remove what killed runs left."""
    for work in sorted((store / "scratch").glob(f"{PREFIX}-*")):
        if not stores.in_use(work):
            clear(store, work)
            shutil.rmtree(work, ignore_errors=True)


def clear(store: Path, work: Path) -> None:
    """End the engine of a place and remove what root or another user made; the mounts went with the last process."""
    point = points(store) / work.name
    plan = work / "plan"
    with contextlib.suppress(OSError, ValueError, TypeError):
        private.remove(elsewhere.read(str(plan)).own_store)
    with contextlib.suppress(BuildError):
        proc.run(proc.as_root(["rm", "-rf", "--one-file-system", "--", work, point], purpose=PURPOSE))
