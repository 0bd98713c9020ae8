"""How much of a layer is RECORD: the list of a distribution's files with their hashes, in its dist-info.

What a patch of one line changes is small, and the list of all files changes with it: this says what that costs.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path

LEVEL = 3  # as the layers themselves are compressed


def record_bytes(layer: Path) -> int:
    """Compressed bytes of the RECORD files in a layer (a tar with zstd).

    Each is compressed again alone, with zstd of the same level: inside the layer nobody can tell its bytes from its
    neighbours'. Raises ``OSError``, ``tarfile.TarError`` or zstandard's error for what is no such layer.
    """
    import zstandard  # noqa: PLC0415 - only a measurement asks

    return sum(len(zstandard.ZstdCompressor(level=LEVEL).compress(data)) for data in _records(layer))


def _records(layer: Path) -> Iterator[bytes]:
    import zstandard  # noqa: PLC0415

    with (
        open(layer, "rb") as packed,
        zstandard.ZstdDecompressor().stream_reader(packed, read_across_frames=True) as plain,
        tarfile.open(fileobj=plain, mode="r|") as archive,
    ):
        for entry in archive:
            if entry.isfile() and entry.name.endswith(".dist-info/RECORD"):
                content = archive.extractfile(entry)
                assert content is not None
                yield content.read()
