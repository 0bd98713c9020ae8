"""The matrix of patches and versions: its cells, as a table for people and as JSON for programs. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from build.behaviours import Answer, shortly
from build.carry import Fit
from build.homes import Owner
from build.rebasing import Result, Row

UNVERIFIED = "unverified"
SHORT = {Fit.EXACT: "exact", Fit.CONTEXT: "context", Fit.UPSTREAM: "upstream", Fit.CONFLICT: "conflict"}
LEGEND = (
    "exact: as it is, on the files that it was made for; context: as it is, on other versions of them; moved: at other "
    "lines; upstream: it is not needed. ✓: its behaviour holds then, ✗: it does not; or, on the tree that it is for, "
    "the patch is not exact."
)


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A patch of an owner's series on a base.

    ``row``: what became of it; None where nobody has read the base. ``anew``: it is written anew for that base, so that
    it need not be exact, whatever the base is.
    """

    owner: Owner
    patch: str
    base: str
    row: Row | None
    anew: bool = False

    @property
    def home(self) -> bool:
        """Whether the base is what the series is for."""
        return self.base == self.owner.home

    @property
    def verified(self) -> bool:
        """Whether both the base and the tree that the series is for were read: what was not is never green."""
        return self.row is not None and not self.owner.unread

    @property
    def why(self) -> str:
        """Why it is not green, in words; empty where it is."""
        if self.row is None:
            return "its tree was never read"
        if self.owner.unread:
            return "the tree that the series is meant for was never read"
        if self.row.green and self.home and not self.anew:
            return _not_exact(self.row)
        return self.row.why

    @property
    def green(self) -> bool:
        return not self.why

    @property
    def text(self) -> str:
        """How it fits, whether that is good, and how many cases of its behaviour pass where it is not."""
        if self.row is None:
            return UNVERIFIED
        if not self.verified:
            return _fit(self.row)
        return f"{_fit(self.row)} ✓" if self.green else f"{_fit(self.row)} ✗ {shortly(self.row.after)}"


def cells(results: Sequence[Result], unread: Sequence[str]) -> tuple[Cell, ...]:
    """Every cell, owner by owner. ``unread``: trees that nobody here has read.

    Nothing in the column of such a tree is green, nor in the rows of its series, whatever the patches do elsewhere.
    """
    found: dict[str, list[Cell]] = {}
    owners = {result.carriage.owner.name: result.carriage.owner for result in results}
    for result in results:
        found.setdefault(result.carriage.owner.name, []).extend(_cells(result, anew=False))
    for name, owner in owners.items():
        found[name] += [
            Cell(owner=owner, patch=patch.name, base=tree, row=None)
            for patch in owner.series.patches
            for tree in unread
        ]
    return tuple(cell for known in found.values() for cell in known)


def carried(result: Result) -> tuple[Cell, ...]:
    """The cells of one series that is written anew for one base."""
    return _cells(result, anew=True)


def _cells(result: Result, *, anew: bool) -> tuple[Cell, ...]:
    owner, base = result.carriage.owner, result.carriage.base.label
    return tuple(Cell(owner=owner, patch=row.patch.name, base=base, row=row, anew=anew) for row in result.rows)


def _not_exact(row: Row) -> str:
    """Why a patch is not as it should be on the tree that it is for; empty where it is exact."""
    if row.carried.fit is Fit.EXACT:
        return ""
    if row.carried.fit is Fit.UPSTREAM:
        return "it is not needed there"
    moved = [f"{hunk.path}: hunk {hunk.hunk} moved by {hunk.moved:+d}" for hunk in row.carried.hunks if hunk.moved]
    return "; ".join(moved) or "its files are not those that it was made for, as the patches before it leave them"


def _fit(row: Row) -> str:
    moved = row.carried.fit is Fit.CONTEXT and row.carried.moved
    return "moved" if moved else SHORT[row.carried.fit]


def table(found: Sequence[Cell], bases: Sequence[str]) -> list[tuple[str, ...]]:
    """A row for each patch, a column for each base."""
    rows: dict[tuple[str, str, str], dict[str, str]] = {}
    for cell in found:
        rows.setdefault((cell.owner.name, cell.owner.series.name, cell.patch), {})[cell.base] = cell.text
    made = []
    last = ""
    for (owner, series, patch), texts in rows.items():
        title = series if series == owner else f"{series} ({owner})"
        made.append((title if owner != last else "", patch.removesuffix(".patch"), *(texts[base] for base in bases)))
        last = owner
    return made


def reasons(found: Sequence[Cell]) -> list[str]:
    """Why each cell that is not green is not; those that fail alike are told together, those never read not at all."""
    told: dict[tuple[str, str], list[str]] = {}
    for cell in found:
        if cell.verified and not cell.green:
            told.setdefault((cell.patch, cell.why), []).append(f"{cell.owner.name} on {cell.base}")
    return [f"{patch} ({', '.join(places)}): {why}" for (patch, why), places in told.items()]


def as_json(found: Sequence[Cell]) -> list[dict[str, Any]]:
    """Every cell with its hunks and its cases."""
    return [
        {
            "owner": cell.owner.name,
            "series": cell.owner.series.name,
            "patch": cell.patch,
            "base": cell.base,
            "home": cell.home,
            "fit": cell.row.carried.fit.value if cell.row else UNVERIFIED,
            "green": cell.green,
            "why": cell.why,
            **(_details(cell.row) if cell.row else {}),
        }
        for cell in found
    ]


def _details(row: Row) -> dict[str, Any]:
    return {
        "behaviour": row.patch.behaviour,
        "hunks": [
            {"path": hunk.path, "hunk": hunk.hunk, "fit": hunk.fit.value, "moved": hunk.moved, "why": hunk.why}
            for hunk in row.carried.hunks
        ],
        "without": _cases(row.before),
        "with": _cases(row.after),
    }


def _cases(answer: Answer) -> dict[str, str]:
    return {case.name: case.status for case in answer.cases}
