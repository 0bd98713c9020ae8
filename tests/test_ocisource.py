"""Files of an image out of a folder and out of a tar, piece by piece, and only those."""

import tarfile

import pytest

from build import ocisource
from build.errors import HashMismatchError
from tests.imagekit import entry, folder, link, tar


def both(tmp_path):
    (tmp_path / "x.tar").write_bytes(
        tar(folder("blobs"), entry("./blobs/a", b"a" * 3_000_000), entry("b"), link("c", "/etc/passwd"))
    )
    (tmp_path / "x/blobs").mkdir(parents=True)
    (tmp_path / "x/blobs/a").write_bytes(b"a" * 3_000_000)
    (tmp_path / "x/b").write_bytes(b"")
    return ocisource.Folder(tmp_path / "x"), ocisource.archive(tmp_path / "x.tar")


def test_a_file_is_the_same_from_either(tmp_path):
    for source in both(tmp_path):
        assert source.has("blobs/a")
        with source.open("blobs/a") as stream:
            assert stream.read(5) == b"aaaaa"
            assert len(stream.read()) == 2_999_995
            assert stream.read() == b""
        with source.open("b") as stream:
            assert stream.read() == b""


def test_what_is_no_file_is_not_there(tmp_path):
    for source in both(tmp_path):
        assert not any(map(source.has, ("blobs", "none", "c")))


def test_a_blob_that_is_missing_names_the_image(tmp_path):
    for source in both(tmp_path):
        with pytest.raises(HashMismatchError, match="(?s)my image is not whole.*blobs/none"):
            ocisource.open_blob(source, "blobs/none", "my image")


def test_what_is_no_tar_is_refused(tmp_path):
    (tmp_path / "x").write_bytes(b"no tar" * 500)
    with pytest.raises(tarfile.TarError):
        ocisource.archive(tmp_path / "x")
