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


class _Row(NamedTuple):
    name: bytes
    mode: bytes
    id: bytes

    @property
    def place(self) -> bytes:
        """What git sorts by: a folder as if its name ended in a slash (a submodule does not)."""
        return self.name + b"/" if self.mode == FOLDER else self.name


def tree_id(folder: str | os.PathLike[str], gitlinks: Mapping[str, str] = NO_GITLINKS) -> str:
    """The tree id (40 hex digits) that git gives the folder's content.

    ``gitlinks``: the folders below it that are submodules, by path, with the commit that is pinned there; what is in
    them is passed over. Nothing else is, not even a ``.git``. Empty folders do not count: git knows none. Raises
    ``ValueError`` for what no tree can hold (a device, a socket, a pipe).
    """
    pinned = {os.fsencode(path): bytes.fromhex(commit) for path, commit in gitlinks.items()}
    return _object(b"tree", _content(os.fsencode(folder), b"", pinned)).hex()


def _content(folder: bytes, below: bytes, gitlinks: Mapping[bytes, bytes]) -> bytes:
    with os.scandir(folder) as entries:
        rows = [row for entry in entries if (row := _row(entry, below, gitlinks)) is not None]
    rows.sort(key=lambda row: row.place)
    return b"".join(b"%b %b\0%b" % (row.mode, row.name, row.id) for row in rows)


def _row(entry: os.DirEntry[bytes], below: bytes, gitlinks: Mapping[bytes, bytes]) -> _Row | None:
    """The entry as a tree has it; None for an empty folder."""
    path = below + entry.name
    if entry.is_symlink():
        return _Row(entry.name, LINK, _object(b"blob", os.readlink(entry.path)))
    if entry.is_dir(follow_symlinks=False):
        if path in gitlinks:
            return _Row(entry.name, GITLINK, gitlinks[path])
        content = _content(entry.path, path + b"/", gitlinks)
        return _Row(entry.name, FOLDER, _object(b"tree", content)) if content else None
    if entry.is_file(follow_symlinks=False):
        mode, found = _file(entry.path)
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
