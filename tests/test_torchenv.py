"""build/torchenv.py: an environment for behaviours, by hash, from an index of our own."""

import os
import subprocess
import sys
from dataclasses import replace

import pytest

from build import torchenv
from build.errors import CommandError, OfflineError
from build.models import Settings
from tests import indexkit


def lock(*items):
    return "".join(f"{name}=={version} \\\n    --hash=sha256:{sha256}\n" for name, version, sha256 in items)


@pytest.fixture
def world(tmp_path, monkeypatch):
    """An index with torch (its CUDA build), NumPy and a library for CUDA; a folder where a CPU build may lie."""
    with indexkit.serve() as index:
        monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
        monkeypatch.setenv("PIP_INDEX_URL", index.url)
        monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
        monkeypatch.delenv("PIP_EXTRA_INDEX_URL", raising=False)
        (tmp_path / "wheels").mkdir()
        (tmp_path / "repo/lock").mkdir(parents=True)
        yield World(tmp_path, index)


class World:
    def __init__(self, folder, index):
        self.folder, self.index = folder, index
        self.settings = Settings(repo=folder / "repo", store=folder / "store")
        self.cuda = index.add("torch", "2.0", files={"torch.py": b"build = 'cuda'\n"})
        self.numpy = index.add("numpy", "1.0", files={"numpy.py": b""})
        self.library = index.add("nvidia-x", "1.0", files={"nvidia_x.py": b""})
        name, data, _ = indexkit.wheel("torch", "2.0+cpu", files={"torch.py": b"build = 'cpu'\n"})
        self.cpu = indexkit.File(name=name, data=data, uploaded="", metadata=b"")
        self.write()

    def write(self, **changed):
        hashes = {name: changed.get(name, getattr(self, name).sha256) for name in ("cuda", "numpy", "library", "cpu")}
        (self.settings.repo / torchenv.BEHAVIOURS).write_text(
            "# made\n"
            + lock(
                ("torch", "2.0", hashes["cuda"]),
                ("numpy", "1.0", hashes["numpy"]),
                ("nvidia-x", "1.0", hashes["library"]),
            )
        )
        (self.settings.repo / torchenv.CPU).write_text("# by hand\n" + lock(("torch", "2.0+cpu", hashes["cpu"])))

    def have_cpu_build(self):
        (self.folder / "wheels" / self.cpu.name).write_bytes(self.cpu.data)

    def installed(self):
        script = "import importlib.util as u, torch; print(torch.build, bool(u.find_spec('nvidia_x')), bool(u.find_spec('numpy')))"
        done = subprocess.run(
            [torchenv.ensure(self.settings), "-c", script], capture_output=True, text=True, check=True
        )
        return done.stdout.split()


def test_the_index_s_build_brings_the_libraries_along(world):
    assert world.installed() == ["cuda", "True", "True"]


def test_a_cpu_build_is_taken_where_there_is_one(world):
    world.have_cpu_build()
    assert world.installed() == ["cpu", "False", "True"]


def test_a_cpu_build_of_another_hash_is_not(world):
    world.have_cpu_build()
    world.write(cpu="0" * 64)
    assert world.installed() == ["cuda", "True", "True"]


def test_it_is_made_once_and_anew_for_other_locks(world):
    first = torchenv.ensure(world.settings)
    asked = len(world.index.asked)
    assert torchenv.ensure(replace(world.settings, offline=True)) == first
    assert len(world.index.asked) == asked
    world.write(cpu="1" * 64)
    assert torchenv.ensure(world.settings) != first


def test_a_hash_that_differs_leaves_nothing_that_counts(world):
    world.write(numpy="0" * 64)
    with pytest.raises(CommandError, match="the environment for behaviours cannot be made") as caught:
        torchenv.ensure(world.settings)
    assert "HASHES" in caught.value.why
    assert not torchenv.is_ready(world.settings)
    world.write()
    assert world.installed() == ["cuda", "True", "True"]


def test_a_half_made_one_is_made_again(world):
    place = torchenv.place(world.settings)
    (place / "bin").mkdir(parents=True)
    (place / "bin/python").symlink_to(sys.executable)
    assert world.installed() == ["cuda", "True", "True"]


def test_offline_it_is_not_made(world):
    with pytest.raises(OfflineError, match="was asked for"):
        torchenv.ensure(replace(world.settings, offline=True))
