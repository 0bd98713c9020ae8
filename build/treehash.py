r"""git's id of a folder, without git: what makes a tree from any place acceptable, on a machine that has no git too.

Format: git's objects, as gitformat-pack(5) and git-hash-object(1) name them: the sha1 over ``<type> <size>\0`` and
the content; a tree's content is, for each entry, ``<mode> <name>\0`` and the 20 bytes of its id.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

FILE, PROGRAM, LINK, FOLDER, GITLINK = b"100644", b"100755", b"120000", b"40000", b"160000"
NO_GITLINKS: Mapping[str, str] = MappingProxyType({})
UNCHANGED: Mapping[str, bytes | None] = MappingProxyType({})


class _Row(NamedTuple):
    name: bytes
    mode: bytes
    id: bytes

    @property
    def place(self) -> bytes:
        """What git sorts by: a folder as if its name ended in a slash (a submodule does not)."""
        return self.name + b"/" if self.mode == FOLDER else self.name


def tree_id(
    folder: str | os.PathLike[str],
    gitlinks: Mapping[str, str] = NO_GITLINKS,
    changed: Mapping[str, bytes | None] = UNCHANGED,
) -> str:
    """The tree id (40 hex digits) that git gives the folder's content.

    ``gitlinks``: the folders below it that are submodules, by path, with the commit that is pinned there; what is in
    them is passed over. Nothing else is, not even a ``.git``. ``changed``: files by path with the content that counts
    instead of the folder's (None: as if deleted); a new file is no program, another keeps its mode. Empty folders do
    not count: git knows none. Raises ``ValueError`` for what no tree can hold (a device, a socket, a pipe), and for a
    change to what is no plain file, or behind a symbolic link.
    """
    return _Tree(folder, gitlinks).id(changed)


def tree_ids(
    folder: str | os.PathLike[str], changed: Mapping[str, bytes | None], gitlinks: Mapping[str, str] = NO_GITLINKS
) -> tuple[str, str]:
    """The ids of the folder as it is and with the changes (see :func:`tree_id`); each file is read once."""
    tree = _Tree(folder, gitlinks)
    return tree.id(UNCHANGED), tree.id(changed)


_Changes = dict[bytes, "bytes | _Changes | None"]
"""By name in a folder: a file's content, None for one that is gone, what changes in a folder."""


def _nested(changed: Mapping[str, bytes | None]) -> _Changes:
    """The changes by folder.

    >>> _nested({"a/b": b"x", "c": None})
    {b'a': {b'b': b'x'}, b'c': None}
    """
    found: _Changes = {}
    for path, content in changed.items():
        *folders, name = os.fsencode(path).split(b"/")
        place = found
        for part in folders:
            inner = place.setdefault(part, {})
            assert isinstance(inner, dict), path
            place = inner
        place[name] = content
    return found


class _Tree:
    """A folder and what is known of its files, so that a second id reads none again."""

    def __init__(self, folder: str | os.PathLike[str], gitlinks: Mapping[str, str]) -> None:
        self.folder = os.fsencode(folder)
        self.gitlinks = {os.fsencode(path): bytes.fromhex(commit) for path, commit in gitlinks.items()}
        self.files: dict[bytes, tuple[bytes, bytes]] = {}  # path → mode, id

    def id(self, changed: Mapping[str, bytes | None]) -> str:
        return _object(b"tree", self._content(self.folder, b"", _nested(changed))).hex()

    def _content(self, folder: bytes, below: bytes, changed: _Changes) -> bytes:
        rows: dict[bytes, _Row] = {}
        if not changed or os.path.isdir(folder):  # a folder that the changes alone make is not there
            with os.scandir(folder) as entries:
                for entry in entries:
                    inner = changed.get(entry.name, {})
                    row = self._row(entry, below, inner if isinstance(inner, dict) else {})
                    if row is not None:
                        rows[entry.name] = row
        for name, change in changed.items():
            kind, modes = ("folder", (FOLDER, GITLINK)) if isinstance(change, dict) else ("plain file", (FILE, PROGRAM))
            if name in rows and rows[name].mode not in modes:
                raise ValueError(f"{os.fsdecode(below + name)} is no {kind} to change")
            if isinstance(change, dict):
                if name not in rows and (content := self._content(folder + b"/" + name, below + name + b"/", change)):
                    rows[name] = _Row(name, FOLDER, _object(b"tree", content))
            elif change is None:
                rows.pop(name, None)
            else:
                rows[name] = _Row(name, rows[name].mode if name in rows else FILE, _object(b"blob", change))
        ordered = sorted(rows.values(), key=lambda row: row.place)
        return b"".join(b"%b %b\0%b" % (row.mode, row.name, row.id) for row in ordered)

    def _row(self, entry: os.DirEntry[bytes], below: bytes, changed: _Changes) -> _Row | None:
        """The entry as a tree has it; None for an empty folder."""
        path = below + entry.name
        if entry.is_symlink():
            return _Row(entry.name, LINK, _object(b"blob", os.readlink(entry.path)))
        if entry.is_dir(follow_symlinks=False):
            if path in self.gitlinks:
                return _Row(entry.name, GITLINK, self.gitlinks[path])
            content = self._content(entry.path, path + b"/", changed)
            return _Row(entry.name, FOLDER, _object(b"tree", content)) if content else None
        if entry.is_file(follow_symlinks=False):
            if path not in self.files:
                self.files[path] = _file(entry.path)
            mode, found = self.files[path]
            return _Row(entry.name, mode, found)
        raise ValueError(f"{os.fsdecode(path)} is no file, folder or symbolic link")


def _file(path: bytes) -> tuple[bytes, bytes]:
    with open(path, "rb") as stream:
        status = os.fstat(stream.fileno())
        header = b"blob %d\0" % status.st_size
        found = hashlib.file_digest(stream, lambda: hashlib.sha1(header, usedforsecurity=False)).digest()
    return PROGRAM if status.st_mode & 0o100 else FILE, found


def _object(kind: bytes, content: bytes) -> bytes:
    return hashlib.sha1(b"%b %d\0%b" % (kind, len(content), content), usedforsecurity=False).digest()
