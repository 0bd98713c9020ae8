"""What is asked of a server, where it is, and how long we wait for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from build.errors import UsageError

KEY_VARIABLE = "OPENAI_API_KEY"


@dataclass(frozen=True, kw_only=True)
class Question:
    """A request. ``prompt_tokens``: about how long the prompt is, for how long we wait. ``stream``: in pieces."""

    messages: Sequence[Mapping[str, Any]]
    max_tokens: int
    tools: Sequence[Mapping[str, Any]] = ()
    stream: bool = True
    prompt_tokens: int = 0


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long we wait, in seconds; ``seconds`` is for the first token of a short prompt, and between two tokens.

    At the 120 s of the default a long prompt has a second more for each 100 tokens (the card's server reads 539 in a
    second), and an answer half a second for each token that it may have.
    """

    seconds: float = 120.0

    def first(self, prompt_tokens: int) -> float:
        return self.seconds * (1 + prompt_tokens / 12_000)

    def whole(self, prompt_tokens: int, max_tokens: int) -> float:
        return self.first(prompt_tokens) + self.seconds * max_tokens / 240


@dataclass(frozen=True, kw_only=True)
class Progress:
    """What has come so far: seconds since the request, and pieces."""

    seconds: float
    pieces: int


def base_url(text: str) -> str:
    """The address that the client takes, from what a person types. Raises :class:`UsageError`.

    >>> base_url("http://spark:8000"), base_url("https://spark/v1/")
    ('http://spark:8000/v1', 'https://spark/v1')
    """
    try:
        parts = urlsplit(text)
        plain = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        plain = False
    if not plain:
        raise UsageError(f"{text} is no address of a server", todo="write it like http://127.0.0.1:8000")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise UsageError(
            "the address of a server has nothing but a host, a port and a path",
            why="user names, passwords and queries would stand in reports and process lists",
            todo=f"set {KEY_VARIABLE} in the environment",
        )
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/') or '/v1'}"


def is_here(url: str) -> bool:
    """Whether an address is this machine's own.

    >>> is_here("http://127.0.0.1:8000/v1"), is_here("http://localhost"), is_here("http://spark:8000")
    (True, True, False)
    """
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
