"""How a server ended: every status of the image's program has words, and its watchdog's events are understood."""

import pytest

from build import entrycode, serverends
from build.settings import REPO
from tests.containerkit import event


def test_every_exit_status_of_the_program_has_words():
    known = entrycode.known_ends(REPO) - {128}  # and a signal's number
    assert known <= serverends.ENDS.keys()
    assert {70, 71, 80, 85} <= known
    assert serverends.TODO.keys() <= serverends.ENDS.keys()


@pytest.mark.parametrize(
    ("status", "oom", "text"),
    [
        (0, False, "as it was told to"),
        (81, False, "for lack of memory while it served"),
        (143, False, "it was ended by SIGTERM"),
        (137, True, "the kernel killed it"),
        (99, False, "with the exit status 99"),
        (255, False, "with the exit status 255"),
    ],
)
def test_in_words(status, oom, text):
    assert text in serverends.words(status, oom=oom)


def test_an_event_with_the_memory_before():
    found = serverends.event(event("memory-short", 10_000_000, 6_000_000, 8_000_000, phase="start-up"))
    assert (found.name, found.phase, found.available_kb) == ("memory-short", "start-up", 8_000_000)
    assert found.memory == ("available memory: 10.24 GB 2 s before, 6.14 GB at least, 8.19 GB then; 8.59 GB must stay")
    assert serverends.event(event("started")).memory == ""


@pytest.mark.parametrize("line", ["", "INFO", '{"spark":"watchdog"', '{"spark":"watchdog"}', '{"event": "x"}', "[1]"])
def test_other_lines_are_no_events(line):
    assert serverends.event(line) is None


def test_what_tells_why_it_ended():
    lines = ["x", event("started", 1), event("memory-short", 2), event("ended", 3)]
    assert serverends.cause(lines).name == "memory-short"
    assert serverends.cause(lines[:2]).name == "started"
    assert serverends.cause(["x"]) is None
