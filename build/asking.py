"""Asks a server with the official client, and gives up in time: each request ends in a :class:`Reply`, never in a hang.

The client reads in a thread of its own, while we wait no longer than :class:`Patience` says; who gives up hangs up, so
that the server stops too. There are no second tries: they would hide what a suite is there to find, and falsify times.
"""

from __future__ import annotations

import contextlib
import os
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from build.questions import KEY_VARIABLE, Patience, Progress, Question, is_here
from build.replies import Gatherer, Kind, MalformedError, Reply, Trouble
from build.troubles import bounded, named, printable

if TYPE_CHECKING:
    import httpx2

TEMPERATURE = 0.0  # the same question should get the same answer
CONNECT_SECONDS = 10.0
MOST_TEXT = 400_000  # characters of an answer
HANG_UP_SECONDS = 1.0  # until a reading thread has noticed
TICK = 0.5  # seconds between looks at what has come


@dataclass
class _Line:
    """What the reading thread and we share: its events, each with its time, and what kind of answer came."""

    start: float = field(default_factory=time.perf_counter)
    events: queue.SimpleQueue[tuple[float, object]] = field(default_factory=queue.SimpleQueue)
    content_type: str = ""

    def now(self) -> float:
        return time.perf_counter() - self.start

    def put(self, event: object) -> None:
        self.events.put((self.now(), event))


_END = object()


