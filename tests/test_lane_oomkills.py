"""dockerfiles/lane/oomkills.py: which of the kernel's counters says how many processes it ended."""

import sys

import pytest

from build.settings import REPO


@pytest.fixture
def lane(monkeypatch):
    monkeypatch.syspath_prepend(str(REPO / "dockerfiles" / "lane"))
    import oomkills

    yield oomkills
    monkeypatch.delitem(sys.modules, "oomkills")


def kernel(root, *, machine=None, group="/", groups=()):
    """A /proc and a /sys/fs/cgroup; ``groups``: folder → what its memory.events counts."""
    proc, cgroup = root / "proc", root / "cgroup"
    (proc / "self").mkdir(parents=True, exist_ok=True)
    (proc / "self" / "cgroup").write_text(f"4:memory:/elsewhere\n0::{group}\n", encoding="utf-8")
    if machine is not None:
        (proc / "vmstat").write_text(f"pgfault 9\noom_kill {machine}\n", encoding="utf-8")
    for name, count in dict(groups).items():
        (cgroup / name).mkdir(parents=True, exist_ok=True)
        text = f"low 0\noom 8\noom_kill {count}\noom_group_kill 6\n"
        (cgroup / name / "memory.events").write_text(text, encoding="utf-8")
    return proc, cgroup


def test_nothing_to_read_is_not_none_ended(lane, tmp_path):
    found = lane.read(*kernel(tmp_path))
    assert found == lane.Kills(machine=None, own=None)
    assert found.since(found).count is None


@pytest.mark.parametrize(
    ("machine", "own", "expected"),
    [
        ((3, 5), None, 2),
        ((3, 5), (1, 2), 1),  # the other was another's
        ((3, 5), (1, 1), 2),  # said all the same: our cgroup may be one that we do not see
        (None, (1, 1), 0),
        (None, (1, 4), 3),
        ((3, 3), (1, 1), 0),
        ((3, 0), None, 0),
    ],
)
def test_our_own_count_before_the_machine_s(lane, tmp_path, machine, own, expected):
    seen = [
        lane.read(*kernel(tmp_path, machine=machine and machine[when], groups={"": own[when]} if own else {}))
        for when in (0, 1)
    ]
    assert seen[1].since(seen[0]).count == expected


def test_our_cgroup_is_the_nearest_that_is_seen(lane, tmp_path):
    places = kernel(tmp_path, group="/a/b/c", groups={"a": 7, "a/b": 3, "other": 9})
    assert lane.read(*places).own == 3
    assert lane.read(*kernel(tmp_path, group="/docker/x", groups={"": 4})).own == 4


def test_a_cgroup_that_is_not_seen_counts_nothing(lane, tmp_path):
    places = kernel(tmp_path, machine=2, group="/../elsewhere", groups={"": 4, "../elsewhere": 5})
    assert lane.read(*places) == lane.Kills(machine=2, own=None)


def test_this_machine_answers(lane):
    found = lane.read()
    assert found.since(found).count in (0, None)
