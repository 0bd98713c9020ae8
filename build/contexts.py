"""Build contexts: folders in the store whose content is exactly what one build needs, changed as little as possible.

A context keeps its path from build to build, so that BuildKit is sent only what changed.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path


def sync(folder: Path, entries: Mapping[str, bytes | Path]) -> int:
    """Make ``folder`` hold exactly ``entries`` (relative path → bytes, or a file to link to); how many changed.

    Files are hard-linked where the file system allows it and copied otherwise.
    """
    folder.mkdir(parents=True, exist_ok=True)
    changed = 0
    for path in _files(folder) - set(entries):
        (folder / path).unlink()
        changed += 1
    for path, content in entries.items():
        target = folder / path
        if _holds(target, content):
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        _put(target, content)
        changed += 1
    _drop_empty(folder)
    return changed


def changes(folder: Path, entries: Mapping[str, bytes | Path]) -> tuple[str, ...]:
    """The entries that :func:`sync` would write anew."""
    return tuple(path for path, content in entries.items() if not _holds(folder / path, content))


def _files(folder: Path) -> set[str]:
    return {
        os.path.relpath(os.path.join(parent, name), folder) for parent, _, names in os.walk(folder) for name in names
    }


def _holds(target: Path, content: bytes | Path) -> bool:
    if not target.is_file():
        return False
    if isinstance(content, bytes):
        return target.read_bytes() == content
    here, there = target.stat(), content.stat()
    return (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)


def _put(target: Path, content: bytes | Path) -> None:
    if isinstance(content, bytes):
        target.write_bytes(content)
        return
    try:
        os.link(content, target)
    except OSError:
        shutil.copy(content, target)


def _drop_empty(folder: Path) -> None:
    for parent, folders, _ in os.walk(folder, topdown=False):
        for name in folders:
            path = os.path.join(parent, name)
            if not os.listdir(path):
                os.rmdir(path)
