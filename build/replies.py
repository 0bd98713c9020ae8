"""What a server answered: text, thinking, tool calls and times, of the pieces of a stream or of one message.

Knows no network and no client: pieces are read by attribute, as the openai client's objects have them, and nothing of
them is trusted to be of the type that its name promises. What vLLM sends was read in its release 0.32: `reasoning`
(older ones: `reasoning_content`), tool calls by `index`, the usage in a last piece without choices.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

THINKING_FIELDS = ("reasoning", "reasoning_content")  # one of them is read in each piece: some servers send both
OPENING, CLOSING = "<think>", "</think>"


class Kind(StrEnum):
    """What went wrong between us and the server; each is told apart because each has another cure."""

    UNREACHABLE = "unreachable"  # nothing listens, no such host, no TLS
    DENIED = "denied"  # 401, 403
    UNKNOWN = "unknown model or address"  # 404
    CONTEXT = "context overflow"  # 400 that says so
    REFUSED = "refused"  # any other 4xx
    FAILED = "server error"  # 5xx, or an error inside the stream
    SILENT = "no first token"
    STALLED = "stalled"  # after the first token
    SLOW = "too slow"
    CUT = "cut off"  # the connection ended in the middle, or the stream without a finish_reason
    MALFORMED = "malformed"  # not what the protocol says
    HUGE = "too much"


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """A request that gave no whole answer, in a sentence."""

    kind: Kind
    text: str

    @property
    def fatal(self) -> bool:
        """The next request cannot fare better."""
        return self.kind in (Kind.UNREACHABLE, Kind.DENIED, Kind.UNKNOWN)

    def __str__(self) -> str:
        return f"{self.kind}: {self.text}"


@dataclass(frozen=True, kw_only=True)
class Call:
    """A tool call. ``arguments``: the text as it came; whether it is JSON is for who judges it."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, kw_only=True)
class Usage:
    """Tokens, as the server counted them. ``cached``: of the prompt, those from its prefix cache; None if not told."""

    prompt: int
    completion: int
    cached: int | None = None


