"""`patch`, `--edit` and `--refresh`: patches that are written anew, all of them or none."""

import json
import shutil

import pytest

from build import desk, edittree, lockfile, refreshing
from build.__main__ import main
from build.errors import LockError, OfflineError, UnresolvedError, UsageError
from build.models import Unresolved
from build.udiffparse import header as header_of
from tests.patchkit import LIB, ONE, ONE_PY, PATCHES, edit, header, refused, stamps, write
from tests.patchkit import hunk as hunk_over
from tests.test_edittree import COMMITS, users_git

pytestmark = pytest.mark.programs("git")


@pytest.fixture
def refreshed(bench):
    """A repository whose patches are in the form that a refresh writes."""
    bench.refresh()
    return bench


# --- --refresh without an edit ------------------------------------------------------------------------------------


def test_a_refresh_keeps_headers_and_effects_and_nothing_else(bench):
    before, effect = bench.patches(), (bench.after(), bench.after("lib"))
    out = bench.refresh()
    after = bench.patches()
    assert [line.removeprefix("written anew: ") for line in out.splitlines()[:4]] == PATCHES
    assert {path for path in after if after[path] != before[path]} == set(PATCHES)
    for path in PATCHES:
        assert header_of(after[path]) == header_of(before[path])
        assert b"\nindex " not in after[path]
        assert b"2.39.5" not in after[path]
    assert b"@@ -7,7 +7,7 @@ line 6\n" in after[PATCHES[0]]
    assert (bench.after(), bench.after("lib")) == effect


def test_two_refreshes_give_the_same_bytes_and_the_second_writes_nothing(refreshed):
    before, times = refreshed.patches(), stamps(refreshed)
    assert refreshed.refresh() == "nothing changed: the series is as a refresh writes it\n"
    assert (refreshed.patches(), stamps(refreshed)) == (before, times)
    assert not list((refreshed.repo / "patches").glob(".*"))


def test_what_to_do_next_is_said(bench):
    (bench.repo / "patches/other/series").write_text("# none\n")
    assert bench.refresh().splitlines()[-1] == (
        "next: nox -s lock -- --target demo, then nox -s patch -- --check --target demo"
    )


def test_who_borrows_what_was_written_is_said(bench):
    out = bench.refresh().splitlines()
    assert "the series 'other' lists one of them too: look at it as well" in out
    assert out[-1] == "next: nox -s lock, then nox -s patch -- --check --target demo"


def test_a_stale_lock_is_no_hindrance_and_none_is(bench):
    bench.patch("demo", "app/0003-new.patch", header(9) + CREATION_OF_TWO)
    assert "written anew" in bench.refresh()
    assert set(bench.after()) == {ONE_PY, "src/app/new.py", "src/app/newer.py"}
    lockfile.lock_path(bench.repo, "demo").unlink()
    refused(bench, "lock/demo.toml", kind=LockError)


CREATION_OF_TWO = b"".join(
    b"diff --git a/src/app/%s b/src/app/%s\nnew file mode 100644\n--- /dev/null\n+++ b/src/app/%s\n@@ -0,0 +1 @@\n+1\n"
    % (name, name, name)
    for name in (b"newer.py", b"new.py")
)


def test_a_source_that_is_not_there(bench):
    shutil.rmtree(bench.settings.store)
    refused(bench, "not in the store", kind=OfflineError)


def test_a_component_that_the_lock_does_not_know(bench):
    lock = lockfile.read_lock(bench.repo, "demo")
    lockfile.write_lock(bench.repo, lockfile.replace(lock, components=lock.components[:1]))
    refused(bench, "knows no component 'lib'", kind=LockError)


def test_a_series_that_does_not_apply_is_left_as_it_is(bench):
    bench.patch("demo", "app/0002-two.patch", header(3) + hunk_over(ONE_PY, ONE, edit(ONE, (b"line 3\n", b"3\n"))))
    refused(
        bench, "app/0002-two.patch does not apply exactly", ONE_PY, "hunk 1", "expected 'line 10'", "found 'line ten'"
    )


