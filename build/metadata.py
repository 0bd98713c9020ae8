"""What wheels say of themselves (METADATA, core metadata specification), without fetching gigabytes.

From the store where it holds the wheel; else the index's copy of METADATA alone (PEP 658) where it has one; else the
end of the wheel on the index, by HTTP ranges. What did not come out of the store was not verified: it may fill a lock,
which is compared with the wheels once they are there, and decides nothing in an image.
"""

from __future__ import annotations

import concurrent.futures
import io
import os
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from email.parser import HeaderParser
from pathlib import Path
from typing import IO, TYPE_CHECKING

from build import receive
from build import store as stores
from build.models import Wheel

if TYPE_CHECKING:
    import requests

WORKERS = 8
HEADERS = ("Requires-Dist", "Provides-Extra", "Requires-Python")
TAIL = 1 << 16  # bytes of a wheel's end that are asked for first: most wheels' directory and dist-info
PIECE = 1 << 15  # bytes that are asked for at least, once the end was not enough


@dataclass(frozen=True, kw_only=True)
class Metadata:
    """Of a wheel's METADATA: the values of ``Requires-Dist`` and ``Provides-Extra``, and of ``Requires-Python``."""

    requires: tuple[str, ...]
    extras: tuple[str, ...]
    requires_python: str


def parse(text: str) -> Metadata:
    r"""The headers of a METADATA that matter here.

    >>> parse("Name: a\nRequires-Dist: b>1\nRequires-Dist: c\nProvides-Extra: d\n\nRequires-Dist: prose\n")
    Metadata(requires=('b>1', 'c'), extras=('d',), requires_python='')
    """
    headers = HeaderParser().parsestr(text)
    values = {name: tuple(" ".join(value.split()) for value in headers.get_all(name, ())) for name in HEADERS}
    return Metadata(
        requires=values["Requires-Dist"],
        extras=values["Provides-Extra"],
        requires_python=next(iter(values["Requires-Python"]), ""),
    )


def of_wheel(stream: Path | IO[bytes]) -> Metadata:
    """The METADATA of a wheel. Raises ``BadZipFile``, or ``KeyError`` where it has none."""
    with zipfile.ZipFile(stream) as archive:
        found = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA") and name.count("/") == 1]
        if not found:
            raise KeyError("METADATA")
        return parse(archive.read(found[0]).decode("utf-8", "replace"))


def read_all(store: Path, wheels: Iterable[Wheel], urls: Mapping[str, str]) -> dict[str, Metadata]:
    """Distribution → what its wheel says, eight at a time.

    ``urls``: sha256 → where a wheel that the store lacks is to be had. A wheel that could not be read in part (its
    server gives no ranges, or fails) is left out: fetch it whole, then ask again.
    """
    wanted = list(wheels)
    with receive.session(WORKERS) as session, concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
        index = _Index(session)
        found = pool.map(lambda wheel: read(store, wheel, urls.get(wheel.sha256), index), wanted)
        return {wheel.name: data for wheel, data in zip(wanted, found, strict=True) if data is not None}


def read(store: Path, wheel: Wheel, url: str | None, index: _Index) -> Metadata | None:
    """What one wheel says; None where it is not in the store and cannot be read in part."""
    if stores.has(store, wheel.sha256, wheel.size):
        return of_wheel(stores.blob(store, wheel.sha256))
    if url is None:
        return None
    text = index.metadata(url)
    if text is not None:
        return parse(text)
    try:
        return of_wheel(io.BufferedReader(_Remote(index.session, url, wheel.size), PIECE))
    except (OSError, KeyError, zipfile.BadZipFile):  # requests' errors are OSErrors
        return None


class _Index:
    """Servers of files, and whether they have METADATA files beside their wheels: asked once, then known."""

    def __init__(self, session: requests.Session) -> None:
        self.session = session
        self.without: set[str] = set()

    def metadata(self, url: str) -> str | None:
        """The METADATA file of a wheel (its address with ``.metadata``), None where there is none."""
        plain = url.partition("#")[0]
        place = plain.split("/", 3)[2]
        if place in self.without:
            return None
        try:
            answer = self.session.get(f"{plain}.metadata", timeout=receive.TIMEOUT_SECONDS)
        except OSError:
            return None
        if answer.status_code == 200 and answer.content.startswith(b"Metadata-Version:"):
            return answer.content.decode("utf-8", "replace")
        self.without.add(place)
        return None


class _Remote(io.RawIOBase):
    """A file on a server, read in ranges; what was read last is kept. ``OSError`` where the server gives none."""

    def __init__(self, session: requests.Session, url: str, size: int) -> None:
        self.session = session
        self.url = url
        self.size = size
        self.place = 0
        self.start = size
        self.kept = b""
        self._fetch(max(0, size - TAIL), size)

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self.place, os.SEEK_END: self.size}[whence]
        self.place = max(0, base + offset)
        return self.place

    def tell(self) -> int:
        return self.place

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        end = min(self.place + len(buffer), self.size)
        if not self.start <= self.place < end <= self.start + len(self.kept):
            if self.place >= end:
                return 0
            self._fetch(self.place, min(max(end, self.place + PIECE), self.size))
        data = self.kept[self.place - self.start : end - self.start]
        buffer[: len(data)] = data
        self.place += len(data)
        return len(data)

    def _fetch(self, start: int, end: int) -> None:
        """Keep the bytes from ``start`` to before ``end``, which the server must give as asked (RFC 9110, 14)."""
        headers = {"Range": f"bytes={start}-{end - 1}"}
        with self.session.get(self.url, headers=headers, stream=True, timeout=receive.TIMEOUT_SECONDS) as answer:
            given = answer.headers.get("Content-Range", "")
            if answer.status_code != 206 or given != f"bytes {start}-{end - 1}/{self.size}":
                raise OSError(f"asked for bytes {start}-{end - 1}, got HTTP {answer.status_code} {given}")
            data = answer.content
        if len(data) != end - start:
            raise OSError("cut")
        self.start, self.kept = start, data
