"""What the locked wheels ask for, by their METADATA: ``lock/requires/<target>.toml``, written with the lock.

Kept apart from the lock: it follows from the wheels, enters no image, and lets ``lock -- --check`` compare versions
with requirements offline, without a wheel at hand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from build import lockform
from build.canonical import digest
from build.errors import LockError
from build.models import Lock

SCHEMA = 1
FOLDER = Path("lock/requires")
HEADER = """\
# Written by `nox -s lock`. What each locked wheel requires where this target runs: the lines of its METADATA whose
# markers hold there, extras that something asks for included. `from` is the checksum of what that follows
# from: the wheels, what the series changes in them, what the target asks for.
"""

Requires = Mapping[str, Sequence[str]]


def path_of(repo: Path, target: str) -> Path:
    """Where the requirements of a target's wheels are kept."""
    return repo / FOLDER / f"{target}.toml"


def checksum(lock: Lock, asked: Sequence[str]) -> str:
    """The checksum of all that the requirements follow from: wheels, what a series changes in them, what is asked."""
    changes = [[item.distribution, change.before, change.after] for item in lock.components for change in item.requires]
    return digest({"wheels": sorted(wheel.sha256 for wheel in lock.wheels), "changes": changes, "asked": list(asked)})


def text(lock: Lock, asked: Sequence[str], requires: Requires) -> str:
    """The file's bytes: the same requirements give the same text. ``asked``: the target's own requirements."""
    said = {name: list(texts) for name, texts in sorted(requires.items()) if texts}
    return lockform.text(HEADER, SCHEMA, {"target": lock.target, "from": checksum(lock, asked), "requires": said})


def read(repo: Path, lock: Lock, asked: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Distribution → its requirements; those that follow from this lock, or it is a :class:`LockError`."""
    path = path_of(repo, lock.target)
    refresh = f"run `nox -s lock -- --target {lock.target}`"
    name = str(path.relative_to(repo))
    data = lockform.read(path, name=name, schema=SCHEMA, refresh=refresh)
    if data["from"] != checksum(lock, asked):
        raise LockError(
            f"{name} is stale", why=f"lock/{lock.target}.toml is not the one that it was made for", todo=refresh
        )
    return {key: tuple(texts) for key, texts in data.get("requires", {}).items()}
