"""The bytes of a model's files: their hashes, as a revision lists them, and reading all of them again."""

from __future__ import annotations

import functools
import hashlib
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from build import sidebyside
from build.modelfolder import Item, Progress, State, has

PIECE = 1 << 22  # read at once


def hasher(item: Item) -> Any:
    """An object of hashlib that is ready for the file's bytes; git's ids are sha1 over a header and the bytes."""
    if item.digest.startswith("blob:"):
        return hashlib.sha1(b"blob %d\0" % item.size, usedforsecurity=False)
    return hashlib.sha256()


def said(item: Item, made: Any) -> str:
    """The digest of what went into a :func:`hasher`, as :attr:`Item.digest` has it."""
    return f"{item.digest.partition(':')[0]}:{made.hexdigest()}"


def read_into(path: Path, made: Any, progress: Progress) -> None:
    """Put a file's bytes into a hash, and take them out of the page cache: a GPU may share this memory."""
    with open(path, "rb") as stream:
        while piece := stream.read(PIECE):
            made.update(piece)
            progress(len(piece))
        os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def heeding(progress: Progress, heed: Callable[[], None]) -> Progress:
    """Progress that also ends the work where it is to end (see :func:`build.sidebyside.heed`)."""

    def told(count: int) -> None:
        heed()
        progress(count)

    return told


def is_right(folder: Path, item: Item, progress: Progress) -> bool:
    """Read a file again: whether it is there, and its bytes are the revision's."""
    if not has(folder, item):
        return False
    made = hasher(item)
    read_into(folder / item.path, made, progress)
    return said(item, made) == item.digest


def verify(folder: Path, state: State, progress: Progress) -> tuple[Item, ...]:
    """Read everything again, in parallel, largest first; what is damaged or not there."""
    stop = threading.Event()

    def check(item: Item) -> bool:
        return is_right(folder, item, heeding(progress, functools.partial(sidebyside.heed, stop)))

    order = sorted(state.files, key=lambda item: -item.size)
    right = sidebyside.each(check, order, workers=os.cpu_count() or 1, stop=stop)
    return tuple(
        sorted((item for item, good in zip(order, right, strict=True) if not good), key=lambda item: item.path)
    )
