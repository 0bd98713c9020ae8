"""The root file system, for real: the same bytes twice, nothing half-made, nothing left running."""

import hashlib
import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

from build import emulation, host, proc, rootfs, roots
from build import store as stores
from build.canonical import file_sha256
from build.errors import HashMismatchError, SpaceError
from build.settings import REPO, default_store
from tests.engine.kit import own_settings


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    return own_settings(tmp_path_factory.mktemp("rootfs"))


@pytest.fixture(scope="module")
def debset(settings):
    return host.locked_debs(settings, "tiny", "arm64")


@pytest.fixture(scope="module")
def made(settings):
    return host.rootfs_tar(settings, "tiny")


def processes_about(text):
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                if text in (entry / "cmdline").read_bytes().decode(errors="replace"):
                    found.append(entry.name)
            except OSError:
                pass
    return found


def test_a_killed_run_leaves_no_tar_and_no_process(settings, debset):
    code = (
        "import sys; from pathlib import Path; from build import host; from build.models import Settings\n"
        "host.rootfs_tar(Settings(repo=Path(sys.argv[1]), store=Path(sys.argv[2])), 'tiny')"
    )
    child = subprocess.Popen([sys.executable, "-c", code, str(REPO), str(settings.store)], cwd=REPO)
    while not list((settings.store / "scratch").glob("rootfs-*/tmp/*/usr/bin/dash")):
        assert child.poll() is None
        time.sleep(0.05)
    child.send_signal(signal.SIGKILL)
    child.wait()
    time.sleep(1)
    assert processes_about(str(settings.store)) == []
    assert not rootfs.place(settings.store, debset).exists()


def test_what_is_in_it(made, debset):
    with tarfile.open(made) as archive:
        entries = {entry.name.removeprefix("./"): entry for entry in archive.getmembers()}
        status = archive.extractfile(entries["var/lib/dpkg/status"]).read().decode()
        passwd = archive.extractfile(entries["etc/passwd"]).read().decode()
        dash = archive.extractfile(entries["usr/bin/dash"]).read(20)
    assert dash[18:20] == b"\xb7\x00"  # AArch64
    installed = [line.partition(" ")[2] for line in status.splitlines() if line.startswith("Package: ")]
    assert installed == sorted(deb.name for deb in debset.debs)
    assert status.count("Status: install ok installed") == len(installed)
    assert "spark:*:1000:1000::/home/spark:/bin/bash\n" in passwd
    assert (entries["home/spark"].uid, entries["home/spark"].gid) == (1000, 1000)
    assert {entry.mtime for entry in entries.values() if entry.mtime > debset.epoch} == set()
    assert not any(entry.ischr() or entry.isblk() for entry in entries.values())
    assert entries["etc/machine-id"].size == 0
    unwanted = ("usr/share/man/", "usr/share/locale/", "var/lib/apt", "var/log/", "var/cache/", "etc/apt", "dev/")
    assert [name for name in entries if name.startswith(unwanted)] == []
    documents = {name for name in entries if name.startswith("usr/share/doc/") and entries[name].isfile()}
    assert {name.rsplit("/", 1)[1] for name in documents} == {"copyright"}


def test_a_second_time_under_another_umask_gives_the_same_bytes(made, settings):
    found = file_sha256(made)
    made.unlink()
    before = os.umask(0o077)
    try:
        assert file_sha256(host.rootfs_tar(settings, "tiny")) == found
    finally:
        os.umask(before)


@pytest.mark.slow
@pytest.mark.skipif(not emulation.needed(), reason="this machine is arm64: nothing is emulated")
def test_wholly_emulated_it_is_the_same_bytes(made, settings, monkeypatch):
    found = file_sha256(made)
    made.unlink()
    monkeypatch.setattr(rootfs, "native_programs", lambda *_: ())
    assert file_sha256(host.rootfs_tar(settings, "tiny")) == found


@pytest.mark.slow
@pytest.mark.skipif(not emulation.needed(), reason="this machine is arm64: there is no other to compare with")
def test_an_arm64_machine_makes_the_same_bytes(made, settings, debset):
    """Its own tools root does all the work, here under emulation: dpkg, mmdebstrap, tar and every script."""
    found = file_sha256(made)
    made.unlink()
    tools = host.locked_debs(settings, host.TOOLS, "arm64")
    host.fetch_debs(settings, tools)
    root = roots.ensure(settings.store, tools)
    native = rootfs.native_programs(root, tools, debset)
    assert native == ()
    assert file_sha256(rootfs.ensure(settings.store, debset, tools=root, native=native)) == found


def test_a_damaged_package_ends_it_before_anything_is_made(tmp_path, debset):
    settings = own_settings(tmp_path)
    (settings.store / "blobs").unlink()
    for deb in debset.debs:
        target = stores.blob(settings.store, deb.sha256)
        target.parent.mkdir(parents=True, exist_ok=True)
        os.link(stores.blob(default_store(), deb.sha256), target)
    bad = debset.debs[7]
    blob = stores.blob(settings.store, bad.sha256)
    data = bytearray(blob.read_bytes())
    data[100] ^= 1
    blob.unlink()
    blob.write_bytes(data)
    assert hashlib.sha256(data).hexdigest() != bad.sha256
    with pytest.raises(HashMismatchError, match=bad.name):
        rootfs.ensure(settings.store, debset, tools=host.tools(settings), native=())
    assert not blob.exists()
    assert not rootfs.place(settings.store, debset).exists()
    assert list((settings.store / "scratch").iterdir()) == []


@pytest.fixture
def small(tmp_path):
    """A store on a file system of 40 MB."""
    proc.run(["mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", tmp_path])
    try:
        yield own_settings(tmp_path)
    finally:
        proc.run(["umount", tmp_path])


def test_a_small_disk_is_met_before_and_in_the_middle_of_the_work(small, monkeypatch):
    (small.store / "roots").unlink()
    debs = host.locked_debs(small, "builder", roots.host_architecture())
    with pytest.raises(SpaceError, match="the builder root"):
        host.builder(small)
    monkeypatch.setattr(stores, "require_space", lambda *_: None)
    with pytest.raises(OSError, match="No space left"):
        roots.ensure(small.store, debs)
    assert not roots.place(small.store, debs).exists()
    assert list((small.store / "scratch").iterdir()) == []