@pytest.mark.parametrize(
    "make", [lambda path: path.write_bytes(b"caf\xe9\n"), lambda path: (path.unlink(), path.mkdir())]
)
def test_another_series_that_cannot_be_read_is_told_before_anything_is_written(refreshed, make):
    folder = refreshed.edit(1)
    write(folder, ONE_PY, edit(refreshed.two, (b"line 2\n", b"line 2\nmore\n")))
    make(refreshed.repo / "patches/other/series")
    refused(refreshed, "patches/other/series cannot be read")
    assert folder.is_dir()


# --- --edit, then --refresh ---------------------------------------------------------------------------------------


def test_a_changed_patch_and_those_after_it(refreshed):
    before = refreshed.patches()
    folder = refreshed.edit(1)
    write(folder, ONE_PY, edit(refreshed.two, (b"line 2\n", b"line 2\nand more\nand more\n")))
    write(folder, "src/app/two words.py", b"first\r\nsecond\nthird\n")
    write(folder, "src/app/added one.py", b"\xff\xfe")
    write(folder, "src/app/latin.txt", b"caf\xe9!\n\xff\xfe\n")
    (folder / "src/app/empty.py").unlink()
    refreshed.refresh()
    after = refreshed.patches()
    assert {path for path in after if after[path] != before[path]} == {PATCHES[0], PATCHES[2]}
    assert all(header_of(after[path]) == header_of(before[path]) for path in PATCHES)
    assert refreshed.after() == {
        ONE_PY: edit(refreshed.three, (b"line 2\n", b"line 2\nand more\nand more\n")),
        "src/app/new.py": b"x = 1\ny = 2\n", "src/app/two words.py": b"first\r\nsecond\nthird\n",
        "src/app/added one.py": b"\xff\xfe", "src/app/latin.txt": b"caf\xe9!\n\xff\xfe\n", "src/app/empty.py": None,
    }  # fmt: skip
    assert not (refreshed.repo / "out/edit").exists()
    assert refreshed.refresh().startswith("nothing changed")


@pytest.mark.parametrize("how", COMMITS)
def test_however_it_was_committed(refreshed, how):
    folder = refreshed.edit(3)
    write(folder, ONE_PY, edit(refreshed.three, (b"line twenty\n", b"line 20!\n")))
    write(folder, "src/app/more.py", b"more\n")
    for argv in COMMITS[how]:
        users_git(folder, *argv)
    refreshed.refresh()
    assert refreshed.after()[ONE_PY] == edit(refreshed.three, (b"line twenty\n", b"line 20!\n"))
    assert refreshed.after()["src/app/more.py"] == b"more\n"


def test_an_edit_that_changes_nothing_changes_nothing(refreshed):
    before = refreshed.patches()
    for number in (1, 2, 3, 4):
        refreshed.edit(number)
    assert refreshed.refresh().startswith("nothing changed")
    assert refreshed.patches() == before
    assert not (refreshed.repo / "out/edit").exists()


def test_changing_it_back_gives_the_bytes_back(refreshed):
    before = refreshed.patches()
    for other in (edit(refreshed.two, (b"line 2\n", b"line 2\nmore\n")), refreshed.two):
        write(refreshed.edit(1), ONE_PY, other)
        refreshed.refresh()
    assert refreshed.patches() == before


def test_everything_undone_leaves_nothing_of_the_patch(refreshed):
    folder = refreshed.edit(4)
    (folder / "src/app/new.py").unlink()
    error = refused(refreshed, "nothing is left of app/0003-new.patch")
    assert "take it out of its series" in error.todo
    assert folder.is_dir()


def test_a_hostile_git_changes_no_byte_of_it(refreshed, hostile):
    folder = refreshed.edit(1)
    write(folder, ONE_PY, edit(refreshed.two, (b"line 2\n", b"line 2\nmore\r\n")))
    write(folder, ".gitattributes", b"*.py -diff\n")
    refreshed.refresh()
    assert refreshed.after() == {
        ONE_PY: edit(refreshed.three, (b"line 2\n", b"line 2\nmore\r\n")), "src/app/new.py": b"x = 1\ny = 2\n",
        ".gitattributes": b"*.py -diff\n",
    }  # fmt: skip
    assert not (hostile / "was-run").exists()


