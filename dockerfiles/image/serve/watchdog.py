"""Process 1: starts the server, looks at the memory once a second, hands signals on, reaps, and ends what must end."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Mapping, Sequence
from typing import Any

from . import exits, processes
from .events import Events
from .exits import Fault
from .health import State
from .memory import Memory, Unreadable
from .probe import SERVING_EVERY, STARTING_EVERY, Probe
from .states import END, ENDING, KILL, STARTING, TERMINATE, Act, Limits, Watch

TICK = 1.0  # seconds
LEFTOVERS = 5.0  # seconds for what the server leaves behind to end, and again after it was killed
VICTIM = b"500"  # oom_score_adj(5) of the server: where the kernel has to choose, it is to choose this


class Keeper:
    """One server and its watchdog, from start to exit status."""

    def __init__(self, limits: Limits, memory: Memory, probe: Probe, events: Events) -> None:
        self.watch = Watch(limits)
        self.memory = memory
        self.probe = probe
        self.events = events
        self.state = State()
        self.server = 0
        self.orphans = 0
        self.seen: dict[str, Any] = {}

    def run(self, path: str, command: Sequence[str], environment: Mapping[str, str]) -> int:
        """Start the server and stay until nothing of it is left. Raises :class:`Fault` where it cannot be started."""
        self._look(time.monotonic(), act=False)
        try:
            self.server = processes.start(path, command, environment, {})
        except OSError as error:
            raise Fault(exits.NO_VLLM, f"{path} cannot be started: {error.strerror}") from error
        _offer(self.server)
        self._tell("started", pid=self.server)
        if self.state.error:
            self._tell("no-health-file", why=self.state.error)
        code = self._until_it_ends()
        return self._after(code)

    def _until_it_ends(self) -> int:
        due = time.monotonic()
        while True:
            now = time.monotonic()
            if now >= due:
                due = due + TICK if now - due < TICK else now + TICK  # after a pause of the machine, not all at once
                self._look(now, act=True)
            number = processes.wait(due - time.monotonic())
            if number == signal.SIGCHLD:
                ended = processes.reap()
                self.orphans += len(ended) - (self.server in ended)
                if self.server in ended:
                    return ended[self.server]
            elif number:
                self._handed(number)

    def _handed(self, number: int) -> None:
        if number in END:
            self._do(self.watch.told(time.monotonic()), signal=signal.Signals(number).name)
        processes.send(self.server, number)

    def _look(self, now: float, *, act: bool) -> None:
        """One sample, one step of the question whether it answers, one line for the health check."""
        try:
            sample = self.memory.sample()
        except Unreadable as error:
            if "unreadable" not in self.seen:
                self._tell("memory-unreadable", why=str(error))
            self.seen["unreadable"] = str(error)
            acts = self.watch.passed(now)
        else:
            if self.seen.pop("unreadable", None):
                self._tell("memory-readable")
            self.events.history.append(sample.kb)
            self.seen |= {"available_kb": sample.kb, "source": sample.source}
            acts = self.watch.sample(now, sample) if act else []
        self._do(acts)
        if act:
            self._ask(now)
        self.state.write(self.watch.phase, self.watch.fault)

    def _ask(self, now: float) -> None:
        if self.watch.phase == ENDING:
            self.probe.close()
            return
        answer = self.probe.step(now, STARTING_EVERY if self.watch.phase == STARTING else SERVING_EVERY)
        if answer is not None:
            self._do(self.watch.answered(answer))

    def _do(self, acts: Sequence[Act], **fields: Any) -> None:
        for act in acts:
            if act.kind == TERMINATE:
                processes.send(self.server, signal.SIGTERM)
            elif act.kind == KILL:
                processes.kill_all(self.server)
            else:
                self._event(act, **fields)

    def _tell(self, name: str, **fields: Any) -> None:
        self._event(self.watch.event(name), **fields)

    def _event(self, act: Act, **fields: Any) -> None:
        seen = {name: self.seen[name] for name in ("available_kb", "source") if name in self.seen}
        self.events.tell(
            act.name, phase=act.phase, level=act.level, **seen, threshold_kb=act.threshold_kb, **fields
        )  # fmt: skip

    def _after(self, code: int) -> int:
        """Nothing of the server stays; what is said last is how it ended."""
        self.probe.close()
        self.state.write(ENDING, "the server has ended")
        killed = processes.bury(self.server, gently=0.0 if self.watch.killed else LEFTOVERS, hard=LEFTOVERS)
        status = self.watch.exit_status(code)
        how = {"code": code} if code >= 0 else {"signal": _name(-code)}
        self._tell("ended", **how, status=status, orphans_reaped=self.orphans, leftovers_killed=killed)
        return status


def _offer(pid: int) -> None:
    """Let the kernel's own killer prefer the server to the rest of the machine; it may not want to."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/oom_score_adj", "wb", buffering=0) as stream:
        stream.write(VICTIM)


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