@dataclass(frozen=True, kw_only=True)
class Clock:
    """Seconds since the request was made: the first token, the last one, the end. None where there was none.

    The first token is the first piece with text, thinking or a tool call (a piece with the role alone is none); the
    last one is the last piece of that kind or the one that says why it ended, which is a token too (the end mark).
    """

    first: float | None = None
    last: float | None = None
    end: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What came. ``text``: the answer without thinking. ``leaked``: there were think tags in it, now in ``thinking``.

    ``thinking_field``: under what name the thinking came. ``notes``: what was odd about the pieces. With ``trouble``
    all else is what came before it.
    """

    text: str = ""
    thinking: str = ""
    thinking_field: str = ""
    leaked: bool = False
    calls: tuple[Call, ...] = ()
    finish: str = ""
    usage: Usage | None = None
    clock: Clock = field(default_factory=Clock)
    pieces: int = 0
    notes: tuple[str, ...] = ()
    trouble: Trouble | None = None


class MalformedError(ValueError):
    """A piece or a message that is not what the protocol says."""


@dataclass
class _Parts:
    """A tool call while it comes."""

    id: str = ""
    name: str = ""
    arguments: list[str] = field(default_factory=list)


class Gatherer:
    """Makes a :class:`Reply` of pieces: :meth:`piece` for each of a stream, or :meth:`message` for a whole answer."""

    def __init__(self) -> None:
        self.text: list[str] = []
        self.thinking: list[str] = []
        self.thinking_field = ""
        self.parts: dict[int, _Parts] = {}
        self.finish = ""
        self.usage: Usage | None = None
        self.first: float | None = None
        self.last: float | None = None
        self.pieces = 0
        self.size = 0
        self.notes: list[str] = []

    def piece(self, chunk: Any, seconds: float) -> None:
        """A piece of a stream that came so many seconds after the request. Raises :class:`MalformedError`."""
        self.usage = usage(getattr(chunk, "usage", None)) or self.usage
        choices = getattr(chunk, "choices", None)
        if not isinstance(choices, list):
            raise MalformedError("a piece of the stream has no list of choices")
        if not choices:
            return
        choice = choices[0]
        delta = getattr(choice, "delta", None)
        ended = _text(getattr(choice, "finish_reason", None), "finish_reason")
        if isinstance(delta, (str, int, float, list)) or (delta is None and not ended):
            raise MalformedError("a piece of the stream has no delta")
        said = self._said(delta, "a piece of the stream")
        self.finish = ended or self.finish
        if said:
            self.pieces += 1
            self.first = seconds if self.first is None else self.first
        if said or (ended and self.first is not None):
            self.last = seconds

    def message(self, completion: Any) -> None:
        """A whole answer. Raises :class:`MalformedError`."""
        choices = getattr(completion, "choices", None)
        if not isinstance(choices, list) or not choices:
            raise MalformedError("the answer has no choices")
        message = getattr(choices[0], "message", None)
        if message is None or isinstance(message, (str, int, float, list)):
            raise MalformedError("the answer has no message")
        self.usage = usage(getattr(completion, "usage", None))
        self._said(message, "the message", whole=True)
        self.finish = _text(getattr(choices[0], "finish_reason", None), "finish_reason")
        self.pieces = 1

    def _said(self, holder: Any, where: str, *, whole: bool = False) -> bool:
        """Add what a delta or message holds; whether it held anything."""
        said = _text(getattr(holder, "content", None), f"content of {where}")
        thought = ""
        for name in THINKING_FIELDS:
            if thought := _text(getattr(holder, name, None), f"{name} of {where}"):
                self.thinking_field = name
                break
        calls = getattr(holder, "tool_calls", None) or []
        if not isinstance(calls, list):
            raise MalformedError(f"tool_calls of {where} is no list")
        for position, call in enumerate(calls):
            self._call(call, position if whole else getattr(call, "index", None), where)
        self.text.append(said)
        self.thinking.append(thought)
        self.size += len(said) + len(thought)
        return bool(said or thought or calls)

    def _call(self, call: Any, index: Any, where: str) -> None:
        if not isinstance(index, int):
            raise MalformedError(f"a tool call of {where} has no index")
        function = getattr(call, "function", None)
        name = _text(getattr(function, "name", None), "the name of a tool call")
        arguments = _text(getattr(function, "arguments", None), "the arguments of a tool call")
        identity = _text(getattr(call, "id", None), "the id of a tool call")
        parts = self.parts.setdefault(index, _Parts())
        if identity and parts.id and identity != parts.id:
            self.notes.append(f"two tool calls share the index {index}: {parts.id} and {identity}")
        parts.id = parts.id or identity
        parts.name += name
        parts.arguments.append(arguments)
        self.size += len(name) + len(arguments)

    def reply(self, end: float, trouble: Trouble | None = None) -> Reply:
        """What has come until now; thinking between tags is taken out of the text."""
        text, leaked, found = untagged("".join(self.text))
        return Reply(
            text=text,
            thinking="".join(self.thinking) + found,
            thinking_field=self.thinking_field,
            leaked=leaked,
            calls=tuple(
                Call(id=parts.id, name=parts.name, arguments="".join(parts.arguments))
                for _, parts in sorted(self.parts.items())
            ),
            finish=self.finish,
            usage=self.usage,
            clock=Clock(first=self.first, last=self.last, end=end),
            pieces=self.pieces,
            notes=tuple(self.notes),
            trouble=trouble,
        )


def untagged(text: str) -> tuple[str, bool, str]:
    r"""The text without its thinking, whether it held any, and that thinking.

    A closing tag alone counts too: some chat templates open the thinking in the prompt. One that is not closed takes
    all that follows.

    >>> untagged("<think>so</think>\n42"), untagged("so</think>42"), untagged("42"), untagged("<think>on")
    (('42', True, 'so'), ('42', True, 'so'), ('42', False, ''), ('', True, 'on'))
    """
    before, opened, rest = text.partition(OPENING)
    if opened and CLOSING not in before:
        thought, _, answer = rest.partition(CLOSING)
        return (before + answer).strip(), True, thought
    thought, closed, answer = text.partition(CLOSING)
    if closed:
        return answer.strip(), True, thought
    return text, False, ""


def usage(told: Any) -> Usage | None:
    """The server's count of tokens; None where it tells none, or not in numbers."""
    prompt, completion = getattr(told, "prompt_tokens", None), getattr(told, "completion_tokens", None)
    if not isinstance(prompt, int) or not isinstance(completion, int):
        return None
    cached = getattr(getattr(told, "prompt_tokens_details", None), "cached_tokens", None)
    return Usage(prompt=prompt, completion=completion, cached=cached if isinstance(cached, int) else None)


def as_message(reply: Reply) -> Mapping[str, Any]:
    """The reply as the assistant's message of a conversation that goes on, as the server itself would have it back."""
    calls: Sequence[Mapping[str, Any]] = [
        {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
        for call in reply.calls
    ]
    thinking = {reply.thinking_field: reply.thinking} if reply.thinking_field else {}
    return {"role": "assistant", "content": reply.text, **({"tool_calls": calls} if calls else {}), **thinking}


def _text(value: Any, what: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise MalformedError(f"{what} is no text but {type(value).__name__}")
    return value
