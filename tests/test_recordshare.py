"""How much of a layer is RECORD, from the layer as an engine keeps it."""

import io
import tarfile

import pytest
import zstandard

from build import recordshare

RECORD = "".join(f"pkg/{number}.py,sha256={number:043d},{number}\n" for number in range(500)).encode()


def layer(tmp_path, files):
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    path = tmp_path / "layer"
    half = len(plain.getvalue()) // 2  # an engine may write several frames
    parts = (plain.getvalue()[:half], plain.getvalue()[half:])
    path.write_bytes(b"".join(zstandard.ZstdCompressor(level=3).compress(part) for part in parts))
    return path


def test_only_record_files_of_dist_infos_count_each_alone(tmp_path):
    alone = len(zstandard.ZstdCompressor(level=3).compress(RECORD))
    path = layer(
        tmp_path,
        {
            "opt/venv/a.dist-info/RECORD": RECORD,
            "opt/venv/a.dist-info/METADATA": b"Name: a\n" * 99,
            "opt/venv/RECORD": RECORD,
            "opt/venv/b.dist-info/RECORD": RECORD,
        },
    )
    assert recordshare.record_bytes(path) == 2 * alone
    assert 0 < alone < len(RECORD)


def test_a_layer_without_one_has_none(tmp_path):
    assert recordshare.record_bytes(layer(tmp_path, {"opt/spark/manifest.json": b"{}"})) == 0


def test_what_is_no_layer_is_an_error(tmp_path):
    (tmp_path / "layer").write_bytes(b"{}")
    with pytest.raises(zstandard.ZstdError):
        recordshare.record_bytes(tmp_path / "layer")
