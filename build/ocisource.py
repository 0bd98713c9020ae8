"""Where the files of an image lie: in a folder, or in an uncompressed tar of which nothing is unpacked."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol, cast

from build.canonical import CHUNK
from build.errors import HashMismatchError


class Source(Protocol):
    """Where the files of an image are; names are relative, as a layout has them."""

    def has(self, name: str) -> bool: ...

    def open(self, name: str) -> IO[bytes]: ...


@dataclass(frozen=True)
class Folder:
    """A layout as a folder, or an engine's content store, whose ``blobs`` are laid out alike."""

    path: Path

    def has(self, name: str) -> bool:
        return (self.path / name).is_file()

    def open(self, name: str) -> IO[bytes]:
        return open(self.path / name, "rb")


@dataclass(frozen=True)
class Archive:
    """A layout as an uncompressed tar: where each file lies in it, so that nothing is unpacked."""

    path: Path
    members: Mapping[str, tuple[int, int]]

    def has(self, name: str) -> bool:
        return name in self.members

    def open(self, name: str) -> IO[bytes]:
        return cast("IO[bytes]", io.BufferedReader(_Part(self.path, *self.members[name]), CHUNK))


class _Part(io.RawIOBase):
    """A range of a file as a file."""

    def __init__(self, path: Path, offset: int, size: int) -> None:
        self._stream = open(path, "rb", buffering=0)  # noqa: SIM115 - closed by close()
        self._stream.seek(offset)
        self._left = size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = self._stream.readinto(memoryview(buffer)[: self._left]) or 0
        self._left -= count
        return count

    def close(self) -> None:
        self._stream.close()
        super().close()


def archive(path: Path) -> Archive:
    """The tar at ``path``; ``tarfile.TarError`` or ``EOFError`` where it is none, as where it is compressed."""
    found: dict[str, tuple[int, int]] = {}
    with tarfile.open(path, "r:") as opened:
        for entry in opened:
            if entry.isreg():
                found[os.path.normpath(entry.name)] = (entry.offset_data, entry.size)
    return Archive(path, found)


def open_blob(source: Source, file: str, what: str) -> IO[bytes]:
    """A blob's bytes, not compared yet; :class:`HashMismatchError` where it is not there."""
    if not source.has(file):
        raise HashMismatchError(
            f"{what} is not whole",
            why=f"{file} is not in it",
            todo="export it again; from an engine: build or pull it again",
        )
    return source.open(file)
