"""Work side by side: results in order, the first error or Ctrl-C at once, whatever the others wait for."""

import os
import signal
import threading
import time

import pytest

from build import sidebyside


def each(work, things, workers=3):
    stop = threading.Event()
    return sidebyside.each(lambda thing: work(thing, stop), things, workers=workers, stop=stop)


def test_results_are_in_the_order_of_the_things():
    assert each(lambda thing, _: (time.sleep(thing / 100), thing * 2)[1], [5, 0, 3, 1]) == [10, 0, 6, 2]
    assert each(lambda thing, _: thing, iter([None, 1])) == [None, 1]
    assert each(lambda thing, _: thing, []) == []


@pytest.mark.parametrize("workers", [1, 2, 9])
def test_so_many_at_once_and_the_first_ones_first(workers):
    together = threading.Barrier(min(workers, 6))
    begun, running, most = [], [], []

    def work(thing, _):
        begun.append(thing)
        running.append(thing)
        together.wait(10)  # or nobody gets on
        most.append(len(running))
        running.remove(thing)

    each(work, range(6), workers)
    assert max(most) <= min(workers, 6)
    assert set(begun[:workers]) == set(range(min(workers, 6)))
    assert sorted(begun) == list(range(6))


def test_the_first_error_ends_it():
    begun = []

    def work(thing, stop):
        begun.append(thing)
        if thing == 1:
            raise ZeroDivisionError(thing)
        assert stop.wait(5), "the others are told"
        raise KeyError(thing)

    with pytest.raises(ZeroDivisionError, match="1"):
        each(work, range(100), workers=2)
    assert sorted(begun) == [0, 1], "what was not begun is not begun any more"


def test_work_that_heeds_is_stopped_where_it_is():
    heard = threading.Event()

    def work(thing, stop):
        if thing:
            raise ZeroDivisionError
        try:
            while True:
                sidebyside.heed(stop)
                time.sleep(0.001)
        except sidebyside.Stopped:
            heard.set()
            raise

    with pytest.raises(ZeroDivisionError):
        each(work, range(2))
    assert heard.wait(1)


def test_nobody_waits_for_long_for_one_that_hangs(monkeypatch):
    monkeypatch.setattr(sidebyside, "GRACE_SECONDS", 0.1)
    answer = threading.Event()

    def work(thing, _):
        if thing:
            raise ZeroDivisionError
        answer.wait(60)

    start = time.monotonic()
    with pytest.raises(ZeroDivisionError):
        each(work, range(2))
    assert time.monotonic() - start < 5
    answer.set()


def test_ctrl_c_is_heard_at_once(monkeypatch):
    monkeypatch.setattr(sidebyside, "GRACE_SECONDS", 0.1)
    answer, stops = threading.Event(), []

    def work(_, stop):
        stops.append(stop)
        answer.wait(60)

    threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        each(work, range(2))
    assert time.monotonic() - start < 5
    assert stops[0].is_set()
    answer.set()
