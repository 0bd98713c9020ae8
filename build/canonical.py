"""Ids: sha256 over canonical JSON, the same for the same values on any machine."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from typing import Any

CHUNK = 1 << 20


def canonical_json(value: Any) -> bytes:
    """JSON with sorted keys, no spaces, UTF-8 and no NaN: equal values give equal bytes.

    >>> canonical_json({"b": 1, "a": ["é"]}).decode()
    '{"a":["é"],"b":1}'
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def digest(value: Any) -> str:
    """Hex sha256 of :func:`canonical_json`.

    >>> digest({})[:12]
    '44136fa355b3'
    """
    return hashlib.sha256(canonical_json(value)).hexdigest()


def file_sha256(path: str | os.PathLike[str]) -> str:
    """Hex sha256 of a file's bytes, read in 1 MiB pieces."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def tree_files(root: str | os.PathLike[str]) -> Iterator[tuple[str, str]]:
    """The regular files below ``root`` that are ours: (posix path relative to it, path), sorted.

    Hidden entries, Python's caches and editors' leftovers are passed over, so that neither running our own code nor
    a tool's cache ever changes an id or enters an image.
    """
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if name != "__pycache__" and not name.startswith("."))
        for name in sorted(files):
            if not name.startswith(".") and not name.endswith((".pyc", "~", ".orig", ".rej")):
                path = os.path.join(folder, name)
                yield os.path.relpath(path, root).replace(os.sep, "/"), path


def tree_sha256(root: str | os.PathLike[str]) -> Mapping[str, str]:
    """Each file of :func:`tree_files` with the sha256 of its bytes; a symbolic link counts as ``link:<target>``."""
    return {
        key: f"link:{os.readlink(path)}" if os.path.islink(path) else file_sha256(path)
        for key, path in tree_files(root)
    }
