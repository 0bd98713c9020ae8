"""Where `reproduce` works: what killed runs left is swept, what lives is left alone."""

import contextlib
import os

import pytest

from build import proc, store, workplace
from build.errors import EngineError, SpaceError


@pytest.fixture(autouse=True)
def _no_root(tmp_path, monkeypatch):
    """Mount points in a folder of the test's; what root would do, we do ourselves."""
    monkeypatch.setattr(workplace, "POINTS", tmp_path / "points")
    monkeypatch.setattr(proc, "as_root", lambda argv, purpose: list(argv))


@pytest.mark.programs("rm", "mkdir")
def test_a_workplace_is_gone_afterwards_whatever_happens(tmp_path):
    for fails in (False, True):
        made = workplace.opened(tmp_path / "store", tmp_path, size=1, disk=False)
        with contextlib.suppress(FileNotFoundError), made as there:
            assert there.work.is_dir()
            assert there.point.is_dir()
            assert there.disk == ""
            if fails:
                (tmp_path / "missing").read_bytes()
        assert list((tmp_path / "store/scratch").iterdir()) == []
        assert list(workplace.points(tmp_path / "store").iterdir()) == []


@pytest.mark.programs("rm", "mkdir")
def test_leftovers_of_killed_runs_are_swept_and_living_ones_stay(tmp_path):
    scratch = tmp_path / "store/scratch"
    dead, living, other = (
        scratch / "reproduce-999999999-x",
        scratch / f"reproduce-{os.getpid()}-y",
        scratch / "tree-1-z",
    )
    for folder in (dead, living, other):
        folder.mkdir(parents=True)
    (dead / "plan").write_text("half a pl")
    workplace.sweep(tmp_path / "store")
    assert sorted(path.name for path in scratch.iterdir()) == sorted([living.name, other.name])


def test_no_space_is_said_before_anything_is_made(tmp_path):
    with pytest.raises(SpaceError), workplace.opened(tmp_path / "store", tmp_path, size=10**18, disk=False):
        pass
    assert not (tmp_path / "store/scratch").exists() or store.content(tmp_path / "store") == (0, 0)


@pytest.mark.programs("rm", "mkdir")
def test_a_machine_without_loop_devices_is_told_what_it_lacks(tmp_path, monkeypatch):
    monkeypatch.setattr(workplace.os.path, "exists", lambda path: False)
    with pytest.raises(EngineError) as caught, workplace.opened(tmp_path / "store", tmp_path, size=1, disk=True):
        pass
    assert "loop devices" in caught.value.why
    assert "--vary the others" in caught.value.todo
