"""The machine-written locks of Debian packages: one TOML file per root and architecture in ``lock/debs/``."""

from __future__ import annotations

import os
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from build.errors import LockError
from build.models import Deb, DebSet

SCHEMA = 1
FOLDER = Path("lock") / "debs"
HEADER = """\
# Made by `nox -s lock`; do not edit. The Debian packages of one root for one architecture, as apt resolved them
# against the signed archive. `path` is below any mirror's root. `intent` is the checksum of the table of
# lock/targets.toml that this was made from; `epoch` is the newest build time of the packages.
"""
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
    lines = [
        HEADER,
        f"schema = {SCHEMA}",
        f"root = {_string(debset.root)}",
        f"suite = {_string(debset.suite)}",
        f"arch = {_string(debset.arch)}",
        f"intent = {_string(locked.intent)}",
        f"epoch = {debset.epoch}",
        "debs = [",
    ]
    for deb in sorted(debset.debs, key=lambda deb: (deb.name, deb.version, deb.arch)):
        cells = (f"{name} = {_value(getattr(deb, name))}" for name in FIELDS)
        lines.append(f"  {{ {', '.join(cells)} }},")
    return "\n".join([*lines, "]", ""])


def write(path: Path, locked: LockedDebs) -> bool:
    """Write the lock in one step (a reader sees the old file or the new one); whether its bytes changed."""
    text = render(locked).encode()
    if path.exists() and path.read_bytes() == text:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(text)
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return True


def read(path: Path) -> LockedDebs:
    """The lock in ``path``; a :class:`LockError` that names the place for anything that is not a whole lock."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise LockError(
            f"there is no lock {path.name}", why=f"{path} does not exist", todo="run `nox -s lock`"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise _broken(path, str(error)) from error
    if data.get("schema") != SCHEMA:
        raise _broken(path, f"schema is {data.get('schema')!r}, this program knows {SCHEMA}")
    try:
        debs = tuple(_deb(path, item) for item in data["debs"])
        return LockedDebs(
            intent=str(data["intent"]),
            debset=DebSet(
                root=str(data["root"]),
                suite=str(data["suite"]),
                arch=str(data["arch"]),
                epoch=int(data["epoch"]),
                debs=debs,
            ),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise _broken(path, f"{type(error).__name__}: {error}") from error


def require_fresh(path: Path, locked: LockedDebs, intent: str) -> None:
    """A :class:`LockError` when the lock was made from another intent than ``intent`` (a checksum)."""
    if locked.intent != intent:
        raise LockError(
            f"{path.name} is stale",
            why="its table in lock/targets.toml was edited since",
            todo="run `nox -s lock` and commit what it writes",
        )


def _deb(path: Path, item: dict[str, Any]) -> Deb:
    sha256 = str(item["sha256"])
    pool = str(item["path"])
    if len(sha256) != 64 or pool.startswith("/") or ".." in pool.split("/"):
        raise _broken(path, f"the entry of {item['name']} is not sound")
    return Deb(
        file=pool.rsplit("/", 1)[-1],
        sha256=sha256,
        size=int(item["size"]),
        name=str(item["name"]),
        version=str(item["version"]),
        arch=str(item["arch"]),
        path=pool,
    )


def _broken(path: Path, why: str) -> LockError:
    return LockError(f"{path.name} is not a lock that can be used", why=why, todo="run `nox -s lock`")


def _value(value: str | int) -> str:
    return str(value) if isinstance(value, int) else _string(value)


def _string(value: str) -> str:
    """A TOML basic string; Debian's names, versions and paths are printable ASCII."""
    if not (value.isascii() and value.isprintable()):
        raise ValueError(f"not printable ASCII: {value!r}")
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
