"""Locks: stable to the byte, read back as written, refused when stale, edited or newer."""

import re
import shutil
from dataclasses import replace

import pytest

from build.canonical import digest
from build.errors import LockError
from build.intent import read_intent, target_checksum
from build.lockfile import SCHEMA, lock_path, lock_text, read_lock
from build.lockform import toml_text
from build.settings import REPO

TARGETS = sorted(read_intent(REPO).targets)


@pytest.fixture
def copy(tmp_path):
    shutil.copytree(REPO / "lock", tmp_path / "lock")
    return tmp_path


@pytest.mark.parametrize("target", TARGETS)
def test_a_lock_is_written_as_it_was_read(target):
    text = lock_path(REPO, target).read_text(encoding="utf-8")
    assert lock_text(read_lock(REPO, target)) == text


@pytest.mark.parametrize("target", TARGETS)
def test_a_lock_is_complete_and_names_no_host(target):
    lock = read_lock(REPO, target)
    for item in (*lock.wheels, *lock.tools):
        assert re.fullmatch(r"[0-9a-f]{64}", item.sha256)
        assert item.size > 0
        assert item.file.endswith(".whl")
        assert "/" not in item.file
    left_open = {item.what for item in lock.unresolved}
    read = all(f"components.{item.name}.git" not in left_open or item.archive for item in lock.components)
    for component in lock.components:
        assert component.files or not read
        assert all(re.fullmatch(r"[0-9a-f]{64}", file.after) for file in component.files)
    text = lock_path(REPO, target).read_text(encoding="utf-8")
    assert "nox -s lock" in text.splitlines()[0]
    assert [url for url in re.findall(r"https?://[^\"]*", text) if not url.startswith("https://github.com/")] == []


@pytest.mark.parametrize("target", [name for name in TARGETS if name != "tiny"])
def test_the_cuda_toolkit_is_of_one_minor_version(target):
    versions = {wheel.name: wheel.version for wheel in read_lock(REPO, target).wheels}
    parts = ("nvcc", "crt", "nvrtc", "cupti", "cccl", "runtime")
    assert {versions[f"nvidia-cuda-{part}"].rsplit(".", 1)[0] for part in parts} == {"13.0"}
    assert versions["nvidia-nvvm"].startswith("13.0.")
    assert versions["nvidia-nvjitlink"].startswith("13.0.")


def test_a_stale_lock_is_refused(copy):
    intent = target_checksum(read_intent(REPO), "tiny")
    read_lock(copy, "tiny", intent=intent)
    with pytest.raises(LockError, match="stale") as caught:
        read_lock(copy, "tiny", intent="0" * 64)
    assert "nox -s lock -- --target tiny" in caught.value.todo


def test_a_lock_edited_by_hand_is_refused(copy):
    path = lock_path(copy, "tiny")
    path.write_text(path.read_text().replace('version = "3.1.6"', 'version = "3.1.7"', 1))
    with pytest.raises(LockError, match="edited by hand"):
        read_lock(copy, "tiny")


def test_a_lock_of_a_newer_tool_is_refused(copy):
    path = lock_path(copy, "tiny")
    path.write_text(path.read_text().replace(f"schema = {SCHEMA}", f"schema = {SCHEMA + 1}", 1))
    with pytest.raises(LockError, match="newer version"):
        read_lock(copy, "tiny")


def test_a_lock_that_is_not_there_says_how_it_comes(copy):
    lock_path(copy, "tiny").unlink()
    with pytest.raises(LockError, match="is not there") as caught:
        read_lock(copy, "tiny")
    assert "nox -s lock" in caught.value.todo


def test_a_broken_lock_is_told(copy):
    lock_path(copy, "tiny").write_text("schema = ")
    with pytest.raises(LockError, match="not TOML"):
        read_lock(copy, "tiny")


def test_every_fact_of_a_lock_is_in_its_checksum(copy):
    lock = read_lock(REPO, "tiny")
    other = replace(lock, wheels=(replace(lock.wheels[0], size=1), *lock.wheels[1:]))
    assert re.findall("checksum = .*", lock_text(lock)) != re.findall("checksum = .*", lock_text(other))


def test_text_with_quotes_survives():
    import tomllib

    data = {"a": 'say "hi"\n', "rows": [{"x": "ü", "n": 3}], "t": {"u": [], "v-w": {"y": True}}}
    assert tomllib.loads(toml_text(data)) == data
    assert digest(tomllib.loads(toml_text(data))) == digest(data)
