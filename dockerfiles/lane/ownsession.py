"""A program in a session of its own (setsid(2)), read while it runs, of which nothing is left afterwards.

A program that starts others in process groups of their own, as ninja does, leaves them running when it is killed;
they stay in its session. A daemon that made itself a session is let be: it was meant to stay.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType

PROC = Path("/proc")
PAUSE = 0.1  # seconds between two looks at what runs
GRACE = 5.0  # seconds for a program to end what it started, and to clean up
STOPS = (signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def started(command: Sequence[str], env: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """The running program, its two streams in one pipe; at the end of the block it has ended, and all its session.

    Raises OSError where it cannot be started. SIGTERM and SIGHUP become an exception in the block as Ctrl-C is one,
    where nobody else handles them. What the block raises, or a second Ctrl-C, goes on after the end of all.
    """
    process = None
    with _stopping():
        try:
            with _held():  # what it starts may run, and ask us to stop, before we know of it
                process = subprocess.Popen(
                    command,
                    env=env,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            yield process
        finally:
            if process is not None:
                _end(process)


def chunks(process: subprocess.Popen[bytes]) -> Iterator[bytes]:
    """What the program prints as it comes, and nothing (b"") every 0.1 s that nothing comes, until it has ended.

    Not until the pipe is closed: a child that outlives the program may hold it.
    """
    assert process.stdout is not None
    while True:
        over = _over(process)  # asked first: what it printed is in the pipe then
        data = _read(process.stdout.fileno(), 0 if over else PAUSE)
        if over and not data:
            return
        yield data


def _read(stream: int, seconds: float) -> bytes:
    if select.select([stream], [], [], seconds)[0]:
        if data := os.read(stream, 1 << 16):
            return data
        time.sleep(seconds)  # closed: there is nothing to wait for
    return b""


def _over(process: subprocess.Popen[bytes]) -> bool:
    """Whether the program has ended. It is not reaped, so that no other session can get its number."""
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _end(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM for the program, if it runs, and SIGKILL for whatever is left of the session a while later."""
    try:
        if not _over(process):
            os.kill(process.pid, signal.SIGTERM)
        _wait(lambda: _over(process))
    finally:
        with _held():
            _wait(lambda: not _kill(process.pid))
            process.kill()  # where no /proc shows it
            process.wait()
            if process.stdout is not None:
                process.stdout.close()


def _wait(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + GRACE
    while not reached() and time.monotonic() < deadline:
        time.sleep(0.02)


def _kill(session: int) -> int:
    """Kill what runs in a session; how many that were."""
    found = 0
    for path in PROC.glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended meanwhile, or is not ours to kill
            fields = path.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
            if int(fields[3]) == session and fields[0] not in "ZX":  # proc_pid_stat(5): session, state
                found += 1
                os.kill(int(path.parent.name), signal.SIGKILL)
    return found


@contextlib.contextmanager
def _stopping() -> Iterator[None]:
    """Make exceptions of SIGTERM and SIGHUP; else they would end us alone, or as a container's first process nobody."""
    mine = [number for number in STOPS if _is_main() and signal.getsignal(number) is signal.SIG_DFL]
    for number in mine:
        signal.signal(number, _stop)
    try:
        yield
    finally:
        for number in mine:
            signal.signal(number, signal.SIG_DFL)


def _stop(number: int, _: FrameType | None) -> None:
    signal.signal(number, signal.SIG_IGN)  # once is enough: let us end what runs
    raise SystemExit(128 + number)


@contextlib.contextmanager
def _held() -> Iterator[None]:
    """Keep signals that may raise until the end of the block. Not by a mask: the program would inherit that."""
    came: list[int] = []
    handled = [number for number in (signal.SIGINT, *STOPS) if _is_main() and callable(signal.getsignal(number))]
    before = {number: signal.signal(number, lambda one, _: came.append(one)) for number in handled}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for one in came:
            signal.raise_signal(one)


def _is_main() -> bool:
    """Whether handlers run in this thread, and may be set here."""
    return threading.current_thread() is threading.main_thread()
