"""dockerfiles/image/serve/memory.py: meminfo as the kernel writes it, cgroups of both versions, limits above the own one."""

import sys

import pytest

from tests import servekit

sys.path.insert(0, str(servekit.IMAGE))

from serve.memory import GROUP, HOST, Memory, Unreadable

MIB = 2**20


@pytest.fixture
def meminfo(tmp_path):
    path = tmp_path / "meminfo"
    servekit.write_meminfo(path, 9_000_000)
    return path


def v2(folder, limit, used, inactive=0):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "memory.max").write_text(f"{limit}\n")
    (folder / "memory.current").write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 1\nfile 2\nactive_file 3\ninactive_file {inactive}\n")


def v1(folder, limit, used, inactive=0):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "memory.limit_in_bytes").write_text(f"{limit}\n")
    (folder / "memory.usage_in_bytes").write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"inactive_file 1\ntotal_cache 2\ntotal_inactive_file {inactive}\n")


def memory(meminfo, tmp_path, membership="0::/\n"):
    (tmp_path / "membership").write_text(membership)
    return Memory(str(meminfo), str(tmp_path / "membership"), str(tmp_path / "fs"))


def test_the_host_alone(meminfo, tmp_path):
    found = memory(meminfo, tmp_path)
    assert found.sample() == (9_000_000, HOST, 9_000_000)
    servekit.write_meminfo(meminfo, 123)
    assert found.sample().kb == 123, "read anew, by the same descriptor"


def test_the_real_one():
    found = Memory()
    assert found.sample().host_kb > 0


def test_a_limit_of_the_container(meminfo, tmp_path):
    """In a name space of its own the container's cgroup is the root."""
    v2(tmp_path / "fs", 1000 * MIB, 900 * MIB, 100 * MIB)
    assert memory(meminfo, tmp_path).sample() == (200 * 1024, GROUP, 9_000_000), "unused cached files count as free"


def test_no_limit_and_one_that_is_set_later(meminfo, tmp_path):
    v2(tmp_path / "fs", "max", 900 * MIB)
    found = memory(meminfo, tmp_path)
    assert found.sample().source == HOST
    (tmp_path / "fs" / "memory.max").write_text(f"{901 * MIB}\n")
    assert found.sample() == (1024, GROUP, 9_000_000)


def test_more_used_than_allowed(meminfo, tmp_path):
    v2(tmp_path / "fs", MIB, 2 * MIB)
    assert memory(meminfo, tmp_path).sample().kb == 0


def test_a_wide_limit_does_not_hide_the_host(meminfo, tmp_path):
    v2(tmp_path / "fs", 900_000 * MIB, MIB)
    assert memory(meminfo, tmp_path).sample() == (9_000_000, HOST, 9_000_000)


def test_the_narrowest_limit_of_all_above(meminfo, tmp_path):
    v2(tmp_path / "fs" / "system.slice" / "docker-1.scope", "max", MIB)
    v2(tmp_path / "fs" / "system.slice", 100 * MIB, 50 * MIB)
    assert memory(meminfo, tmp_path, "0::/system.slice/docker-1.scope\n").sample() == (50 * 1024, GROUP, 9_000_000)


def test_a_path_that_leads_out_of_the_name_space(meminfo, tmp_path):
    v2(tmp_path / "fs", 10 * MIB, 0)
    assert memory(meminfo, tmp_path, "0::/../other\n").sample().kb == 10 * 1024


def test_version_1(meminfo, tmp_path):
    v1(tmp_path / "fs" / "memory", 9223372036854771712, 5 * MIB)
    v1(tmp_path / "fs" / "memory" / "docker" / "abc", 100 * MIB, 90 * MIB, 40 * MIB)
    found = memory(meminfo, tmp_path, "9:name=systemd:/x\n4:cpu,memory:/docker/abc\n0::/\n")
    assert found.sample() == (50 * 1024, GROUP, 9_000_000)


def test_version_1_in_a_container(meminfo, tmp_path):
    """There the path is the host's, and the container's own cgroup lies at the root of the mount."""
    v1(tmp_path / "fs" / "memory", 100 * MIB, 90 * MIB)
    assert memory(meminfo, tmp_path, "4:memory:/docker/abc\n").sample().kb == 10 * 1024


@pytest.mark.parametrize("text", ["", "MemTotal: 1 kB\n", "MemAvailable: x kB\n"])
def test_unreadable(tmp_path, text):
    path = tmp_path / "meminfo"
    path.write_text(text)
    with pytest.raises(Unreadable):
        memory(path, tmp_path).sample()


def test_a_cgroup_that_cannot_be_read(meminfo, tmp_path):
    v2(tmp_path / "fs", MIB, "?")
    with pytest.raises(Unreadable):
        memory(meminfo, tmp_path).sample()


def test_no_meminfo_at_all(tmp_path):
    with pytest.raises(OSError, match="No such file"):
        memory(tmp_path / "none", tmp_path)
