"""Fetch locked files: in parallel, resumable, verified by size and sha256 before they enter the store.

A file is tried from each of its places in order. What can heal (a cut, a 5xx, a time-out) is retried and resumed
by an HTTP range request; what cannot (404, wrong bytes) goes to the next place at once. A cut download stays in
``partial/`` and the next run resumes it.
"""

from __future__ import annotations

import concurrent.futures
import hashlib
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from build import store as stores
from build.console import human_bytes
from build.errors import HashMismatchError, NetworkError, OfflineError

if TYPE_CHECKING:
    import requests

WORKERS = 8
TRIES = 5
BACKOFF_SECONDS = 0.5
TIMEOUT_SECONDS = (15, 60)
PIECE = 1 << 16  # bytes; a cut loses at most one


@dataclass(frozen=True, kw_only=True)
class Download:
    """A locked file and where it may come from, best first."""

    file: str
    sha256: str
    size: int
    urls: tuple[str, ...]


Progress = Callable[[int], None]  # told the bytes that came in, from several threads


class _Gone(Exception):  # noqa: N818 - a signal between two functions, never shown
    """This place does not have the file: try the next."""


class _Wrong(_Gone):
    """This place has other bytes under the file's name."""


def missing(store: Path, downloads: Sequence[Download]) -> tuple[Download, ...]:
    """Those that the store does not hold, each once, largest first (so that the last worker ends early)."""
    wanted = {item.sha256: item for item in downloads if not stores.has(store, item.sha256, item.size)}
    return tuple(sorted(wanted.values(), key=lambda item: (-item.size, item.file)))


def fetch(
    store: Path, downloads: Sequence[Download], *, offline: bool = False, progress: Progress | None = None
) -> int:
    """Bring every file into the store; the number of bytes that were fetched.

    Raises :class:`OfflineError` (something is missing and the network is not to be used),
    :class:`NetworkError` (no place gave the file), :class:`HashMismatchError` (every place gave other bytes),
    and ``SpaceError`` before anything is fetched.
    """
    wanted = missing(store, downloads)
    if not wanted:
        return 0
    if offline:
        names = ", ".join(item.file for item in wanted[:5]) + (" …" if len(wanted) > 5 else "")
        raise OfflineError(
            f"{len(wanted)} locked files are not in the store and --offline was asked for",
            why=f"missing: {names}",
            todo="run `nox -s fetch` where there is a network, then again",
        )
    (store / "partial").mkdir(parents=True, exist_ok=True)
    stores.require_space(store, sum(_left(store, item) for item in wanted), f"{len(wanted)} files to fetch")
    stop = threading.Event()
    with _session() as session, concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
        jobs = [pool.submit(_fetch_one, session, store, item, progress, stop) for item in wanted]
        try:
            for job in concurrent.futures.as_completed(jobs):
                job.result()
        except BaseException:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return sum(item.size for item in wanted)


def _left(store: Path, item: Download) -> int:
    """Bytes of a file that a resumed download still brings."""
    part = store / "partial" / item.sha256
    return max(0, item.size - (part.stat().st_size if part.exists() else 0))


