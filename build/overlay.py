"""A source tree with changed files over it: what patches find there and what they leave, as values.

The one reader of files that patches touch. Only plain files count: what is a symbolic link, or behind one, no patch of
ours touches, and none makes a file there.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from build.errors import PatchError

PLAIN, PROGRAM = "100644", "100755"  # as git names them


@dataclass(frozen=True, kw_only=True)
class File:
    """A file as a patch sees it: its bytes, and git's mode."""

    data: bytes
    mode: str = PLAIN


Edits = Mapping[str, "tuple[File | None, File | None]"]
"""Path → the file before and after; None where there is none."""


@dataclass(frozen=True, kw_only=True)
class Overlay:
    """A tree on disk, which stays as it is, and the files that count instead of its own (None: deleted)."""

    tree: Path
    changed: Mapping[str, File | None] = field(default_factory=dict)

    def read(self, path: str) -> File | None:
        """The file of that path; None where there is none. Raises :class:`PatchError` for a symbolic link."""
        return self.changed[path] if path in self.changed else read(self.tree, path)

    def after(self, edits: Edits) -> Overlay:
        """The same tree with more files changed."""
        return Overlay(tree=self.tree, changed={**self.changed, **{path: new for path, (_, new) in edits.items()}})

    def names(self) -> tuple[frozenset[str], Mapping[str, str]]:
        """The paths of all files that are there, and the symbolic links of the tree with what they say."""
        files, links = set(), {}
        for folder, folders, found in os.walk(self.tree):
            for name in (*folders, *found):
                place = os.path.join(folder, name)
                path = os.path.relpath(place, self.tree)
                if os.path.islink(place):
                    links[path] = os.readlink(place)
                elif name in found:
                    files.add(path)
        files -= self.changed.keys()
        return frozenset(files | {path for path, file in self.changed.items() if file is not None}), links

    def write_out(self, folder: Path) -> None:
        """All of it as files in ``folder``, which is made; modes and links are kept, repositories in it left out."""
        shutil.copytree(
            self.tree, folder, symlinks=True, copy_function=shutil.copy, ignore=shutil.ignore_patterns(".git")
        )
        put(folder, self.changed)


def read(folder: Path, path: str) -> File | None:
    """The plain file of that path in a folder; None where there is none.

    Raises :class:`PatchError` for a link, and for a path that leads through one, whether or not a file is there.
    """
    place = folder / path
    try:
        mode = place.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        mode = 0
    behind = os.path.realpath(place) != os.path.join(os.path.realpath(folder), path)
    if behind or not (mode == 0 or stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise PatchError(
            f"{path} is not a plain file",
            why="it is a symbolic link, or behind one, or a device",
            todo="name the file itself; what is no plain file is not patched",
        )
    if not stat.S_ISREG(mode):
        return None
    return File(data=place.read_bytes(), mode=PROGRAM if mode & 0o100 else PLAIN)


def put(folder: Path, files: Mapping[str, File | None]) -> None:
    """Write files below a folder; None removes one, and the folders that it leaves empty."""
    for path in (path for path, file in files.items() if file is None):
        place = folder / path
        place.unlink(missing_ok=True)
        while place.parent != folder and place.parent.is_dir() and not any(place.parent.iterdir()):
            place = place.parent
            place.rmdir()
    for path, file in files.items():
        if file is not None:
            place = folder / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(file.data)
            place.chmod(0o755 if file.mode == PROGRAM else 0o644)


def content(file: File | None) -> bytes | None:
    """The bytes of a file; None where there is none."""
    return None if file is None else file.data
