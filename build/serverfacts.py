"""What a server tells about itself: its models, its version, how many tokens a prompt has.

/v1/models is OpenAI's; max_model_len in it, /version and /tokenize are vLLM's own (read in its release 0.32), and stand
beside the API. A server that lacks them tells less.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from build.asking import Server
from build.replies import Kind, Trouble
from build.troubles import UNREADABLE, TooMuchError, printable

SHORT_SECONDS = 10.0  # for what a server answers without its model
TOKENIZE_SECONDS = 60.0  # a megabyte of text


@dataclass(frozen=True, kw_only=True)
class Listed:
    """A model that the server lists. ``context``: vLLM's max_model_len; ``root``: what it was loaded from."""

    name: str
    context: int | None = None
    root: str = ""


def models(server: Server) -> tuple[Listed, ...] | Trouble:
    """What the server lists: also the question whether it is there at all."""
    import openai  # noqa: PLC0415

    try:
        page = server.client.models.list(timeout=min(SHORT_SECONDS, server.patience.seconds))
    except (openai.OpenAIError, ValueError, TooMuchError, *UNREADABLE) as error:
        return server.named(error)
    rows = getattr(page, "data", None)
    if not isinstance(rows, list):
        return Trouble(kind=Kind.MALFORMED, text="/models has no list of models")
    found = []
    for row in rows:
        name, context, root = (getattr(row, key, None) for key in ("id", "max_model_len", "root"))
        if isinstance(name, str):
            context = context if isinstance(context, int) and context > 0 else None
            found.append(
                Listed(name=printable(name), context=context, root=printable(root) if isinstance(root, str) else "")
            )
    return tuple(found)


def version(server: Server) -> str:
    """vLLM's version; empty for a server that does not tell."""
    told = _beside(server, "GET", "/version", None, SHORT_SECONDS)
    found = told.get("version") if isinstance(told, dict) else None
    return printable(found[:100]) if isinstance(found, str) else ""


def tokens(server: Server, messages: Sequence[Mapping[str, Any]]) -> int | None:
    """How many tokens a prompt has, by vLLM's /tokenize; None for a server that has none."""
    body = {"model": server.model, "messages": list(messages)}
    told = _beside(server, "POST", "/tokenize", body, TOKENIZE_SECONDS)
    count = told.get("count") if isinstance(told, dict) else None
    return count if isinstance(count, int) and count > 0 else None


def _beside(server: Server, method: str, path: str, body: object, seconds: float) -> Any:
    """What the server says at an address of its own, beside the API; None if it is not there or not JSON."""
    import httpx2  # noqa: PLC0415

    parts = urlsplit(server.url)
    headers = {"Authorization": f"Bearer {server.key}"} if server.key else {}
    address = f"{parts.scheme}://{parts.netloc}{path}"
    limit = min(seconds, server.patience.seconds)
    try:
        answer = server.http.request(method, address, json=body, headers=headers, timeout=limit)
        return answer.json() if answer.status_code == 200 else None
    except (httpx2.HTTPError, ValueError, TooMuchError):
        return None
