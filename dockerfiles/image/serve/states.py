"""What the watchdog thinks: pure, from one sample of memory a second to what is to be done.

Three phases. *start-up*, until the server answers once, and *serving*, each with its threshold: below half as much
again it warns, below the threshold it turns the health check unhealthy, and where that lasts it ends the server.
*teardown*, once the server was told to end: what is freed then comes in lumps, so that only memory which is critical
for the host counts, or a drain time that has run out.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping
from typing import Any, NamedTuple

from . import exits
from .memory import Sample

STARTING, SERVING, ENDING = "start-up", "serving", "teardown"
OK, WARNING, LOW = "ok", "warning", "low"
RISE = {OK: 0, WARNING: 1, LOW: 2}
RECOVERED = 110  # percent of what it fell below, before it counts as more again
CRITICAL_SAMPLES = 2  # in a row, before a server that is ending is killed
MISSES = 3  # questions in a row that a server does not answer, before it counts as hanging
TOLD = -1  # the cause of an end that was asked for
END = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP)  # signals that ask for it
TELL, TERMINATE, KILL = "tell", "terminate", "kill"


class Limits(NamedTuple):
    """A profile's table ``watchdog``; memory in kB."""

    serving_kb: int
    starting_kb: int
    critical_kb: int
    warn_percent: int
    patience: int
    drain: int

    @classmethod
    def of(cls, table: Mapping[str, Any]) -> Limits:
        least = table["min-available-kb"]
        return cls(
            least, table["startup-min-available-kb"] or least, table["critical-kb"],
            table["warn-percent"], table["patience-seconds"], table["drain-seconds"],
        )  # fmt: skip


class Act(NamedTuple):
    """To do: tell an event, tell the server to end, or kill all of it. The rest is an event's: where it was decided."""

    kind: str
    name: str = ""
    phase: str = ""
    level: str = ""
    threshold_kb: int = 0


class Watch:
    """The state. ``cause``: the exit status that the end will have, 0 while nothing ends it, :data:`TOLD` if asked."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.phase = STARTING
        self.level = OK
        self.cause = 0
        self.answers = True
        self.killed = False
        self.kill_at = float("inf")
        self._below = 0
        self._critical = 0
        self._missed = 0

    @property
    def threshold_kb(self) -> int:
        """What must stay available in this phase."""
        return {STARTING: self.limits.starting_kb, SERVING: self.limits.serving_kb}.get(
            self.phase, self.limits.critical_kb
        )

    @property
    def fault(self) -> str:
        """Why it is not healthy; "" where it is."""
        if self.phase == STARTING:
            return "the server is starting" if self.level != LOW else "memory is low while the server starts"
        if self.phase == ENDING:
            return "the server is ending"
        if self.level == LOW:
            return "memory is low"
        return "" if self.answers else "the server does not answer"

    def event(self, name: str) -> Act:
        """An event, as things stand."""
        return Act(TELL, name, self.phase, self.level, self.threshold_kb)

    def sample(self, now: float, sample: Sample) -> list[Act]:
        """One more second has passed."""
        if self.phase == ENDING:
            self._critical = self._critical + 1 if sample.host_kb < self.limits.critical_kb else 0
            return self.passed(now)
        acts = self._moved(sample.kb)
        if sample.kb < self.threshold_kb:
            self._below += 1
        elif self.level != LOW:  # a rise that is none yet does not start the count anew
            self._below = 0
        if self._below > self.limits.patience or sample.kb < self.limits.critical_kb:
            acts += [self.event("memory-short"), Act(TERMINATE)]
            self._end(now, exits.SHORT_STARTING if self.phase == STARTING else exits.SHORT_SERVING)
        return acts

    def passed(self, now: float) -> list[Act]:
        """While it ends: whether it has to be killed."""
        if self.phase != ENDING or self.killed:
            return []
        critical = self._critical >= CRITICAL_SAMPLES
        if not critical and now < self.kill_at:
            return []
        self.killed = True
        if self.cause == TOLD:
            self.cause = exits.CRITICAL_ENDING if critical else exits.DRAIN
        return [self.event("memory-critical" if critical else "drain-over"), Act(KILL)]

    def told(self, now: float) -> list[Act]:
        """A signal asks for the end; the signal itself is handed on by whoever got it."""
        if self.phase == ENDING:
            return []
        acts = [self.event("told-to-end")]
        self._end(now, TOLD)
        return acts

    def answered(self, good: bool) -> list[Act]:
        """The server was asked whether it is there."""
        if self.phase == STARTING and good:
            self.phase = SERVING
            self._below = 0
            return [self.event("ready")]
        if self.phase != SERVING:
            return []
        self._missed = 0 if good else self._missed + 1
        if self.answers and self._missed >= MISSES:
            self.answers = False
            return [self.event("unresponsive")]
        if not self.answers and good:
            self.answers = True
            return [self.event("responsive")]
        return []

    def exit_status(self, code: int) -> int:
        """What this program ends with, where the server ended with ``code`` (negative: by that signal)."""
        if self.cause > 0:
            return self.cause
        if self.cause == TOLD:
            asked = {0, *(-number for number in END), *(128 + number for number in END)}
            return exits.DONE if code in asked else exits.CRASHED_ENDING
        if code == 0:
            return exits.DONE
        return exits.CRASHED_STARTING if self.phase == STARTING else exits.CRASHED_SERVING

    def _end(self, now: float, cause: int) -> None:
        self.phase, self.cause, self.kill_at = ENDING, cause, now + self.limits.drain

    def _moved(self, kb: int) -> list[Act]:
        """The level that this much memory is, and the event where it is another one."""
        threshold = self.threshold_kb
        warn = threshold * self.limits.warn_percent // 100
        level = OK
        if kb < threshold or (self.level == LOW and kb * 100 < threshold * RECOVERED):
            level = LOW
        elif kb < warn or (self.level != OK and kb * 100 < warn * RECOVERED):
            level = WARNING
        if level == self.level:
            return []
        name = {WARNING: "memory-warning", LOW: "memory-low"}.get(level, "")
        if RISE[level] < RISE[self.level]:
            name = "memory-recovered"
        self.level = level
        return [self.event(name)]
