"""build/releases.py: lock/rebase.toml as written and read; what a requirement file pins."""

from dataclasses import asdict, replace

import pytest

from build import lockform, releases
from build.errors import LockError
from build.models import GitSource, SourceArchive, Submodule, Unresolved
from build.releases import NamedTree, Release, Releases
from build.settings import REPO

ARCHIVE = SourceArchive(name="vllm", version="1.0", file="vllm-1.0.tar.gz", sha256="ab" * 32, size=3)
SOURCE = GitSource(
    url="https://git.example/a", tag="", commit="1" * 40, tree="2" * 40, mirrors=("https://git.example/b",),
    submodules=(Submodule(path="x", url="https://git.example/x", commit="3" * 40, tree="4" * 40),),
)  # fmt: skip
OPEN = Unresolved(what="trees.fork", wanted="https://git.example/f " + "5" * 40, why="its remote could not be reached")
LOCKED = Releases(
    intent="cd" * 32,
    releases=(
        Release(version="1.0", archives=(("vllm", ARCHIVE), ("flashinfer", replace(ARCHIVE, name="flashinfer")))),
        Release(version="2.0", archives=(("vllm", replace(ARCHIVE, version="2.0")),)),
    ),
    trees=(
        NamedTree(name="fork", source=None),
        NamedTree(name="read", source=SOURCE, archives=(("flashinfer", replace(ARCHIVE, name="flashinfer")),)),
    ),
    unresolved=(OPEN,),
)


def written(folder, locked=LOCKED):
    (folder / "lock").mkdir(exist_ok=True)
    (folder / releases.FILE).write_text(releases.text(locked))
    return folder


def test_it_is_read_as_it_was_written(tmp_path):
    assert releases.read(written(tmp_path), intent=LOCKED.intent) == LOCKED
    assert releases.text(releases.read(tmp_path)) == releases.text(LOCKED)


def test_ours_is_written_as_it_was_read():
    assert releases.text(releases.read(REPO)) == (REPO / releases.FILE).read_text()


def test_a_stale_or_an_edited_one_is_refused(tmp_path):
    with pytest.raises(LockError, match="is stale"):
        releases.read(written(tmp_path), intent="0" * 64)
    path = tmp_path / releases.FILE
    path.write_text(path.read_text().replace("ab" * 32, "ba" * 32))
    with pytest.raises(LockError, match="was edited by hand"):
        releases.read(tmp_path)


def test_a_tree_that_was_locked_without_what_it_wants_is_locked_again(tmp_path):
    """As an older version of this tool wrote it: what such a tree wants was looked up each time."""
    data = {"intent": LOCKED.intent, "archives": [], "unresolved": [], "trees": {"read": asdict(SOURCE)}}
    (tmp_path / "lock").mkdir()
    (tmp_path / releases.FILE).write_text(lockform.text(releases.HEADER, releases.SCHEMA, data))
    with pytest.raises(LockError, match="written by an older version") as caught:
        releases.read(tmp_path)
    assert "trees.read" in caught.value.why


def test_a_release_is_found_however_its_version_is_written():
    assert {LOCKED.release(text) for text in ("1", "1.0", "v1.0.0")} == {LOCKED.releases[0]}
    assert {LOCKED.release(text) for text in ("1.0.1", "3", "main")} == {None}


def test_a_tree_is_held_while_it_is_what_is_asked_for():
    (_, read) = LOCKED.trees
    asked = {"url": SOURCE.url, "mirrors": SOURCE.mirrors, "commit": SOURCE.commit}
    assert LOCKED.tree("read", **asked) == read
    assert LOCKED.tree("read", **{**asked, "mirrors": ()}) == replace(read, source=replace(SOURCE, mirrors=()))
    for other in ({"url": "https://git.example/z"}, {"commit": "9" * 40}):
        assert LOCKED.tree("read", **{**asked, **other}) is None
    assert LOCKED.tree("fork", **asked) is LOCKED.tree("none", **asked) is None


@pytest.mark.parametrize(
    ("line", "version"),
    [
        ("flashinfer-python==0.7.0.post1", "0.7.0.post1"),
        ("flashinfer_python == 0.6.8 ; python_version > '3'", "0.6.8"),
        ("FlashInfer-Python[cu13]==0.6.11.post2  # with vLLM", "0.6.11.post2"),
        ("# flashinfer-python==0.1\nflashinfer-cubin==0.2\n  flashinfer-python==0.3", ""),
        ("flashinfer-python>=0.7", ""),
        ("flashinfer-python-extra==0.7", ""),
    ],
)
def test_what_a_requirement_file_pins(line, version):
    assert releases.pinned(f"--extra-index-url x\n{line}\ntorch==2\n", "flashinfer-python") == version