def test_a_new_patch_begins_with_its_header(refreshed):
    refreshed.patch("demo", "app/0004-more.patch", header(5))
    listed = [path.removeprefix("patches/demo/") for path in PATCHES]
    refreshed.list("demo", *listed, "app/0004-more.patch")
    refused(refreshed, "app/0004-more.patch has a header and no change", "--edit N")
    folder = refreshed.edit(5)
    assert users_git(folder, "log", "-1", "--format=%s", "--shortstat") == "Change 5: a title that is folded"
    write(folder, ONE_PY, edit(refreshed.three, (b"line 1\n", b"line one\n")))
    assert "written anew: patches/demo/app/0004-more.patch" in refreshed.refresh()
    assert refreshed.patches()["patches/demo/app/0004-more.patch"].startswith(header(5) + b"diff --git ")
    assert refreshed.after()[ONE_PY].startswith(b"line one\n")


def test_a_second_edit_names_what_it_would_lose(refreshed):
    folder = refreshed.edit(3)
    write(folder, "src/app/mine.py", b"1\n")
    for number in (1, 2, 3, 4):
        error = refused(refreshed, "app/0002-two.patch is being edited", "src/app/mine.py", edit=number)
        assert f"rm -r {folder}" in error.todo
    assert (folder / "src/app/mine.py").exists()


def test_patches_that_changed_under_an_edit(refreshed):
    folder = refreshed.edit(3)
    write(folder, "src/app/mine.py", b"1\n")
    path = refreshed.repo / PATCHES[0]
    before = path.read_bytes()
    path.write_bytes(before.replace(b"+line ten", b"+line TEN"))
    refreshed.patch(
        "demo", "app/0002-two.patch", (refreshed.repo / PATCHES[2]).read_bytes().replace(b"line ten", b"line TEN")
    )
    refused(refreshed, "app/0002-two.patch is being edited, and what its tree was made from has changed")
    refused(refreshed, "has changed", edit=3)
    assert (folder / "src/app/mine.py").exists()


def test_a_patch_that_was_changed_by_hand_while_it_was_edited(refreshed):
    write(refreshed.edit(3), "src/app/mine.py", b"1\n")
    path = refreshed.repo / PATCHES[2]
    path.write_bytes(path.read_bytes().replace(b"+line twenty", b"+line TWENTY"))
    refused(refreshed, "what its tree was made from has changed")


def test_patches_that_changed_under_a_tree_that_nobody_touched(refreshed):
    refreshed.edit(3)
    path = refreshed.repo / PATCHES[0]
    path.write_bytes(path.read_bytes().replace(b"+line ten", b"+line 10!"))
    path = refreshed.repo / PATCHES[2]
    path.write_bytes(path.read_bytes().replace(b"line ten", b"line 10!"))
    assert refreshed.refresh().startswith("nothing changed")
    assert not (refreshed.repo / "out/edit").exists()


def test_a_later_patch_may_come_or_go_meanwhile(refreshed):
    folder = refreshed.edit(3)
    write(folder, ONE_PY, edit(refreshed.three, (b"line 1\n", b"line one\n")))
    (refreshed.repo / PATCHES[3]).unlink()
    refreshed.list("demo", *(path.removeprefix("patches/demo/") for path in PATCHES[:3]))
    refreshed.refresh()
    assert refreshed.after()[ONE_PY].startswith(b"line one\n")


def test_an_ignored_file_goes_into_the_patch_once_a_person_adds_it(refreshed):
    """Its name is one of the tree's .gitignore; the rest of the edit needs it."""
    folder = refreshed.edit(3)
    write(folder, "scratch/helper.py", b"1\n")
    write(folder, ONE_PY, edit(refreshed.three, (b"line 1\n", b"import helper\n")))
    error = refused(refreshed, "scratch/helper.py: new, and the tree's .gitignore names it")
    assert "git add -f" in error.todo
    assert (folder / "scratch/helper.py").exists()
    users_git(folder, "add", "-f", "scratch/helper.py")
    refreshed.refresh()
    assert refreshed.after()["scratch/helper.py"] == b"1\n"
    assert not folder.exists()


