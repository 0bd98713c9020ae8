"""What a target leaves out of its wheels: patterns of the intent, found in the wheels' RECORDs.

Every fault is told at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from build.patterns import Files, Records, by_distribution, expression, matched, owners, refuse

PROGRAM = "entry point="  # as wheels.record has it for a hash


def find(records: Records, tables: Sequence[Sequence[str]]) -> Files:
    """The files that the patterns match. ``tables``: the patterns of each reason.

    Raises ``PatternError`` for a pattern that matches nothing, one that matches what another table does, and one that
    would take away what makes a distribution: its metadata, or the module behind one of its programs.
    """
    owned = owners(records)
    kept = {path: name for name in records for path in _modules(records[name].values())}
    chosen: dict[str, str] = {}
    faults: list[str] = []
    for patterns in tables:
        own: dict[str, str] = {}
        for pattern in patterns:
            found, fault = matched(pattern, owned)
            faults += [fault] if fault else []
            own |= dict.fromkeys(found, pattern)
        for path, pattern in own.items():
            if path in chosen:
                faults.append(f"{pattern} and {chosen[path]}: both leave out {path}, for two reasons")
            elif ".dist-info/" in path:
                faults.append(f"{pattern}: {path} is what makes {owned[path][0]} a distribution")
            elif path in kept:
                faults.append(f"{pattern}: {path} is behind a program of {kept[path]}")
        chosen |= own
    demand(faults)
    return by_distribution(chosen, owned)


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


def demand(faults: Sequence[str]) -> None:
    """Raise ``PatternError`` with all faults, where there are any."""
    refuse("what the target leaves out cannot be left out", "left-out tables", faults)


def _modules(entries: Iterable[str]) -> Iterable[str]:
    """The files that may hold the module of each entry point (``vllm.cli:main``) among a RECORD's hashes."""
    for entry in entries:
        if entry.startswith(PROGRAM):
            module = entry.removeprefix(PROGRAM).partition(":")[0].strip().replace(".", "/")
            yield from (f"{module}.py", f"{module}/__init__.py")
