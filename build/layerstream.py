"""A layer's bytes, once through: decompressed, digested, and as a file that tarfile can read headers from.

Compression: Zstandard (RFC 8878), gzip (RFC 1952) or none, as BuildKit and registries have it.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import zlib
from collections.abc import Iterator
from typing import IO, Any, cast

from build.canonical import CHUNK
from build.errors import HashMismatchError

ZSTD, GZIP = b"\x28\xb5\x2f\xfd", b"\x1f\x8b"
HEADER_LIMIT = 16 << 20  # bytes that one header may claim; a pax header is some hundred


class LayerStream:
    """A layer's uncompressed bytes, forward only: a file as tarfile needs one, which digests all that passes."""

    def __init__(self, raw: IO[bytes], what: str) -> None:
        self.what = what
        self.raw = _Digesting(raw)
        self.plain = hashlib.sha256()
        self.head = hashlib.sha256()
        self.last = b""
        self.position = 0
        self.stream = _decompressed(self.raw)

    def tell(self) -> int:
        return self.position

    def seek(self, position: int) -> None:
        if position < self.position:
            raise self.bad("a header points back")
        while self.position < position and self.read(min(CHUNK, position - self.position)):
            pass

    def read(self, count: int) -> bytes:
        """For tarfile: a part of a header, or of what lies between contents."""
        if not 0 <= count <= HEADER_LIMIT:
            raise self.bad(f"a header claims {count} bytes")
        self.last = self._take(count)
        self.head.update(self.last)
        return self.last

    def content(self, left: int) -> Iterator[bytes]:
        """The next ``left`` bytes, in pieces: an entry's content."""
        while left > 0:
            piece = self._take(min(CHUNK, left))
            if not piece:
                raise self.bad(f"it ends at byte {self.position}, in the middle of a file")
            left -= len(piece)
            yield piece

    def finish(self, digest: str, diff_id: str) -> bytes:
        """Read what is left and compare the digests; the digest of all after the last entry."""
        while piece := self._take(CHUNK):
            self.head.update(piece)
        while self.raw.read(CHUNK):
            pass
        for name, expected, found in (
            ("compressed bytes", digest, self.raw.digest), ("content", diff_id, self.plain)
        ):  # fmt: skip
            if expected != f"sha256:{found.hexdigest()}":
                raise self.bad(f"the digest of its {name} should be {expected} and is sha256:{found.hexdigest()}")
        return self.head.digest()

    def _take(self, count: int) -> bytes:
        try:
            piece = self.stream.read(count)
        except _unreadable() as error:
            raise self.bad(f"it cannot be decompressed: {error}") from error
        self.plain.update(piece)
        self.position += len(piece)
        return piece

    def bad(self, why: str) -> HashMismatchError:
        return HashMismatchError(f"{self.what} is damaged", why=why, todo="export, pull or build the image again")


class _Digesting(io.RawIOBase):
    """Digests what is read through it."""

    def __init__(self, inner: IO[bytes]) -> None:
        self.inner = inner
        self.digest = hashlib.sha256()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self.inner.read(len(buffer))
        self.digest.update(data)
        buffer[: len(data)] = data
        return len(data)


def _decompressed(raw: _Digesting) -> IO[bytes]:
    """Zstandard (RFC 8878, of several frames too), gzip, or as it is: by its first bytes, whatever a manifest says."""
    buffered = io.BufferedReader(raw, CHUNK)
    start = buffered.peek(4)[:4]
    if start == ZSTD:
        import zstandard  # noqa: PLC0415 - costs every other command 20 ms

        opened = zstandard.ZstdDecompressor().stream_reader(buffered, read_across_frames=True)
        return cast("IO[bytes]", io.BufferedReader(cast("Any", opened), CHUNK))
    return cast("IO[bytes]", gzip.GzipFile(fileobj=buffered) if start[:2] == GZIP else buffered)


def _unreadable() -> tuple[type[Exception], ...]:
    import zstandard  # noqa: PLC0415

    return (zstandard.ZstdError, gzip.BadGzipFile, zlib.error, EOFError)
