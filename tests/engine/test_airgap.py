"""The proof of `fetch -- --export`: a fresh clone, an empty store, an exported folder, and no network at all.

The machine without a network is this one, in a network namespace that has a loopback device which is down, where the
folder is mounted read-only. What is built there is compared with what is built outside, each in a store of its own.
"""

import contextlib
import errno
import hashlib
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from build import errors, private, proc
from build import exported as exports
from build import store as stores
from build.settings import REPO, default_store
from tests.engine.kit import own_settings

pytestmark = [pytest.mark.engine, pytest.mark.programs("git", "unshare", "mount")]

TARGET = ("--target", "tiny")
NO_ENGINE = {"DOCKER_HOST": "unix:///nonexistent"}  # a user's engine would be outside the namespace
WITHOUT_NETWORK = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"'


@dataclass(frozen=True, kw_only=True)
class Machine:
    """A clone, a store and a home of its own, an exported folder, and no network."""

    place: Path
    folder: Path

    @property
    def store(self) -> Path:
        return self.place / "store"

    def run(self, *argv: str) -> subprocess.CompletedProcess[str]:
        env = {
            "PATH": os.environ["PATH"], "HOME": str(self.place / "home"), "SPARK_RUNTIME_STORE": str(self.store),
            "SPARK_RUNTIME_EXPORTED": str(self.folder), **NO_ENGINE,
        }  # fmt: skip
        inside = ["unshare", "--net", "--mount", "sh", "-c", WITHOUT_NETWORK, self.folder, *argv]
        return subprocess.run(
            proc.as_root(inside, purpose="a namespace without a network"),
            cwd=self.place / "clone", env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
            timeout=900,
        )  # fmt: skip


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("carried") / "a stick"
    proc.run([sys.executable, "-m", "build", "fetch", *TARGET, "--export", folder], cwd=REPO, env=network())
    return folder


def network() -> dict[str, str]:
    return {**proc.network_env(), "SPARK_RUNTIME_STORE": str(default_store())}


@pytest.fixture(scope="module")
def machine(exported, tmp_path_factory):
    place = tmp_path_factory.mktemp("airgap")
    (place / "home").mkdir()
    proc.run(["git", "clone", "--quiet", "--no-hardlinks", REPO, place / "clone"])
    made = Machine(place=place, folder=exported)
    yield made
    private.remove(made.store)


def test_there_is_no_network(machine):
    lines = machine.run("cat", "/proc/self/net/dev", "/proc/self/net/route").stdout.splitlines()
    assert [line.split(":")[0].strip() for line in lines if ":" in line] == ["lo"]
    assert machine.run("touch", machine.folder / "x").returncode != 0


def test_the_image_is_built_from_the_folder_and_is_the_one_that_a_network_gives(machine, tmp_path_factory):
    done = machine.run("./nox", "-s", "build", "--", *TARGET, "--offline", "--json")
    assert done.returncode == 0, done.stderr
    inside = json.loads(done.stdout)

    outside = own_settings(tmp_path_factory.mktemp("outside")).store
    verb = [sys.executable, "-m", "build", "build", *TARGET, "--json"]
    env = {**network(), **NO_ENGINE, "SPARK_RUNTIME_STORE": str(outside)}
    try:
        with_network = json.loads(proc.run(verb, cwd=machine.place / "clone", env=env).stdout)
    finally:
        private.remove(outside)
    assert (inside["chain_id"], inside["digest"]) == (with_network["chain_id"], with_network["digest"])
    assert inside["layers"] == with_network["layers"]


def test_the_image_passes_its_checks_there(machine):
    done = machine.run("./nox", "-s", "smoke", "--", *TARGET, "--offline")
    assert done.returncode == 0, done.stderr
    assert "0 failed" in done.stdout + done.stderr


def test_what_the_folder_was_not_made_for_is_named(machine):
    done = machine.run("./nox", "-s", "fetch", "--", "--target", "v0.32", "--offline")
    assert done.returncode == errors.OfflineError.exit_code, done.stderr
    assert str(machine.folder) in done.stderr


@pytest.fixture
def stick(tmp_path):
    """A small file system of its own, like a medium to carry."""
    place = tmp_path / "stick"
    place.mkdir()
    proc.run(proc.as_root(["mount", "-t", "tmpfs", "-o", "size=300m,mode=1777", "none", place], purpose="a stick"))
    yield place
    proc.run(proc.as_root(["umount", place], purpose="a stick"))


def verb(*argv, **env):
    return subprocess.run(
        [sys.executable, "-m", "build", *argv], cwd=REPO, env={**os.environ, **env}, capture_output=True, text=True,
        check=False, timeout=300,
    )  # fmt: skip


def test_a_medium_that_is_too_small_is_said_and_a_larger_one_goes_on(stick, tmp_path):
    export = ("fetch", *TARGET, "--export", str(stick / "folder"))
    small = verb(*export)
    assert small.returncode == errors.SpaceError.exit_code
    assert "are free on the file system of" in small.stderr
    assert not (stick / "folder/blobs").exists()
    remount = ["mount", "-o", "remount,size=600m", stick]
    proc.run(proc.as_root(remount, purpose="a larger stick"))
    done = verb(*export)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (stick / "folder").iterdir()) == [
        "README.txt", "SHA256SUMS", "blobs", "export-tiny.toml", "python",
    ]  # fmt: skip
    proc.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=stick / "folder")
    # and into a store on another file system, without a network
    store = {"SPARK_RUNTIME_STORE": str(tmp_path / "store")}
    taken = verb("fetch", *TARGET, "--offline", "--exported", str(stick / "folder"), **store)
    assert taken.returncode == 0, taken.stderr
    assert "all there" in taken.stdout


def test_a_medium_that_fills_up_meanwhile_leaves_nothing_that_looks_whole(stick):
    data = bytes(50_000_000)
    sha256 = hashlib.sha256(data).hexdigest()
    source = stick / "source"
    source.write_bytes(data)

    def fill(_count: int) -> None:
        filler = stick / "filler"
        if not filler.exists():
            with contextlib.suppress(OSError), filler.open("wb", buffering=0) as stream:
                while stream.write(bytes(1 << 20)) == 1 << 20:
                    pass

    with pytest.raises(OSError, match="No space left") as caught:
        exports.take(stick / "store", [folder_of(stick, source, sha256)], sha256, len(data), "a.whl", fill)
    assert caught.value.errno == errno.ENOSPC
    assert not stores.has(stick / "store", sha256, len(data))
    assert list((stick / "store/scratch").iterdir()) == []


def folder_of(place, source, sha256):
    folder = place / "exported"
    stores.blob(folder, sha256).parent.mkdir(parents=True)
    source.rename(stores.blob(folder, sha256))
    return folder
