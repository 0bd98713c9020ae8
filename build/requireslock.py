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
from build.models import Wheel

SCHEMA = 1
FOLDER = Path("lock/requires")
HEADER = """\
# Written by `nox -s lock`. What each locked wheel requires where this target runs: the lines of its METADATA whose
# markers hold there, extras that something asks for included. `wheels` is the checksum of the wheels that were read.
"""

Requires = Mapping[str, Sequence[str]]


def path_of(repo: Path, target: str) -> Path:
    """Where the requirements of a target's wheels are kept."""
    return repo / FOLDER / f"{target}.toml"


def checksum(wheels: Sequence[Wheel]) -> str:
    """The checksum of a set of wheels."""
    return digest(sorted(wheel.sha256 for wheel in wheels))


def text(target: str, wheels: Sequence[Wheel], requires: Requires) -> str:
    """The file's bytes: the same requirements give the same text."""
    said = {name: list(texts) for name, texts in sorted(requires.items()) if texts}
    return lockform.text(HEADER, SCHEMA, {"target": target, "wheels": checksum(wheels), "requires": said})


def read(repo: Path, target: str, wheels: Sequence[Wheel]) -> dict[str, tuple[str, ...]]:
    """Distribution → its requirements; of those wheels, or it is a :class:`LockError`."""
    path = path_of(repo, target)
    refresh = f"run `nox -s lock -- --target {target}`"
    name = str(path.relative_to(repo))
    data = lockform.read(path, name=name, schema=SCHEMA, refresh=refresh)
    if data["wheels"] != checksum(wheels):
        raise LockError(f"{name} is stale", why=f"lock/{target}.toml has other wheels", todo=refresh)
    return {key: tuple(texts) for key, texts in data.get("requires", {}).items()}
