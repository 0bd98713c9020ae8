"""The form that all machine-written locks share: a header, a schema number, a checksum of all that they say.

TOML 1.0 in a small subset, one fact a line, in the order given, so that the same content is the same bytes and a
change reads well as a diff. The checksum makes an edit by hand visible; it is no signature.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from build.canonical import digest
from build.errors import LockError, NewerLockError
from build.models import GitSource, Submodule

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def text(header: str, schema: int, data: Mapping[str, Any]) -> str:
    """The bytes of a lock: ``header`` (comment lines that name the session that writes it), then its content."""
    said = {"schema": schema, **data}
    return header + toml_text({**said, "checksum": digest(said)})


def read(path: Path, *, name: str, schema: int, refresh: str) -> dict[str, Any]:
    """What a lock says, without schema and checksum.

    ``name``: what messages call the file. ``refresh``: the command that makes it. Raises :class:`LockError` for a
    file that is missing, no TOML, of an older version of this tool or edited by hand, and
    :class:`NewerLockError` for one of a newer version.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise LockError(f"{name} is not there", why="it was never made, or was deleted", todo=refresh) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise LockError(f"{name} is not TOML", why=str(error), todo=f"restore it from git, or {refresh}") from error
    said = {key: value for key, value in data.items() if key != "checksum"}
    found = said.get("schema", 0)
    if isinstance(found, int) and found > schema:
        raise NewerLockError(
            f"{name} was written by a newer version of this tool",
            why=f"it has schema {found}, this version knows {schema}",
            todo="update this checkout",
        )
    if not isinstance(found, int) or data.get("checksum") != _checksum(said):
        raise LockError(
            f"{name} was edited by hand",
            why="its content does not have the checksum that it states",
            todo=f"restore it from git, or {refresh}",
        )
    if found < schema:
        raise LockError(
            f"{name} was written by an older version of this tool",
            why=f"it has schema {found}, this version writes {schema}",
            todo=refresh,
        )
    return {key: value for key, value in said.items() if key != "schema"}


def _checksum(said: Mapping[str, Any]) -> str:
    """What a lock should state; of values that no lock of ours holds (a date, not a number), none."""
    try:
        return digest(said)
    except (TypeError, ValueError):
        return ""


def write(path: Path, content: str) -> bool:
    """Write a lock in one step, so that a reader sees the old file or the new one; whether its bytes changed."""
    data = content.encode("utf-8")
    if path.exists() and path.read_bytes() == data:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}-{os.getpid()}")
    try:
        partial.write_bytes(data)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return True


def git_source(table: Mapping[str, Any]) -> GitSource:
    """A git source as locks write it (``dataclasses.asdict``)."""
    lists = {
        "mirrors": tuple(table["mirrors"]),
        "submodules": tuple(Submodule(**row) for row in table["submodules"]),
    }
    return GitSource(**{**table, **lists})


def toml_text(data: Mapping[str, Any], table: str = "") -> str:
    """Scalars, inline tables, arrays with one element a line, sub-tables.

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
    return key if _BARE.fullmatch(key) else _string(key)


def _string(text: str) -> str:
    """A basic string. TOML asks to escape what JSON does, and DEL."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_key(key)} = {_value(inner)}" for key, inner in value.items()) + " }"
    if isinstance(value, (list, tuple)):
        return "[\n" + "".join(f"  {_value(item)},\n" for item in value) + "]" if value else "[]"
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, int):
        return json.dumps(value)
    raise TypeError(type(value).__name__)
