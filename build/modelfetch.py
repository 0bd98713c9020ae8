"""Bring a revision's files into their folder: what is there already counts, if its bytes are right.

A file comes in under ``.spark-runtime/partial/``, is compared, and is moved to its place in one step; then the folder's
state says so. Whatever ends a run, the next one goes on: within a file, at the byte where it stopped.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from build import modelbytes, modelfolder, modelhub, sidebyside
from build.console import warn
from build.modelfolder import Item, Progress, State
from build.modelhub import Hub

WORKERS = 8  # files at once; the library's own default


def left(folder: Path, items: Sequence[Item]) -> int:
    """Bytes that are still to come, or at most: a file that is there with its size may have other bytes."""
    return sum(max(0, item.size - _begun(folder, item)) for item in items if not modelfolder.has(folder, item))


def bring(folder: Path, hub: Hub, state: State, items: Sequence[Item], progress: Progress) -> tuple[State, int]:
    """Complete those files of the folder; its state then, and the number of bytes that came in.

    ``progress`` is told every byte of them, those that were there too. Raises what :func:`build.modelhub.receive`
    raises; what was finished by then is kept, and known.
    """
    ledger = _Ledger(folder, state)

    stop = threading.Event()
    heed = functools.partial(sidebyside.heed, stop)

    def work(item: Item) -> int:
        if modelfolder.compared(folder, ledger.state, item):
            progress(item.size)
            return 0
        if modelfolder.has(folder, item):
            counted = _Counted(modelbytes.heeding(progress, heed))
            if modelbytes.is_right(folder, item, counted):
                ledger.note(item)
                return 0
            progress(-counted.total)
            warn(f"{item.path} was there with other bytes than the revision's; it is fetched anew")
        part = modelfolder.partial(folder, item)
        part.parent.mkdir(parents=True, exist_ok=True)
        came = modelhub.receive(hub, state.model, item, part, progress, heed)
        (folder / item.path).parent.mkdir(parents=True, exist_ok=True)
        os.replace(part, folder / item.path)
        ledger.note(item)
        return came

    largest_first = sorted(items, key=lambda item: -item.size)
    came = sidebyside.each(work, largest_first, workers=WORKERS, stop=stop)
    return ledger.state, sum(came)


def _begun(folder: Path, item: Item) -> int:
    """Bytes that a cut download of the file left."""
    try:
        return min(item.size, modelfolder.partial(folder, item).stat().st_size)
    except FileNotFoundError:
        return 0


class _Counted:
    """Progress that remembers what it told."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.total = 0

    def __call__(self, count: int) -> None:
        self.total += count
        self.progress(count)


class _Ledger:
    """The folder's state while threads add to it."""

    def __init__(self, folder: Path, state: State) -> None:
        self.folder = folder
        self.state = state
        self.lock = threading.Lock()

    def note(self, item: Item) -> None:
        """The file is in its place, and its bytes were compared."""
        time = os.lstat(self.folder / item.path).st_mtime_ns
        with self.lock:
            self.state = replace(self.state, verified={**self.state.verified, item.path: time})
            modelfolder.write(self.folder, self.state)
