"""build/treehash.py: the tree id that git itself gives, whatever is in the folder."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from build import treehash
from tests.gitkit import git

COMMIT = "0123456789abcdef0123456789abcdef01234567"
EMPTY = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"

# Names that git sorts in its own way: a folder as if it ended in a slash, which stands between "." and "0".
names = st.one_of(
    st.sampled_from(["a", "a-", "a.", "a0", "a.b", "A", "é", "sub", "sub.txt", ".hidden"]),
    st.text("ab.-0~ éß", min_size=1, max_size=4).filter(lambda name: name not in (".", "..")),
)
files = st.tuples(st.just("file"), st.binary(max_size=20), st.booleans())
links = st.tuples(st.just("link"), st.sampled_from(["a", "../b", "/nowhere", "é"]))
gitlinks = st.tuples(st.just("gitlink"))
trees = st.recursive(
    st.dictionaries(names, st.one_of(files, links, gitlinks), max_size=5),
    lambda inner: st.dictionaries(names, st.one_of(files, links, gitlinks, inner), max_size=5),
    max_leaves=20,
)


def make(folder, tree, below=""):
    """Make the tree in a folder; the paths of its submodules, whose folders are not made yet."""
    folder.mkdir()
    found = []
    for name, item in tree.items():
        place = folder / name
        if isinstance(item, dict):
            found += make(place, item, f"{below}{name}/")
        elif item[0] == "file":
            place.write_bytes(item[1])
            place.chmod(0o755 if item[2] else 0o644)
        elif item[0] == "link":
            place.symlink_to(item[1])
        else:
            found.append(f"{below}{name}")
    return found


def git_tree(folder, gitdir, gitlinks=()):
    """What git says, its own files kept outside of the folder."""
    place = {"GIT_DIR": os.fspath(gitdir), "GIT_WORK_TREE": os.fspath(folder)}
    git("init", "--quiet", cwd=folder, **place)
    git("add", "--all", "--force", ".", cwd=folder, **place)
    for path in gitlinks:
        git("update-index", "--add", "--cacheinfo", f"160000,{COMMIT},{path}", cwd=folder, **place)
    return git("write-tree", cwd=folder, **place)


@pytest.mark.programs("git")
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tree=trees)
@example(tree={name: ("gitlink",) if name == "sub" else ("file", b"", False) for name in ("sub", "sub.txt", "sub0")})
@example(
    tree={name: {"f": ("file", b"", False)} if name == "d" else ("file", b"", True) for name in ("d", "d.c", "d0")}
)
def test_it_is_gits_own(tmp_path, tree):
    base = Path(tempfile.mkdtemp(dir=tmp_path))
    pinned = make(base / "t", tree)
    expected = git_tree(base / "t", base / "git", pinned)
    for path in pinned:
        (base / "t" / path).mkdir()
        (base / "t" / path / "content.txt").write_text("not this tree's")
    assert treehash.tree_id(base / "t", dict.fromkeys(pinned, COMMIT)) == expected
    shutil.rmtree(base)


def test_an_empty_folder_is_gits_empty_tree(tmp_path):
    (tmp_path / "a/b").mkdir(parents=True)
    assert treehash.tree_id(tmp_path) == EMPTY


@pytest.mark.programs("git")
def test_a_name_that_is_not_utf8(tmp_path):
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / os.fsdecode(b"\xff\xfe")).write_text("x")
    assert treehash.tree_id(tmp_path / "t") == git_tree(tmp_path / "t", tmp_path / "git")


def test_a_changed_byte_bit_name_or_target_is_another_tree(tmp_path):
    def again():
        shutil.rmtree(tmp_path / "t", ignore_errors=True)
        make(tmp_path / "t", {"d": {"f": ("file", b"x", False), "l": ("link", "f")}})
        return tmp_path / "t" / "d"

    again()
    ids = {treehash.tree_id(tmp_path / "t")}
    (again() / "f").write_bytes(b"y")
    ids.add(treehash.tree_id(tmp_path / "t"))
    (again() / "f").chmod(0o755)
    ids.add(treehash.tree_id(tmp_path / "t"))
    (again() / "f").rename(tmp_path / "t/d/g")
    ids.add(treehash.tree_id(tmp_path / "t"))
    (again() / "l").unlink()
    (tmp_path / "t/d/l").symlink_to("g")
    ids.add(treehash.tree_id(tmp_path / "t"))
    (again() / ".git").write_text("never passed over")
    ids.add(treehash.tree_id(tmp_path / "t"))
    assert len(ids) == 6


def test_a_link_where_a_submodule_should_be_is_a_link(tmp_path):
    make(tmp_path / "t", {"real": {"f": ("file", b"x", False)}, "sub": ("link", "real")})
    assert treehash.tree_id(tmp_path / "t", {"sub": COMMIT}) == treehash.tree_id(tmp_path / "t")


@pytest.mark.parametrize("changed", [{"link": b"x"}, {"link": None}, {"sub/f": b"x"}, {"sub/new": b"x"}, {"d": b"x"}])
def test_a_change_to_a_link_or_behind_one_has_no_id(tmp_path, changed):
    make(tmp_path / "t", {"d": {"f": ("file", b"x", False)}, "link": ("link", "d/f"), "sub": ("link", "d")})
    with pytest.raises(ValueError, match="is no (folder|plain file) to change"):
        treehash.tree_id(tmp_path / "t", {}, changed)


def test_what_no_tree_can_hold(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="pipe is no file"):
        treehash.tree_id(tmp_path)
