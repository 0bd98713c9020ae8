"""Predicted times: never better than any schedule can be, and honest about what happened."""

import heapq
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from build import costs, jobs, prediction
from build.costs import ARM_RUNNER, GB10
from build.jobs import GIB, Memory
from build.units import Unit
from tests import unitkit

RELEASE = unitkit.release()
TASKS = st.lists(st.tuples(st.integers(1, 50), st.booleans()), max_size=40)
COUNT = st.integers(1, 12)


def schedule(tasks, ordinary, heavy):
    return prediction.schedule(tasks, ordinary_jobs=ordinary, heavy_jobs=heavy)


def predict(units=RELEASE, ordinary=4, heavy=2, **more):
    return prediction.predict(units, ordinary_jobs=ordinary, heavy_jobs=heavy, **more)


def step_by_step(tasks, ordinary, heavy):
    """The same by going from one end of a task to the next, as Ninja does."""
    waiting = [*(task for task in tasks if task[1]), *(task for task in tasks if not task[1])]
    now, running = 0, []
    while waiting or running:
        for task in list(waiting):
            if len(running) < ordinary and (not task[1] or sum(kind for _, kind in running) < heavy):
                heapq.heappush(running, (now + task[0], task[1]))
                waiting.remove(task)
        now, _ = heapq.heappop(running)
    return now


@given(TASKS, COUNT, COUNT)
def test_a_schedule_is_what_ninja_would_do(tasks, ordinary, heavy):
    assert schedule(tasks, ordinary, heavy) == step_by_step(tasks, ordinary, heavy)


@given(TASKS, COUNT, COUNT)
def test_a_schedule_is_never_better_than_can_be(tasks, ordinary, heavy):
    found = schedule(tasks, ordinary, heavy)
    total = sum(seconds for seconds, _ in tasks)
    of_heavy = sum(seconds for seconds, kind in tasks if kind)
    longest = max((seconds for seconds, _ in tasks), default=0)
    assert max(longest, total / ordinary, of_heavy / min(ordinary, heavy)) - 1e-9 <= found <= total


@given(TASKS, COUNT, COUNT)
def test_one_job_more_never_takes_longer(tasks, ordinary, heavy):
    assert schedule(tasks, ordinary + 1, heavy) <= schedule(tasks, ordinary, heavy)


@given(TASKS, COUNT)
def test_without_a_pool_in_the_way_it_is_within_grahams_bound(tasks, ordinary):
    assume(tasks)
    total, longest = sum(seconds for seconds, _ in tasks), max(seconds for seconds, _ in tasks)
    assert schedule(tasks, ordinary, ordinary) <= total / ordinary + longest * (1 - 1 / ordinary) + 1e-9


@given(TASKS)
def test_one_job_does_one_after_the_other(tasks):
    assert schedule(tasks, 1, 1) == sum(seconds for seconds, _ in tasks)


@pytest.mark.parametrize(("ordinary", "heavy"), [(0, 1), (-1, 1), (1, -1), (1, 0)])
def test_jobs_that_cannot_be_meant(ordinary, heavy):
    with pytest.raises(ValueError, match="heavy ones"):
        schedule([(1, True)], ordinary, heavy)


def test_nothing_heavy_needs_no_pool():
    assert schedule([(2, False), (2, False)], 2, 0) == 2
    assert schedule([], 1, 0) == 0


def test_a_prediction_holds_what_it_rests_on():
    found = predict(overhead_seconds=0)
    assert found.cpu_seconds == sum(costs.cpu_seconds(unit) for unit in RELEASE)
    assert found.seconds >= found.cpu_seconds / 4
    assert (found.low, found.high) == (pytest.approx(0.6 * found.seconds), pytest.approx(1.4 * found.seconds))
    unit, seconds = found.longest
    assert (unit.source.split("/")[-2], seconds) == ("marlin_moe_wna16", 123)
    for words in ("165 files", "4 at once, 2 of the 11 that may be heavy", "1.00 times", "±40%"):
        assert words in found.basis


def test_faster_cores_and_what_does_not_compile():
    slow, fast = predict(overhead_seconds=0), predict(overhead_seconds=0, core_factor=2)
    assert (fast.seconds, fast.cpu_seconds) == (pytest.approx(slow.seconds / 2), pytest.approx(slow.cpu_seconds / 2))
    assert predict(overhead_seconds=100).seconds == pytest.approx(slow.seconds + 100)


def test_a_pool_for_whole_targets_takes_longer_where_it_is_narrow():
    whole, files = ([predict(ordinary=20, heavy=n, by_target=by).seconds for n in (1, 20)] for by in (True, False))
    assert whole[0] > 2 * files[0]
    assert whole[1] == pytest.approx(files[1], rel=0.1)


