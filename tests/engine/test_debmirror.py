"""Resolving Debian packages on a disk that fills up: a real, small file system."""

import pytest

from build import debs, proc
from build.errors import SpaceError
from tests.mirrorkit import Archive, new_key, serve


@pytest.fixture
def small_disk(tmp_path):
    place = tmp_path / "disk"
    place.mkdir()
    proc.run(proc.as_root(["mount", "-t", "tmpfs", "-o", "size=40k,mode=1777", "none", place], purpose="a small disk"))
    yield place
    proc.run(proc.as_root(["umount", place], purpose="a small disk"))


def test_a_full_disk_is_said_at_every_size_and_heals(small_disk, tmp_path):
    request = debs.Request(
        root="tiny", suite="trixie", arch="arm64", packages=("lib7",), essential=False, intent="0" * 64
    )
    with new_key(tmp_path / "gpg") as key, serve(tmp_path / "web") as server:
        archive = Archive(tmp_path / "web", key)
        for number in range(400):
            archive.add(f"lib{number}", **{"X-Note": str(number) * 300})
        archive.publish()
        for size in ("16k", "40k", "300k", "600k", "1200k"):
            proc.run(proc.as_root(["mount", "-o", f"remount,size={size}", small_disk], purpose="a small disk"))
            with pytest.raises(SpaceError, match="the disk filled up while apt-get was running"):
                debs.resolve(request, [server.url], small_disk / "state", keyring=key.keyring)
        proc.run(proc.as_root(["mount", "-o", "remount,size=64m", small_disk], purpose="a larger disk"))
        found = debs.resolve(request, [server.url], small_disk / "state", keyring=key.keyring)
        assert [deb.name for deb in found.debs] == ["lib7"]
