"""A blob's way into a registry: not at all where it is there, taken over from a neighbour, or sent, on from a cut.

Specification: OCI distribution-spec 1.1, "Pushing blobs": POST opens an upload, PATCH brings bytes, GET tells how many
arrived, PUT ends it under the digest, which the registry compares with what it got.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import IO, Any
from urllib.parse import urlencode

from build.errors import BuildError, DeniedError, HashMismatchError, NetworkError, RegistryError
from build.registry import Repository
from build.registryhttp import BACKOFF_SECONDS, HEALING, PIECE, TRIES, asked_wait
from build.registryplaces import joined

FORGOT = (404, 416)  # an upload that the registry does not know (any more), or has other bytes of than we think

Progress = Callable[[int], None]  # bytes that left, negative where they must be sent again; from several threads


@dataclass(frozen=True, kw_only=True)
class Blob:
    """What is to be pushed. ``open``: its bytes from the first on, anew each time."""

    digest: str
    size: int
    open: Callable[[], IO[bytes]]


class Cut(Exception):  # noqa: N818 - a signal within this module
    """The bytes did not all arrive; what did, the registry knows. ``wait``: seconds that it asks us to wait."""

    def __init__(self, why: str, wait: float = 0) -> None:
        super().__init__(why)
        self.wait = wait


def send(repository: Repository, blob: Blob, progress: Progress, *, beside: str = "") -> int:
    """Bring a blob into the repository; the bytes that were sent for it, 0 where it was there.

    ``beside``: another repository of the registry that may have it. Raises :class:`NetworkError` after so many cuts,
    :class:`RegistryError` where the registry got other bytes than the digest says.
    """
    if repository.has_blob(blob.digest):
        return 0
    location = _begin(repository, blob, beside)
    if not location:
        return 0
    sent = offset = 0
    wait = 0.0
    for attempt in range(TRIES):
        if attempt:
            time.sleep(max(wait, BACKOFF_SECONDS * 2**attempt))
            progress(-offset)
            offset, location = _arrived(repository, blob, location)
            progress(offset)
        body = _Body(blob, offset, progress)
        try:
            if body.len:
                location = _patch(repository, location, body)
            _end(repository, blob, location)
        except Cut as cut:
            sent, offset, why, wait = sent + body.sent, offset + body.sent, str(cut), cut.wait
        else:
            return sent + body.sent
    raise NetworkError(
        f"a layer could not be sent to {repository.reference}",
        why=f"{blob.digest}: {why} ({TRIES} tries)",
        todo="run the same command again: layers that arrived are not sent again",
    )


def _begin(repository: Repository, blob: Blob, beside: str) -> str:
    """Open an upload; its location, empty where the registry took the blob over from another repository."""
    path = f"/v2/{repository.name}/blobs/uploads/"
    if beside:
        query = urlencode({"mount": blob.digest, "from": beside})
        access = replace(repository.access, beside=beside)
        try:
            answer = repository.http.request("POST", f"{path}?{query}", access, ok=(201, 202))
        except DeniedError:  # of the neighbour; that we may write here is asked below
            return _begin(repository, blob, "")
        return "" if answer.status_code == 201 else _location(repository, answer)
    return _location(repository, repository.http.request("POST", path, repository.access, ok=(202,)))


def _patch(repository: Repository, location: str, body: _Body) -> str:
    headers = {"Content-Type": "application/octet-stream", "Content-Length": str(body.len)}
    if body.start:
        headers["Content-Range"] = f"{body.start}-{body.start + body.len - 1}"
    try:
        answer = repository.http.request(
            "PATCH", location, repository.access, ok=(201, 202, 204, *FORGOT, *HEALING), headers=headers, data=body
        )
    except NetworkError as error:
        raise Cut(error.why) from error
    finally:
        body.close()
    _require_done(answer)
    return _location(repository, answer)


def _end(repository: Repository, blob: Blob, location: str) -> None:
    glue = "&" if "?" in location else "?"
    path = f"{location}{glue}{urlencode({'digest': blob.digest})}"
    try:
        answer = repository.http.request("PUT", path, repository.access, ok=(201, 204, *FORGOT, *HEALING))
    except RegistryError as error:
        if "DIGEST_INVALID" not in error.why:
            raise
        raise RegistryError(
            f"{repository.reference} did not get the bytes that were sent",
            why=f"{blob.digest}: {error.why}",
            todo="nothing was published; is the image whole (nox -s build), and what stands between you and the "
            "registry?",
        ) from error
    if answer.status_code not in (201, 204) and repository.has_blob(blob.digest):
        return  # the answer to a first try was lost
    _require_done(answer)
    told = answer.headers.get("Docker-Content-Digest", blob.digest)
    if told != blob.digest:
        raise RegistryError(
            f"{repository.reference} keeps a blob under another digest", why=f"sent {blob.digest}, it says {told}"
        )


def _arrived(repository: Repository, blob: Blob, location: str) -> tuple[int, str]:
    """How many bytes of a cut upload the registry has, and where it goes on; a new upload where it does not tell."""
    try:
        answer = repository.http.request("GET", location, repository.access, ok=(200, 204))
        last = re.fullmatch(r"(?:bytes=)?0-([0-9]{1,15})", answer.headers.get("Range", ""))
        count = int(last[1]) + 1 if last else 0
        if 1 < count <= blob.size:  # `0-0` is what registries say of nothing
            return count, _location(repository, answer, location)
    except BuildError:  # it forgot the upload, or does not let anyone look
        pass
    return 0, _begin(repository, blob, "")


def _require_done(answer: Any) -> None:
    if answer.status_code in (*FORGOT, *HEALING):
        raise Cut(f"HTTP {answer.status_code}", asked_wait(answer.headers.get("Retry-After")))


def _location(repository: Repository, answer: Any, default: str = "") -> str:
    told = str(answer.headers.get("Location") or default)
    found = joined(answer.url, told) if told else ""
    if not found:
        raise RegistryError(f"{repository.reference} does not say where an upload goes on", why=told[:200])
    return found


class _Body:
    """A blob's bytes from an offset on, as requests sends a stream of known length."""

    def __init__(self, blob: Blob, start: int, progress: Progress) -> None:
        self.blob = blob
        self.start = start
        self.len = blob.size - start  # requests looks for this name
        self.sent = 0
        self._progress = progress
        self._stream: IO[bytes] | None = None

    def _opened(self) -> IO[bytes]:
        stream = self.blob.open()
        left = self.start
        while left and (piece := stream.read(min(PIECE, left))):  # a part of a tar cannot be sought in
            left -= len(piece)
        return stream

    def rewind(self) -> None:
        """From its start again: a request was refused before its bytes counted."""
        self._progress(-self.sent)
        self.sent = 0
        self.close()

    def read(self, count: int = -1) -> bytes:
        left = self.len - self.sent
        if self._stream is None:
            self._stream = self._opened()
        data = self._stream.read(left if count < 0 else min(count, left))
        if left and not data:
            raise HashMismatchError(
                "a blob that is to be sent is not whole",
                why=f"{self.blob.digest} ends after {self.start + self.sent} of {self.blob.size} bytes",
                todo="build the image again (nox -s build), and push it then",
            )
        self.sent += len(data)
        self._progress(len(data))
        return data

    def __iter__(self) -> _Body:
        return self

    def __next__(self) -> bytes:
        if data := self.read(PIECE):
            return data
        raise StopIteration

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None
