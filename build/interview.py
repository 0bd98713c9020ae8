"""One run's talk with a server: asks, shows that it waits, and keeps each exchange as evidence of the case under way.

The suite is made of tasks (:class:`Task`): each asks through an :class:`Interview` and gives an :class:`Outcome`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from build import serverfacts
from build.asking import Server
from build.console import say
from build.profiles import Profile
from build.questions import Progress, Question
from build.replies import Reply, Trouble
from build.serverfacts import Listed
from build.sizing import Scale
from build.speeds import Sample
from build.validation import Exchange, exchange

FIRST_WORD, LAST_WORD = 5.0, 60.0  # seconds until we say that we wait, and at most between two such lines


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a task found. ``skipped``: why it could not be done at all. ``facts``: what the report should know."""

    findings: tuple[str, ...] = ()
    skipped: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    samples: tuple[Sample, ...] = ()


@dataclass
class Interview:
    """``run``: a word that no other run has. ``context``: tokens that the server takes. The rest is of one case."""

    server: Server
    run: str
    profile: Profile | None
    listed: tuple[Listed, ...]
    context: int
    seed: int = 0
    scale: Scale | None = None
    scaled: bool = False
    exchanges: list[Exchange] = field(default_factory=list)
    trouble: Trouble | None = None

    def begin(self) -> None:
        """Forget the case before."""
        self.exchanges, self.trouble = [], None

    def ask(
        self,
        said: str | Sequence[Mapping[str, Any]],
        *,
        max_tokens: int,
        tools: Sequence[Mapping[str, Any]] = (),
        stream: bool = True,
        prompt_tokens: int = 0,
    ) -> Reply:
        """Ask the server: a user's words, or a conversation so far."""
        messages = [{"role": "user", "content": said}] if isinstance(said, str) else list(said)
        most = min(max_tokens, max(16, self.context // 2))
        question = Question(messages=messages, max_tokens=most, tools=tools, stream=stream, prompt_tokens=prompt_tokens)
        reply = self.server.ask(question, _Waiting())
        self.exchanges.append(exchange({"messages": messages, "tools": tools, "stream": stream}, reply))
        self.trouble = reply.trouble or self.trouble
        return reply

    def tokens(self, text: str) -> int | None:
        """How long a user's words are as a prompt: by /tokenize, or by asking for one token of answer."""
        messages = [{"role": "user", "content": text}]
        if (count := serverfacts.tokens(self.server, messages)) is not None:
            return count
        reply = self.ask(text, max_tokens=1, prompt_tokens=len(text) // 3)
        return reply.usage.prompt if reply.usage else None

    @property
    def alive(self) -> bool:
        """Whether the server still answers at all; asked twice, since it may be busy ending what we gave up."""
        for _ in range(2):
            if not isinstance(serverfacts.models(self.server), Trouble):
                return True
            time.sleep(0.2)
        return False


@dataclass(frozen=True, kw_only=True)
class Task:
    """A case of the suite. ``quick``: it belongs to a quick run too."""

    name: str
    group: str
    title: str
    do: Callable[[Interview], Outcome]
    quick: bool = True


def judged(reply: Reply, findings: Callable[[Reply], tuple[str, ...]], **facts: Any) -> Outcome:
    """What is wrong with a reply; where it did not come whole, that alone."""
    if reply.trouble is not None:
        return Outcome(findings=(str(reply.trouble),), facts=facts)
    return Outcome(findings=findings(reply), facts=facts)


class _Waiting:
    """Says that we wait: first after some seconds, then ever more rarely."""

    def __init__(self) -> None:
        self.next = FIRST_WORD
        self.pause = FIRST_WORD

    def __call__(self, progress: Progress) -> None:
        if progress.seconds < self.next:
            return
        self.pause = min(2 * self.pause, LAST_WORD)
        self.next = progress.seconds + self.pause
        if progress.pieces:
            say(f"    {progress.seconds:.0f} s: {progress.pieces} pieces have come")
        else:
            say(f"    {progress.seconds:.0f} s: waiting for the first token")
