"""What stands before the tree of files when two images are compared: packages, patches, layers, sizes, in lines."""

from __future__ import annotations

from collections.abc import Sequence

from build.console import human_bytes
from build.imagediff import ImageDiff
from build.ociimage import Layer
from build.packagediff import Changed, Series

SHOWN = 12  # of each kind, first
HASH = 12
Line = tuple[int, str]


def lines(diff: ImageDiff, *, all_lines: bool) -> list[Line]:
    """The summary as (depth, text) lines; nothing where nothing of it differs."""
    told = diff.told
    if told is None:
        return []
    found = _packages("wheels", told.wheels, all_lines=all_lines)
    found += _packages("Debian packages", told.debs, all_lines=all_lines)
    found += _patches(diff, all_lines=all_lines)
    found += _layers(diff)
    return [*found, *((0, note) for note in told.notes)]


def _packages(what: str, changes: Sequence[Changed], *, all_lines: bool) -> list[Line]:
    if not changes:
        return []
    rows = [(1, f"{change.name} {_arrow(change)}") for change in changes]
    return [(0, f"{what}: {_counts(changes, 'other version')}"), *_some(rows, all_lines=all_lines)]


def _patches(diff: ImageDiff, *, all_lines: bool) -> list[Line]:
    assert diff.told is not None
    one, two = diff.told.series
    if one is None or two is None or one == two:
        return []
    rows = []
    for change in diff.told.patches:
        hashes = Changed(name="", a=change.a[:HASH], b=change.b[:HASH])
        rows.append((1, f"{change.name} {f'{hashes.a}, renamed' if change.a == change.b else _arrow(hashes)}"))
    changes = [change for change in diff.told.patches if change.a != change.b]
    said = "the same, in another order" if diff.told.reordered else _counts(changes, "changed")
    renamed = len(rows) - len(changes)
    said = ", ".join(filter(None, [said, f"{renamed} renamed" if renamed else ""]))
    names = " → ".join(dict.fromkeys(f"{side.name} ({side.id[:HASH]})" for side in (one, two)))
    return [(0, f"patches: {said or 'the same'}; series {names}"), *_some(rows, all_lines=all_lines)]


def _layers(diff: ImageDiff) -> list[Line]:
    """Which layers B has of A's content, and what that saves who pulls it: compressed bytes are what counts there."""
    assert diff.told is not None
    had = {layer.diff_id for layer in diff.a.layers}
    kept = {layer.diff_id for layer in diff.b.layers}
    new = [_layer(layer) for layer in diff.b.layers if layer.diff_id not in had]
    gone = [_layer(layer) for layer in diff.a.layers if layer.diff_id not in kept]
    both = [name for name in new if name in gone]
    parts = (("other content", both), ("new", new), ("gone", gone))
    said = [f"{len(diff.b.layers) - len(new)} of B's {len(diff.b.layers)} are A's too"]
    for what, names in parts:
        if rest := [name for name in names if names is both or name not in both]:
            said.append(f"{what}: {', '.join(rest)}")
    found = [(0, f"layers: {'; '.join(said)}")]
    if cost := diff.told.cost:
        total = f"A {human_bytes(diff.told.size)}, B {human_bytes(cost.total)}"
        found.append((0, f"sizes, compressed: {total}; pulling B costs {human_bytes(cost.new)} who has A"))
    return found


def _layer(layer: Layer) -> str:
    return f"{layer.number}{f' ({layer.name})' if layer.name else ''}"


def _counts(changes: Sequence[Changed], other: str) -> str:
    """How many were added, removed, and are another.

    >>> _counts([Changed(name="x", a="", b="1"), Changed(name="y", a="1", b="2")], "other version")
    '1 added, 1 other version'
    """
    added = sum(not change.a for change in changes)
    removed = sum(not change.b for change in changes)
    rest = len(changes) - added - removed
    told = ((added, "added"), (removed, "removed"), (rest, f"{other}s" if rest > 1 and other != "changed" else other))
    return ", ".join(f"{count} {what}" for count, what in told if count)


def _arrow(change: Changed) -> str:
    if not change.a:
        return f"{change.b}: only in B"
    return f"{change.a} → {change.b}" if change.b else f"{change.a}: only in A"


def _some(rows: Sequence[Line], *, all_lines: bool) -> list[Line]:
    if all_lines or len(rows) <= SHOWN:
        return list(rows)
    return [*rows[:SHOWN], (1, f"and {len(rows) - SHOWN} more (--all)")]


def series_json(side: Series | None) -> dict[str, object] | None:
    """A series for programs."""
    if side is None:
        return None
    rows = [{"patch": name, "sha256": sha256} for name, sha256 in side.patches]
    return {"series": side.name, "id": side.id, "patches": rows}
