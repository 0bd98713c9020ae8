"""Unpack Debian packages without Debian: an ar archive with a compressed tar in it. No script of theirs runs.

Format: deb(5). Every path is checked to stay below the target, through links that were unpacked before as well.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import lzma
import os
import shutil
import subprocess
import tarfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

from build.canonical import CHUNK
from build.errors import CommandError, HashMismatchError

MAGIC = b"!<arch>\n"
HEADER_BYTES = 60


class Member(NamedTuple):
    """A member of an ar archive: where its bytes are."""

    name: str
    mtime: int
    offset: int
    size: int


def members(stream: IO[bytes]) -> Iterator[Member]:
    """The members of the ar archive in ``stream``; ``ValueError`` where it is none (or is cut short)."""
    if stream.read(len(MAGIC)) != MAGIC:
        raise ValueError("not an ar archive")
    offset = len(MAGIC)
    while True:
        stream.seek(offset)
        header = stream.read(HEADER_BYTES)
        if not header:
            return
        if len(header) != HEADER_BYTES or header[58:60] != b"`\n":
            raise ValueError(f"no ar header at byte {offset}")
        name = header[:16].decode("ascii").strip().rstrip("/")
        size = int(header[48:58])
        yield Member(name, int(header[16:28]), offset + HEADER_BYTES, size)
        offset += HEADER_BYTES + size + size % 2


def build_time(deb: Path) -> int:
    """When the package was built (seconds since 1970): the newest time in its ar headers."""
    with open(deb, "rb") as stream:
        return max(member.mtime for member in members(stream))


def control(deb: Path) -> str:
    """The text of the package's control file."""
    with _tar(deb, "control.tar") as archive:
        for entry in archive:
            if entry.name.removeprefix("./") == "control":
                content = archive.extractfile(entry)
                assert content is not None
                return content.read().decode()
    raise ValueError(f"{deb.name} has no control file")


def unpack(deb: Path, target: Path, *, wanted: Callable[[str], bool] = lambda _: True) -> None:
    """Unpack the package's files below ``target`` (an existing folder).

    ``wanted`` is asked for each path (relative, no leading ``./``). Owners are ours; set-id bits are dropped, for
    what is unpacked here is run by root or by its owner only. ``ValueError`` for a path that leaves ``target`` and
    for anything that is no file, folder or link; :class:`HashMismatchError` for a package that cannot be read.
    """
    try:
        with _tar(deb, "data.tar") as archive:
            _extract(archive, target, wanted)
    except (EOFError, gzip.BadGzipFile, lzma.LZMAError, zlib.error, tarfile.TarError) as error:
        raise HashMismatchError(f"{deb.name} cannot be unpacked", why=str(error)) from error


@contextlib.contextmanager
def _tar(deb: Path, prefix: str) -> Iterator[tarfile.TarFile]:
    with open(deb, "rb") as stream:
        found = next((member for member in members(stream) if member.name.startswith(prefix)), None)
        if found is None:
            raise ValueError(f"{deb.name} has no {prefix}")
        stream.seek(found.offset)
        raw = io.BufferedReader(_Window(stream, found.size))
        with _plain(raw, deb.name, found.name.removeprefix(prefix)) as plain:
            with tarfile.open(fileobj=plain, mode="r|", bufsize=CHUNK) as archive:
                yield archive
            while plain.read(CHUNK):  # to the end of the compressed stream: it holds the checksums
                pass


def _plain(raw: IO[bytes], deb: str, suffix: str) -> IO[bytes]:
    """``raw`` decompressed by its name's suffix."""
    if suffix == "":
        return raw
    if suffix == ".xz":
        return lzma.LZMAFile(raw)
    if suffix == ".gz":
        return cast("IO[bytes]", gzip.GzipFile(fileobj=raw))
    if suffix == ".zst":
        return io.BytesIO(_unzstd(raw.read()))
    raise ValueError(f"{deb}: no way to read a tar{suffix}")


class _Window(io.RawIOBase):
    """``size`` bytes of a stream from where it stands."""

    def __init__(self, stream: IO[bytes], size: int) -> None:
        self._stream = stream
        self._left = size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._stream.read(min(len(buffer), self._left))
        buffer[: len(data)] = data
        self._left -= len(data)
        return len(data)


def _unzstd(data: bytes) -> bytes:
    program = shutil.which("zstd")
    if program is None:
        raise CommandError("zstd is not there", why="a package is compressed with it", todo="install zstd")
    done = subprocess.run([program, "-dc"], input=data, capture_output=True, check=False)
    if done.returncode != 0:
        raise EOFError(done.stderr.decode(errors="replace").strip())
    return done.stdout


def _extract(archive: tarfile.TarFile, target: Path, wanted: Callable[[str], bool]) -> None:
    root = os.path.realpath(target)
    folders: dict[str, int] = {}
    for entry in archive:
        path = entry.name.removeprefix("./").strip("/")
        if path in ("", ".") or not wanted(path):
            continue
        if path.startswith("/") or ".." in path.split("/"):
            raise ValueError(f"{entry.name} leaves the root")
        place = os.path.join(_inside(root, os.path.dirname(path)), os.path.basename(path))
        if entry.isdir():
            os.makedirs(place, exist_ok=True)
            folders[place] = int(entry.mtime)
            os.chmod(place, (entry.mode & 0o1777) | 0o700)
            continue
        if os.path.lexists(place):
            os.unlink(place)
        if entry.issym():
            os.symlink(entry.linkname, place)
            os.utime(place, (entry.mtime, entry.mtime), follow_symlinks=False)
        elif entry.islnk():
            source = entry.linkname.removeprefix("./").strip("/")
            os.link(os.path.join(_inside(root, os.path.dirname(source)), os.path.basename(source)), place)
        elif entry.isfile():
            _write(archive, entry, place)
        else:
            raise ValueError(f"{entry.name} is no file, folder or link")
    for place, mtime in folders.items():
        os.utime(place, (mtime, mtime))


def _inside(root: str, folder: str) -> str:
    """``folder`` below ``root`` with its links resolved as inside the root; made where it is not there."""
    place = os.path.join(root, folder)
    real = os.path.realpath(place)
    if real != root and not real.startswith(root + os.sep):
        raise ValueError(f"{folder} leads out of the root, to {real}")
    os.makedirs(real, exist_ok=True)
    return real


def _write(archive: tarfile.TarFile, entry: tarfile.TarInfo, place: str) -> None:
    content = archive.extractfile(entry)
    assert content is not None
    with open(place, "xb") as stream:
        shutil.copyfileobj(content, stream, CHUNK)
    os.chmod(place, (entry.mode & 0o777) | 0o600)
    os.utime(place, (entry.mtime, entry.mtime))
