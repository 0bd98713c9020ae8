"""Why a server ended, in words: its container's exit status, and the last event that its watchdog told.

The statuses are those of ``dockerfiles/image/serve/exits.py``, the events those of ``events.py`` there: JSON lines.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from build.console import human_bytes

ENDS = {
    0: "it ended as it was told to",
    2: "its arguments cannot be meant",
    70: "its profile has faults, or cannot be read",
    71: "the model is not the profile's",
    74: "its vLLM does not know an option, or does not take its value",
    75: "there is no vLLM in it that could be asked or started",
    80: "the watchdog ended it for lack of memory while it started",
    81: "the watchdog ended it for lack of memory while it served",
    82: "memory became critical for the machine while it ended, and it was killed at once",
    83: "vLLM failed while it started",
    84: "vLLM failed while it served",
    85: "it did not end within its drain time, and was killed",
    86: "vLLM failed while it ended, as it was told to",
    87: "the memory cannot be read, and nothing is served unwatched",
    126: "its program cannot be executed",
    127: "its program is not there",
}
TODO = {
    70: "correct the profile",
    71: "look at it: `nox -s model -- --profile NAME`",
    74: "take an image of a target that the profile names, or correct the profile",
    80: "end what else takes memory, or take a profile that needs less",
    81: "end what else takes memory, or take a profile with a smaller KV cache",
}


@dataclass(frozen=True, kw_only=True)
class Event:
    """What a watchdog told: the event's name, the phase, kB that were available and had to be; those of before."""

    name: str
    phase: str
    available_kb: int
    threshold_kb: int
    history_kb: tuple[int, ...]
    step_seconds: int

    @property
    def memory(self) -> str:
        """The memory in a sentence; empty where it was not told."""
        if not self.history_kb:
            return ""
        then, now = (human_bytes(kb * 1024) for kb in (self.history_kb[0], self.history_kb[-1]))
        least = human_bytes(min(self.history_kb) * 1024)
        seconds = (len(self.history_kb) - 1) * self.step_seconds
        return (
            f"available memory: {then} {seconds} s before, {least} at least, {now} then;"
            f" {human_bytes(self.threshold_kb * 1024)} must stay"
        )


def words(status: int, *, oom: bool = False) -> str:
    """What an exit status of a container means. ``oom``: the engine says that the kernel killed in it.

    >>> words(85), words(137)
    ('it did not end within its drain time, and was killed', 'it was ended by SIGKILL')
    """
    if oom:
        return "the kernel killed it for lack of memory"
    if status in ENDS:
        return ENDS[status]
    if status > 128 and status - 128 in {int(item) for item in signal.Signals}:
        return f"it was ended by {signal.Signals(status - 128).name}"
    return f"it ended with the exit status {status}"


def event(line: str) -> Event | None:
    """The event in a line of a server's log; None for any other line."""
    if '"spark":"watchdog"' not in line:
        return None
    try:
        told: dict[str, Any] = json.loads(line)
        return Event(
            name=str(told["event"]), phase=str(told.get("phase", "")),
            available_kb=int(told.get("available_kb", 0)), threshold_kb=int(told.get("threshold_kb", 0)),
            history_kb=tuple(int(kb) for kb in told.get("history_kb", ())),
            step_seconds=int(told.get("history_step_seconds", 1)),
        )  # fmt: skip
    except (ValueError, KeyError, TypeError):
        return None


def cause(lines: Iterable[str]) -> Event | None:
    """The event that tells why a server ended: the last about memory, else the last of all."""
    told = [found for line in lines if (found := event(line))]
    of_memory = [found for found in told if found.name in ("memory-short", "memory-critical")]
    return next(reversed(of_memory or told), None)
