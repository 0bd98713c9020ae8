"""Unpacking .debs: what comes out, and what must never come out."""

import os
import tarfile

import pytest

from build import unpack
from build.errors import HashMismatchError
from tests.debkit import EPOCH, deb_bytes, file, folder, hard, link


@pytest.fixture
def unpacked(tmp_path):
    def run(entries, **options):
        deb = tmp_path / "x.deb"
        deb.write_bytes(deb_bytes(entries, **options))
        root = tmp_path / "root"
        root.mkdir(exist_ok=True)
        unpack.unpack(deb, root)
        return root

    return run


@pytest.mark.parametrize("compression", ["xz", "gz", ""])
def test_files_links_modes_and_times(unpacked, compression):
    root = unpacked(
        [folder("usr"), file("usr/a", "A", 0o755), link("usr/b", "a"), hard("usr/c", "usr/a")], compression=compression
    )
    assert (root / "usr/a").read_text() == "A"
    assert os.stat(root / "usr/a").st_mode & 0o7777 == 0o755
    assert os.stat(root / "usr/a").st_mtime == EPOCH
    assert os.stat(root / "usr").st_mtime == EPOCH
    assert os.readlink(root / "usr/b") == "a"
    assert os.path.samefile(root / "usr/a", root / "usr/c")


def test_set_id_bits_are_dropped(unpacked):
    root = unpacked([file("su", mode=0o6755)])
    assert os.stat(root / "su").st_mode & 0o7000 == 0


def test_the_umask_does_not_matter(unpacked):
    before = os.umask(0o077)
    try:
        root = unpacked([folder("usr"), file("usr/a")])
    finally:
        os.umask(before)
    assert os.stat(root / "usr").st_mode & 0o777 == 0o755
    assert os.stat(root / "usr/a").st_mode & 0o777 == 0o644


def test_a_folder_may_be_a_link_inside_the_root(unpacked):
    root = unpacked([folder("usr"), folder("usr/bin"), link("bin", "usr/bin"), folder("bin"), file("bin/a")])
    assert (root / "usr/bin/a").is_file()
    assert (root / "bin").is_symlink()


@pytest.mark.parametrize(
    "entries",
    [
        [file("../out")],
        [file("usr/../../out")],
        [link("way", ".."), file("way/out")],
        [link("way", "/"), file("way/out")],
        [folder("usr"), hard("usr/a", "../../etc/passwd")],
    ],
)
def test_nothing_leaves_the_root(unpacked, tmp_path, entries):
    with pytest.raises((ValueError, OSError)):
        unpacked(entries)
    assert {path.name for path in tmp_path.iterdir()} == {"x.deb", "root"}


def test_a_device_is_refused(unpacked):
    with pytest.raises(ValueError, match="no file, folder or link"):
        unpacked([("./null", tarfile.CHRTYPE, None, 0o666)])


@pytest.mark.parametrize("cut", [5, 80, 300, -40])
def test_a_cut_package_is_an_error(tmp_path, cut):
    deb = tmp_path / "x.deb"
    deb.write_bytes(deb_bytes([file("a", "A" * 10_000)])[:cut])
    (tmp_path / "root").mkdir()
    with pytest.raises((ValueError, HashMismatchError)):
        unpack.unpack(deb, tmp_path / "root")


def test_build_time_and_control(tmp_path):
    deb = tmp_path / "x.deb"
    deb.write_bytes(deb_bytes([], name="thing", mtime=123))
    assert unpack.build_time(deb) == 123
    assert "Package: thing\n" in unpack.control(deb)
