"""build/onto.py: what `--onto` names, of a real index and real remotes; what is locked is not looked up."""

import pytest

from build import releases
from tests import gitkit, rebasekit
from tests.rebasekit import ANSWER

pytestmark = pytest.mark.programs("git")


@pytest.fixture
def demo(tmp_path, monkeypatch, capsys):
    with rebasekit.world(tmp_path, monkeypatch, capsys) as made:
        yield made


NAMED = """
[rebase.trees.fork]
series = "fork"
like = "demo"
git = "{url}"
commit = "{commit}"

[targets.demo]
"""
PINS = {"requirements/cuda.txt": b"flashinfer-python==0.1\n"}


@pytest.mark.parametrize("kind", ["tag", "branch", "commit"])
def test_onto_a_tag_a_branch_or_a_commit(demo, tmp_path, kind):
    files = {"vllm/answer.py": b"#\n#\n" + ANSWER, "requirements/cuda.txt": b"flashinfer-python==0.2\n"}
    remote = demo.remote(tmp_path / "srv/vllm", files).tag("preview-a")
    commit = remote.head
    remote.git("branch", "side")
    named = {"tag": "preview-a", "branch": "side", "commit": commit}[kind]
    status, found = demo.rebase_json(onto=named)
    assert status == 0
    assert found["patches"][0]["hunks"][0]["moved"] == 2
    assert found["versions"] == {"vllm": commit[:12], "flashinfer": "0.2"}
    assert found["onto"] == (named if kind != "commit" else commit[:12])


def test_a_reference_that_no_remote_has(demo, tmp_path):
    demo.remote(tmp_path / "srv/vllm", {"vllm/answer.py": ANSWER})
    status, _, said = demo.rebase(onto="nowhere")
    assert status == 14
    assert "no remote has a tag or branch nowhere" in said


@pytest.mark.parametrize("named", ["main", "v1.0.dev0", "1" * 40])
def test_offline_no_remote_is_asked(demo, tmp_path, named):
    demo.remote(tmp_path / "srv/vllm", {"vllm/answer.py": ANSWER, **PINS})
    (tmp_path / "srv").rename(tmp_path / "away")
    demo.index.asked.clear()
    status, _, said = demo.rebase(onto=named, offline=True)
    assert status == 22
    assert "--offline was asked for" in said
    assert demo.index.asked == []


# --- a release -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("named", ["1.1", "v1.1", "1.1.0", "v1.1.0"])
def test_a_locked_release_needs_no_network_however_it_is_written(demo, named):
    demo.rebase(onto="1.1")
    demo.index.asked.clear()
    status, _, said = demo.rebase(onto=named, offline=True)
    assert status == 0, said
    assert demo.index.asked == []


def test_a_release_that_no_lock_has_is_called_as_the_index_calls_it(demo):
    demo.release("1.2", ANSWER, "0.1")
    _, found = demo.rebase_json(onto="1.2.0")
    assert (found["onto"], found["versions"]) == ("v1.2", {"vllm": "1.2", "flashinfer": "0.1"})


def test_without_a_network_a_release_that_no_lock_has_cannot_be_known(demo):
    status, _, said = demo.rebase(onto="1.2", offline=True)
    assert status == 22
    assert "vllm 1.2 is in no lock" in said


def test_a_release_without_a_requirement_file_does_not_say_what_it_wants(demo):
    demo.publish("vllm", "0.7.3", {"vllm/answer.py": ANSWER}, {})
    status, _, said = demo.rebase(onto="0.7.3")
    assert status == 34
    assert "v0.7.3 does not say which flashinfer it wants: it has no requirements/cuda.txt" in said
    assert "vllm/0001.patch" not in said


def test_a_commit_without_a_requirement_file_does_not_say_either(demo, tmp_path):
    demo.remote(tmp_path / "srv/vllm", {"vllm/answer.py": ANSWER})
    status, _, said = demo.rebase(onto="main")
    assert status == 34
    assert "main does not say which flashinfer it wants: it has no requirements/cuda.txt" in said


@pytest.mark.parametrize("named", ["9.9", "1234567"])
def test_what_is_no_release_may_be_a_tag(demo, tmp_path, named):
    remote = demo.remote(tmp_path / "srv/vllm", {"vllm/answer.py": b"#\n" + ANSWER, **PINS})
    status, _, said = demo.rebase(onto=named)
    assert status == 14
    assert f"no remote has a tag or branch {named}" in said
    assert f"there is no version of vllm=={named}" in said
    assert "name a release that the index has, a tag, a branch or a commit" in said
    assert "change the target" not in said
    remote.tag(named)
    status, found = demo.rebase_json(onto=named)
    assert (status, found["onto"], found["versions"]["vllm"]) == (0, named, remote.head[:12])


