"""Roots: made whole or not at all, the same for the same packages."""

import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

from build import roots
from build import store as stores
from build.canonical import file_sha256
from build.errors import HashMismatchError
from tests.debkit import EPOCH, deb_bytes, file, folder, link, put, set_of

REPO = Path(__file__).resolve().parent.parent


@pytest.fixture
def debset(tmp_path):
    base = [
        folder("usr"),
        folder("usr/bin"),
        file("usr/bin/mawk", mode=0o755),
        link("bin", "usr/bin"),
        file("usr/bin/qemu-aarch64"),
        file("usr/bin/qemu-mips"),
        folder("usr/share"),
        folder("usr/share/doc"),
        file("usr/share/doc/x"),
        file("usr/share/ca-certificates/mozilla/b.crt", "B\n"),
        file("usr/share/ca-certificates/mozilla/a.crt", "A"),
        file("usr/share/base-passwd/passwd.master", "root:*:0:0::/root:/bin/sh\n"),
    ]
    other = [folder("usr"), folder("usr/lib64"), file("usr/lib64/ld.so")]
    return set_of(
        put(tmp_path, deb_bytes(base, name="base"), name="base"),
        put(tmp_path, deb_bytes(other, name="other"), name="other"),
    )


def test_a_root_is_unpacked_and_finished(tmp_path, debset):
    root = roots.ensure(tmp_path, debset)
    assert root == roots.place(tmp_path, debset)
    assert os.readlink(root / "lib64") == "usr/lib64"
    assert os.readlink(root / "usr/bin/awk") == "mawk"
    assert (root / "etc/passwd").read_text() == "root:*:0:0::/root:/bin/sh\n"
    assert (root / roots.CA_BUNDLE).read_text() == "A\nB\n"
    assert (root / "usr/bin/qemu-aarch64").exists()
    assert not (root / "usr/bin/qemu-mips").exists()
    assert not (root / "usr/share/doc/x").exists()
    assert os.stat(root / "tmp").st_mode & 0o7777 == 0o1777
    assert not list((tmp_path / "scratch").iterdir())


def test_an_unpacked_root_is_used_again(tmp_path, debset):
    (roots.ensure(tmp_path, debset) / "mark").touch()
    assert (roots.ensure(tmp_path, debset) / "mark").exists()


def test_the_tar_is_the_same_bytes_whatever_the_umask_and_the_order(tmp_path, debset):
    first = roots.ensure_tar(tmp_path, debset)
    found = file_sha256(first)
    first.unlink()
    with tarfile.open(roots.ensure_tar(tmp_path, debset)) as archive:
        entries = archive.getmembers()
    assert {(entry.uid, entry.gid, entry.mtime) for entry in entries} == {(0, 0, EPOCH)}
    again = tmp_path / "again"
    for deb in debset.debs:
        target = stores.blob(again, deb.sha256)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(stores.blob(tmp_path, deb.sha256).read_bytes())
    before = os.umask(0o077)
    try:
        assert file_sha256(roots.ensure_tar(again, set_of(*debset.debs[::-1]))) == found
    finally:
        os.umask(before)


def test_a_damaged_package_is_removed_and_no_root_is_left(tmp_path, debset):
    blob = stores.blob(tmp_path, debset.debs[0].sha256)
    data = bytearray(blob.read_bytes())
    data[-5] ^= 1
    blob.write_bytes(data)
    with pytest.raises(HashMismatchError, match=r"base_1_all\.deb"):
        roots.ensure(tmp_path, debset)
    assert not blob.exists()
    assert not roots.place(tmp_path, debset).exists()
    assert not list((tmp_path / "scratch").iterdir())


def test_a_run_that_is_killed_leaves_nothing_taken_for_whole(tmp_path):
    debset = set_of(put(tmp_path, deb_bytes([file(f"usr/f{n}", "x" * 999) for n in range(3000)], compression="gz")))
    code = "import sys; from tests.test_roots import endless; endless(sys.argv[1], sys.argv[2])"
    child = subprocess.Popen([sys.executable, "-c", code, str(tmp_path), debset.debs[0].sha256], cwd=REPO)
    deadline = time.monotonic() + 20
    while not list((tmp_path / "scratch").glob("*/root/usr/f9")) and time.monotonic() < deadline:
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert not roots.place(tmp_path, debset).exists()
    assert len(list((roots.ensure(tmp_path, debset) / "usr").glob("f*"))) == 3000


def endless(store, sha256):
    """What the killed process runs: an unpacking that stops before its end."""
    from build.models import Deb

    roots._finish = lambda _: time.sleep(60)
    size = stores.blob(Path(store), sha256).stat().st_size
    deb = Deb(file="thing_1_all.deb", sha256=sha256, size=size, name="thing", version="1", arch="all", path="pool/x")
    roots.ensure(Path(store), set_of(deb))
