"""What an exception of the openai client means: which :class:`~build.replies.Kind` of trouble, in which words.

Also counts the bytes of an answer while they come, since the client would read a line without an end into memory.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from build.replies import Kind, Trouble

if TYPE_CHECKING:
    import httpx2
    import openai

MOST_BYTES = 1 << 25  # of one answer, with all that is around it
SAID = 400  # characters of a server's own message that we show
NO_ROOM = re.compile(r"context.{0,12}(length|size|window)|exceed_context", re.IGNORECASE)


UNREADABLE = (AttributeError, TypeError, KeyError, RecursionError)  # raised by the client for JSON that is no answer


class TooMuchError(Exception):
    """More bytes than any answer needs."""


def named(error: Exception, *, begun: bool = False) -> Trouble:
    """The trouble that an exception tells of; ``begun``: after the first token. Anything else is raised again."""
    import httpx2  # noqa: PLC0415
    import openai  # noqa: PLC0415

    cause = error.__cause__
    if isinstance(error, openai.APIStatusError):
        return Trouble(kind=_refused(error), text=words(error))
    if isinstance(error, openai.APITimeoutError):
        if isinstance(cause, httpx2.ConnectTimeout):
            return Trouble(kind=Kind.UNREACHABLE, text="it does not let us connect in time")
        return Trouble(kind=Kind.STALLED if begun else Kind.SILENT, text=words(cause or error))
    if isinstance(error, openai.APIConnectionError):
        kind = Kind.UNREACHABLE if isinstance(cause, httpx2.ConnectError) else Kind.CUT
        return Trouble(kind=kind, text=words(cause or error))
    if isinstance(error, openai.APIResponseValidationError):
        return Trouble(kind=Kind.MALFORMED, text=words(error))
    if isinstance(error, openai.APIError):
        return Trouble(kind=Kind.FAILED, text=f"an error inside the stream: {words(error)}")
    if isinstance(error, TooMuchError):
        return Trouble(kind=Kind.HUGE, text=words(error))
    if isinstance(error, ValueError):  # JSON, Unicode
        return Trouble(kind=Kind.MALFORMED, text=f"not JSON: {words(error)}")
    if isinstance(error, (httpx2.HTTPError, httpx2.StreamError, OSError)):
        return Trouble(kind=Kind.CUT, text=words(error))
    if isinstance(error, UNREADABLE):
        return Trouble(kind=Kind.MALFORMED, text=f"the client cannot read it: {words(error)}")
    raise error


def _refused(error: openai.APIStatusError) -> Kind:
    status = error.status_code
    if status in (401, 403):
        return Kind.DENIED
    if status == 404:
        return Kind.UNKNOWN
    if status in (400, 413, 422) and NO_ROOM.search(str(error)):
        return Kind.CONTEXT
    return Kind.REFUSED if status < 500 else Kind.FAILED


def words(error: BaseException) -> str:
    """An exception's own words, on one line and of bounded length."""
    text = printable(" ".join((str(error) or type(error).__name__).split()))
    return text if len(text) <= SAID else f"{text[:SAID]}…"


def printable(text: str) -> str:
    r"""A server's words for a terminal: what would steer it, or turn the direction of writing, is replaced.

    >>> printable("all \x1b[31mwell")
    'all �[31mwell'
    """
    return "".join(character if character.isprintable() else "�" for character in text)


def bounded(response: httpx2.Response) -> None:
    """Have a response end in :class:`TooMuchError` past :data:`MOST_BYTES`: a hook of the client's."""
    import httpx2  # noqa: PLC0415

    class Counted(httpx2.SyncByteStream):
        def __init__(self, inner: httpx2.SyncByteStream) -> None:
            self.inner = inner

        def __iter__(self) -> Iterator[bytes]:
            count = 0
            for data in self.inner:
                count += len(data)
                if count > MOST_BYTES:
                    raise TooMuchError(f"over {MOST_BYTES} bytes for one answer")
                yield data

        def close(self) -> None:
            self.inner.close()

    if isinstance(response.stream, httpx2.SyncByteStream):
        response.stream = Counted(response.stream)
