"""What a target leaves out of its wheels: patterns of the intent, found in the wheels' RECORDs.

A pattern is a path below site-packages. ``*`` stands for any part of one name; ``**``, as the last name, for all that
is below. Every fault is told at once: a list of what is not needed must not rot unseen.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence

from build.errors import LeftOutError

Files = Mapping[str, tuple[str, ...]]  # distribution → paths below site-packages, sorted
PROGRAM = "entry point="  # as wheels.record has it for a hash


def expression(pattern: str) -> re.Pattern[str]:
    """What a pattern matches, as a whole.

    >>> [bool(expression("a/*.so").fullmatch(path)) for path in ("a/b.so", "a/b/c.so")]
    [True, False]
    >>> [bool(expression("a/**").fullmatch(path)) for path in ("a", "a/b", "a/b/c")]
    [False, True, True]
    """
    head, tail = (pattern[:-2], ".+") if pattern.endswith("/**") else (pattern, "")
    return re.compile(re.escape(head).replace(r"\*", "[^/]*") + tail)


def find(records: Mapping[str, Mapping[str, str]], tables: Sequence[Sequence[str]]) -> Files:
    """The files that the patterns match. ``records``: distribution → its wheel's RECORD; ``tables``: patterns.

    Raises :class:`LeftOutError` for a pattern that matches nothing, one that matches what another table does, and one
    that would take away what makes a distribution: its metadata, or the module behind one of its programs.
    """
    owners: dict[str, list[str]] = {}
    for name in sorted(records):
        for path in records[name]:
            if not path.startswith("../"):
                owners.setdefault(path, []).append(name)
    kept = {path: name for name in records for path in _modules(records[name].values())}
    chosen: dict[str, str] = {}
    faults: list[str] = []
    for patterns in tables:
        own: dict[str, str] = {}
        for pattern in patterns:
            found = list(filter(expression(pattern).fullmatch, owners))
            if not found:
                faults.append(f"{pattern}: no wheel brings it{_near(pattern, owners)}")
            own |= dict.fromkeys(found, pattern)
        for path, pattern in own.items():
            if path in chosen:
                faults.append(f"{pattern} and {chosen[path]}: both leave out {path}, for two reasons")
            elif ".dist-info/" in path:
                faults.append(f"{pattern}: {path} is what makes {owners[path][0]} a distribution")
            elif path in kept:
                faults.append(f"{pattern}: {path} is behind a program of {kept[path]}")
        chosen |= own
    refuse(faults)
    files: dict[str, list[str]] = {}
    for path in sorted(chosen):
        for name in owners[path]:
            files.setdefault(name, []).append(path)
    return {name: tuple(files[name]) for name in sorted(files)}


def contradictions(found: Files, patched: Iterable[str], needed: Iterable[str]) -> list[str]:
    """Files that are left out and wanted too. ``patched``: installed paths; ``needed``: the target's libraries."""
    paths = {path for group in found.values() for path in group}
    faults = [f"{path} is left out, and the series patches it" for path in sorted(paths & set(patched))]
    for pattern in needed:
        faults += [
            f"{path} is left out, and the target's libraries name it as needed ({pattern})"
            for path in sorted(filter(expression(pattern).fullmatch, paths))
        ]
    return faults


def refuse(faults: Sequence[str]) -> None:
    """Raise :class:`LeftOutError` with all faults, where there are any."""
    if faults:
        raise LeftOutError(
            "what the target leaves out cannot be left out",
            why="\n       ".join(faults),
            todo="correct the target's left-out tables in lock/targets.toml, then `nox -s lock`",
        )


def _modules(entries: Iterable[str]) -> Iterable[str]:
    """The files that may hold the module of each entry point (``vllm.cli:main``) among a RECORD's hashes."""
    for entry in entries:
        if entry.startswith(PROGRAM):
            module = entry.removeprefix(PROGRAM).partition(":")[0].strip().replace(".", "/")
            yield from (f"{module}.py", f"{module}/__init__.py")


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
