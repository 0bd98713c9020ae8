"""Read and write ``lock/<target>.toml``: machine-written, sorted, stable to the byte, one fact a line.

A lock carries two checksums: ``intent``, of the hand-written tables that it was made from, and ``checksum``, of all
that it says, so that an edit by hand is seen.
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from build.canonical import digest
from build.errors import LockError, NewerLockError
from build.models import Component, GitSource, Lock, PatchedFile, PatchRef, SourceArchive, Wheel

SCHEMA = 1
HEADER = "# Written by `nox -s lock`. Not to be edited: a build refuses a lock that was.\n"


def lock_path(repo: Path, target: str) -> Path:
    """Where a target's lock is kept."""
    return repo / "lock" / f"{target}.toml"


def read_lock(repo: Path, target: str, *, intent: str | None = None) -> Lock:
    """The lock of a target.

    ``intent``: the checksum of today's intent; a lock made from another is stale. Raises :class:`LockError` for a
    lock that is missing, stale, edited, or of a newer version of this tool.
    """
    path = lock_path(repo, target)
    refresh = f"run `nox -s lock -- --target {target}`"
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise LockError(f"{target} has no lock", why=f"lock/{path.name} is not there", todo=refresh) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise LockError(f"lock/{path.name} is not TOML", why=str(error), todo=f"{refresh}, or restore it") from error
    _accept(data, path.name, refresh)
    if intent is not None and data["intent"] != intent:
        raise LockError(
            f"lock/{path.name} is stale",
            why="lock/targets.toml has changed since it was made",
            todo=f"{refresh} (versions stay as they are unless you ask for --upgrade)",
        )
    return _parse(data)


def _accept(data: Mapping[str, Any], name: str, refresh: str) -> None:
    schema = data.get("schema")
    if not isinstance(schema, int) or schema > SCHEMA:
        raise NewerLockError(
            f"lock/{name} was written by a newer version of this tool",
            why=f"it has schema {schema}, this version knows {SCHEMA}",
            todo="update this checkout",
        )
    said = {key: value for key, value in data.items() if key != "checksum"}
    if data.get("checksum") != digest(said):
        raise LockError(
            f"lock/{name} was edited by hand",
            why="its content does not have the checksum that it states",
            todo=f"restore it from git, or {refresh}",
        )


def _parse(data: Mapping[str, Any]) -> Lock:
    return Lock(
        target=data["target"],
        intent=data["intent"],
        epoch=data["epoch"],
        python=data["python"],
        platform=data["platform"],
        tools=tuple(Wheel(**row) for row in data["tools"]),
        wheels=tuple(Wheel(**row) for row in data["wheels"]),
        patches=tuple(PatchRef(**row) for row in data["patches"]),
        components=tuple(_component(name, table) for name, table in data.get("components", {}).items()),
    )


def _component(name: str, table: Mapping[str, Any]) -> Component:
    return Component(
        name=name,
        distribution=table["distribution"],
        paths=tuple((row["source"], row["installed"]) for row in table["paths"]),
        archive=SourceArchive(**table["archive"]) if "archive" in table else None,
        git=GitSource(**table["git"]) if "git" in table else None,
        files=tuple(PatchedFile(**row) for row in table["files"]),
    )


def write_lock(repo: Path, lock: Lock) -> None:
    """Write a target's lock in one step: a reader sees the old file or the new one."""
    path = lock_path(repo, lock.target)
    partial = path.with_name(f".{path.name}-{os.getpid()}")
    try:
        partial.write_text(lock_text(lock), encoding="utf-8")
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def lock_text(lock: Lock) -> str:
    """The bytes of a lock file: the same lock gives the same text."""
    data: dict[str, Any] = {
        "schema": SCHEMA,
        "target": lock.target,
        "intent": lock.intent,
        "epoch": lock.epoch,
        "python": lock.python,
        "platform": lock.platform,
        "tools": _rows(lock.tools, ("name", "version", "file", "size", "sha256")),
        "wheels": _rows(lock.wheels, ("name", "version", "file", "size", "sha256")),
        "patches": _rows(lock.patches, ("component", "file", "sha256")),
    }
    if lock.components:
        data["components"] = {item.name: _component_table(item) for item in lock.components}
    return HEADER + toml_text({**data, "checksum": digest(data)})


def _rows(items: Iterable[Any], keys: tuple[str, ...]) -> list[dict[str, Any]]:
    return [{key: getattr(item, key) for key in keys} for item in items]


def _component_table(item: Component) -> dict[str, Any]:
    table: dict[str, Any] = {"distribution": item.distribution}
    if item.archive is not None:
        table["archive"] = _rows([item.archive], ("name", "version", "file", "size", "sha256"))[0]
    if item.git is not None:
        table["git"] = asdict(item.git)
    table["paths"] = [{"source": source, "installed": installed} for source, installed in item.paths]
    table["files"] = _rows(item.files, ("source", "installed", "before", "after"))
    return table


def toml_text(data: Mapping[str, Any], table: str = "") -> str:
    """A small, stable subset of TOML 1.0: scalars, inline tables, arrays with one element a line, sub-tables.

    >>> print(toml_text({"a": 1, "rows": [{"x": "y"}], "t": {"u": {"v": []}}}), end="")
    a = 1
    rows = [
      { x = "y" },
    ]
    <BLANKLINE>
    [t.u]
    v = []
    """
    tables = {key: value for key, value in data.items() if _is_table(value)}
    lines = [f"{_key(key)} = {_value(value)}" for key, value in data.items() if key not in tables]
    text = f"\n[{table}]\n" if table and lines else ""
    text += "".join(f"{line}\n" for line in lines)
    for key, value in tables.items():
        text += toml_text(value, f"{table}.{_key(key)}" if table else _key(key))
    return text


def _is_table(value: Any) -> bool:
    return isinstance(value, Mapping) and any(isinstance(inner, (Mapping, list)) for inner in value.values())


def _key(key: str) -> str:
    return key if key.replace("-", "").replace("_", "").isalnum() else json.dumps(key, ensure_ascii=False)


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_key(key)} = {_value(inner)}" for key, inner in value.items()) + " }"
    if isinstance(value, list):
        return "[\n" + "".join(f"  {_value(item)},\n" for item in value) + "]" if value else "[]"
    if isinstance(value, (bool, int, str)):
        return json.dumps(value, ensure_ascii=False)
    raise TypeError(type(value).__name__)
