"""What a resolution takes from the user's own settings of uv (``uv.toml``): how to reach an index, and nothing else.

uv would take in all that they say; what is resolved is for the intent alone to say. Which files apply, and how they
are joined, is as uv documents it ("Configuration files").
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from functools import reduce
from pathlib import Path
from typing import Any

from build import lockform
from build.errors import UsageError

PLACES = frozenset({"index", "index-url", "extra-index-url", "find-links", "cache-dir"})  # addresses, or paths
KEPT = PLACES | {
    "allow-insecure-host", "concurrent-downloads", "http-proxy", "https-proxy", "index-strategy", "keyring-provider",
    "native-tls", "no-cache", "no-index", "no-proxy", "offline", "system-certs", "trusted-host",
}  # fmt: skip
NAMED = "UV_CONFIG_FILE"  # one file instead of all others
NONE = "UV_NO_CONFIG"
TRUE = ("1", "on", "t", "true", "y", "yes")

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:|\$\{")


def text(environ: Mapping[str, str]) -> str:
    """The ``uv.toml`` of a resolution. Raises :class:`UsageError` for a file that cannot be read."""
    return lockform.toml_text(reduce(_joined, map(_read, _files(environ)), {}))


def _files(environ: Mapping[str, str]) -> list[Path]:
    """The files that apply, the one that wins first: the user's, the system's."""
    if named := environ.get(NAMED):
        return [Path(named)]
    if environ.get(NONE, "").lower() in TRUE:
        return []
    home = environ.get("XDG_CONFIG_HOME", "")
    user = Path(home) if os.path.isabs(home) else Path(environ.get("HOME", "/"), ".config")
    shared = [item for item in (environ.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(":") if item]
    system = [path for folder in (*shared, "/etc") if os.path.isfile(path := Path(folder, "uv", "uv.toml"))]
    return [path for path in (user / "uv" / "uv.toml", *system[:1]) if os.path.isfile(path)]


def _read(path: Path) -> dict[str, Any]:
    """What a file says on reaching an index."""
    try:
        said = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(
            f"{path}, which configures uv, cannot be read",
            why=str(error),
            todo=f"mend it, or set {NONE}=1 to go without such files",
        ) from error
    kept = _kept(said, path.absolute().parent)
    if isinstance(said.get("pip"), Mapping) and (pip := _kept(said["pip"], path.absolute().parent)):
        kept["pip"] = pip
    return kept


def _kept(said: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    return {
        key: _placed(value, folder) if key in PLACES else value
        for key, value in said.items()
        if key in KEPT
    }  # fmt: skip


def _placed(value: Any, folder: Path) -> Any:
    """The same for a file that lies elsewhere: a relative path counts from the folder of the file that says it."""
    if isinstance(value, str):
        return value if _ADDRESS.match(value) else str(folder / value)
    if isinstance(value, list):
        return [_placed(item, folder) for item in value]
    if isinstance(value, Mapping):  # a table [[index]]; it may also say which of the index's files count, by their time
        placed = {key: _placed(inner, folder) if key == "url" else inner for key, inner in value.items()}
        return {key: inner for key, inner in placed.items() if key != "exclude-newer"}
    return value


def _joined(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Both settings: of single values the first's, lists one after the other."""
    found = {**second, **first}
    for key in first.keys() & second.keys():
        if isinstance(first[key], list) and isinstance(second[key], list):
            found[key] = [*first[key], *second[key]]
        elif isinstance(first[key], Mapping) and isinstance(second[key], Mapping):
            found[key] = _joined(first[key], second[key])
    return found
