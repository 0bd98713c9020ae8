"""The matrix of patches and versions: its cells, as a table for people and as JSON for programs. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from build.behaviours import Answer, shortly
from build.carry import Fit
from build.rebasing import Result, Row

UNVERIFIED = "unverified"
SHORT = {Fit.EXACT: "exact", Fit.CONTEXT: "context", Fit.UPSTREAM: "upstream", Fit.CONFLICT: "conflict"}
LEGEND = (
    "exact: as it is, on the files that it was made for; context: as it is, on other versions of them; moved: at other "
    "lines; upstream: it is not needed. ✓: its behaviour holds then, ✗: it does not."
)


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A patch of a series on a base: in a few characters, and why it is not green.

    ``row`` is None where nobody has read the base.
    """

    series: str
    patch: str
    base: str
    text: str
    green: bool
    why: str
    row: Row | None = None


def cells(results: Sequence[Result], names: Mapping[str, Sequence[str]], unread: Mapping[str, str]) -> tuple[Cell, ...]:
    """Every cell, series by series. ``names``: the id of a series → the series that consist of these very patches.

    ``unread``: trees that nobody here has read → the series that is meant for each. Nothing in the column of such a
    tree is green, nor in the rows of its series, whatever the patches do elsewhere.
    """
    found: dict[str, list[Cell]] = {}
    for result in results:
        for series in names[result.carriage.series.id]:
            verified = series not in unread.values()
            found.setdefault(series, []).extend(_cell(series, result, row, verified=verified) for row in result.rows)
    for series, known in found.items():
        patches = dict.fromkeys(cell.patch for cell in known)
        known += [
            Cell(series=series, patch=patch, base=name, text=UNVERIFIED, green=False, why="its tree was never read")
            for patch in patches
            for name in unread
        ]
    return tuple(cell for known in found.values() for cell in known)


def _cell(series: str, result: Result, row: Row, *, verified: bool) -> Cell:
    return Cell(
        series=series,
        patch=row.patch.name,
        base=result.carriage.base.label,
        text=words(row) if verified else _fit(row),
        green=row.green and verified,
        why=row.why if verified else "the tree that the series is meant for was never read",
        row=row,
    )


def words(row: Row) -> str:
    """How a patch fits and whether its behaviour holds then; how many of its cases pass, where it does not."""
    return f"{_fit(row)} ✓" if row.green else f"{_fit(row)} ✗ {shortly(row.after)}"


def _fit(row: Row) -> str:
    moved = row.carried.fit is Fit.CONTEXT and row.carried.moved
    return "moved" if moved else SHORT[row.carried.fit]


def table(found: Sequence[Cell], bases: Sequence[str]) -> list[tuple[str, ...]]:
    """A row for each patch, a column for each base."""
    by_place = {(cell.series, cell.patch, cell.base): cell for cell in found}
    rows = []
    last = ""
    for series, patch in dict.fromkeys((cell.series, cell.patch) for cell in found):
        texts = (by_place[series, patch, base].text if (series, patch, base) in by_place else "-" for base in bases)
        rows.append((series if series != last else "", patch.removesuffix(".patch"), *texts))
        last = series
    return rows


def reasons(found: Sequence[Cell]) -> list[str]:
    """Why each cell that is not green is not; those that fail alike are told together, those never read not at all."""
    told: dict[tuple[str, str], list[str]] = {}
    for cell in found:
        if not cell.green and "✗" in cell.text:
            told.setdefault((cell.patch, cell.why), []).append(f"{cell.series} on {cell.base}")
    return [f"{patch} ({', '.join(places)}): {why}" for (patch, why), places in told.items()]


def as_json(found: Sequence[Cell]) -> list[dict[str, Any]]:
    """Every cell with its hunks and its cases."""
    return [
        {
            "series": cell.series,
            "patch": cell.patch,
            "base": cell.base,
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
