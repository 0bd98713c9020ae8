"""dockerfiles/lane/ownsession.py: nothing of a program's session is left, and a daemon's own is let be."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from build import processes
from build.settings import REPO

pytestmark = pytest.mark.programs("sh", "setsid")


@pytest.fixture
def lane(monkeypatch):
    monkeypatch.syspath_prepend(str(REPO / "dockerfiles" / "lane"))
    import ownsession

    monkeypatch.setattr(ownsession, "GRACE", 0.5)
    yield ownsession
    monkeypatch.delitem(sys.modules, "ownsession")


def printed(lane, script):
    with lane.started(["sh", "-c", script], {"PATH": os.environ["PATH"]}) as process:
        data = b"".join(lane.chunks(process))
    return data, process.returncode


def test_all_that_is_printed_comes_and_the_status(lane):
    data, status = printed(lane, "seq 100000; echo end >&2; exit 3")
    assert (len(data.split()), data.split()[-1], status) == (100001, b"end", 3)
    assert printed(lane, "kill -9 $$") == (b"", -9)


def test_what_holds_the_pipe_keeps_nobody_waiting_and_is_ended(lane):
    begun = time.monotonic()
    data, status = printed(lane, "sleep 60 & echo $!")
    assert status == 0
    assert time.monotonic() - begun < 5
    assert processes.wait_for_end([int(data)], 2)


def test_one_that_closes_its_output_is_waited_for(lane):
    begun = time.monotonic()
    assert printed(lane, "exec >&- 2>&-; sleep 0.4; exit 5") == (b"", 5)
    assert time.monotonic() - begun >= 0.4


def test_a_daemon_stays(lane, tmp_path):
    ready = tmp_path / "ready"
    wait = f"until [ -e {ready} ]; do sleep 0.02; done"
    data, _ = printed(lane, f"setsid sh -c 'echo $$; touch {ready}; exec sleep 60' & {wait}")
    assert processes.arguments(int(data))[-1:] == ["60"]
    os.kill(int(data), signal.SIGKILL)


def test_a_handler_of_somebody_is_not_replaced(lane):
    caught = []
    before = signal.signal(signal.SIGTERM, lambda *_: caught.append(1))
    try:
        assert printed(lane, f"kill {os.getpid()}; exit 4")[1] == 4
    finally:
        signal.signal(signal.SIGTERM, before)
    assert caught == [1]


def test_it_works_beside_the_main_thread(lane):
    found = []
    thread = threading.Thread(target=lambda: found.append(printed(lane, "echo x")))
    thread.start()
    thread.join()
    assert found == [(b"x\n", 0)]


@pytest.mark.parametrize(("number", "raised"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
def test_a_signal_while_it_starts_loses_no_process(lane, monkeypatch, number, raised):
    made = []

    class Prompt(subprocess.Popen):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            made.append(self)
            signal.raise_signal(number)

    monkeypatch.setattr(lane.subprocess, "Popen", Prompt)
    with pytest.raises(raised):
        printed(lane, "sleep 60")
    assert made[0].returncode is not None
    assert signal.getsignal(number) in {signal.SIG_DFL, signal.default_int_handler}


def test_an_impatient_person_does_not_wait(lane, monkeypatch):
    monkeypatch.setattr(lane, "GRACE", 60)
    begun = time.monotonic()
    script = "trap '' TERM INT; echo $$; while :; do sleep 0.05; done"
    press = f"import os, time; time.sleep(1); os.kill({os.getpid()}, 2)"
    with pytest.raises(KeyboardInterrupt), lane.started(["sh", "-c", script], dict(os.environ)) as process:
        assert int(next(filter(None, lane.chunks(process)))) == process.pid
        again = subprocess.Popen([sys.executable, "-c", press])
        raise KeyboardInterrupt
    assert again.wait() == 0
    assert time.monotonic() - begun < 10
    assert process.returncode == -9
