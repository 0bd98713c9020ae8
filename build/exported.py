"""Folders that ``fetch -- --export`` wrote: locked files by hash, for machines without a network.

A folder has the blobs of a store (``blobs/sha256/ab/abcd…``), the tools' wheels in ``python/``, packed source
trees in ``sources/`` (:mod:`build.gitsource` reads them), and what a person reads. Plain files only: it may be a FAT
stick, without links and rights. Whoever carried it may have changed it, so that nothing of it counts before it is in
the store, by its hash.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from io import BufferedRandom, FileIO
from pathlib import Path

from build import store as stores
from build.console import human_bytes, warn

PYTHON = "python"
SOURCES = "sources"
FICLONE = 0x40049409  # linux/fs.h: two files share their blocks, where the file system can
PIECE = 1 << 20

Progress = Callable[[int], None]


class Unfit(Exception):  # noqa: N818 - a signal between two functions, never shown as it is
    """A file that is not the locked one; says what is wrong with it."""


def take(store: Path, folders: Sequence[Path], sha256: str, size: int, file: str, progress: Progress) -> bool | None:
    """Copy a locked file out of the first folder that has it into the store.

    True where the store has it now, False where no folder has it, None where what they have under its name is not
    it: that is warned about, by its place.
    """
    refused = False
    for folder in folders:
        source = stores.blob(folder, sha256)
        try:
            with stores.scratch(store, "taken") as scratch:
                copy(source, scratch / sha256, sha256, size, progress)
                stores.admit(store, scratch / sha256, sha256)
        except FileNotFoundError:
            continue
        except Unfit as unfit:
            warn(f"{file} is not taken from {source}: {unfit}")
            refused = True
        else:
            return True
    return None if refused else False


def copy(source: Path, target: Path, sha256: str, size: int, progress: Progress) -> None:
    """Copy a plain file and compare the copy's bytes with ``sha256`` on the way.

    No hard link: an edit on one side would change the other. Raises :class:`Unfit`, ``target`` is then of no use;
    ``FileNotFoundError`` where there is no ``source``.
    """
    with _plain(source) as reading:
        found = os.fstat(reading.fileno()).st_size
        if found != size:
            raise Unfit(f"it has {human_bytes(found)} ({found} B) instead of {human_bytes(size)} ({size} B)")
        with open(target, "w+b") as writing:
            same = _copy(reading, writing, progress)
    if same != sha256:
        raise Unfit(f"its sha256 is {same} instead of {sha256}")


def _plain(path: Path) -> FileIO:
    """A regular file to read from; links are not followed: a folder that was carried about stands for itself."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(path) from None
    except OSError as error:
        link = error.errno == errno.ELOOP
        raise Unfit("it is a link, and only plain files count" if link else f"{error.strerror}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise Unfit("it is no plain file")
    return FileIO(descriptor, "rb")


def _copy(reading: FileIO, writing: BufferedRandom, progress: Progress) -> str:
    """Copy all bytes, shared with the source where the file system can; the sha256 of the copy."""
    try:
        fcntl.ioctl(writing.fileno(), FICLONE, reading.fileno())
    except OSError:
        hasher = hashlib.sha256()
        for piece in _pieces(reading):
            writing.write(piece)
            hasher.update(piece)
            progress(len(piece))
        return hasher.hexdigest()
    progress(os.fstat(writing.fileno()).st_size)
    return hashlib.file_digest(writing, "sha256").hexdigest()


def _pieces(reading: FileIO) -> Iterator[bytes]:
    """What is read; a medium that fails is the file's fault, not that of where it is copied to."""
    while True:
        try:
            piece = reading.read(PIECE)
        except OSError as error:
            raise Unfit(f"it cannot be read: {error.strerror}") from error
        if not piece:
            return
        yield piece