def test_a_tree_is_dropped_once_everything_is_written_and_not_before(refreshed, monkeypatch):
    """Its change is in the series, and a later patch does not apply: the refresh stops, and the tree is there."""
    folder = refreshed.edit(3)
    write(folder, ONE_PY, edit(refreshed.three, (b"line 1\n", b"line one\n")))
    with monkeypatch.context() as patched:
        patched.setattr(edittree, "drop", lambda *_: None)
        refreshed.refresh()
    refreshed.patch("demo", "app/0003-new.patch", header(4) + hunk_over(ONE_PY, ONE, refreshed.two))
    refused(refreshed, "app/0003-new.patch does not apply exactly")
    assert folder.is_dir()


def test_a_refresh_that_was_killed_before_it_dropped_the_tree(refreshed, monkeypatch):
    write(refreshed.edit(3), ONE_PY, edit(refreshed.three, (b"line 1\n", b"line one\n")))
    with monkeypatch.context() as patched:
        patched.setattr(edittree, "drop", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            refreshed.refresh()
    assert refreshed.after()[ONE_PY].startswith(b"line one\n")
    assert refreshed.refresh().startswith("nothing changed")
    assert not (refreshed.repo / "out/edit").exists()


# --- a later patch that does not fit any more ---------------------------------------------------------------------


@pytest.fixture
def clashing(refreshed):
    """An edit of the first patch that takes lines away from the third of the series, and moves others."""
    folder = refreshed.edit(1)
    write(folder, ONE_PY, edit(refreshed.two, (b"line 2\n", b"line 2\nmore\n"), (b"line 19\n", b"line nineteen\n")))
    return refreshed


def test_a_conflict_writes_nothing_and_says_where(clashing):
    error = refused(
        clashing, "app/0002-two.patch", ONE_PY, "hunk 1, line 20", "expected 'line 19'", "found 'line nineteen'",
        "nothing was written", "nox -s patch -- --edit 3 --target demo",
    )  # fmt: skip
    assert error.exit_code == 30
    assert (clashing.repo / "out/edit/demo/app").is_dir()


def test_the_patch_that_clashes_is_edited_on_top(clashing):
    before = clashing.patches()
    refused(clashing, "app/0001-one.patch is being edited", edit=4)
    out = clashing.run(edit=3)
    folder = clashing.repo / "out/edit/demo/app"
    assert "on top of app/0001-one.patch as you edited it" in out
    assert f"merged by git, look at it: {ONE_PY}" in out
    assert clashing.patches() == before
    marked = (folder / ONE_PY).read_bytes()
    for part in (
        b"<<<<<<< as edited\nline nineteen\n",
        b"||||||| as it was\n",
        b">>>>>>> app/0002-two.patch\n",
        b"and a half\n",
    ):
        assert part in marked
    assert users_git(folder, "status", "--porcelain") == ""
    refused(clashing, f"a conflict is left in {ONE_PY}, line 20")
    refused(clashing, "app/0002-two.patch is being edited", "app/0001-one.patch", edit=3)
    wanted = edit(
        clashing.three, (b"line 2\n", b"line 2\nmore\n"), (b"line 19\nline twenty\n", b"line nineteen, twenty\n")
    )
    write(folder, ONE_PY, wanted)
    assert clashing.refresh().splitlines()[:2] == [f"written anew: {PATCHES[0]}", f"written anew: {PATCHES[2]}"]
    assert clashing.after()[ONE_PY] == wanted
    assert all(header_of(data) == header_of(clashing.patches()[path]) for path, data in before.items())
    assert clashing.refresh().startswith("nothing changed")


def test_what_waits_is_not_lost_either(clashing):
    clashing.run(edit=3)
    for number in (1, 2, 3, 4):
        refused(clashing, "being edited", edit=number)


def test_a_file_that_is_gone_clashes_too(refreshed):
    folder = refreshed.edit(1)
    (folder / ONE_PY).unlink()
    refused(refreshed, "app/0002-two.patch", "there is no such file")
    refreshed.run(edit=3)
    assert b"<<<<<<< as edited\n" in (folder / ONE_PY).read_bytes()
    (folder / ONE_PY).unlink()
    write(folder, "src/app/instead.py", b"1\n")
    refreshed.refresh()
    assert refreshed.after() == {ONE_PY: None, "src/app/instead.py": b"1\n", "src/app/new.py": b"x = 1\ny = 2\n"}


def test_a_file_that_an_edit_creates_first(refreshed):
    folder = refreshed.edit(1)
    write(folder, "src/app/new.py", b"x = 0\n")
    refused(refreshed, "app/0003-new.patch", "src/app/new.py", "there is one of that name", "--edit 4")
    refreshed.run(edit=4)
    write(folder, "src/app/new.py", b"x = 1\n")
    refreshed.refresh()
    assert refreshed.after()["src/app/new.py"] == b"x = 1\n"


# --- patches of another series ------------------------------------------------------------------------------------


def test_a_borrowed_patch_is_never_written(bench):
    error = refused(bench, "patches/demo/app/0001-one.patch is of the series 'demo'", refresh=True, target="other")
    assert "refresh a target of the series 'demo'" in error.todo
    bench.refresh()
    assert bench.refresh(target="other") == "nothing changed: the series is as a refresh writes it\n"


def test_a_borrowed_patch_is_not_edited_here(refreshed):
    error = refused(refreshed, "app/0001-one.patch is of the series 'demo'", edit=1, target="other")
    assert "edit it through a target of 'demo'" in error.todo
    assert "patches/other/app/0001-one.patch" in error.todo
    assert not (refreshed.repo / "out").exists()


def test_an_own_patch_before_a_borrowed_one(refreshed):
    own = header(8) + hunk_over(ONE_PY, ONE, edit(ONE, (b"line 2\n", b"two\n")))
    refreshed.patch("other", "app/0000-own.patch", own)
    refreshed.list("other", "app/0000-own.patch", "demo/app/0001-one.patch")
    assert "written anew: patches/other/app/0000-own.patch" in refreshed.refresh(target="other")
    folder = refreshed.edit(1, target="other")
    write(folder, ONE_PY, edit(ONE, (b"line 2\n", b"two\nand more\n")))
    error = refused(refreshed, "is of the series 'demo'", "moves its lines", refresh=True, target="other")
    assert error.todo == "copy it to patches/other/app/0001-one.patch and list it there"
    write(folder, ONE_PY, edit(ONE, (b"line 2\n", b"TWO\n")))
    refreshed.refresh(target="other")
    assert refreshed.after(name="other")[ONE_PY] == edit(refreshed.two, (b"line 2\n", b"TWO\n"))


# --- a series that changed since it was locked ---------------------------------------------------------------------


WAYS = ["plain", "check", "output"]


def way(name, tmp_path):
    """The options that apply a series in this way."""
    return {"plain": {"check": False}, "check": {"check": True}, "output": {"output": tmp_path / "trees"}}[name]


def differing(bench):
    bench.patch("demo", "app/0002-two.patch", header(3) + hunk_over(ONE_PY, ONE, edit(ONE, (b"line 3\n", b"3\n"))))
    return "does not apply exactly", "hunk 1, line 10: expected 'line 10', found 'line ten'"


def moved(bench):
    one = edit(bench.two, (b"line 1\n", b"zero\nline 1\n"))
    bench.patch("demo", "app/0001-one.patch", header(1) + hunk_over(ONE_PY, ONE, one))
    return "does not apply exactly", "hunk 1, line 1: expected 'line 1', found 'zero'", "line 2 (offset +1)"


def there(bench):
    bench.patch("demo", "app/0002-two.patch", header(3) + hunk_over(ONE_PY, ONE, bench.two))
    return "is already applied", "hunk 1: its new lines stand at line 1"


def lonely(bench):
    bench.patch("demo", "app/0002-two.patch", header(3))
    return "has a header and no change", "--edit N"


@pytest.mark.parametrize("how", [differing, moved, there, lonely])
@pytest.mark.parametrize("name", WAYS)
def test_why_it_does_not_apply_is_told_before_the_lock(bench, tmp_path, how, name):
    said = how(bench)
    error = refused(bench, "app/0002-two.patch", *said, **way(name, tmp_path))
    assert error.exit_code == (33 if how is there else 30)
    assert not (tmp_path / "trees").exists()


@pytest.mark.parametrize("name", WAYS)
def test_where_it_applies_the_lock_is_stale(bench, tmp_path, name):
    bench.patch("demo", "app/0002-two.patch", header(5) + hunk_over(ONE_PY, bench.two, bench.three))
    refused(bench, "lock/demo.toml is stale", "patches/demo is not", kind=LockError, **way(name, tmp_path))
    assert not (tmp_path / "trees").exists()


@pytest.mark.parametrize("name", WAYS)
def test_without_the_sources_there_is_still_the_lock_to_name(bench, tmp_path, name):
    differing(bench)
    shutil.rmtree(bench.settings.store)
    refused(bench, "lock/demo.toml is stale", kind=LockError, **way(name, tmp_path))


def test_a_component_that_came_later_is_for_the_lock_to_learn(bench):
    lock = lockfile.read_lock(bench.repo, "demo")
    patches = tuple(ref for ref in lock.patches if ref.component == "app")
    lockfile.write_lock(bench.repo, lockfile.replace(lock, components=lock.components[:1], patches=patches))
    refused(bench, "lock/demo.toml is stale", kind=LockError, check=False)


# --- a commit that the lock left open ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", WAYS)
def test_a_commit_that_is_left_open_is_told_as_that(bench, tmp_path, name):
    lock = lockfile.read_lock(bench.repo, "demo")
    left = Unresolved(what="components.app.git", wanted="https://example.invalid/app v1", why="not reached")
    lockfile.write_lock(bench.repo, lockfile.replace(lock, unresolved=(left,)))
    asked = {**way(name, tmp_path), "source": "git"}
    error = refused(bench, "leaves the commit of app open", "not reached", kind=UnresolvedError, **asked)
    assert "leave out `--from git`" in error.todo


# --- the command line ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [0, -1, 5, 99])
def test_a_number_that_is_none(bench, number):
    error = refused(bench, f"has no patch {number}", kind=UsageError, edit=number)
    assert "3  app/0002-two.patch" in error.why


@pytest.mark.parametrize("argv", [["--refresh", "--edit", "1"], ["--edit", "1", "--output", "x"], ["--edit", "one"]])
def test_options_that_exclude_each_other(argv, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["patch", *argv])
    assert caught.value.code == 2


@pytest.mark.parametrize("asked", [{"edit": 1}, {"refresh": True}])
def test_patches_are_not_written_for_a_commit(bench, asked):
    refused(bench, "the locked source archives", kind=UsageError, source="git", **asked)


def test_everything_as_json(refreshed):
    told = json.loads(refreshed.run(edit=3, json=True))
    folder = refreshed.repo / "out/edit/demo/app"
    assert told.items() >= {
        "target": "demo", "series": "demo", "number": 3, "patch": "app/0002-two.patch", "folder": str(folder),
        "merged": [], "waiting": [],
    }.items()  # fmt: skip
    assert users_git(folder, "rev-parse", "HEAD~1", "HEAD").split() == [told["base"], told["commit"]]
    write(folder, ONE_PY, edit(refreshed.three, (b"line 1\n", b"line one\n")))
    assert json.loads(refreshed.run(refresh=True, json=True)) == {
        "target": "demo", "series": "demo", "edited": "app/0002-two.patch", "written": [PATCHES[2]], "borrowers": [],
    }  # fmt: skip


def test_two_runs_do_not_write_at_once(bench, monkeypatch):
    monkeypatch.setattr(desk.store, "WAIT_SECONDS", 0)
    held = []
    real = refreshing.refresh
    monkeypatch.setattr(
        refreshing,
        "refresh",
        lambda at: held.append(desk.store.is_held(bench.settings.store, _lock(bench))) or real(at),
    )
    bench.refresh()
    assert held == [True]
    assert not desk.store.is_held(bench.settings.store, _lock(bench))


def _lock(bench):
    (path,) = (bench.settings.store / "locks").glob("patches-*")
    return path.stem


def test_the_edit_of_one_component_leaves_the_others(refreshed):
    folder = refreshed.edit(2)
    write(folder, "lib/lib.py", edit(LIB["lib/lib.py"], (b"lib 5\n", b"lib five\n")))
    before = refreshed.patches()
    refreshed.refresh()
    changed = {path for path, data in refreshed.patches().items() if data != before[path]}
    assert changed == {PATCHES[1]}