class Server:
    """A server at ``url`` (of :func:`build.questions.base_url`). ``model``: whom is asked; it may be set later."""

    def __init__(self, url: str, *, patience: Patience, model: str = "") -> None:
        import openai  # noqa: PLC0415 - half a second

        self.url = url
        self.model = model
        self.patience = patience
        self.key = os.environ.get(KEY_VARIABLE, "")
        self.connection: Any = None  # the network stream of the latest request, as httpcore has it
        self.http = openai.DefaultHttpxClient(
            event_hooks={"request": [self._traced], "response": [bounded]},
            mounts=dict.fromkeys(("all://", "http://", "https://")) if is_here(url) else None,  # no proxy leads here
        )
        self.client = openai.OpenAI(base_url=url, api_key=self.key or "none", max_retries=0, http_client=self.http)

    def close(self) -> None:
        self.client.close()

    def _traced(self, request: httpx2.Request) -> None:
        """Learn of each connection, so that one can be hung up before its answer begins."""
        request.extensions["trace"] = self._trace

    def _trace(self, name: str, told: Mapping[str, Any]) -> None:
        if name.endswith(("connect_tcp.complete", "start_tls.complete")):
            self.connection = told["return_value"]

    def hang_up(self, reader: threading.Thread) -> None:
        """End the connection, and with it the thread that reads from it."""
        raw = self.connection.get_extra_info("socket") if self.connection is not None else None
        if raw is not None:
            with contextlib.suppress(OSError):
                raw.shutdown(socket.SHUT_RDWR)  # wakes the thread, which close would not
        reader.join(HANG_UP_SECONDS)

    def mask(self, text: str) -> str:
        """The text without our key, should the server have repeated it."""
        return text.replace(self.key, "***") if len(self.key) > 3 else text

    def named(self, error: Exception, *, begun: bool = False) -> Trouble:
        """:func:`build.troubles.named`, without our key."""
        trouble = named(error, begun=begun)
        return replace(trouble, text=self.mask(trouble.text))

    def ask(self, question: Question, watch: Callable[[Progress], None] = lambda _: None) -> Reply:
        """Ask, and wait for the whole answer, or until patience ends; ``watch`` is called while we wait."""
        gatherer, line = Gatherer(), _Line()
        reader = threading.Thread(target=self._read, args=(question, line), daemon=True)
        reader.start()
        trouble: Trouble | None = None
        try:
            for seconds, event in self._events(question, line, gatherer, watch):
                trouble = self._taken(question, gatherer, seconds, event)
                if trouble is not None:
                    break
            else:
                trouble = None if gatherer.finish else _unfinished(line, gatherer)
        except MalformedError as error:
            trouble = Trouble(kind=Kind.MALFORMED, text=str(error))
        except BaseException:
            self.hang_up(reader)
            raise
        if trouble is not None:
            self.hang_up(reader)
        return gatherer.reply(line.now(), trouble)

    def _taken(self, question: Question, gatherer: Gatherer, seconds: float, event: object) -> Trouble | None:
        """Take in one event; the trouble that it is or makes."""
        if isinstance(event, Trouble):
            return event
        if isinstance(event, Exception):
            return self.named(event, begun=gatherer.first is not None)
        if question.stream:
            gatherer.piece(event, seconds)
        else:
            gatherer.message(event)
        if gatherer.size > MOST_TEXT:
            text = f"over {MOST_TEXT} characters came, though max_tokens is {question.max_tokens}"
            return Trouble(kind=Kind.HUGE, text=text)
        return None

    def _read(self, question: Question, line: _Line) -> None:
        """The thread's part: all that comes, as events; an exception is one too, or it would look like a hang."""
        try:
            for event in self._pieces(question, line):
                line.put(event)
            line.put(_END)
        except Exception as error:  # noqa: BLE001 - a defect is raised again by who reads the events
            line.put(error)

    def _pieces(self, question: Question, line: _Line) -> Iterator[object]:
        import httpx2  # noqa: PLC0415

        most = self.patience.whole(question.prompt_tokens, question.max_tokens)
        common: dict[str, Any] = {
            "model": self.model,
            "messages": question.messages,
            "max_tokens": question.max_tokens,
            "temperature": TEMPERATURE,
            "timeout": httpx2.Timeout(most + 1, connect=min(CONNECT_SECONDS, self.patience.seconds)),
            **({"tools": question.tools, "tool_choice": "auto"} if question.tools else {}),
        }
        create = self.client.chat.completions.create
        if not question.stream:
            yield create(**common)
            return
        with create(**common, stream=True, stream_options={"include_usage": True}) as stream:
            line.content_type = stream.response.headers.get("content-type", "nothing")
            yield from stream

    def _events(
        self, question: Question, line: _Line, gatherer: Gatherer, watch: Callable[[Progress], None]
    ) -> Iterator[tuple[float, object]]:
        """What the thread tells, until the end; a :class:`Trouble` where that is not in time."""
        whole = self.patience.whole(question.prompt_tokens, question.max_tokens)
        first = self.patience.first(question.prompt_tokens) if question.stream else whole
        heard = watched = 0.0
        while True:
            try:
                heard, event = line.events.get(timeout=min(TICK, self.patience.seconds / 4))
                if event is _END:
                    return
                yield heard, event
            except queue.Empty:
                if gatherer.first is None and line.now() > first:
                    yield line.now(), Trouble(kind=Kind.SILENT, text=f"nothing came in {line.now():.1f} s")
                if gatherer.first is not None and line.now() - heard > self.patience.seconds:
                    text = f"after {gatherer.pieces} pieces nothing came for {line.now() - heard:.1f} s"
                    yield line.now(), Trouble(kind=Kind.STALLED, text=text)
            if line.now() > whole:
                text = f"{gatherer.pieces} pieces in {line.now():.1f} s, and no end (max_tokens {question.max_tokens})"
                yield line.now(), Trouble(kind=Kind.SLOW, text=text)
            if line.now() - watched >= TICK:
                watched = line.now()
                watch(Progress(seconds=watched, pieces=gatherer.pieces))


def _unfinished(line: _Line, gatherer: Gatherer) -> Trouble:
    if gatherer.first is None and line.content_type and "event-stream" not in line.content_type:
        text = f"a stream was asked for, and what came calls itself {line.content_type}"
        return Trouble(kind=Kind.MALFORMED, text=printable(text))
    return Trouble(kind=Kind.CUT, text=f"the answer ended after {gatherer.pieces} pieces without a finish_reason")
