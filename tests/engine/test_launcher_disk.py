"""The launcher on a disk that fills up: a real, small file system."""

import os

import pytest

from build import errors, proc
from tests.test_launcher import Machine, needs_pip

pytestmark = [pytest.mark.engine, needs_pip]


@pytest.fixture
def small_disk(tmp_path):
    place = tmp_path / "disk"
    place.mkdir()
    proc.run(proc.as_root(["mount", "-t", "tmpfs", "-o", "size=8m,mode=1777", "none", place], purpose="a small disk"))
    yield place
    proc.run(proc.as_root(["umount", place], purpose="a small disk"))


def test_a_full_disk_is_one_message_and_heals(small_disk, tmp_path):
    machine = Machine(tmp_path / "machine", data=os.urandom(9 << 20))
    env = {"SPARK_RUNTIME_STORE": str(small_disk / "store"), "TMPDIR": str(tmp_path)}
    status, _, err = machine.run("--exec", "-m", "tinytool", **env)
    assert status == errors.SpaceError.exit_code
    assert "free some space" in err
    assert not list(small_disk.glob("store/env/*/complete"))
    proc.run(proc.as_root(["mount", "-o", "remount,size=64m", small_disk], purpose="a larger disk"))
    assert machine.run("--exec", "-m", "tinytool", **env)[0] == 0
