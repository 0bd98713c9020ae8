"""A source tree's requirement files (pip's requirements file format): what they include, what they ask for.

Only what a distribution's own requirements can be: names with versions and markers, comments, and ``-r``.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement

from build.errors import ResolveError

INTENT = "lock/targets.toml"
INCLUDE = re.compile(r"(?:-r\s*|--requirement(?:\s+|=))(?P<file>\S+)")
COMMENT = re.compile(r"(^|\s)#.*$")

Changed = Mapping[str, bytes | None]
"""Repository path → what is read instead of the tree's file."""


def read(tree: Path, files: Sequence[str], changed: Changed | None = None) -> tuple[str, ...]:
    """The requirements of files of a tree and of what they include, in order, each once, as they are written.

    Raises :class:`ResolveError`, with file and line, for a file that is not there or outside the tree, and for a
    line that is no such requirement (an option, an address, a path).
    """
    found = [text for _, text in _walk(tree, files, changed or {}) if text]
    return tuple(dict.fromkeys(found))


def closure(tree: Path, files: Sequence[str], changed: Changed | None = None) -> frozenset[str]:
    """The files themselves and all that they include; raises as :func:`read` does."""
    return frozenset(file for file, _ in _walk(tree, files, changed or {}))


def _walk(
    tree: Path, files: Sequence[str], changed: Changed, named: str = INTENT, seen: set[str] | None = None
) -> Iterator[tuple[str, str]]:
    """(file, requirement) in pip's order; each file begins with an empty one. ``named``: who names the files."""
    seen = set() if seen is None else seen
    for file in files:
        if file in seen:
            continue
        seen.add(file)
        yield file, ""
        for number, line in _logical(_content(tree, file, named, changed)):
            place = f"{file}:{number}"
            if include := INCLUDE.fullmatch(line):
                inner = posixpath.normpath(posixpath.join(posixpath.dirname(file), include["file"]))
                yield from _walk(tree, [inner], changed, place, seen)
            else:
                yield file, _requirement(line, place)


def _content(tree: Path, file: str, named: str, changed: Changed) -> str:
    if posixpath.isabs(file) or not (tree / file).resolve().is_relative_to(tree.resolve()):
        raise ResolveError(f"{named} names a requirement file outside the source tree: {file}")
    try:
        data = changed[file] if file in changed else (tree / file).read_bytes()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        data = None
    if data is None:
        raise ResolveError(
            f"{named} names a requirement file that the source tree does not have: {file}",
            todo="correct `requirement-files` of the component in lock/targets.toml, or the patch",
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ResolveError(f"{file} is not UTF-8", why=str(error)) from error


def _logical(text: str) -> Iterator[tuple[int, str]]:
    """Lines without comments, those that end in a backslash joined; each with the number that it begins at."""
    start, joined = 0, ""
    for number, line in enumerate(text.splitlines(), start=1):
        start = start if joined else number
        comment = COMMENT.match(line)
        joined += f" {line}" if comment else line.removesuffix("\\")
        if line.endswith("\\") and not comment:
            continue
        yield from _plain(start, joined)
        joined = ""
    yield from _plain(start, joined)


def _plain(number: int, line: str) -> Iterator[tuple[int, str]]:
    if plain := " ".join(COMMENT.sub("", line).split()):
        yield number, plain


def _requirement(line: str, place: str) -> str:
    try:
        item = None if line.startswith("-") else Requirement(line)
    except InvalidRequirement as error:
        raise _refused(line, place, str(error).split("\n", 1)[0]) from error
    if item is None:
        raise _refused(line, place, "it is an option, of which only -r is followed")
    if item.url:
        raise _refused(line, place, "it names an address, and wheels come from the index by version")
    return line


def _refused(line: str, place: str, why: str) -> ResolveError:
    return ResolveError(
        f"{place}: cannot be followed: {line}",
        why=why,
        todo="leave the file out of the component's `requirement-files` in lock/targets.toml, or change the patch",
    )
