"""Ids: sha256 over canonical JSON, the same for the same values on any machine."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
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


def tree_sha256(root: str | os.PathLike[str]) -> Mapping[str, str]:
    """Each regular file below ``root`` (posix path relative to it, sorted) with its sha256.

    Symbolic links count as ``link:<target>``; caches of Python and editors' leftovers are passed over, so that
    running our own code never changes an id.
    """
    found: dict[str, str] = {}
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if name != "__pycache__")
        for name in sorted(files):
            if name.endswith((".pyc", "~", ".swp", ".orig", ".rej")):
                continue
            path = os.path.join(folder, name)
            key = os.path.relpath(path, root).replace(os.sep, "/")
            found[key] = f"link:{os.readlink(path)}" if os.path.islink(path) else file_sha256(path)
    return dict(sorted(found.items()))
