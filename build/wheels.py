"""What wheels hold, read from their RECORDs: who writes which path, and where two of them disagree.

Wheel format: the binary distribution format specification (PEP 427); RECORD: PEP 376.
"""

from __future__ import annotations

import configparser
import csv
import io
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from build.errors import OverlapError

BIN = "../../../bin"  # a venv's programs, seen from its site-packages


@dataclass(frozen=True, kw_only=True)
class Overlap:
    """A path that several distributions write; ``same`` when all of them write the same bytes."""

    path: str
    writers: tuple[str, ...]
    same: bool


def record(wheel: Path) -> dict[str, str]:
    """Installed path → ``sha256=<base64>`` of a wheel's RECORD, and the programs that an installer makes for it.

    Paths are as an installer writes them into RECORD: relative to site-packages, programs as ``../../../bin/name``.
    A program made from an entry point has ``entry point=<what it calls>`` for a hash.
    """
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        name = next(n for n in names if n.endswith(".dist-info/RECORD") and n.count("/") == 1)
        rows = csv.reader(io.StringIO(archive.read(name).decode("utf-8")))
        found = {_installed(row[0]): row[1] for row in rows if row}
        points = name.replace("RECORD", "entry_points.txt")
        if points in names:
            found |= _programs(archive.read(points).decode("utf-8"))
        return found


class _Points(configparser.ConfigParser):
    """Entry points: names keep their case."""

    def optionxform(self, optionstr: str) -> str:
        return optionstr


def _programs(text: str) -> dict[str, str]:
    r"""The programs of an ``entry_points.txt`` (entry points specification).

    >>> _programs("[console_scripts]\nvllm = vllm.cli:main\n[vllm.plugins]\nx = y:z\n")
    {'../../../bin/vllm': 'entry point=vllm.cli:main'}
    """
    parser = _Points(delimiters=("=",), interpolation=None)
    parser.read_string(text)
    sections = [section for section in ("console_scripts", "gui_scripts") if parser.has_section(section)]
    return {f"{BIN}/{key}": f"entry point={value}" for section in sections for key, value in parser.items(section)}


def _installed(path: str) -> str:
    """Where an installer puts a wheel's path.

    >>> _installed("x-1.data/purelib/x/a.py"), _installed("x/a.py"), _installed("x-1.data/scripts/run")
    ('x/a.py', 'x/a.py', '../../../bin/run')
    """
    top, _, rest = path.partition("/")
    if top.endswith(".data"):
        kind, _, inner = rest.partition("/")
        if kind in ("purelib", "platlib"):
            return inner
        if kind == "scripts":
            return f"{BIN}/{inner}"
        if kind == "data":
            return f"../../../{inner}"
    return path


def overlaps(records: Mapping[str, Mapping[str, str]]) -> tuple[Overlap, ...]:
    """The paths that more than one distribution writes, sorted. ``records``: distribution → its :func:`record`."""
    writers: dict[str, list[str]] = {}
    for name in sorted(records):
        for path in records[name]:
            writers.setdefault(path, []).append(name)
    return tuple(
        Overlap(path=path, writers=tuple(names), same=len({records[name][path] for name in names}) == 1)
        for path, names in sorted(writers.items())
        if len(names) > 1
    )


def winners(found: Iterable[Overlap], declared: Sequence[tuple[str, tuple[str, ...]]]) -> dict[str, str]:
    """Path → the distribution whose bytes stay, for every overlap.

    ``declared``: (winner, losers) pairs. Where all bytes are the same, the first writer by name keeps the path.
    Raises :class:`OverlapError` on a difference that is not declared and on a declaration that nothing uses.
    """
    chosen: dict[str, str] = {}
    undeclared: list[Overlap] = []
    used: set[tuple[str, str]] = set()
    for overlap in found:
        claims = [
            winner
            for winner, losers in declared
            if winner in overlap.writers and set(overlap.writers) - {winner} <= set(losers)
        ]
        if claims:
            chosen[overlap.path] = claims[0]
            used |= {(claims[0], loser) for loser in overlap.writers if loser != claims[0]}
        elif overlap.same:
            chosen[overlap.path] = overlap.writers[0]
        else:
            undeclared.append(overlap)
    _refuse(undeclared)
    idle = [(winner, loser) for winner, losers in declared for loser in losers if (winner, loser) not in used]
    if idle:
        raise OverlapError(
            "a declared overlap does not exist any more",
            why="; ".join(f"{winner} over {loser}" for winner, loser in idle),
            todo="remove it from the target's overlaps in lock/targets.toml, then `nox -s lock`",
        )
    return chosen


def _refuse(undeclared: Sequence[Overlap]) -> None:
    if not undeclared:
        return
    pairs: dict[tuple[str, ...], list[str]] = {}
    for overlap in undeclared:
        pairs.setdefault(overlap.writers, []).append(overlap.path)
    facts = [f"{' and '.join(names)}: {len(paths)} paths, {paths[0]} first" for names, paths in pairs.items()]
    raise OverlapError(
        "two wheels write the same path with different content, and the target declares no winner",
        why="; ".join(facts),
        todo="declare the winner and the reason under the target's overlaps in lock/targets.toml, then `nox -s lock`",
    )
