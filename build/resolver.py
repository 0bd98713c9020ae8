"""What uv says when it finds no set of wheels, as an error that a tired person understands: its kind, what decides.

uv (0.13) exits with 1 where it searched and found nothing, and explains that as a chain of steps ("Because …", "And
because …, we can conclude that …") of which the last ones decide; anything else is ``error:`` and its causes.
"""

from __future__ import annotations

import re

from build.errors import CommandError, NetworkError, ResolveError

STEPS = 3  # of the chain, from its end
ITEMS = 3  # of an enumeration of versions
CAUSES = 4  # of a failed request: address, status or the operating system's word
ITEM = " " * 13  # how uv indents an enumeration
INDENT = "\n       "  # below "  why: "

UNREACHED = re.compile(r"Failed to fetch|Request failed|error sending request|dns error|operation timed out")
UNKNOWN = re.compile(r"(\S+) was not found in the package registry")
EMPTY = re.compile(r"there are no versions of (\S+)")
ADVICE = re.compile(r" Consider using `exclude-newer-package`[^.]*\.")

# What to do about a request that failed, by a part of uv's words; the first that fits.
TODO = (
    ("timed out", "it does not answer in time: try again, or give it longer (UV_HTTP_TIMEOUT, in seconds)"),
    ("certificate", "its certificate is signed by none that you trust: name your CA bundle (SSL_CERT_FILE)"),
    ("server error", "the index has trouble: try again later, or use another index"),
    ("", "check the network and your index settings (UV_DEFAULT_INDEX or uv.toml), then again"),
)


def explained(error: CommandError, *, verbose: bool) -> ResolveError | NetworkError:
    """The error for a resolution that uv gave up. ``verbose``: its whole explanation, however long."""
    text = "\n".join(line for line in error.output.splitlines() if not line.startswith("warning:"))
    if "No solution found" not in text and UNREACHED.search(text):
        return NetworkError(
            "the Python index could not be read",
            why=INDENT.join(_causes(text)),
            todo=next(todo for sign, todo in TODO if sign in text),
        )
    what, todo = _kind(text)
    return ResolveError(what, why=_why(text, verbose=verbose), todo=todo)


def _kind(text: str) -> tuple[str, str]:
    """What failed, and what to do about it."""
    if unknown := UNKNOWN.search(text):
        return (
            f"the Python index does not know {unknown[1]}",
            "correct the name; if it is right, your index (UV_DEFAULT_INDEX, uv.toml) is not one that has it",
        )
    if (empty := EMPTY.search(text)) and "exclude-newer" not in text:
        return (
            f"the Python index lists no file of {empty[1]}",
            "look at your index (UV_DEFAULT_INDEX, uv.toml): a page that asks for a sign-in looks like this too",
        )
    if "invalid package format" in text:
        return (
            "the Python index gave something else than a wheel",
            "look at your index (UV_DEFAULT_INDEX, uv.toml): what it gives is damaged, or asks for a sign-in",
        )
    return (
        "uv found no set of wheels for these requirements",
        "change the target in lock/targets.toml; if what lacks was released, your index lags: wait, or use another",
    )


def _causes(text: str) -> list[str]:
    r"""The causes of a failed request, outermost first, each once.

    >>> _causes("error: Request failed\n  cause: Failed to fetch: x\n  cause: operation timed out")
    ['Failed to fetch: x', 'operation timed out']
    """
    lines = [line.strip().removeprefix("error: ").removeprefix("cause: ") for line in text.splitlines()]
    found = [line for line in dict.fromkeys(lines) if line and not line.startswith("Request failed")]
    return found if len(found) <= CAUSES else [*found[: CAUSES - 1], found[-1]]


def _why(text: str, *, verbose: bool) -> str:
    lines = _lines(text)
    kept, left_out = (lines, 0) if verbose else _decisive(lines)
    note = [f"({left_out} lines of uv's explanation are left out; -v shows them)"] if left_out else []
    return INDENT.join([*note, *kept])


def _lines(text: str) -> list[str]:
    r"""uv's explanation without its heading; of its indentation only that of enumerations is kept.

    >>> _lines("error: No solution found\n  cause: Because a, we can conclude b:\n             b==1\n\nhint: c")
    ['Because a, we can conclude b:', '  b==1', 'hint: c']
    """
    found = []
    for line in text.splitlines():
        plain = ADVICE.sub("", line).strip().removeprefix("cause: ").removeprefix("error: ")
        if plain and not plain.startswith("No solution found"):
            found.append(("  " if line.startswith(ITEM) else "") + plain)
    return found


def _decisive(lines: list[str]) -> tuple[list[str], int]:
    """The last steps of uv's chain with short enumerations, and what follows it (hints); how many lines are not."""
    starts = [number for number, line in enumerate(lines) if line.startswith(("Because ", "And because "))]
    left_out = starts[-STEPS] if len(starts) > STEPS else 0
    kept: list[str] = []
    items = 0
    for line in lines[left_out:]:
        items = items + 1 if line.startswith("  ") else 0
        if items <= ITEMS:
            kept.append(line)
        elif items == ITEMS + 1:
            kept.append("  …")
    return kept, len(lines) - sum(line != "  …" for line in kept)
