"""`fetch`: its options, and the verification of a whole store."""

import hashlib
import json
import shutil

import pytest

from build import lockfile, store
from build.__main__ import main
from build.errors import HashMismatchError, OfflineError, UsageError
from build.settings import REPO


@pytest.fixture
def root(tmp_path):
    place = tmp_path / "store"
    for number in range(40):
        put(place, b"%d" % number * 5000)
    return place


def put(root, data: bytes, name: str = "") -> str:
    """A blob, under its hash or under another name."""
    sha256 = name or hashlib.sha256(data).hexdigest()
    path = store.blob(root, sha256)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return sha256


def test_a_sound_store_is_read_again_whole(root, capsys):
    assert main(["fetch", "--verify", "--store", str(root)]) == 0
    out, err = capsys.readouterr()
    assert "40 files, 350.0 kB in " in out
    assert "every file is what its name says" in err


def test_damaged_files_are_removed_and_named_by_their_locks(root, capsys):
    locked = lockfile.read_lock(REPO, "tiny").wheels[0]
    put(root, b"damaged", locked.sha256)
    unknown = put(root, b"", "0" * 64)
    assert main(["fetch", "--verify", "--json", "--store", str(root)]) == HashMismatchError.exit_code
    out, err = capsys.readouterr()
    assert json.loads(out)["removed"] == sorted([unknown, locked.sha256])
    assert locked.file in err
    assert f"a file that no lock here names ({unknown})" in err
    assert store.content(root)[1] == 40
    assert main(["fetch", "--verify", "--store", str(root)]) == 0


def test_an_empty_store_is_sound(tmp_path, capsys):
    assert main(["fetch", "--verify", "--json", "--store", str(tmp_path / "none")]) == 0
    assert json.loads(capsys.readouterr().out)["files"] == 0


@pytest.mark.parametrize(
    "argv",
    [
        ["--verify", "--target", "tiny"],
        ["--verify", "--export", "x"],
        ["--python", "3.12"],
        ["--export", "x", "--python", "3.10"],
        ["--export", "x", "--python", "3.12.1"],
        ["--export", "x", "--python", "twelve"],
    ],
)
def test_options_that_cannot_be_meant(tmp_path, argv, capsys):
    assert main(["fetch", *argv, "--store", str(tmp_path)]) == UsageError.exit_code
    assert "do:" in capsys.readouterr().err


def test_an_export_into_the_store_is_refused(tmp_path, capsys):
    argv = ["fetch", "--target", "tiny", "--store", str(tmp_path), "--export", str(tmp_path / "blobs")]
    assert main(argv) == UsageError.exit_code
    assert "in the store itself" in capsys.readouterr().err


def test_an_export_needs_the_index_for_the_wheels_of_the_tools(tmp_path, capsys):
    argv = ["fetch", "--target", "tiny", "--offline", "--store", str(tmp_path / "s"), "--export", str(tmp_path / "e")]
    assert main(argv) == OfflineError.exit_code
    assert "which wheels of the tools" in capsys.readouterr().err
    assert not (tmp_path / "e").exists()


def test_wheels_come_from_an_exported_folder_without_a_network(tmp_path, capsys, monkeypatch):
    folder, place = tmp_path / "stick", tmp_path / "store"
    shutil.rmtree(place, ignore_errors=True)
    sizes = [put(folder, b"not it", wheel.sha256) for wheel in lockfile.read_lock(REPO, "tiny").wheels]
    monkeypatch.setenv("SPARK_RUNTIME_EXPORTED", str(folder))
    assert main(["fetch", "--target", "tiny", "--offline", "--store", str(place)]) == HashMismatchError.exit_code
    err = capsys.readouterr().err
    assert all(sha256 in err for sha256 in sizes)
    assert "--offline was asked for" in err
    assert store.content(place) == (0, 0)
