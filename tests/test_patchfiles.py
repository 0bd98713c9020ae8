"""build/patchfiles.py: patches are written all or not at all, whoever ends the run in the middle of it."""

import os
import shutil

import pytest

from build import desk, patchfiles
from tests.patchkit import ONE_PY, PATCHES, edit, refused, run_killed, write

pytestmark = pytest.mark.programs("git")


@pytest.fixture
def refreshed(bench):
    """A repository whose patches are in the form that a refresh writes."""
    bench.refresh()
    return bench


def kill_refresh(bench, after):
    """A refresh, killed once it has put so many patches into their places."""
    run_killed(
        bench,
        "real, moved = os.replace, []\n"
        "def replace(source, target):\n"
        "    if str(target).endswith('.patch'):\n"
        f"        len(moved) == {after} and killed()\n"
        "        moved.append(target)\n"
        "    real(source, target)\n"
        "os.replace = replace\n"
        "with desk.writing(settings):\n"
        "    refreshing.refresh(desk.prepare(settings, None))\n",
    )


@pytest.mark.parametrize("after", [1, 2, 3])
def test_a_refresh_that_was_killed_is_finished_by_the_next(bench, capsys, after):
    before = bench.patches()
    kill_refresh(bench, after)
    done = {path for path, data in bench.patches().items() if ".refresh" not in path and data != before[path]}
    assert done == set(PATCHES[:after])
    (bench.repo / "patches/.refresh-4194305-x").mkdir()  # of a process that cannot be, before it had a plan
    bench.capsys.readouterr()
    with desk.writing(bench.settings):
        pass
    assert f"finished now: {', '.join(PATCHES[after:])}" in capsys.readouterr().err
    assert not list((bench.repo / "patches").glob(".*"))
    assert bench.refresh().startswith("nothing changed")


def test_a_refresh_that_was_killed_before_it_wrote_is_as_if_it_had_not_been(bench):
    before = bench.patches()
    kill_refresh(bench, 0)
    assert {path: data for path, data in bench.patches().items() if ".refresh" not in path} == before
    bench.run(edit=1)
    assert bench.patches() == before


@pytest.mark.parametrize("asked", [{"refresh": True}, {"edit": 1}, {"edit": 4}], ids=str)
def test_an_edit_that_moves_later_patches_survives_the_kill(refreshed, asked):
    """The edited patch is in its place, the one that moves with it is not: neither the edit nor the series is lost."""
    folder = refreshed.edit(1)
    wanted = edit(refreshed.three, (b"line 2\n", b"line 2\nmore\n"))
    write(folder, ONE_PY, edit(refreshed.two, (b"line 2\n", b"line 2\nmore\n")))
    kill_refresh(refreshed, 1)
    assert folder.is_dir()
    refreshed.run(**asked)
    assert refreshed.after()[ONE_PY] == wanted
    refreshed.refresh()
    assert not (refreshed.repo / "out/edit").exists()


def test_patches_that_a_person_changed_after_the_kill_are_theirs(refreshed):
    folder = refreshed.edit(1)
    write(folder, ONE_PY, edit(refreshed.two, (b"line 2\n", b"line 2\nmore\n")))
    kill_refresh(refreshed, 1)
    later = refreshed.repo / PATCHES[2]
    later.write_bytes(later.read_bytes().replace(b"line twenty", b"line XX"))
    for asked in ({"refresh": True}, {"edit": 1}):
        error = refused(refreshed, "a refresh was cut short", PATCHES[2], **asked)
        assert "rm -r " in error.todo
    assert folder.is_dir()
    (aside,) = (refreshed.repo / "patches").glob(".refresh-*")
    shutil.rmtree(aside)
    refused(refreshed, "app/0002-two.patch does not apply exactly")
    assert folder.is_dir()


def test_a_full_disk_in_the_middle_is_no_half(bench, monkeypatch):
    before, real, moved = bench.patches(), os.replace, []

    def second_fails(source, target):
        if str(target).endswith(".patch"):
            moved.append(target)
            if len(moved) == 2:
                raise OSError(28, "No space left on device")
        real(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(patchfiles.os, "replace", second_fails)
        with pytest.raises(OSError, match="No space"):
            bench.refresh()
    changed = {path for path, data in bench.patches().items() if data != before.get(path)} & set(PATCHES)
    assert changed == {PATCHES[0]}
    assert bench.refresh().startswith("nothing changed")
    assert {path for path, data in bench.patches().items() if data != before[path]} == set(PATCHES)


def test_what_another_living_run_writes_is_left_to_it(bench):
    theirs = bench.repo / f"patches/.refresh-{os.getppid()}-x"
    theirs.mkdir()
    mine = bench.repo / "patches/.refresh-notes"
    mine.write_text("a person's\n")
    bench.refresh()
    assert theirs.is_dir()
    assert mine.read_text() == "a person's\n"
