"""Work side by side: order, the first failure, and an end that waits for nobody."""

import threading
import time

import pytest

from build import abreast


def test_results_come_in_the_order_of_the_things():
    def work(number, _heed):
        time.sleep(0.01 * (5 - number))
        return number * number

    assert abreast.run(work, range(5), 3) == [0, 1, 4, 9, 16]
    assert abreast.run(work, [], 3) == []


def test_no_more_threads_than_were_allowed():
    at_work, most = [], []

    def work(number, _heed):
        at_work.append(number)
        most.append(len(at_work))
        time.sleep(0.005)
        at_work.remove(number)

    abreast.run(work, range(20), 4)
    assert max(most) == 4


def test_the_first_failure_stops_the_others_and_is_raised():
    heard, begun = threading.Event(), []

    def work(number, heed):
        begun.append(number)
        if number == 1:
            raise ValueError("no")
        try:
            while True:
                heed()
                time.sleep(0.001)
        except abreast.Stopped:
            heard.set()
            raise

    with pytest.raises(ValueError, match="no"):
        abreast.run(work, range(9), 2)
    assert heard.wait(1)
    assert sorted(begun) == [0, 1], "nothing more is begun"


def test_who_does_not_hear_is_left_behind(monkeypatch):
    monkeypatch.setattr(abreast, "PATIENCE_SECONDS", 0.05)
    end = threading.Event()

    def work(number, _heed):
        if number:
            raise ValueError
        end.wait(10)

    start = time.monotonic()
    with pytest.raises(ValueError):
        abreast.run(work, range(2), 2)
    assert time.monotonic() - start < 2
    end.set()
