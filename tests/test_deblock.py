"""The locks of .debs: stable to the byte, and never half a lock."""

import dataclasses
import tomllib
from pathlib import Path

import pytest

from build import deblock, debs, lockform
from build.errors import LockError, NewerLockError
from tests.debkit import deb_bytes, file, put, set_of

REPO = Path(__file__).resolve().parent.parent
LOCKS = sorted((REPO / deblock.FOLDER).glob("*.toml"))


@pytest.fixture
def locked(tmp_path):
    some = put(tmp_path, deb_bytes([file("b")], name="b"), name="b")
    other = put(tmp_path, deb_bytes([file("a")], name="a"), name="a")
    return deblock.LockedDebs(intent="0" * 64, debset=set_of(other, some))


def test_what_is_written_is_read_and_written_alike(tmp_path, locked):
    path = tmp_path / "x.toml"
    assert deblock.write(path, locked) is True
    assert deblock.read(path) == locked
    assert deblock.write(path, deblock.read(path)) is False
    turned = dataclasses.replace(locked.debset, debs=locked.debset.debs[::-1])
    assert deblock.write(path, dataclasses.replace(locked, debset=turned)) is False
    assert [entry.name for entry in tmp_path.iterdir() if entry.name != "blobs"] == ["x.toml"]


@pytest.mark.parametrize(
    ("old", "new"), [("epoch = 1", "epoch = 2"), ('name = "b"', 'name = "c"'), ("released =", "was =")]
)
def test_an_edit_by_hand_is_seen(tmp_path, locked, old, new):
    path = tmp_path / "x.toml"
    deblock.write(path, locked)
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(LockError, match=r"lock/debs/x\.toml was edited by hand") as caught:
        deblock.read(path)
    assert "nox -s lock" in caught.value.todo


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"path": "/pool/x.deb"}, "the entry of b is not sound"),
        ({"path": "../pool/x.deb"}, "the entry of b is not sound"),
        ({"sha256": "0"}, "the entry of b is not sound"),
        ({"size": "much"}, "much"),
    ],
)
def test_an_entry_that_is_not_sound_is_named(tmp_path, locked, change, why):
    path = tmp_path / "x.toml"
    bad = dataclasses.replace(locked.debset.debs[1], **change)
    debset = dataclasses.replace(locked.debset, debs=(bad,))
    deblock.write(path, dataclasses.replace(locked, debset=debset))
    with pytest.raises(LockError, match=r"x\.toml is not a lock") as caught:
        deblock.read(path)
    assert why in caught.value.why


@pytest.mark.parametrize(
    ("schema", "error", "what"), [(1, LockError, "an older version"), (3, NewerLockError, "a newer version")]
)
def test_a_lock_of_another_version(tmp_path, schema, error, what):
    path = tmp_path / "x.toml"
    path.write_text(lockform.text(deblock.HEADER, schema, {"root": "trixie"}))
    with pytest.raises(error, match=what) as caught:
        deblock.read(path)
    assert caught.value.exit_code == {1: 13, 3: 15}[schema]


def test_what_lacks_is_named(tmp_path):
    path = tmp_path / "x.toml"
    path.write_text(lockform.text(deblock.HEADER, deblock.SCHEMA, {"root": "trixie"}))
    with pytest.raises(LockError, match="not a lock that can be used") as caught:
        deblock.read(path)
    assert "'intent'" in caught.value.why


def test_no_lock_and_a_stale_one(tmp_path, locked):
    with pytest.raises(LockError, match=r"lock/debs/x\.toml is not there"):
        deblock.read(tmp_path / "x.toml")
    deblock.require_fresh(tmp_path / "x.toml", locked, locked.intent)
    with pytest.raises(LockError, match="is stale"):
        deblock.require_fresh(tmp_path / "x.toml", locked, "1" * 64)


def test_every_table_has_a_fresh_lock_and_no_lock_is_left_over():
    tables = tomllib.loads((REPO / "lock/targets.toml").read_text())
    wanted = {deblock.path_of(REPO, item.root, item.arch): item for item in debs.requests(tables)}
    assert sorted(wanted) == LOCKS
    for path, request in wanted.items():
        locked = deblock.read(path)
        deblock.require_fresh(path, locked, request.intent)
        names = {deb.name for deb in locked.debset.debs}
        assert set(request.packages) <= names
        assert deblock.render(locked) == path.read_text()


def test_a_root_file_system_has_no_package_manager_of_its_own():
    names = {deb.name for deb in deblock.read(deblock.path_of(REPO, "trixie", "arm64")).debset.debs}
    assert "apt" not in names
    assert {"dash", "libc6", "python3.13"} <= names
