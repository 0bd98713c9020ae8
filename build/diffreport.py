"""How a difference between images is told to people: one line that sums it up, and an outline."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from build import summaryreport
from build.console import human_bytes
from build.imagediff import EQUIVALENT, SAME, Change, Fact, ImageDiff, LayerDiff

PACKAGES = 20  # of a layer, shown first
TOLD = 3  # the depth of what diffoscope said: the one text of several lines
Line = tuple[int, str]


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """diffoscope's report on one file: its first lines, where all of it is, or why there is none."""

    lines: tuple[str, ...] = ()
    file: str = ""
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Report:
    """A difference with what diffoscope said, by (place of the layer among those that differ, path)."""

    diff: ImageDiff
    explanations: Mapping[tuple[int, str], Explanation] = field(default_factory=dict)


def summary(diff: ImageDiff) -> str:
    """The whole in one line."""
    if diff.verdict == SAME:
        return "the same image, to the byte"
    if diff.verdict == EQUIVALENT:
        return "the same image: the same content of every layer and the same config, written otherwise"
    said = []
    if diff.layers:
        count = max(len(diff.a.layers), len(diff.b.layers))
        changes = [change for layer in diff.layers for change in layer.changes]
        told = f"{len(diff.layers)} of {_count(count, 'layer')} {'differs' if len(diff.layers) == 1 else 'differ'}"
        said.append(f"{told}: {changed(changes)}" if changes else told)
    if diff.config:
        said.append(f"config: {', '.join(fact.name for fact in diff.config)}")
    return "; ".join(said)


def changed(changes: Sequence[Change]) -> str:
    """How many packages and files, and in what.

    >>> changed([])
    'nothing that an entry says'
    """
    if not changes:
        return "nothing that an entry says"
    entries = [change.b or change.a for change in changes]
    kinds = Counter("folder" if entry and entry.kind == "folder" else "file" for entry in entries)
    parts = [_count(len({change.package for change in changes}), "package")]
    parts += [_count(kinds[kind], kind) for kind in ("file", "folder") if kinds[kind]]
    facts = Counter(fact.name for change in changes for fact in change.facts)
    if len(facts) == 1:
        return f"{', '.join(parts)}: {next(iter(facts))}"
    return f"{', '.join(parts)}: {', '.join(f'{name} {count}' for name, count in facts.most_common())}"


def layer_title(layer: LayerDiff) -> str:
    """Which layers face each other, and what differs.

    The numbers are those of A and of B.
    """
    one, two = layer.a, layer.b
    there = [side for side in (one, two) if side]
    numbers = " / ".join(dict.fromkeys(str(side.number) for side in there))
    names = " / ".join(dict.fromkeys(side.name for side in there if side.name))
    alone = "" if one and two else ", only in A" if one else ", only in B"
    told = changed(layer.changes) if layer.changes else ""
    if layer.form:
        told = f"{told}; {layer.form}" if told else layer.form
    return f"layer {numbers}{f' ({names})' if names else ''}{alone}: {told or 'empty'}"


def outline(report: Report, *, files: int | None) -> list[Line]:
    """The difference as (depth, text) lines. ``files``: how many of each package are shown; None shows all."""
    diff = report.diff
    lines: list[Line] = summaryreport.lines(diff, all_lines=files is None)
    for place, layer in enumerate(diff.layers):
        lines.append((0, layer_title(layer)))
        packages = by_package(layer)
        shown = packages if files is None else packages[:PACKAGES]
        for name, changes in shown:
            lines.append((1, f"{_versioned(name, diff.versions)}: {changed(changes).partition(', ')[2]}"))
            for change in changes if files is None else changes[:files]:
                lines += _change(change, report.explanations.get((place, change.path)))
            lines += _more(len(changes), files, "file")
        lines += _more(len(packages), None if files is None else PACKAGES, "package", depth=1)
    if diff.config:
        lines.append((0, f"config: {_count(len(diff.config), 'value')}"))
        lines += [(1, f"{fact.name}: {_arrow(fact)}") for fact in diff.config]
    if diff.recompressed:
        was, now = (sum(pair[side].size for pair in diff.recompressed) for side in (0, 1))
        lines.append((0, f"compressed otherwise, with the same content: {_count(len(diff.recompressed), 'layer')}"))
        for one, two in diff.recompressed:
            sizes = " → ".join(f"{side.size} bytes{f' ({side.packed})' if side.packed else ''}" for side in (one, two))
            lines.append((1, f"layer {one.number}{f' ({one.name})' if one.name else ''}: {sizes}"))
        lines.append((1, f"in all {human_bytes(was)} → {human_bytes(now)}"))
    lines += [(0, f"written otherwise, which does not count: {text}") for text in diff.form]
    return [(depth, "\n".join(map(printable, text.split("\n") if depth == TOLD else [text]))) for depth, text in lines]


def by_package(layer: LayerDiff) -> list[tuple[str, list[Change]]]:
    """The changes by package: other contents first; then what changes most comes last, as it would hide the rest."""
    by: dict[str, list[Change]] = {}
    for change in sorted(layer.changes, key=lambda change: not change.has_other_content):
        by.setdefault(change.package, []).append(change)
    return sorted(by.items(), key=lambda item: (not item[1][0].has_other_content, len(item[1]), item[0]))


def _change(change: Change, told: Explanation | None) -> list[Line]:
    lines = [(2, f"{change.path}: {'; '.join(_fact(fact) for fact in change.facts)}")]
    if told:
        rest = told.note or (f"all of it: {told.file}" if told.file else "")
        lines.append((TOLD, "\n".join([*told.lines, *([rest] if rest else [])])))
    return lines


def _fact(fact: Fact) -> str:
    if fact.name.startswith("only in "):
        kind = fact.a or fact.b
        return fact.name if kind == "file" else f"{fact.name} ({kind})"
    return f"{fact.name} {_arrow(fact)}"


def _arrow(fact: Fact) -> str:
    return f"{fact.a or '(none)'} → {fact.b or '(none)'}"


def _versioned(name: str, versions: Mapping[str, tuple[str, str]]) -> str:
    told = [version for version in dict.fromkeys(versions.get(name, ())) if version]
    return f"{name} {' → '.join(told)}".strip()


def _more(count: int, shown: int | None, what: str, *, depth: int = 2) -> list[Line]:
    return [(depth, f"and {_count(count - shown, what)} more (--all)")] if shown is not None and count > shown else []


def _count(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def printable(text: str) -> str:
    r"""Text that does nothing to a terminal: names in an image may hold anything.

    >>> print(printable("a\x1b[2Jb\udcff"))
    a\x1b[2Jb\udcff
    """
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)


def plain(lines: Iterable[Line]) -> str:
    """The outline as text, for a file."""
    return "".join(textwrap.indent(f"{text}\n", "  " * depth) for depth, text in lines)
