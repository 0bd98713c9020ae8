"""`nox -s lock` and git sources: tags, commits, externals, and remotes that move or cannot be reached."""

import pytest

from build import drafts, gitsource, steps
from build.errors import GoneCommitError, MovedTagError
from build.lockfile import read_lock
from tests import gitkit
from tests.lockkit import MODULE, PINS


def with_git(world, url, tag='tag = "v1"'):
    world.edit('distribution = "app"', f'distribution = "app"\ngit = "{url}"\n{tag}')


@pytest.fixture
def upstream(tmp_path):
    files = {"src/app.py": MODULE, "requirements/run.txt": PINS}
    return gitkit.repository(tmp_path / "upstream", files).tag("v1", annotated=True)


@pytest.mark.programs("git")
def test_a_tag_is_locked_as_commit_and_tree(world, upstream):
    with_git(world, upstream.url)
    world.lock()
    source = read_lock(world.repo, "demo").components[0].git
    assert (source.commit, source.tree, source.version) == (upstream.head, upstream.tree, "1.0")
    assert read_lock(world.repo, "demo").unresolved == ()
    assert world.lock().out == "nothing changed\n"


@pytest.mark.programs("git")
def test_a_tag_that_moved_is_refused_with_both_commits(world, upstream, monkeypatch):
    monkeypatch.setattr(drafts, "of_debs", lambda *_, **__: [])
    with_git(world, upstream.url)
    world.lock()
    old = upstream.head
    upstream.commit({"new": b"x"}).tag("v1", force=True)
    assert world.lock().out == "nothing changed\n", "a locked source is not asked for again"
    with pytest.raises(MovedTagError) as caught:
        world.lock(upgrade=[])
    assert old in caught.value.why
    assert upstream.head in caught.value.why
    with_git(world, upstream.url, f'commit = "{upstream.head}"\n')
    world.edit(f'git = "{upstream.url}"\ntag = "v1"\n', "")
    world.edit(f'commit = "{upstream.head}"', f'tag = "v1"\ncommit = "{upstream.head}"')
    world.lock()
    assert read_lock(world.repo, "demo").components[0].git.commit == upstream.head


@pytest.mark.programs("git")
def test_an_edit_of_the_intent_keeps_the_locked_commit_though_the_tag_moved(world, upstream, tmp_path):
    with_git(world, upstream.url)
    world.lock()
    source = read_lock(world.repo, "demo").components[0].git
    upstream.commit({"new": b"x"}).tag("v1", force=True)
    world.edit("constraints = []", 'constraints = ["other<9"]')
    world.lock()
    assert read_lock(world.repo, "demo").components[0].git == source
    upstream.folder.rename(tmp_path / "away")
    world.edit("other<9", "other<8")
    world.lock()
    assert read_lock(world.repo, "demo").components[0].git == source
    path = world.repo / "lock" / "demo.toml"
    path.write_text(path.read_text().replace("schema = 2", "schema = 1"))
    world.lock()
    assert read_lock(world.repo, "demo").components[0].git == source


@pytest.mark.programs("git")
def test_another_tag_is_asked_for(world, upstream):
    with_git(world, upstream.url)
    world.lock()
    upstream.commit({"new": b"x"}).tag("v2")
    world.edit('tag = "v1"', 'tag = "v2"')
    world.lock()
    assert read_lock(world.repo, "demo").components[0].git.commit == upstream.head


@pytest.mark.programs("git")
def test_a_commit_that_is_gone_ends_the_lock(world, upstream):
    with_git(world, upstream.url, f'commit = "{"1" * 40}"')
    with pytest.raises(GoneCommitError, match="1" * 12):
        world.lock()


@pytest.mark.programs("git")
def test_a_remote_that_cannot_be_reached_is_left_open_and_filled_later(world, upstream, tmp_path):
    away = tmp_path / "away"
    upstream.folder.rename(away)
    with_git(world, upstream.url)
    assert "left open" in world.lock().err
    assert [item.what for item in read_lock(world.repo, "demo").unresolved] == ["components.app.git"]
    assert "left open, and not needed to build: demo components.app.git" in world.lock(check=True).out
    before = world.files()
    world.lock()
    assert world.files() == before
    away.rename(upstream.folder)
    assert "app: commit " in world.lock().out
    assert read_lock(world.repo, "demo").unresolved == ()


@pytest.mark.programs("git")
def test_external_sources_are_locked_with_their_submodules(world, tmp_path):
    inner = gitkit.repository(tmp_path / "inner", {"i.h": b"i"})
    outer = gitkit.repository(tmp_path / "outer", {"o.h": b"o"}).submodule("deps/inner", inner.url, inner).tag("v4")
    world.intent.write_text(
        world.intent.read_text() + f'\n[targets.demo.externals.cutlass]\ngit = "{outer.url}"\ntag = "v4"\n'
    )
    world.lock()
    (external,) = read_lock(world.repo, "demo").externals
    assert (external.name, external.source.commit, external.source.tree) == ("cutlass", outer.head, outer.tree)
    steps.fetch_sources(steps.load(world.settings, "demo"))
    tree = world.settings.store / "trees" / gitsource.tree_id(external.source)
    assert (tree / "deps" / "inner" / "i.h").read_bytes() == b"i"
    (nested,) = external.source.submodules
    assert (nested.path, nested.commit, nested.tree) == ("deps/inner", inner.head, inner.tree)
    world.lock(check=True)


@pytest.mark.programs("git")
def test_without_git_a_source_is_left_open(world, upstream, tmp_path, monkeypatch):
    with_git(world, upstream.url)
    monkeypatch.setenv("PATH", str(gitkit.without_git(tmp_path / "bin")))
    assert "it is left open" in world.lock().err
    assert [item.what for item in read_lock(world.repo, "demo").unresolved] == ["components.app.git"]
