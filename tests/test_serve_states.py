"""dockerfiles/image/serve/states.py: every way through the phases and levels; and that it holds for any course at all."""

import signal
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import servekit

sys.path.insert(0, str(servekit.IMAGE))

from serve import exits
from serve.memory import GROUP, HOST, Sample
from serve.states import (
    ENDING,
    KILL,
    MISSES,
    OK,
    SERVING,
    STARTING,
    TELL,
    TERMINATE,
    TOLD,
    WARNING,
    Limits,
    Watch,
)

# Serving below 1000 kB is too little, starting below 800; below 100 is critical. It warns below 1500 (1200).
LIMITS = Limits(serving_kb=1000, starting_kb=800, critical_kb=100, warn_percent=150, patience=3, drain=30)


class Course:
    """A watch and its clock."""

    def __init__(self, limits=LIMITS, *, serving=True):
        self.watch, self.now = Watch(limits), 0.0
        if serving:
            self.watch.answered(True)

    def see(self, *values, host=None):
        """These samples, a second each; what was done, as names."""
        acts = []
        for kb in values:
            self.now += 1
            acts += self.watch.sample(
                self.now, Sample(kb, HOST if host is None else GROUP, kb if host is None else host)
            )
        return said(acts)


def said(acts):
    return [act.name if act.kind == TELL else act.kind for act in acts]


def test_it_warns_first_turns_unhealthy_and_then_ends_the_server():
    course = Course()
    assert course.see(2000) == []
    assert course.watch.fault == ""
    assert course.see(1400) == ["memory-warning"]
    assert (course.watch.level, course.watch.fault) == (WARNING, "")
    assert course.see(999) == ["memory-low"]
    assert course.watch.fault == "memory is low"
    assert course.see(998, 997) == [], "three seconds of patience"
    assert course.see(996) == ["memory-short", TERMINATE]
    assert (course.watch.phase, course.watch.cause) == (ENDING, exits.SHORT_SERVING)
    assert course.watch.fault == "the server is ending"


def test_no_patience_and_no_warning_of_its_own():
    course = Course(LIMITS._replace(patience=0, warn_percent=100))
    assert course.see(1000) == []
    assert course.see(999) == ["memory-low", "memory-short", TERMINATE]


def test_what_is_critical_is_not_waited_for():
    assert Course().see(99) == ["memory-low", "memory-short", TERMINATE]


def test_a_level_is_left_only_well_above_where_it_was_entered():
    course = Course()
    assert course.see(1499, 1501, 1499, 1501, 1640) == ["memory-warning"], "no flapping around the threshold"
    assert course.see(1650) == ["memory-recovered"]
    assert course.see(999, 1001, 1099) == ["memory-low"]
    assert course.see(1100) == ["memory-recovered"]
    assert course.watch.level == WARNING
    assert course.see(1000) == [], "not low yet"
    assert course.see(2000) == ["memory-recovered"]
    assert course.watch.level == OK


def test_a_short_dip_is_forgiven_and_hovering_at_the_threshold_is_not():
    dip = Course()
    dip.see(999, 999, 999)
    assert dip.see(1200) == ["memory-recovered"]
    assert dip.see(999, 999, 999) == ["memory-low"], "counted anew"
    assert dip.watch.phase == SERVING
    hovering = Course()
    assert hovering.see(*[999, 1001] * 3)[-1] == "memory-low"
    assert hovering.see(999) == ["memory-short", TERMINATE]


def test_start_up_has_a_threshold_and_an_exit_status_of_its_own():
    course = Course(serving=False)
    assert course.watch.fault == "the server is starting"
    assert course.see(900, 900, 900, 900, 900, 900) == ["memory-warning"]
    assert course.see(799) == ["memory-low"]
    assert course.watch.fault == "memory is low while the server starts"
    assert course.see(799, 799, 799) == ["memory-short", TERMINATE]
    assert course.watch.exit_status(0) == exits.SHORT_STARTING


def test_ready_changes_to_the_threshold_of_serving():
    course = Course(serving=False)
    course.see(900)
    assert course.watch.phase == STARTING
    assert said(course.watch.answered(False)) == []
    assert said(course.watch.answered(True)) == ["ready"]
    assert course.watch.fault == ""
    assert course.see(900) == ["memory-low"]


def test_in_teardown_only_what_is_critical_for_the_host_counts():
    """The original watchdog killed a server that was ending, for memory that was about to come back."""
    course = Course()
    assert said(course.watch.told(0.0)) == ["told-to-end"]
    assert course.see(999, 500, 101, 101, 101) == []
    assert course.see(99, host=5000) == [], "a cgroup's end is its own"
    assert course.see(99) == []
    assert course.see(101) == []
    assert course.see(99, 98) == ["memory-critical", KILL]
    assert course.watch.exit_status(-9) == exits.CRITICAL_ENDING
    assert course.see(1) == [], "once"


def test_the_drain_time_runs_out():
    course = Course()
    course.watch.told(0.0)
    assert course.see(*[5000] * 29) == []
    assert course.see(5000) == ["drain-over", KILL]
    assert course.watch.exit_status(-9) == exits.DRAIN


def test_the_drain_time_runs_out_for_one_that_lacked_memory():
    course = Course(LIMITS._replace(patience=0, drain=2))
    assert course.see(999)[-1] == TERMINATE
    assert course.see(999, 999) == ["drain-over", KILL]
    assert course.watch.exit_status(-9) == exits.SHORT_SERVING, "why it was ended, not how"


