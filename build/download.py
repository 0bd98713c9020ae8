"""Fetch locked files: in parallel, resumable, verified by size and sha256 before they enter the store.

Exported folders are looked into first: they are no network. A file is then tried from each of its places in order.
What can heal (a cut, a 5xx, a time-out) is retried and resumed by an HTTP range request; what cannot (404, wrong
bytes) goes to the next place at once. A cut download stays in ``partial/`` and the next run resumes it.
"""

from __future__ import annotations

import concurrent.futures
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from build import exported, receive
from build import store as stores
from build.errors import GoneError, HashMismatchError, NetworkError, OfflineError

if TYPE_CHECKING:
    import requests

Progress = Callable[[int], None]  # told the bytes that came in, from several threads

WORKERS = 8
NAMED = 5  # files in a message; the rest are counted


@dataclass(frozen=True, kw_only=True)
class Download:
    """A locked file and where it may come from, best first.

    ``gone``: what a person can do when every place says that it does not have the file (any more).
    """

    file: str
    sha256: str
    size: int
    urls: tuple[str, ...]
    gone: str = ""


def missing(store: Path, downloads: Sequence[Download]) -> tuple[Download, ...]:
    """Those that the store does not hold, each once, largest first (so that the last worker ends early)."""
    wanted = {item.sha256: item for item in downloads if not stores.has(store, item.sha256, item.size)}
    return tuple(sorted(wanted.values(), key=lambda item: (-item.size, item.file)))


def take_in(
    store: Path, downloads: Sequence[Download], folders: Sequence[Path], *, progress: Progress | None = None
) -> int:
    """Copy what exported folders have of these files into the store; the number of bytes.

    What a folder has under a file's name and is not it, is warned about and left out.
    """
    return _take_in(store, missing(store, downloads), folders, progress)[0]


def fetch(
    store: Path,
    downloads: Sequence[Download],
    *,
    folders: Sequence[Path] = (),
    offline: bool = False,
    progress: Progress | None = None,
) -> int:
    """Bring every file into the store; the number of bytes that came in.

    ``folders``: exported ones, looked into first, ``offline`` too. Raises :class:`OfflineError` (something is
    missing and the network is not to be used), :class:`GoneError` (every place of a file says that it is gone; all
    others were fetched), :class:`NetworkError` (no place gave a file), :class:`HashMismatchError` (every place gave
    other bytes), and ``SpaceError`` before anything is fetched.
    """
    wanted = missing(store, downloads)
    if not wanted:
        return 0
    stores.require_space(store, sum(_left(store, item) for item in wanted), f"{len(wanted)} files to fetch")
    _, refused = _take_in(store, wanted, folders, progress)
    lacking = missing(store, wanted)
    if lacking and offline:
        raise _offline(lacking, folders, refused)
    if gone := _fetch_all(store, lacking, progress):
        raise _gone(gone)
    return sum(item.size for item in wanted)


def _take_in(
    store: Path, wanted: Sequence[Download], folders: Sequence[Path], progress: Progress | None
) -> tuple[int, tuple[Download, ...]]:
    """The bytes that came in, and the files of which the folders have other bytes."""
    if not wanted or not folders:
        return 0, ()

    def take(item: Download) -> bool | None:
        return exported.take(store, folders, item.sha256, item.size, item.file, progress or (lambda _: None))

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        jobs = [(item, pool.submit(take, item)) for item in wanted]
        try:
            ends = [(item, job.result()) for item, job in jobs]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return sum(item.size for item, end in ends if end), tuple(item for item, end in ends if end is None)


def _fetch_all(store: Path, wanted: Sequence[Download], progress: Progress | None) -> list[Download]:
    """Fetch from the network; the files that are gone from every place."""
    if not wanted:
        return []
    (store / "partial").mkdir(parents=True, exist_ok=True)
    stop = threading.Event()
    with receive.session(WORKERS) as session, concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
        jobs = {pool.submit(_fetch_one, session, store, item, progress, stop): item for item in wanted}
        try:
            return [jobs[job] for job in concurrent.futures.as_completed(jobs) if not job.result()]
        except BaseException:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _offline(
    lacking: Sequence[Download], folders: Sequence[Path], refused: Sequence[Download]
) -> OfflineError | HashMismatchError:
    looked = f"; looked into {', '.join(map(str, folders))}" if folders else ""
    if refused:
        return HashMismatchError(
            f"{len(refused)} files of the exported folder are not the locked ones, and --offline was asked for",
            why=f"refused: {_names(refused)}{looked}",
            todo="export again (it is resumed: delete those files first), or run without --offline",
        )
    return OfflineError(
        f"{len(lacking)} locked files are not in the store and --offline was asked for",
        why=f"missing: {_names(lacking)}{looked}",
        todo="run `nox -s fetch` where there is a network, then again",
    )


def _gone(gone: Sequence[Download]) -> GoneError:
    advice = dict.fromkeys(item.gone for item in gone if item.gone)
    return GoneError(
        f"{len(gone)} locked files are gone from every place",
        why=_names(gone, limit=len(gone)),
        todo="; ".join(advice) or "name another place that has them, or `nox -s lock` to take newer ones",
    )


def _names(items: Sequence[Download], *, limit: int = NAMED) -> str:
    names = sorted(item.file for item in items)
    return ", ".join(names[:limit]) + (" …" if len(names) > limit else "")


def _left(store: Path, item: Download) -> int:
    """Bytes of a file that a resumed download still brings."""
    part = store / "partial" / item.sha256
    return max(0, item.size - (part.stat().st_size if part.exists() else 0))


def _fetch_one(
    session: requests.Session, store: Path, item: Download, progress: Progress | None, stop: threading.Event
) -> bool:
    """Bring one file in; False where every place of it says that it is gone."""
    part = store / "partial" / item.sha256
    refused: list[receive.Refused] = []
    with stores.locked(store, f"fetch-{item.sha256[:16]}", transient=True, stop=stop):
        if stores.has(store, item.sha256, item.size):
            return True
        for url in item.urls:
            try:
                receive.receive(session, url, part, item.sha256, item.size, progress or (lambda _: None), stop)
            except receive.Refused as error:
                refused.append(error)
            else:
                stores.admit(store, part, item.sha256)
                return True
    if refused and all(isinstance(error, receive.Gone) for error in refused):
        return False
    wrong = any(isinstance(error, receive.Wrong) for error in refused)
    kind = HashMismatchError if wrong else NetworkError
    raise kind(
        f"{item.file} could not be had" if not wrong else f"{item.file} has other bytes than were locked",
        why="; ".join(map(str, refused)) or "no place is known for it",
        todo="the bad bytes were removed; check the mirror, or `nox -s lock` if the file was replaced"
        if wrong
        else "check the network and run the same command again: it resumes where it stopped",
    )
