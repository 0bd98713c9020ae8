"""Patterns of the intent over the files of wheels: what each matches, and what is near one that matches nothing.

A pattern is a path below site-packages. ``*`` stands for any part of one name; ``**``, as the last name, for all that
is below. One that matches nothing is an error everywhere, so that a list does not rot when a lock moves.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Mapping, Sequence

from build.errors import PatternError

Records = Mapping[str, Mapping[str, str]]  # distribution → its wheel's RECORD (:func:`build.wheels.record`)
Files = Mapping[str, tuple[str, ...]]  # distribution → paths below site-packages, sorted


def expression(pattern: str) -> re.Pattern[str]:
    """What a pattern matches, as a whole.

    >>> [bool(expression("a/*.so").fullmatch(path)) for path in ("a/b.so", "a/b/c.so")]
    [True, False]
    >>> [bool(expression("a/**").fullmatch(path)) for path in ("a", "a/b", "a/b/c")]
    [False, True, True]
    """
    head, tail = (pattern[:-2], ".+") if pattern.endswith("/**") else (pattern, "")
    return re.compile(re.escape(head).replace(r"\*", "[^/]*") + tail)


def owners(records: Records) -> dict[str, list[str]]:
    """Path → the distributions that bring it, for all below site-packages (programs are beside it)."""
    found: dict[str, list[str]] = {}
    for name in sorted(records):
        for path in records[name]:
            if not path.startswith("../"):
                found.setdefault(path, []).append(name)
    return found


def matched(pattern: str, paths: Collection[str]) -> tuple[list[str], str]:
    """The paths that a pattern matches; where there is none, that as a fault with what is near."""
    found = list(filter(expression(pattern).fullmatch, paths))
    return found, "" if found else f"{pattern}: no wheel brings it{_near(pattern, paths)}"


def by_distribution(paths: Iterable[str], owned: Mapping[str, Sequence[str]]) -> Files:
    """Paths under each distribution that brings them."""
    files: dict[str, list[str]] = {}
    for path in sorted(paths):
        for name in owned[path]:
            files.setdefault(name, []).append(path)
    return {name: tuple(files[name]) for name in sorted(files)}


def refuse(what: str, key: str, faults: Sequence[str]) -> None:
    """Raise :class:`PatternError` with all faults of a target's ``key``, where there are any."""
    if faults:
        raise PatternError(
            what,
            why="\n       ".join(faults),
            todo=f"correct the target's {key} in lock/targets.toml, then `nox -s lock`",
        )


def _near(pattern: str, paths: Iterable[str]) -> str:
    """What is there instead, in words: the names beside the first one of a pattern that nothing has."""
    left = [path.split("/") for path in paths]
    parts = pattern.split("/")
    for depth, part in enumerate(parts):
        names = {path[depth] for path in left if len(path) > depth}
        wanted = expression(part) if part != "**" else re.compile(".+")
        left = [path for path in left if len(path) > depth and wanted.fullmatch(path[depth])]
        if not left:
            place = f"{'/'.join(parts[:depth])}/" if depth else "site-packages"
            close = difflib.get_close_matches(part, names, n=3, cutoff=0.5)
            return f"; {place} has {', '.join(close)}" if close else f"; {place} has nothing like {part}"
    return f"; it is a folder: {pattern}/** is all of it"