def test_it_runs_out_without_samples_too():
    course = Course()
    course.watch.told(0.0)
    assert said(course.watch.passed(29.0)) == []
    assert said(course.watch.passed(30.0)) == ["drain-over", KILL]


def test_a_second_signal_does_not_begin_the_drain_anew():
    course = Course()
    course.watch.told(0.0)
    assert said(course.watch.told(20.0)) == []
    assert said(course.watch.passed(30.0)) == ["drain-over", KILL]


def test_a_server_that_hangs_is_unhealthy_and_not_ended():
    course = Course()
    assert [said(course.watch.answered(False)) for _ in range(MISSES)] == [[]] * (MISSES - 1) + [["unresponsive"]]
    assert course.watch.fault == "the server does not answer"
    assert said(course.watch.answered(False)) == []
    assert said(course.watch.answered(True)) == ["responsive"]
    assert course.watch.fault == ""
    course.watch.answered(False)
    course.watch.answered(True)
    assert said(course.watch.answered(False)) == [], "counted anew"


@pytest.mark.parametrize(
    ("phase", "code", "status"),
    [
        (STARTING, 0, exits.DONE), (STARTING, 1, exits.CRASHED_STARTING), (STARTING, -11, exits.CRASHED_STARTING),
        (SERVING, 0, exits.DONE), (SERVING, 1, exits.CRASHED_SERVING), (SERVING, -15, exits.CRASHED_SERVING),
        (ENDING, 0, exits.DONE), (ENDING, -signal.SIGTERM, exits.DONE), (ENDING, 143, exits.DONE),
        (ENDING, -signal.SIGINT, exits.DONE), (ENDING, 130, exits.DONE),
        (ENDING, 1, exits.CRASHED_ENDING), (ENDING, -11, exits.CRASHED_ENDING),
    ],
)  # fmt: skip
def test_exit_statuses(phase, code, status):
    course = Course(serving=phase != STARTING)
    if phase == ENDING:
        course.watch.told(0.0)
    assert course.watch.exit_status(code) == status


def test_exit_statuses_are_distinct():
    values = [value for name, value in vars(exits).items() if name.isupper()]
    assert len(values) == len(set(values))
    assert not set(values) & {1, 125, 126, 127}, "those of Python, of Docker and of shells"


# Whatever comes

KB = st.one_of(
    st.integers(0, 3000), st.sampled_from([99, 100, 799, 800, 999, 1000, 1099, 1100, 1499, 1500, 1649, 1650])
)
STEP = st.one_of(
    st.tuples(st.just("sample"), KB, KB), st.tuples(st.just("answer"), st.booleans(), st.just(0)),
    st.tuples(st.just("told"), st.just(0), st.just(0)),
)  # fmt: skip
SOME_LIMITS = st.builds(
    Limits, serving_kb=st.integers(100, 1500), starting_kb=st.integers(100, 1500), critical_kb=st.integers(1, 100),
    warn_percent=st.integers(100, 300), patience=st.integers(0, 4), drain=st.integers(0, 5),
)  # fmt: skip


def lived(limits, steps):
    """Each step: the state before it, what came, what was done."""
    watch, now = Watch(limits), 0.0
    for kind, first, second in steps:
        before = (watch.phase, watch.level, watch.killed)
        now += 1
        if kind == "sample":
            acts = watch.sample(now, Sample(min(first, second), HOST, second))
        elif kind == "answer":
            acts = watch.answered(first)
        else:
            acts = watch.told(now)
        yield watch, before, (kind, first, second), acts


@settings(max_examples=300, deadline=None)
@given(SOME_LIMITS, st.lists(STEP, max_size=60))
def test_whatever_comes(limits, steps):
    terminated = killed = 0
    order = {STARTING: 0, SERVING: 1, ENDING: 2}
    for watch, (phase, level, was_killed), (kind, first, second), acts in lived(limits, steps):
        kinds = [act.kind for act in acts]
        terminated += kinds.count(TERMINATE)
        killed += kinds.count(KILL)
        assert order[watch.phase] >= order[phase], "phases only go on"
        assert kind == "answer" or watch.phase != SERVING or phase == SERVING, "only an answer makes it serve"
        if TERMINATE in kinds:
            assert kind == "sample"
            assert min(first, second) < (limits.starting_kb if phase == STARTING else limits.serving_kb)
        if KILL in kinds:
            assert phase == ENDING
            assert not was_killed
        if phase == ENDING and kind == "sample" and second >= limits.critical_kb and KILL in kinds:
            assert any(act.name == "drain-over" for act in acts), "memory that is not critical kills nobody then"
        if watch.phase == SERVING and min(first, second) < limits.serving_kb and kind == "sample":
            assert watch.fault, "below the threshold it is never healthy"
        if watch.level != level:
            assert any(act.kind == TELL for act in acts), "no change without an event"
        assert watch.exit_status(-9) != exits.DONE or watch.cause in (0, TOLD)
    assert terminated <= 1
    assert killed <= 1


@settings(max_examples=200, deadline=None)
@given(SOME_LIMITS, st.integers(0, 9), st.lists(st.booleans(), min_size=1, max_size=60))
def test_no_flapping(limits, band, course):
    """Memory that moves by less than a tenth around any value changes the level at most twice, down."""
    limits = limits._replace(patience=1000, critical_kb=1)
    middle = limits.serving_kb * (7 + band) // 10 + 2
    watch = Watch(limits)
    watch.answered(True)
    events = [
        act.name
        for number, up in enumerate(course)
        for act in watch.sample(float(number), Sample(middle + (middle // 25 if up else 0), HOST, middle))
    ]
    assert len(events) <= 2
    assert "memory-recovered" not in events
