"""Waiting for a server: until it answers, it ends, or nothing of it has been heard for too long.

There is no limit while it makes progress, which is any line in its log: 94 GB are loaded, and kernels are compiled at
the first start, for as long as that takes.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from build import serverends, serverstate, vllmlog
from build.console import human_bytes, say
from build.errors import ServeError
from build.serverends import Event
from build.serverstate import Server
from build.vllmlog import Phase

POLL_SECONDS = 1.0
ANSWER_SECONDS = 10.0
COUNT_SECONDS = 5.0  # between two lines that only count further
QUIET_SECONDS = 60.0  # after which it is said that nothing was heard
WARNINGS = ("memory-warning", "memory-low", "memory-short", "memory-critical", "memory-unreadable", "unresponsive")
LOGS = "its whole log: `nox -s serve -- logs`"


@dataclass
class Listener:
    """What the log has told so far; says what is new of it."""

    phase: Phase | None = None
    heard: float = field(default_factory=time.monotonic)
    said: float = 0.0
    tail: list[str] = field(default_factory=list)

    def __call__(self, line: str) -> None:
        self.heard = time.monotonic()
        if found := serverends.event(line):
            self._event(found)
            return
        self.tail = [*self.tail[-50:], serverstate.plain(line)]
        phase = vllmlog.phase(line)
        if phase is None or phase == self.phase:
            return
        new = self.phase is None or phase.name != self.phase.name or 0 < phase.total == phase.done
        if new or self.heard - self.said >= COUNT_SECONDS:
            self._say(str(phase))
        self.phase = phase

    def quiet(self, seconds: float) -> None:
        """Say, once a minute, that nothing was heard."""
        if time.monotonic() - max(self.heard, self.said) >= QUIET_SECONDS:
            self._say(f"{self.phase or 'starting'}; nothing new for {seconds:.0f} s")

    def _event(self, found: Event) -> None:
        if found.name in WARNINGS:
            self._say(
                f"warning: the watchdog says {found.name}: {human_bytes(found.available_kb * 1024)} are available"
            )

    def _say(self, text: str) -> None:
        self.said = time.monotonic()
        say(f"  {text}")


class Log:
    """The lines of a container's log, each once, asked for again and again; bars are several lines in one."""

    def __init__(self, api: Any, container: str) -> None:
        self.api = api
        self.container = container
        self.last = ""
        self.seen: set[bytes] = set()
        self.since = 0.0

    def fresh(self) -> list[str]:
        """What came since it was asked last. Docker dates each line, to the nanosecond and in a fixed form."""
        import docker.errors  # noqa: PLC0415

        try:
            data: bytes = self.api.logs(
                self.container, stdout=True, stderr=True, timestamps=True, since=self.since or None
            )
        except docker.errors.NotFound:  # it was removed: who asks how it is learns that
            return []
        found: list[str] = []
        for row in data.split(b"\n"):
            stamp, _, text = row.partition(b" ")
            moment = stamp.decode("ascii", errors="replace")
            if not row or moment < self.last or row in self.seen:
                continue
            if moment > self.last:
                self.last, self.seen = moment, set()
                self.since = _seconds(moment) or self.since
            self.seen.add(row)
            found += [part for part in text.decode("utf-8", errors="replace").split("\r") if part.strip()]
        return found


def _seconds(stamp: str) -> float:
    from datetime import datetime  # noqa: PLC0415

    with contextlib.suppress(ValueError):
        return datetime.fromisoformat(f"{stamp[:26]}+00:00").timestamp() - 1.0  # less than they are: none is lost
    return 0.0


def answers(url: str) -> bool:
    """Whether the server at ``url`` says that it is well (vLLM's /health: 200 once the engine is there)."""
    return _get(url, "/health", "")[0] == 200


def served(url: str, key: str) -> str | None:
    """The first model that it names (/v1/models of the OpenAI API); None where it names none."""
    status, body = _get(url, "/v1/models", key)
    if status != 200:
        return None
    try:
        return str(json.loads(body)["data"][0]["id"])
    except (ValueError, KeyError, IndexError, TypeError):
        return None


def _get(url: str, path: str, key: str) -> tuple[int, bytes]:
    place = urlsplit(url)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=ANSWER_SECONDS)
    try:
        connection.request("GET", path, headers={"Authorization": f"Bearer {key}"} if key else {})
        answer = connection.getresponse()
        return answer.status, answer.read(1 << 20)
    except (OSError, http.client.HTTPException):
        return 0, b""
    finally:
        connection.close()


def wait(api: Any, server: Server, *, timeout: float, alive: Callable[[str], bool] = answers) -> float:
    """Wait until the server answers; the seconds that it took.

    ``timeout``: seconds without a line in its log. Raises :class:`ServeError` where that is over, or where it ended,
    with why and its last words; the container stays.
    """
    began = time.monotonic()
    log, listener = Log(api, server.id), Listener()
    while True:
        now = serverstate.look(api, server.id, server.engine)
        if now is None:
            raise ServeError("the server's container is gone", why="somebody removed it while it started")
        for line in log.fresh():
            listener(line)
        if not now.lives:
            raise ended(api, now)
        if alive(server.url):
            return time.monotonic() - began
        silent = time.monotonic() - listener.heard
        if silent >= timeout:
            raise ServeError(
                f"the server did not become ready: nothing new for {silent:.0f} s",
                why=_block([f"it was last seen {listener.phase or 'starting'}; its last lines:", *listener.tail[-8:]]),
                todo=f"{LOGS}; give it longer: --timeout SECONDS",
            )
        listener.quiet(silent)
        time.sleep(POLL_SECONDS)


def ended(api: Any, server: Server) -> ServeError:
    """The error for a server that ended by itself."""
    event, words = serverstate.told(api, server)
    memory = [event.memory] if event and event.memory else []
    return ServeError(
        f"the server ended: {server.end}",
        why=_block([*memory, "its last lines:", *words]),
        todo="; ".join(filter(None, [serverends.TODO.get(server.exit_status, ""), LOGS])),
    )


def _block(lines: Sequence[str]) -> str:
    return "\n       ".join(lines)
