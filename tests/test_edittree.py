"""build/edittree.py and build/worktree.py: a clean tree of one commit a patch, and what a person leaves there."""

import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from build import desk, editing, edittree, worktree
from build.errors import PatchError
from build.overlay import File, Overlay
from build.settings import REPO
from tests import gitkit
from tests.patchkit import FILES, ONE

pytestmark = pytest.mark.programs("git")


def users_git(folder, *argv, **env):
    """git as a person runs it there, under the configuration of the test's home."""
    environment = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], **env}
    return subprocess.run(
        ["git", *argv], cwd=folder, env=environment, check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
def at(bench):
    """The desk of the target, and its second patch of app being edited."""
    made = desk.prepare(bench.settings, None)
    return made, lay_out(made, 3)


def lay_out(at, number):
    return editing.edit(at, editing.pick(at, number))


def taken(at):
    made, edit = at
    state = next(
        step.before
        for step in editing.walk(made.trees["app"], made.series.of("app"), {})
        if step.patch.name == edit.patch
    )
    return worktree.taken(edit, state)


def content(edits):
    return {path: after.data if after else None for path, (_, after) in edits.items()}


# --- what is made --------------------------------------------------------------------------------------------------


def test_a_commit_of_the_source_then_one_of_each_patch(bench, at):
    folder = at[1].folder
    assert folder == bench.repo / "out/edit/demo/app"
    log = users_git(folder, "log", "--reverse", "--format=%an|%ae|%aI|%s").splitlines()
    assert log == [
        "spark-runtime|edit@spark-runtime.invalid|2026-09-21T14:13:20+00:00|app of demo, without patches",
        "Jörg Person|1@example.invalid|2026-11-21T12:00:00+01:00|Change 1: a title that is folded",
        "Jörg Person|3@example.invalid|2026-11-23T12:00:00+01:00|Change 3: a title that is folded",
    ]
    assert "Behaviour-Test: constant" in users_git(folder, "log", "-1", "--format=%b")
    assert users_git(folder, "rev-parse", "HEAD", "HEAD~1").split() == [at[1].commit, at[1].base]
    assert users_git(folder, "symbolic-ref", "HEAD") == "refs/heads/main"


def test_it_is_clean_and_whole(bench, at):
    folder = at[1].folder
    assert users_git(folder, "status", "--porcelain", "--ignored") == ""
    assert set(users_git(folder, "ls-files").splitlines()) == {*FILES, "link.py"}
    for path, data in FILES.items():
        assert (folder / path).read_bytes() == (bench.three if path == "src/app/one.py" else data)
    assert os.readlink(folder / "link.py") == "src/app/one.py"
    assert (folder / "run.sh").stat().st_mode & stat.S_IXUSR
    assert content(taken(at)) == {"src/app/one.py": bench.three}
    assert worktree.is_untouched(at[1])


def test_the_same_commits_on_any_machine(bench, at, monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    again = lay_out(at[0], 3)
    assert (again.base, again.commit) == (at[1].base, at[1].commit)


def test_a_user_s_git_changes_nothing_of_it(bench, at, hostile):
    again = lay_out(at[0], 3)
    assert (again.base, again.commit) == (at[1].base, at[1].commit)
    assert content(taken((at[0], again))) == {"src/app/one.py": bench.three}
    assert not (hostile / "was-run").exists()
    (hostile / ".gitconfig").write_text((hostile / ".gitconfig").read_text().split("[include]")[0])
    mine = {"HOME": str(hostile)}
    assert users_git(again.folder, "-c", "core.fsmonitor=false", "status", "--porcelain", **mine) == ""


def test_a_person_needs_no_identity_to_commit(at):
    (at[1].folder / "src/app/one.py").write_bytes(b"mine\n")
    users_git(at[1].folder, "commit", "--quiet", "--all", "--amend", "--no-edit")
    assert content(taken(at)) == {"src/app/one.py": b"mine\n"}


# --- what is left there --------------------------------------------------------------------------------------------


def meddle(folder):
    """All kinds of changes; what of them counts."""
    (folder / "src/app/one.py").write_bytes(ONE + b"more\n")
    (folder / "src/app/two words.py").unlink()
    (folder / "src/app/kept.log").write_bytes(b"tracked, ignored, changed\n")
    (folder / "src/new folder").mkdir()
    (folder / "src/new folder/new.py").write_bytes(b"\xff new\r\n")
    (folder / "src/app/empty.py").unlink()
    (folder / "src/app/empty.py").mkdir()
    (folder / "src/app/empty.py/inner.py").write_bytes(b"")
    (folder / "run.sh").chmod(0o644)
    tools_leftovers(folder)
    return {
        "src/app/one.py": ONE + b"more\n", "src/app/two words.py": None, "src/app/empty.py": None, "run.sh": b"#!/bin/sh\n",
        "src/app/kept.log": b"tracked, ignored, changed\n", "src/new folder/new.py": b"\xff new\r\n",
        "src/app/empty.py/inner.py": b"",
    }  # fmt: skip


def tools_leftovers(folder):
    (folder / "src/app/__pycache__").mkdir()
    (folder / ".pytest_cache").mkdir()
    for path in ("src/app/__pycache__/one.cpython-311.pyc", "src/app/old.pyc", ".pytest_cache/.gitignore",
                 "src/app/one.py.orig", "src/app/.one.py.swp", "src/app/one.py~"):  # fmt: skip
        (folder / path).write_bytes(b"*\n")


COMMITS = {
    "not committed": [],
    "staged": [["add", "--all"]],
    "amended": [["add", "--all"], ["commit", "--quiet", "--amend", "--no-edit"]],
    "two commits": [["commit", "--quiet", "-am", "1"], ["add", "--all"], ["commit", "--quiet", "-m", "2"]],
    "on a branch": [["checkout", "--quiet", "-b", "mine"], ["add", "--all"], ["commit", "--quiet", "-m", "2"]],
    "detached": [["checkout", "--quiet", "--detach"], ["add", "--all"], ["commit", "--quiet", "-m", "2"]],
    "history dropped": [["checkout", "--quiet", "--orphan", "x"], ["add", "--all"], ["commit", "--quiet", "-m", "1"]],
    "index dropped": [["read-tree", "--empty"]],
}


@pytest.mark.parametrize("how", COMMITS)
def test_what_lies_there_counts_committed_or_not(at, how):
    wanted = meddle(at[1].folder)
    for argv in COMMITS[how]:
        users_git(at[1].folder, *argv)
    found = taken(at)
    assert content(found) == wanted
    assert found["run.sh"][0].mode == "100755"
    assert found["run.sh"][1].mode == "100644"
    assert not worktree.is_untouched(at[1])


def test_an_ignored_file_counts_once_a_person_tracks_it(at):
    (at[1].folder / "wanted.log").write_bytes(b"wanted\n")
    users_git(at[1].folder, "add", "--force", "wanted.log")
    assert content(taken(at))["wanted.log"] == b"wanted\n"


def test_a_cache_never_counts(at):
    (at[1].folder / "x.pyc").write_bytes(b"\0")
    users_git(at[1].folder, "add", "--force", "x.pyc")
    assert set(taken(at)) == {"src/app/one.py"}


def test_a_merge_under_way_is_what_lies_there(at):
    folder = at[1].folder
    users_git(folder, "checkout", "--quiet", "-b", "other", "HEAD~1")
    (folder / "src/app/one.py").write_bytes(b"other\n")
    users_git(folder, "commit", "--quiet", "--all", "-m", "other")
    users_git(folder, "checkout", "--quiet", "main")
    with pytest.raises(subprocess.CalledProcessError):
        users_git(folder, "merge", "other")
    assert b"<<<<<<< HEAD" in content(taken(at))["src/app/one.py"]


def new_link(folder):
    (folder / "new.py").symlink_to("src")


def changed_link(folder):
    (folder / "link.py").unlink()
    (folder / "link.py").symlink_to("elsewhere")


def removed_link(folder):
    (folder / "link.py").unlink()


def file_to_link(folder):
    (folder / "run.sh").unlink()
    (folder / "run.sh").symlink_to("link.py")


def folder_to_link(folder):
    shutil.move(folder / "src", folder / "source")
    (folder / "src").symlink_to("source")


def a_repository(folder):
    gitkit.repository(folder / "inner")


def no_utf_8(folder):
    Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.py")).write_bytes(b"1\n")


@pytest.mark.parametrize(
    ("how", "said"),
    [
        (new_link, "new.py is not a plain file"), (changed_link, "cannot change the symbolic link link.py"),
        (removed_link, "cannot change the symbolic link link.py"), (file_to_link, "run.sh is not a plain file"),
        (folder_to_link, "is not a plain file"), (a_repository, "inner/ cannot be taken into app/0002-two.patch"),
        (no_utf_8, "cannot be taken into app/0002-two.patch"),
    ],
)  # fmt: skip
def test_what_no_patch_can_say_is_named(at, how, said):
    how(at[1].folder)
    with pytest.raises(PatchError) as caught:
        taken(at)
    assert said in caught.value.what
    assert caught.value.todo


# --- what no patch takes -------------------------------------------------------------------------------------------


def ignored(folder):
    (folder / "scratch/deep").mkdir(parents=True)
    (folder / "scratch/deep/helper.py").write_bytes(b"1\n")
    return "scratch/deep/helper.py: new, and the tree's .gitignore names it", "git add -f FILE"


def many_ignored(folder):
    for number in range(30):
        (folder / f"{number:02}.log").write_bytes(b"1\n")
    return "00.log: new", "and 20 more such files"


def ignored_where_a_person_said_so(folder):
    (folder / ".git/info/exclude").write_text("private.py\n")
    (folder / "private.py").write_bytes(b"1\n")
    return ("private.py: new",)


def ignored_repository(folder):
    gitkit.repository(folder / "scratch")
    return ("scratch/: new",)


def stash(folder):
    (folder / "src/app/one.py").write_bytes(b"mine\n")
    users_git(folder, "stash")
    return "refs/stash: a stash", "git stash pop"


def commit_elsewhere(folder, *after):
    users_git(folder, "checkout", "--quiet", "-b", "mine")
    (folder / "src/app/one.py").write_bytes(b"mine\n")
    users_git(folder, "commit", "--quiet", "--all", "-m", "mine")
    for argv in after:
        users_git(folder, *argv)
    users_git(folder, "checkout", "--quiet", "main")


def branch(folder):
    commit_elsewhere(folder)
    return "refs/heads/mine: commits that HEAD does not have", "git merge"


def tag(folder):
    commit_elsewhere(
        folder, ["tag", "-a", "-m", "x", "kept"], ["checkout", "--quiet", "main"], ["branch", "-D", "mine"]
    )
    return ("refs/tags/kept: commits that HEAD does not have",)


def branch_without_a_commit(folder):
    commit_elsewhere(folder)
    users_git(folder, "checkout", "--quiet", "--orphan", "empty")
    return ("refs/heads/mine: commits",)


HIDDEN = [
    ignored, many_ignored, ignored_where_a_person_said_so, ignored_repository, stash, branch, tag, branch_without_a_commit,
]  # fmt: skip


@pytest.mark.parametrize("how", HIDDEN)
def test_what_would_be_lost_with_the_tree_is_named(bench, at, how):
    folder = at[1].folder
    before = bench.patches()
    said = how(folder)
    for call in (bench.refresh, *(lambda number=number: lay_out(at[0], number) for number in (1, 2, 3, 4))):
        with pytest.raises(
            PatchError, match=r"more in the tree of app/0002-two\.patch than its patch would take"
        ) as caught:
            call()
        for part in (str(folder), *said):
            assert part in str(caught.value), part
    assert folder.is_dir()
    assert bench.patches() == before


@pytest.mark.parametrize("how", [ignored, stash])
def test_nor_is_it_lost_where_the_series_moved_on(bench, at, how):
    """The tree was made from other patches, and nobody touched a file that counts."""
    bench.refresh()
    lay_out(desk.prepare(bench.settings, None), 3)
    how(at[1].folder)
    path = bench.repo / "patches/demo/app/0001-one.patch"
    path.write_bytes(path.read_bytes().replace(b"Change 1", b"Change one"))
    with pytest.raises(PatchError, match="than its patch would take"):
        bench.refresh()
    assert at[1].folder.is_dir()


def test_what_a_person_tags_of_ours_is_nothing_more(bench, at):
    users_git(at[1].folder, "branch", "here")
    users_git(at[1].folder, "tag", "before", "HEAD~1")
    users_git(at[1].folder, "tag", "file", users_git(at[1].folder, "rev-parse", "HEAD:run.sh"))
    assert lay_out(at[0], 2).component == "lib"


def test_what_is_tracked_no_more_is_nothing_more(bench, at):
    """An ignored file of the series' own, out of the index, and its commit gone."""
    folder = at[1].folder
    users_git(folder, "read-tree", "--empty")
    worktree.require_nothing_else(at[1])
    users_git(folder, "add", "--all", "--force")
    users_git(folder, "checkout", "--quiet", "--orphan", "x")
    users_git(folder, "commit", "--quiet", "-m", "1")
    users_git(folder, "branch", "-D", "main")
    users_git(folder, "reflog", "expire", "--expire=now", "--all")
    users_git(folder, "gc", "--quiet", "--prune=now")
    worktree.require_nothing_else(at[1])
    assert content(taken(at)) == {"src/app/one.py": bench.three}


# --- one after the other, and killed runs --------------------------------------------------------------------------


def test_a_clean_tree_makes_room(bench, at):
    tools_leftovers(at[1].folder)
    other = lay_out(at[0], 2)
    assert other.folder == bench.repo / "out/edit/demo/lib"
    assert list((bench.repo / "out/edit/demo").iterdir()) == [other.folder]
    assert list((bench.repo / "out").iterdir()) == [bench.repo / "out/edit"]


def test_changes_are_never_lost(bench, at):
    before = meddle(at[1].folder)
    users_git(at[1].folder, "add", "--all")
    users_git(at[1].folder, "commit", "--quiet", "-m", "mine")
    for number in (1, 2, 3, 4):
        with pytest.raises(PatchError, match=r"app/0002-two\.patch is being edited") as caught:
            lay_out(at[0], number)
        for path in before:
            assert path in caught.value.why
        assert "--refresh --target demo" in caught.value.todo
    assert content(taken(at)) == before


def kill_in(bench, name):
    """Edit patch 3 in another process, which is killed where it comes to the function of that name."""
    code = (
        "import os, pathlib, sys\nfrom build import desk, editing, edittree\nfrom build.models import Settings\n"
        f"setattr(edittree, {name!r}, lambda *_: os.kill(os.getpid(), 9))\n"
        f"settings = Settings(repo=pathlib.Path({str(bench.repo)!r}), store=pathlib.Path({str(bench.settings.store)!r}))\n"
        "at = desk.prepare(settings, None)\nediting.edit(at, editing.pick(at, 3))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=REPO, check=False, capture_output=True, text=True)
    assert done.returncode == -9, done.stderr


@pytest.mark.parametrize("name", ["_commit", "_write_note", "_put_in_place"])
def test_a_killed_run_leaves_nothing_that_counts(bench, name):
    kill_in(bench, name)
    assert list((bench.repo / "out/scratch").iterdir())
    assert edittree.find(bench.repo, "demo") is None
    made = desk.prepare(bench.settings, None)
    again = lay_out(made, 3)
    assert content(taken((made, again))) == {"src/app/one.py": bench.three}
    assert not (bench.repo / "out/scratch").exists()


def test_a_run_that_is_killed_leaves_the_tree_that_was_there(bench, at):
    for name in ("_write_note", "_settle"):
        kill_in(bench, name)
        assert edittree.find(bench.repo, "demo").commit == at[1].commit


def test_a_tree_that_was_put_aside_comes_back(bench, at):
    folder = at[1].folder
    os.replace(folder, folder.with_name(".replaced-app"))
    assert edittree.find(bench.repo, "demo") == at[1]
    shutil.copytree(folder, folder.with_name(".replaced-app"), symlinks=True)
    assert edittree.find(bench.repo, "demo") == at[1]
    assert [path.name for path in folder.parent.iterdir()] == ["app"]


def others(parent):
    """Put things of a user's beside the tree; what they are."""
    (parent / ".vscode").mkdir()
    (parent / ".app").mkdir()
    for path in (".vscode/settings.json", ".app/mine", ".DS_Store", "notes.txt"):
        (parent / path).write_text("mine\n")
    return [".DS_Store", ".app", ".vscode", "notes.txt"]


def test_what_lies_beside_the_tree_is_nobody_s_business(bench, at):
    parent = at[1].folder.parent
    mine = others(parent)
    assert edittree.find(bench.repo, "demo") == at[1]
    other = lay_out(at[0], 2)
    assert sorted(path.name for path in parent.iterdir()) == [*mine[:-1], "lib", "notes.txt"]
    for name in ("_write_note", "_settle"):
        kill_in(bench, name)
        assert edittree.find(bench.repo, "demo") == other
    edittree.drop(bench.repo, other)
    assert edittree.find(bench.repo, "demo") is None
    assert sorted(path.name for path in parent.iterdir()) == mine
    assert (parent / ".vscode/settings.json").read_text() == "mine\n"


@pytest.mark.parametrize("damage", ["gone", "cut", "form", "two"])
def test_a_folder_that_is_none_of_ours(bench, at, damage):
    note = at[1].folder / edittree.NOTE / "note.json"
    if damage == "gone":
        shutil.rmtree(at[1].folder / ".git")
    elif damage == "cut":
        note.write_text(note.read_text()[:100])
    elif damage == "form":
        note.write_text(json.dumps({**json.loads(note.read_text()), "form": 99}))
    else:
        (at[1].folder.parent / "other").mkdir()
    for call in (lambda: lay_out(at[0], 3), bench.refresh):
        with pytest.raises(PatchError, match="is not a tree that") as caught:
            call()
        assert "rm -r out/edit/demo" in caught.value.todo
    assert (at[1].folder / "src/app/one.py").read_bytes() == bench.three


def test_dropping_leaves_no_empty_folders(bench, at):
    edittree.drop(bench.repo, at[1])
    assert edittree.find(bench.repo, "demo") is None
    assert not (bench.repo / "out/edit").exists()


def test_an_overlay_is_written_out_whole(tmp_path, at):
    tree = at[0].trees["app"]
    one = File(data=ONE)
    files = {
        **dict.fromkeys(path for path in FILES if path.startswith("src/")),
        "src": one,
        "run.sh": None,
        "run.sh/x": one,
    }
    Overlay(tree=tree, changed=files).write_out(tmp_path / "all")
    assert (tmp_path / "all/src").read_bytes() == (tmp_path / "all/run.sh/x").read_bytes() == ONE
    assert (tree / "src/app/empty.py").read_bytes() == b""
    names, links = Overlay(tree=tree, changed=files).names()
    assert names == {"src", "run.sh/x", ".gitignore", ".gitattributes"}
    assert links == {"link.py": "src/app/one.py"}
