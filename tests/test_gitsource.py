"""build/gitsource.py: pinned sources from real remotes, moved tags, gone commits, other trees."""

from dataclasses import replace

import pytest

from build import gitsource, treehash
from build.errors import (
    GoneCommitError,
    LockError,
    MovedTagError,
    NetworkError,
    OfflineError,
    ResolveError,
)
from build.models import Settings, Submodule
from tests import gitkit
from tests.gitkit import repository
from tests.sourcekit import NOWHERE, clone, content, leftovers, resolve

pytestmark = pytest.mark.programs("git")


@pytest.fixture
def settings(tmp_path):
    return Settings(repo=tmp_path / "repo", store=tmp_path / "store")


# --- looking up ----------------------------------------------------------------------------------------------------


@pytest.fixture(params=["file", "git", "http"])
def served(request, tmp_path, remote):
    """The URL of the folder of repositories, over each transport."""
    root = tmp_path / "srv"
    if request.param == "file":
        yield root.as_uri()
    elif request.param == "git":
        with gitkit.daemon(root) as url:
            yield url
    else:
        with gitkit.http(root) as server:
            yield server.url


def test_a_tag_its_commit_its_tree_and_the_tree_itself(settings, remote, served):
    commit, tree = remote.git("rev-parse", "v1", "v1^{tree}").split()
    found = resolve(settings, f"{served}/a", mirrors=["https://mirror.example/a"])
    assert (found.commit, found.tree, found.tag, found.version) == (commit, tree, "v1", "1.0")
    assert found.mirrors == ("https://mirror.example/a",)
    folder = gitsource.ensure(settings, "a", found)
    assert content(folder) == {"pkg/a.py": b"a = 1\n", "run.sh": b"#!/bin/sh\n"}
    assert treehash.tree_id(folder) == tree
    assert leftovers(settings) == [folder]


@pytest.mark.parametrize("annotated", [False, True])
def test_a_tag_stands_for_its_commit_annotated_or_not(remote, annotated):
    remote.tag("v2", annotated=annotated)
    assert gitsource.lookup(remote.url, (), "v2") == remote.head


def test_a_commit_needs_no_tag(settings, remote):
    commit = remote.git("rev-parse", "v1")
    found = resolve(settings, remote.url, tag="", commit=commit)
    assert (found.commit, found.tag) == (commit, "")


def test_a_tag_that_moved_since_it_was_locked(settings, remote):
    locked = resolve(settings, remote.url)
    remote.tag("v1", force=True)
    with pytest.raises(MovedTagError, match="the tag v1 of a has moved") as caught:
        resolve(settings, remote.url, locked=locked)
    assert locked.commit in caught.value.why
    assert remote.head in caught.value.why
    assert f'commit = "{remote.head}"' in caught.value.todo
    assert resolve(settings, remote.url, locked=locked, commit=remote.head).commit == remote.head


def test_a_tag_that_is_not_where_the_intent_states(settings, remote):
    with pytest.raises(MovedTagError, match="has moved") as caught:
        resolve(settings, remote.url, commit=remote.head)
    assert "stated is" in caught.value.why
    assert remote.head in caught.value.why


def test_another_tag_or_another_remote_has_not_moved(settings, remote, tmp_path):
    locked = resolve(settings, remote.url)
    remote.tag("v2").tag("v1", force=True)
    assert resolve(settings, remote.url, tag="v2", locked=locked).commit == remote.head
    assert resolve(settings, clone(remote, tmp_path / "b").url, locked=locked).commit == remote.head


def test_a_tag_that_no_remote_has(settings, remote):
    with pytest.raises(ResolveError, match="no remote has the tag v9") as caught:
        resolve(settings, remote.url, mirrors=[NOWHERE], tag="v9")
    assert "has no such tag" in caught.value.why


def test_a_branch_is_no_tag(remote):
    with pytest.raises(ResolveError, match="no remote has the tag main"):
        gitsource.lookup(remote.url, (), "main")


def test_remotes_that_cannot_be_reached(settings, tmp_path):
    gone = (tmp_path / "gone").as_uri()
    with pytest.raises(NetworkError, match="the tag v1 could not be fetched") as caught:
        resolve(settings, NOWHERE, mirrors=[gone])
    assert NOWHERE in caught.value.why
    assert gone in caught.value.why
    assert not isinstance(caught.value, GoneCommitError)


def test_a_mirror_answers_where_the_remote_does_not(settings, remote):
    found = resolve(settings, NOWHERE, mirrors=[remote.url])
    assert (found.url, found.commit) == (NOWHERE, remote.git("rev-parse", "v1"))
    assert (gitsource.ensure(settings, "a", found) / "run.sh").exists()


def test_looking_up_takes_a_network(settings, remote):
    with pytest.raises(OfflineError, match="a is to be looked up"):
        resolve(replace(settings, offline=True), remote.url)
    with pytest.raises(OfflineError, match="main is to be looked up"):
        gitsource.lookup_any(replace(settings, offline=True), remote.url, (), "main")


def test_a_name_is_a_tag_or_else_a_branch(settings, remote):
    remote.git("branch", "v2")
    remote.tag("v3", annotated=True)
    found = [gitsource.lookup_any(settings, remote.url, (), name) for name in ("v1", "v2", "v3", "main")]
    assert found == [remote.git("rev-parse", "v1"), remote.head, remote.head, remote.head]
    remote.git("tag", "v2", "v1")
    assert gitsource.lookup_any(settings, remote.url, (), "v2") == found[0]


