"""Build a copy of this clone under other conditions: ``python -m build.elsewhere PLAN``, as root.

First it leaves the machine's mounts (and more, see :mod:`build.conditions`), lays out a place where the copy of the
clone and of the locked files are all there is, and starts itself again from there; then it builds with a private engine
of its own that has never built anything, writes down what came out, and removes the engine. The mounts vanish with its
last process. ``build.commands.reproduce`` plans it and reads what came out.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from build import __main__ as program
from build import clone, conditions, engine, images, jail, private, proc, results
from build import store as stores
from build.models import Settings

THERE = "--there"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is to be built, from which files, where, and where to write what came out.

    ``disk``: a file with an ext4 to have the place in; empty for a folder of this disk. ``point``: what it is mounted
    on. ``expected``: the recorded manifest; an image with another one is kept. ``out``: what came out, in ``work``.
    """

    target: str
    vary: tuple[str, ...]
    repo: str
    store: str
    blobs: tuple[str, ...]
    work: str
    disk: str
    point: str
    expected: str

    @property
    def place(self) -> Path:
        # As bytes: the same name whatever the locale takes file names to be written in.
        return Path(self.point) / (os.fsdecode(conditions.PATH.encode()) if "path" in self.vary else "place")

    @property
    def clone(self) -> Path:
        return self.place / "clone"

    @property
    def own_store(self) -> Path:
        return self.place / "store"

    @property
    def out(self) -> Path:
        return Path(self.work) / "out"

    @property
    def result(self) -> Path:
        return self.out / "lock/results" / f"{self.target}.toml"

    @property
    def image(self) -> Path:
        return self.out / "image"

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")


def read(path: str) -> Plan:
    """The plan that :meth:`Plan.write` wrote."""
    rows: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
    return Plan(**{**rows, "vary": tuple(rows["vary"]), "blobs": tuple(rows["blobs"])})


def go(plan: Plan, path: str) -> None:
    """Lay out the place and become the build in it."""
    conditions.leave(plan.vary)
    if plan.disk:
        proc.run(["mount", "-o", "loop", plan.disk, plan.point])
    else:
        jail.mount(plan.work, plan.point, jail.MS_BIND)
    plan.place.mkdir(parents=True)
    clone.copy(Path(plan.repo), plan.clone, backwards="order" in plan.vary)
    copy_blobs(Path(plan.store), plan.own_store, plan.blobs)
    conditions.make_home(plan.vary, plan.place / "home")
    hand_over(plan)
    env = {**os.environ, **conditions.environment(plan.vary, plan.place / "home")}
    os.chdir(plan.clone)
    os.execve(sys.executable, [sys.executable, "-B", "-m", "build.elsewhere", THERE, path], env)  # noqa: S606


def copy_blobs(store: Path, target: Path, names: Iterable[str]) -> None:
    """Copy locked files from one store to another: other files, on which nothing of here is left."""
    for name in names:
        there = stores.blob(target, name)
        there.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(stores.blob(store, name), there)


def hand_over(plan: Plan) -> None:
    """Give all that was laid out the owner and the time that the conditions ask for."""
    plan.out.mkdir()
    for path in (plan.out, *_below(plan.place)):
        if "user" in plan.vary:
            os.chown(path, conditions.USER, conditions.USER)
        if "clock" in plan.vary:
            os.utime(path, (conditions.OLD, conditions.OLD))


def _below(root: Path) -> Iterator[Path]:
    yield root
    for folder, folders, files in os.walk(root):
        yield from (Path(folder, name) for name in (*folders, *files))


def build(plan: Plan) -> int:
    """Build, where we are now; the exit status. What came out is written where the plan says."""
    conditions.become(plan.vary)
    end_with_parent()
    settings = Settings(repo=plan.clone, store=plan.own_store, offline=True)
    try:
        engine.up(settings)
        argv = ["build", "--target", plan.target, "--record", "--offline", "--store", str(plan.own_store)]
        status = program.main(argv)
        found = results.read(plan.clone, plan.target) if status == 0 else None
        if found is not None:
            write_out(plan, found, private.places(settings.store).content)
        return status
    finally:
        private.remove(plan.own_store)


def write_out(plan: Plan, found: results.Result, content: Path) -> None:
    """The result, and the image too where it is not the expected one."""
    plan.result.parent.mkdir(parents=True)
    shutil.copyfile(results.path_of(plan.clone, plan.target), plan.result)
    if found.manifest != plan.expected:
        images.write_layout(content, found.manifest, plan.image)


def end_with_parent() -> None:
    """Clear up and end when who planned this ends. The kernel forgets that when a process becomes another user."""
    jail.libc("prctl", jail.PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGTERM))


def main(argv: list[str]) -> int:
    signal.signal(signal.SIGTERM, program.terminated)
    end_with_parent()
    there = argv[:1] == [THERE]
    plan = read(argv[-1])
    if not there:
        go(plan, argv[-1])
    return program.explain(lambda: build(plan))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
