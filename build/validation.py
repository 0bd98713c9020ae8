"""What a validation found: cases with their evidence, and the report of a run. Values, and their form as JSON.

The form's number is :data:`SCHEMA`; it is raised when a key changes its meaning or goes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from build.replies import Reply
from build.speeds import Sample

SCHEMA = 1
MOST_PROMPT, MOST_ANSWER, MOST_THINKING = 1_500, 8_000, 3_000  # characters of evidence that are kept


class Status(StrEnum):
    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """A question and what came of it, as evidence: texts are cut to what a person reads."""

    prompt: str
    tools: tuple[str, ...]
    streamed: bool
    answer: str
    thinking: str
    calls: tuple[Mapping[str, str], ...]
    finish: str
    trouble: str
    first_seconds: float | None
    seconds: float
    prompt_tokens: int | None
    completion_tokens: int | None
    cached_tokens: int | None


@dataclass(frozen=True, kw_only=True)
class Case:
    """One case. ``reasons``: what failed, or why it was skipped. ``facts``: what else there is to know, by name."""

    name: str
    group: str
    title: str
    status: Status
    reasons: tuple[str, ...] = ()
    seconds: float = 0.0
    exchanges: tuple[Exchange, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    samples: tuple[Sample, ...] = ()

    @property
    def reason(self) -> str:
        return "; ".join(self.reasons)


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What was validated. ``version``: of vLLM, where it tells; ``context``: tokens, by the server or the profile."""

    url: str
    model: str
    root: str = ""
    version: str = ""
    context: int | None = None
    listed: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Report:
    """A run. ``complete``: every case that was chosen came to its end; else ``ended`` says why not.

    ``profile``: name, summary and what was measured before (``measured``), as the profile has it.
    """

    subject: Subject
    run: str
    started: str
    seconds: float
    complete: bool
    ended: str
    options: Mapping[str, Any]
    profile: Mapping[str, Any] | None
    cases: tuple[Case, ...]

    @property
    def failed(self) -> tuple[Case, ...]:
        return tuple(case for case in self.cases if case.status is Status.FAILED)

    @property
    def counts(self) -> str:
        found = Counter(case.status for case in self.cases)
        return ", ".join(f"{found[status]} {status}" for status in Status)


def exchange(messages: Mapping[str, Any], reply: Reply) -> Exchange:
    """The evidence of a request: ``messages``, ``tools``, ``stream`` as it was asked, and its reply."""
    usage = reply.usage
    return Exchange(
        prompt=cut("\n\n".join(_spoken(message) for message in messages["messages"]), MOST_PROMPT),
        tools=tuple(str(tool["function"]["name"]) for tool in messages["tools"]),
        streamed=bool(messages["stream"]),
        answer=cut(reply.text, MOST_ANSWER),
        thinking=cut(reply.thinking, MOST_THINKING),
        calls=tuple({"name": call.name, "arguments": cut(call.arguments, MOST_ANSWER)} for call in reply.calls),
        finish=reply.finish,
        trouble=str(reply.trouble or ""),
        first_seconds=_rounded(reply.clock.first),
        seconds=round(reply.clock.end, 3),
        prompt_tokens=usage.prompt if usage else None,
        completion_tokens=usage.completion if usage else None,
        cached_tokens=usage.cached if usage else None,
    )


def cut(text: str, most: int) -> str:
    r"""A text, without its middle where it is longer than that.

    >>> cut("a" * 8, 6), cut("short", 6)
    ('aaa\n… 2 characters …\naaa', 'short')
    """
    if len(text) <= most:
        return text
    half = most // 2
    return f"{text[:half]}\n… {len(text) - 2 * half} characters …\n{text[-half:]}"


def as_dict(report: Report) -> dict[str, Any]:
    """The report for programs: lists and plain values."""
    return {
        "schema": SCHEMA,
        **asdict(report),
        "counts": report.counts,
        "passed": report.complete and not report.failed,
    }


def masked(value: Any, hide: Mapping[str, str]) -> Any:
    """A value with each text of ``hide`` replaced, wherever it stands in it."""
    if isinstance(value, str):
        for secret, instead in hide.items():
            value = value.replace(secret, instead)
        return value
    if isinstance(value, Mapping):
        return {masked(key, hide): masked(item, hide) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [masked(item, hide) for item in value]
    return value


def _spoken(message: Mapping[str, Any]) -> str:
    said = str(message.get("content") or "")
    calls = [f"{call['function']['name']}({call['function']['arguments']})" for call in message.get("tool_calls", ())]
    return "\n".join([f"[{message['role']}]", *([said] if said else []), *calls])


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