@pytest.mark.parametrize("url", ["-upload-pack=x", "ext::sh -c true", "ftp://git.example/a", "http://a\n.example/b"])
def test_a_url_that_git_would_do_something_else_with(settings, remote, url):
    for place in ({"url": url}, {"url": remote.url, "mirrors": [url]}):
        with pytest.raises(ResolveError, match="no URL that sources are fetched from"):
            resolve(settings, **place)


def test_a_commit_that_git_would_take_as_an_option(settings, remote, tmp_path):
    evil = replace(resolve(settings, remote.url), commit=f"--upload-pack=touch {tmp_path}/evil;")
    with pytest.raises(NetworkError):
        gitsource.ensure(settings, "a", evil)
    assert not (tmp_path / "evil").exists()


# --- a commit that is gone -------------------------------------------------------------------------------------------


def test_a_commit_that_a_forced_push_removed_comes_from_a_mirror(settings, remote, tmp_path):
    mirror = clone(remote, tmp_path / "mirror")
    source = resolve(settings, remote.url, mirrors=[mirror.url], tag="", commit=remote.head)
    remote.drop_history()
    assert content(gitsource.ensure(settings, "a", source))["pkg/a.py"] == b"a = 2\n"
    assert resolve(settings, remote.url, mirrors=[mirror.url], tag="", commit=source.commit) == source


def test_a_commit_that_is_gone_everywhere(settings, remote, tmp_path):
    mirror = clone(remote, tmp_path / "mirror")
    source = resolve(settings, remote.url, tag="", commit=remote.head)
    source = replace(source, mirrors=(mirror.url, NOWHERE))
    for item in (remote, mirror):
        item.git("config", "receive.denyCurrentBranch", "ignore")
    remote.drop_history()
    remote.git("push", "--quiet", "--mirror", mirror.url)
    mirror.git("gc", "--quiet", "--prune=now")
    for ask in (
        lambda: gitsource.ensure(settings, "a", source),
        lambda: resolve(settings, remote.url, mirrors=source.mirrors, tag="", commit=source.commit),
    ):
        with pytest.raises(GoneCommitError, match=f"the commit {source.commit} of a is gone") as caught:
            ask()
        assert "not our ref" in caught.value.why
        assert all(url in caught.value.why for url in (remote.url, mirror.url, NOWHERE))
        assert "mirror" in caught.value.todo
    assert leftovers(settings) == []


# --- another tree ----------------------------------------------------------------------------------------------------


def test_another_tree_than_was_locked(settings, remote):
    source = resolve(settings, remote.url)
    with pytest.raises(LockError, match="has another tree than was locked") as caught:
        gitsource.ensure(settings, "a", replace(source, tree="0" * 40))
    assert caught.value.why == f"expected {'0' * 40}, found {source.tree}"
    assert leftovers(settings) == []


def test_a_commit_that_the_server_replaces_is_the_real_one_or_none(settings, remote):
    source = resolve(settings, remote.url)
    remote.commit({"pkg/a.py": b"evil = 1\n"}, "evil")
    remote.git("replace", source.commit, remote.head)
    assert remote.git("show", f"{source.commit}:pkg/a.py") == "evil = 1"
    assert resolve(settings, remote.url) == source
    assert content(gitsource.ensure(settings, "a", source))["pkg/a.py"] == b"a = 1\n"


def test_the_same_tree_is_kept_once_wherever_it_comes_from(settings, remote, tmp_path):
    first = resolve(settings, remote.url)
    folder = gitsource.ensure(settings, "a", first)
    other = repository(tmp_path / "other", content(folder)).commit(message="again").tag("v1", annotated=True)
    second = resolve(settings, other.url)
    assert second.commit != first.commit
    assert gitsource.ensure(replace(settings, offline=True), "a", second) == folder


def raw_tree(remote, *rows):
    """A tree object with whatever names, as git would not write it."""
    data = b"".join(b"%b %b\0%b" % (mode, name, bytes.fromhex(item)) for mode, name, item in rows)
    return remote.git("hash-object", "-t", "tree", "-w", "--stdin", "--literally", data=data)


@pytest.mark.parametrize("names", [(b"..", b"evil"), (b".git", b"config"), (b".GIT", b"config"), (b".", b"evil")])
def test_a_tree_that_would_write_elsewhere(settings, remote, names):
    blob = remote.git("hash-object", "-w", "--stdin", data=b"evil\n")
    inner = raw_tree(remote, (b"100644", names[1], blob))
    tree = raw_tree(remote, (b"40000", names[0], inner))
    remote.git("reset", "--quiet", "--soft", remote.git("commit-tree", "-m", "evil", tree))
    source = resolve(settings, remote.url, tag="", commit=remote.head)
    with pytest.raises(LockError, match="cannot be written out") as caught:
        gitsource.ensure(settings, "a", source)
    assert "invalid path" in caught.value.why
    assert leftovers(settings) == []
    assert not list(settings.store.rglob("evil"))


@pytest.mark.parametrize("target", ["/etc/passwd", "../../outside", "pkg/../.."])
def test_a_link_that_leads_out_of_the_tree(settings, remote, target):
    (remote.folder / "out").symlink_to(target)
    remote.commit()
    with pytest.raises(LockError, match="cannot be used") as caught:
        gitsource.ensure(settings, "a", resolve(settings, remote.url, tag="", commit=remote.head))
    assert caught.value.why == "out links out of its tree"
    assert leftovers(settings) == []


def test_a_submodule_that_the_lock_places_elsewhere(settings, remote):
    source = resolve(settings, remote.url)
    stray = Submodule(path="../../evil", url=remote.url, commit=source.commit, tree=source.tree)
    with pytest.raises(LockError, match="lies outside of the tree"):
        gitsource.ensure(settings, "a", replace(source, submodules=(stray,)))
    assert not list(settings.store.rglob("evil"))