def _session() -> requests.Session:
    import requests.adapters  # noqa: PLC0415 - 100 ms that a no-op build does not spend

    session = requests.Session()
    adapter = requests.adapters.HTTPAdapter(pool_maxsize=WORKERS)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    session.headers["Accept-Encoding"] = "identity"
    if not any(name in os.environ for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")):
        # What uv and Python's own TLS go by; requests does not look at it.
        session.verify = os.environ.get("SSL_CERT_FILE") or True
    return session


def _fetch_one(
    session: requests.Session, store: Path, item: Download, progress: Progress | None, stop: threading.Event
) -> None:
    reasons: list[str] = []
    wrong = False
    with stores.locked(store, f"fetch-{item.sha256[:16]}", transient=True, stop=stop):
        if stores.has(store, item.sha256, item.size):
            return
        for url in item.urls:
            try:
                _from_place(session, store, item, url, progress, stop)
            except _Gone as gone:
                wrong = wrong or isinstance(gone, _Wrong)
                reasons.append(str(gone))
            else:
                return
    kind = HashMismatchError if wrong else NetworkError
    raise kind(
        f"{item.file} could not be had" if not wrong else f"{item.file} has other bytes than were locked",
        why="; ".join(reasons) or "no place is known for it",
        todo="the bad bytes were removed; check the mirror, or `nox -s lock` if the file was replaced"
        if wrong
        else "check the network and run the same command again: it resumes where it stopped",
    )


def _from_place(
    session: requests.Session,
    store: Path,
    item: Download,
    url: str,
    progress: Progress | None,
    stop: threading.Event,
) -> None:
    part = store / "partial" / item.sha256
    resumed = part.exists()
    for attempt in range(TRIES):
        if stop.is_set():
            raise _Gone("stopped")
        try:
            _receive(session, item, url, part, progress, stop)
            _admit(store, item, url, part)
        except _healing_errors() as error:
            if attempt == TRIES - 1:
                raise _Gone(f"{_place(url)}: {_short(error)} ({TRIES} tries)") from error
            time.sleep(BACKOFF_SECONDS * 2**attempt)
        except _Wrong:
            if not resumed:
                raise
            resumed = False  # the bytes of an earlier run may be to blame, not this place: once more from zero
        else:
            return


def _receive(
    session: requests.Session,
    item: Download,
    url: str,
    part: Path,
    progress: Progress | None,
    stop: threading.Event,
) -> None:
    import requests  # noqa: PLC0415

    have = part.stat().st_size if part.exists() else 0
    if have > item.size:
        part.unlink()
        have = 0
    if have == item.size:
        return
    headers = {"Range": f"bytes={have}-"} if have else {}
    with session.get(url, headers=headers, stream=True, timeout=TIMEOUT_SECONDS) as answer:
        if answer.status_code in (408, 429) or answer.status_code >= 500:
            raise requests.ConnectionError(f"HTTP {answer.status_code}")
        if answer.status_code not in (200, 206):
            raise _Gone(f"{_place(url)}: HTTP {answer.status_code}")
        fresh = answer.status_code == 200
        if progress is not None and not fresh:
            progress(have)
        with open(part, "wb" if fresh else "ab") as stream:
            for piece in answer.iter_content(PIECE):
                if stop.is_set():
                    raise _Gone("stopped")
                stream.write(piece)
                if progress is not None:
                    progress(len(piece))
        promised = int(answer.headers.get("Content-Length", -1))
    size = part.stat().st_size
    if size < item.size and promised >= 0 and size == (0 if fresh else have) + promised:
        part.unlink()
        raise _Wrong(f"{_place(url)}: {human_bytes(size)} instead of {human_bytes(item.size)}")
    if size < item.size:
        raise requests.ConnectionError("the connection was cut")


def _admit(store: Path, item: Download, url: str, part: Path) -> None:
    size = part.stat().st_size
    with open(part, "rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != item.sha256:
        part.unlink()
        raise _Wrong(
            f"{_place(url)}: sha256 {found} ({human_bytes(size)}) instead of {item.sha256} ({human_bytes(item.size)})"
        )
    target = stores.blob(store, item.sha256)
    target.parent.mkdir(parents=True, exist_ok=True)
    part.chmod(0o644)
    os.replace(part, target)


def _healing_errors() -> tuple[type[Exception], ...]:
    import requests  # noqa: PLC0415
    import urllib3.exceptions  # noqa: PLC0415

    return (
        requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError,
        requests.exceptions.ContentDecodingError, urllib3.exceptions.HTTPError,
    )  # fmt: skip


def _place(url: str) -> str:
    """A place without credentials or query, for messages.

    >>> _place("https://user:secret@mirror.example/a/b.whl?token=1")
    'mirror.example'
    """
    return url.split("://", 1)[-1].split("/", 1)[0].rsplit("@", 1)[-1]


def _short(error: Exception) -> str:
    return str(error).split("\n", 1)[0][:160]