def test_what_is_no_release_and_has_no_remote(demo):
    for named, why in (("9.9", "there is no version of vllm==9.9"), ("main", "names no `git`")):
        status, _, said = demo.rebase(onto=named)
        assert status == 14
        assert why in said
        assert "name a release that the index has, or give that component a `git`" in said


def test_a_commit_is_named_by_all_its_digits(demo, tmp_path):
    remote = demo.remote(tmp_path / "srv/vllm", {"vllm/answer.py": ANSWER})
    short = remote.head[:9]
    status, _, said = demo.rebase(onto=short)
    assert status == 14
    assert f"a commit, that by all its 40 digits (`git rev-parse {short}` says them)" in said
    (tmp_path / "srv").rename(tmp_path / "away")
    status, _, said = demo.rebase(onto=f"ab{short}")
    assert status == 21
    assert f"ab{short} could not be looked up" in said
    assert "40 digits" in said


# --- a tree of [rebase] --------------------------------------------------------------------------------------------


@pytest.fixture
def fork(demo, tmp_path):
    """A tree that is no release, locked."""
    remote = gitkit.repository(tmp_path / "srv/fork", {"vllm/answer.py": b"#\n" + ANSWER, **PINS})
    demo.edit("\n[targets.demo]\n", NAMED.format(url=remote.url, commit=remote.head))
    (demo.repo / "patches/fork").mkdir()
    (demo.repo / "patches/fork/series").write_text("demo/vllm/0001.patch\ndemo/flashinfer/0001.patch\n")
    demo.lock()
    return remote


def test_a_named_tree_is_locked_with_what_it_wants(demo, fork, tmp_path):
    (tree,) = releases.read(demo.repo).trees
    assert tree.source.commit == fork.head
    assert [(name, archive.version) for name, archive in tree.archives] == [("flashinfer", "0.1")]
    (tmp_path / "srv").rename(tmp_path / "away")
    demo.index.asked.clear()
    status, found = demo.rebase_json(onto="fork", offline=True)
    assert (status, found["versions"]) == (0, {"vllm": tree.source.commit[:12], "flashinfer": "0.1"})
    assert demo.index.asked == []


def test_a_named_tree_is_the_one_that_is_asked_for_now(demo, fork):
    before = fork.head
    fork.commit({"vllm/answer.py": b"#\n#\n#\n" + ANSWER})
    demo.edit(before, fork.head)
    status, found = demo.rebase_json(onto="fork")
    assert (status, found["versions"]["vllm"]) == (0, fork.head[:12])
    assert found["patches"][0]["hunks"][0]["moved"] == 3
    demo.lock()
    assert [tree.source.commit for tree in releases.read(demo.repo).trees] == [fork.head]


def test_what_else_changes_in_the_intent_looks_nothing_up_again(demo, fork, tmp_path):
    """A release less and a mirror more: the commit and the archives stay, and no remote is asked."""
    (before,) = releases.read(demo.repo).trees
    (tmp_path / "srv").rename(tmp_path / "away")
    demo.edit('releases = ["1.0", "1.1"]', 'releases = ["1.0"]')
    demo.edit('like = "demo"', 'like = "demo"\nmirrors = ["https://mirror.example/fork"]')
    demo.index.asked.clear()
    demo.lock()
    (after,) = releases.read(demo.repo).trees
    assert (after.archives, after.source.commit) == (before.archives, before.source.commit)
    assert after.source.mirrors == ("https://mirror.example/fork",)
    assert demo.index.asked == []


def test_where_the_requirement_file_is_another_what_they_want_is_read_again(demo, fork):
    demo.edit('requirement-file = "requirements/cuda.txt"', 'requirement-file = "requirements/other.txt"')
    demo.lock()
    locked = releases.read(demo.repo)
    assert [[name for name, _ in item.archives] for item in locked.releases] == [["vllm"], ["vllm"]]
    assert [tree.archives for tree in locked.trees] == [()]


def test_a_tree_that_cannot_be_reached_stays_as_it_was_locked(demo, fork, tmp_path, capsys):
    """What it wants would have to be read again, and the store lost it."""
    (before,) = releases.read(demo.repo).trees
    (tmp_path / "srv").rename(tmp_path / "away")
    (demo.settings.store / "trees").rename(tmp_path / "trees")
    demo.edit('releases = ["1.0", "1.1"]', 'releases = ["1.0"]')
    said = demo.lock().err
    assert "rebase.trees.fork: it stays as it was locked" in said
    assert releases.read(demo.repo).trees == (before,)
