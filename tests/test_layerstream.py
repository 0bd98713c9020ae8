"""A layer's bytes as they pass: what is read, what is digested, where it ends."""

import io

import pytest

from build.errors import HashMismatchError
from build.layerstream import LayerStream
from tests.imagekit import gz, sha, zstd

DATA = bytes(range(256)) * 20_000


def skippable(data):
    """A frame that decompressors pass over (RFC 8878, 3.1.2), as chunked layers end with."""
    return zstd(data) + b"\x50\x2a\x4d\x18\x03\x00\x00\x00abc"


@pytest.mark.parametrize("packed", [bytes, gz, zstd, skippable])
def test_heads_and_contents_pass_and_the_digests_are_of_all(packed):
    raw = packed(DATA)
    stream = LayerStream(io.BytesIO(raw), "it")
    assert stream.read(512) == DATA[:512]
    assert b"".join(stream.content(3_000_000)) == DATA[512:3_000_512]
    stream.seek(3_001_000)
    assert stream.tell() == 3_001_000
    assert stream.finish(sha(raw), sha(DATA))


def test_what_is_no_content_counts_into_the_head():
    def tail(data):
        stream = LayerStream(io.BytesIO(data), "it")
        list(stream.content(100))
        stream.seek(200)
        return stream.finish(sha(data), sha(data))

    other = bytearray(DATA)
    other[50] ^= 1
    assert tail(bytes(other)) == tail(DATA)
    other[150] ^= 1
    assert tail(bytes(other)) != tail(DATA)


def test_it_never_goes_back():
    stream = LayerStream(io.BytesIO(DATA), "it")
    stream.read(1024)
    with pytest.raises(HashMismatchError, match="points back"):
        stream.seek(512)


def test_a_content_that_ends_too_soon_is_an_error():
    stream = LayerStream(io.BytesIO(DATA), "it")
    with pytest.raises(HashMismatchError, match=f"ends at byte {len(DATA)}"):
        list(stream.content(len(DATA) + 1))
