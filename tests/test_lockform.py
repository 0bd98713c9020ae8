"""The form of machine-written locks: stable bytes, and every way to spoil one has its message."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from build import lockform
from build.canonical import digest
from build.errors import LockError, NewerLockError

DATA = {"name": "x", "rows": [{"a": "1", "b": 2}], "table": {"k": ["v", "w"]}}


@pytest.fixture
def path(tmp_path):
    found = tmp_path / "lock" / "x.toml"
    assert lockform.write(found, lockform.text("# by us\n", 3, DATA))
    return found


def read(path, schema=3):
    return lockform.read(path, name="lock/x.toml", schema=schema, refresh="run it")


def test_what_is_written_is_read(path):
    assert read(path) == DATA
    assert path.read_text().startswith("# by us\nschema = 3\n")


def test_writing_the_same_again_changes_nothing(path):
    stamp = path.stat().st_mtime_ns
    assert not lockform.write(path, lockform.text("# by us\n", 3, DATA))
    assert path.stat().st_mtime_ns == stamp
    assert [item.name for item in path.parent.iterdir()] == ["x.toml"]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"1"', '"2"', "edited by hand"),
        ("schema = 3", "schema = 2", "edited by hand"),
        ('checksum = "', 'checksum = "0', "edited by hand"),
        ("b = 2", "b = ", "not TOML"),
        ("schema = 3\n", "", "edited by hand"),
        ("b = 2", "b = 2026-01-01", "edited by hand"),
        ("b = 2", "b = nan", "edited by hand"),
    ],
)
def test_an_edit_by_hand_is_seen(path, old, new, said):
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(LockError, match=said):
        read(path)


def test_other_versions_are_told_apart(path):
    with pytest.raises(NewerLockError, match="newer version"):
        read(path, schema=2)
    with pytest.raises(LockError, match="older version") as caught:
        read(path, schema=4)
    assert caught.value.todo == "run it"


def test_a_newer_lock_is_never_called_edited(path):
    path.write_text("schema = 9\nentirely = 'other'\n")
    with pytest.raises(NewerLockError):
        read(path)


def test_a_lock_that_is_no_text_or_not_there_is_told(path):
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(LockError, match="not TOML"):
        read(path)
    path.unlink()
    with pytest.raises(LockError, match="not there"):
        read(path)


KEYS = st.text(min_size=1, max_size=8)
SCALARS = st.one_of(st.booleans(), st.integers(-(2**53), 2**53), st.text(max_size=12))
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=3)),
    max_leaves=8,
)


@given(st.dictionaries(KEYS, VALUES, max_size=5))
def test_any_data_survives_toml(data):
    try:
        text = lockform.toml_text(data)
    except UnicodeEncodeError:
        return
    if any(0xD800 <= ord(letter) <= 0xDFFF for letter in text):
        return
    assert digest(tomllib.loads(text)) == digest(data)
