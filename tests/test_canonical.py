import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from build.canonical import canonical_json, digest, file_sha256, tree_sha256

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(st.dictionaries(st.text(), values))
def test_order_of_keys_does_not_matter(value):
    turned = dict(reversed(value.items()))
    assert canonical_json(turned) == canonical_json(value)
    assert digest(turned) == digest(value)


def test_different_values_have_different_ids():
    assert len({digest(value) for value in ({}, [], "", 0, None, {"a": 1}, {"a": "1"}, [1, 2], [2, 1])}) == 9


def test_nan_is_refused():
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json(float("nan"))


def test_file_sha256_reads_to_the_end(tmp_path):
    data = b"x" * ((1 << 20) * 2 + 17)
    (tmp_path / "f").write_bytes(data)
    assert file_sha256(tmp_path / "f") == hashlib.sha256(data).hexdigest()


def test_tree_sha256_sees_files_and_links_but_no_leftovers(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b/file").write_text("one")
    (tmp_path / "a").symlink_to("b/file")
    first = tree_sha256(tmp_path)
    assert list(first) == ["a", "b/file"]
    assert first["a"] == "link:b/file"
    for leftover in ("b/x.pyc", "b/file~", "b/.file.swp", "b/file.orig", "b/file.rej", "b/__pycache__/x.py"):
        path = tmp_path / leftover
        path.parent.mkdir(exist_ok=True)
        path.write_text("noise")
    assert tree_sha256(tmp_path) == first
    (tmp_path / "b/file").write_text("two")
    assert tree_sha256(tmp_path) != first