@pytest.mark.parametrize(("machine", "low", "high"), [(GB10, 9, 15), (ARM_RUNNER, 95, 115)])
def test_known_machines_are_predicted_as_the_facts_have_them(machine, low, high):
    for by_target in (True, False):
        assert low * 60 <= prediction.on(machine, RELEASE, by_target=by_target).seconds <= high * 60


@pytest.mark.parametrize(("by_target", "count"), [(True, 80), (False, 11)])
def test_the_basis_says_how_many_files_the_pool_has(by_target, count):
    assert f"2 of the {count} that may be heavy" in predict(by_target=by_target).basis
    assert "heavy" not in predict(unitkit.canary(), heavy=0, by_target=by_target).basis


def test_a_machine_without_room_is_refused():
    small = replace(GB10, memory=Memory(available=9 * GIB, said_by="a test", unified=False))
    with pytest.raises(jobs.NoRoomError):
        prediction.on(small, RELEASE)
    assert prediction.on(small, unitkit.canary()).seconds > 0


def log_of(times, header="# ninja log v7"):
    """Ninja's log of a build with one job: (output, seconds) pairs."""
    now, lines = 0, [header]
    for output, seconds in times:
        lines.append(f"{now}\t{now + round(seconds * 1000)}\t1795702153831208048\t{output}\tac49b5f2f4d1b0cd")
        now += round(seconds * 1000)
    return "".join(f"{line}\n" for line in lines)


def factors(unit):
    """A build that took twice as long for Marlin's files, and was right about all others."""
    return 2.0 if "marlin" in unit.source and "sm80_" in unit.source else 1.0


def test_what_happened_is_compared_by_class():
    predicted = predict(core_factor=1.5)
    times = [(unitkit.object_of(unit), factors(unit) * costs.cpu_seconds(unit) / 1.5) for unit in RELEASE]
    found = prediction.happened(RELEASE, log_of([*times, ("_C.abi3.so", 5)]), predicted)
    assert found.untimed == found.unknown == ()
    assert sum(item.count for item in found.classes) == 165
    assert [(item.name, item.count) for item in found.classes[:2]] == [("Marlin for MoE", 14), ("Marlin", 14)]
    assert [round(item.ratio, 3) for item in found.classes] == [2.0, 2.0] + [1.0] * (len(found.classes) - 2)
    assert found.seconds == pytest.approx(sum(seconds for _, seconds in times) + 5, rel=1e-3)
    assert found.ratio == pytest.approx(1 + 14 * (123 + 102) / sum(map(costs.cpu_seconds, RELEASE)), rel=1e-3)


def test_the_whole_steps_time_is_the_callers_where_it_has_one():
    predicted = predict(unitkit.canary(), heavy=0)
    log = log_of((unitkit.object_of(unit), 660 / 10) for unit in unitkit.canary())
    assert prediction.happened(unitkit.canary(), log, predicted, seconds=700).seconds == 700
    assert prediction.happened(unitkit.canary(), log, predicted).seconds == 660


def test_what_ran_again_counts_once():
    unit = unitkit.canary()[0]
    log = log_of([(unitkit.object_of(unit), 9), (unitkit.object_of(unit), 3)])
    (item,) = prediction.happened([unit], log, predict([unit])).classes
    assert (item.count, item.happened) == (1, 3.0)


def test_an_outcome_in_words():
    units = unitkit.canary()
    predicted = replace(predict(units, heavy=0), low=324.0, seconds=540.0, high=756.0)
    times = [(unitkit.object_of(unit), 2 * costs.cpu_seconds(unit)) for unit in units[:-1]]
    log = log_of([*times, ("CMakeFiles/_moe_C.dir/csrc/moe/new.cu.o", 3)])
    assert prediction.lines(prediction.happened(units, log, predicted, seconds=660)) == [
        "predicted 9 min (5 min to 13 min), took 11 min",
        "  compilers ran 2.0 times as long as predicted, all of them together",
        "  CUDA: 2.0 times, 9 min for 7 files",
        "  C++: 2.0 times, 86 s for 2 files",
        "  not compiled: csrc/spinloop.cpp",
        "  of no file of the list: CMakeFiles/_moe_C.dir/csrc/moe/new.cu.o",
    ]


def test_a_build_that_compiled_nothing_has_nothing_to_compare():
    found = prediction.happened(RELEASE, "# ninja log v5\n", predict())
    assert (found.classes, found.ratio, found.seconds) == ((), 1.0, 0)
    assert found.untimed == RELEASE
    assert Unit(target="spinloop", source="csrc/spinloop.cpp") in found.untimed
