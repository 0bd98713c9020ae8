"""The machine-written locks of Debian packages: one TOML file per root and architecture in ``lock/debs/``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from build import lockform
from build.errors import LockError
from build.models import Deb, DebSet

SCHEMA = 2
FOLDER = Path("lock") / "debs"
HEADER = """\
# Written by `nox -s lock`. Not to be edited: a build refuses a lock that was. The Debian packages of one root for one
# architecture, as apt resolved them against the signed archive. `path` is below any mirror's root. `intent` is the
# checksum of the table of lock/targets.toml that this was made from, `epoch` the newest build time of the packages,
# `released` the date of the archive that they were resolved from.
"""
REFRESH = "run `nox -s lock`"
FIELDS = ("name", "version", "arch", "path", "sha256", "size")


@dataclass(frozen=True, kw_only=True)
class LockedDebs:
    """A lock file's content: the packages, and the checksum of the intent that they were resolved from."""

    intent: str
    debset: DebSet


def path_of(repo: Path, root: str, arch: str) -> Path:
    """Where the lock of a root (``trixie``, ``tools``, …) for one architecture is kept."""
    return repo / FOLDER / f"{root}-{arch}.toml"


def render(locked: LockedDebs) -> str:
    """The file's text: the same for the same content, a line a package, sorted by name."""
    debset = locked.debset
    debs = sorted(debset.debs, key=lambda deb: (deb.name, deb.version, deb.arch))
    data = {
        "root": debset.root,
        "suite": debset.suite,
        "arch": debset.arch,
        "intent": locked.intent,
        "epoch": debset.epoch,
        "released": debset.released,
        "debs": [{name: getattr(deb, name) for name in FIELDS} for deb in debs],
    }
    return lockform.text(HEADER, SCHEMA, data)


def write(path: Path, locked: LockedDebs) -> bool:
    """Write the lock in one step (a reader sees the old file or the new one); whether its bytes changed."""
    return lockform.write(path, render(locked))


def read(path: Path) -> LockedDebs:
    """The lock in ``path``; a :class:`LockError` that names the place for anything that is not a whole lock."""
    data = lockform.read(path, name=f"{FOLDER}/{path.name}", schema=SCHEMA, refresh=REFRESH)
    try:
        return LockedDebs(
            intent=str(data["intent"]),
            debset=DebSet(
                root=str(data["root"]),
                suite=str(data["suite"]),
                arch=str(data["arch"]),
                epoch=int(data["epoch"]),
                released=int(data["released"]),
                debs=tuple(_deb(item) for item in data["debs"]),
            ),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise LockError(
            f"{FOLDER}/{path.name} is not a lock that can be used", why=f"{type(error).__name__}: {error}", todo=REFRESH
        ) from error


def require_fresh(path: Path, locked: LockedDebs, intent: str) -> None:
    """A :class:`LockError` when the lock was made from another intent than ``intent`` (a checksum)."""
    if locked.intent != intent:
        raise LockError(
            f"{FOLDER}/{path.name} is stale",
            why="its table in lock/targets.toml was edited since",
            todo="run `nox -s lock` and commit what it writes",
        )


def _deb(item: Mapping[str, Any]) -> Deb:
    sha256 = str(item["sha256"])
    pool = str(item["path"])
    if len(sha256) != 64 or pool.startswith("/") or ".." in pool.split("/"):
        raise ValueError(f"the entry of {item['name']} is not sound")
    return Deb(
        file=pool.rsplit("/", 1)[-1],
        sha256=sha256,
        size=int(item["size"]),
        name=str(item["name"]),
        version=str(item["version"]),
        arch=str(item["arch"]),
        path=pool,
    )
