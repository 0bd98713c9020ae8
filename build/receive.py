"""One file from one place by HTTP: resumed where an earlier try was cut, hashed while it comes in.

What can heal (a cut, a 5xx, a time-out) is tried again; what cannot (404, wrong bytes) is said at once.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from build.console import human_bytes

if TYPE_CHECKING:
    import requests

TRIES = 5
BACKOFF_SECONDS = 0.5
TIMEOUT_SECONDS = (15, 60)
PIECE = 1 << 18  # bytes; a cut loses at most one
GONE = (404, 410)


class Refused(Exception):  # noqa: N818 - a signal between two modules, never shown as it is
    """This place does not give the file: try the next."""


class Gone(Refused):
    """This place says that it does not have the file."""


class Wrong(Refused):
    """This place has other bytes under the file's name."""


def session(connections: int) -> requests.Session:
    """A session for so many threads, which trusts what the user's other tools trust."""
    import requests.adapters  # noqa: PLC0415 - 100 ms that a no-op build does not spend

    made = requests.Session()
    adapter = requests.adapters.HTTPAdapter(pool_maxsize=connections)
    made.mount("https://", adapter)
    made.mount("http://", adapter)
    made.headers["Accept-Encoding"] = "identity"
    if not any(name in os.environ for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")):
        # What uv and Python's own TLS go by; requests does not look at it.
        made.verify = os.environ.get("SSL_CERT_FILE") or True
    return made


def receive(
    session: requests.Session,
    url: str,
    part: Path,
    sha256: str,
    size: int,
    progress: Callable[[int], None],
    stop: threading.Event,
) -> None:
    """Complete ``part``, until it has the locked bytes; what an earlier run left in it is gone on from.

    Raises :class:`Refused`; ``part`` then keeps what may still be right. Ends early once ``stop`` is set.
    """
    resumed = part.exists()
    attempt = 0
    while True:
        if stop.is_set():
            raise Refused("stopped")
        try:
            found = _receive(session, url, part, size, progress, stop)
            _compare(part, found, sha256, size, url)
        except _healing_errors() as error:
            if attempt == TRIES - 1:
                raise Refused(f"{_place(url)}: {_short(error)} ({TRIES} tries)") from error
            time.sleep(BACKOFF_SECONDS * 2**attempt)
            attempt += 1
        except Wrong:
            if not resumed:
                raise
            resumed = False  # the bytes of an earlier run may be to blame, not this place: once more from zero
        else:
            return


def _receive(
    session: requests.Session,
    url: str,
    part: Path,
    size: int,
    progress: Callable[[int], None],
    stop: threading.Event,
) -> str:
    """Receive what ``part`` lacks; the sha256 of the whole."""
    import requests  # noqa: PLC0415

    have, hasher = _begun(part, size)
    if have == size:
        return str(hasher.hexdigest())
    headers = {"Range": f"bytes={have}-"} if have else {}
    with session.get(url, headers=headers, stream=True, timeout=TIMEOUT_SECONDS) as answer:
        _require(answer, url)
        if answer.status_code == 200:
            have, hasher = 0, hashlib.sha256()
        elif have:
            progress(have)
        came = 0
        with open(part, "ab" if have else "wb") as stream:
            # Not decoded: a .tar.gz that a server calls gzip-encoded is wanted as it is.
            for piece in answer.raw.stream(PIECE, decode_content=False):
                if stop.is_set():
                    raise Refused("stopped")
                stream.write(piece)
                hasher.update(piece)
                came += len(piece)
                progress(len(piece))
                if have + came > size:
                    break  # whatever comes more, it is not the file
        promised = int(answer.headers.get("Content-Length", -1))
    if have + came < size and came == promised:
        part.unlink()
        raise Wrong(f"{_place(url)}: {human_bytes(have + came)} instead of {human_bytes(size)}")
    if have + came < size:
        raise requests.ConnectionError("the connection was cut")
    return str(hasher.hexdigest())


def _require(answer: requests.Response, url: str) -> None:
    """An error for every answer but the file, or the part of it that was asked for."""
    import requests  # noqa: PLC0415

    status = answer.status_code
    if status in (408, 429) or status >= 500:
        raise requests.ConnectionError(f"HTTP {status}")
    if status not in (200, 206):
        raise (Gone if status in GONE else Refused)(f"{_place(url)}: HTTP {status}")


def _begun(part: Path, size: int) -> tuple[int, Any]:
    """The bytes that a cut download left, and their hash so far; none of one that is longer than the file."""
    if not part.exists():
        return 0, hashlib.sha256()
    if part.stat().st_size > size:
        part.unlink()
        return 0, hashlib.sha256()
    with open(part, "rb") as stream:
        return os.fstat(stream.fileno()).st_size, hashlib.file_digest(stream, "sha256")


def _compare(part: Path, found: str, sha256: str, size: int, url: str) -> None:
    have = part.stat().st_size
    if found != sha256 or have != size:
        part.unlink()
        raise Wrong(f"{_place(url)}: sha256 {found} ({human_bytes(have)}) instead of {sha256} ({human_bytes(size)})")


def _healing_errors() -> tuple[type[Exception], ...]:
    import requests  # noqa: PLC0415
    import urllib3.exceptions  # noqa: PLC0415

    return (requests.ConnectionError, requests.Timeout, urllib3.exceptions.HTTPError)


def _place(url: str) -> str:
    """A place without credentials or query, for messages.

    >>> _place("https://user:secret@mirror.example/a/b.whl?token=1")
    'mirror.example'
    """
    return url.split("://", 1)[-1].split("/", 1)[0].rsplit("@", 1)[-1]


def _short(error: Exception) -> str:
    return str(error).split("\n", 1)[0][:160]
