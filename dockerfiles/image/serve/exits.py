"""Every way in which ``serve`` ends, by its exit status, and the error of everything before the server is started."""

from __future__ import annotations

DONE = 0  # the server ended by itself and well, or as it was told to
USAGE = 2
PROFILE = 70  # as the host's tools have it (build/errors.py)
MODEL = 71
OPTIONS = 74  # this vLLM has no such option, or does not take its value
NO_VLLM = 75  # there is none, it cannot be asked for its options, or it cannot be started
SHORT_STARTING = 80  # memory: the watchdog ended the server before it was ready
SHORT_SERVING = 81  # the same while it served
CRITICAL_ENDING = 82  # memory critical for the host while the server ended: killed at once
CRASHED_STARTING = 83
CRASHED_SERVING = 84
DRAIN = 85  # told to end, and did not within the drain time: killed
CRASHED_ENDING = 86  # told to end, and failed while it did
NO_MEMINFO = 87  # the memory cannot be read: nothing is served unwatched
SIGNALLED = 128  # and the signal's number: told to end before the server was started


class Fault(Exception):  # noqa: N818 - it is told, never a traceback
    """What is wrong, each fault a line, with the exit status."""

    def __init__(self, status: int, what: str, faults: list[str] | None = None, todo: str = "") -> None:
        super().__init__(what)
        self.status = status
        self.what = what
        self.faults = faults or []
        self.todo = todo

    def __str__(self) -> str:
        lines = [f"error: {self.what}", *(f"  {fault}" for fault in self.faults)]
        return "\n".join([*lines, f"  do:  {self.todo}"] if self.todo else lines)
