"""Processes as process 1 has them: started with a clean slate, reaped whoever they are, found by who their parent is.

Signals are not handled but waited for: all that matter are blocked for good, and one call waits for the next of them or
for the time. So nothing is interrupted, and nothing is lost between two looks.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Mapping, Sequence

# Handed on to the server; what ends it is in states.END.
FORWARDED = (
    signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH,
)  # fmt: skip
WAITED = (*FORWARDED, signal.SIGCHLD)
IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)
PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h


def adopt() -> None:
    """Block the signals, and become the parent of every orphan below us, as process 1 is anyway."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # ignored, the kernel would reap and nobody would know
    signal.pthread_sigmask(signal.SIG_BLOCK, WAITED)
    if os.getpid() != 1:
        import ctypes  # noqa: PLC0415 - 3 MB, for docker run --init and for tests

        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def wait(seconds: float) -> int:
    """The next signal, or 0 after that time."""
    try:
        got = signal.sigtimedwait(WAITED, max(0.0, seconds))
    except InterruptedError:
        return 0
    return got.si_signo if got else 0


def start(path: str, arguments: Sequence[str], environment: Mapping[str, str], into: Mapping[int, int]) -> int:
    """Start a program in a session of its own; its process id, which is its group's too. Raises ``OSError``.

    ``into``: descriptors that it gets, by the number that they have there → here.
    """
    return os.posix_spawn(
        path, list(arguments), dict(environment), setsid=True, setsigmask=(),
        setsigdef=(*IGNORED_BY_PYTHON, *WAITED),
        file_actions=[(os.POSIX_SPAWN_DUP2, here, there) for there, here in into.items()],
    )  # fmt: skip


def reap() -> dict[int, int]:
    """Whatever has ended: process id → exit code, negative where a signal ended it."""
    ended: dict[int, int] = {}
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ended
        if pid == 0:
            return ended
        ended[pid] = os.waitstatus_to_exitcode(status)


def children() -> list[int]:
    """Our own children that have not been reaped (proc_pid_children(5))."""
    me = os.getpid()
    try:
        with open(f"/proc/{me}/task/{me}/children", encoding="ascii") as stream:
            return [int(word) for word in stream.read().split()]
    except (OSError, ValueError):
        return []


def send(pid: int, number: int) -> None:
    """A signal to a process, or to a group where ``pid`` is negative; it may be gone by now."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def kill_all(leader: int) -> None:
    """Kill the server's group, and every child of ours: orphans that left the group are children too, in time."""
    send(-leader, signal.SIGKILL)
    for pid in children():
        send(pid, signal.SIGKILL)


def bury(leader: int, *, gently: float, hard: float) -> int:
    """End what the server has left behind, first with SIGTERM; how many processes had to be killed.

    ``gently``, ``hard``: seconds for either way. What hangs in the kernel stays: the container's end takes it.
    """
    send(-leader, signal.SIGTERM)
    for pid in children():
        send(pid, signal.SIGTERM)
    killed = 0
    deadline = time.monotonic() + gently
    while children():
        reap()
        now = time.monotonic()
        if now >= deadline:
            if killed:
                break
            killed, deadline = len(children()), now + hard
        if killed:
            kill_all(leader)
        wait(min(0.2, max(0.0, deadline - now)))
    reap()
    return killed
