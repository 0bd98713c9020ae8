"""The report of a validation as one HTML page: self-contained, no script, nothing from any network.

What servers and models said is untrusted: it is escaped by the template, and characters that steer a terminal or turn
the direction of writing are shown, not obeyed. A policy in the page's head forbids all else.
"""

from __future__ import annotations

import statistics
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from build.charts import Chart, Point, against_length

TEMPLATES = Path(__file__).parent / "templates"
TEMPLATE = "validation.html.j2"
GROUPS = {
    "smoke": "Smoke", "diagram": "Diagrams", "code": "Code explanation", "religion": "Religion",
    "philosophy": "Philosophy", "tools": "Tool calls", "speed": "Speeds", "needle": "Long needle",
}  # fmt: skip
SIGNS = {"passed": "✓", "failed": "✗", "skipped": "–"}
WAYS = ("streamed", "whole")
NEAR = 0.1  # of a length: still the same one
# Title, unit, our name, the profile's name.
FIGURES = (
    ("Prefill", "tok/s", "prefill", "prefill_tokens_per_second"),
    ("Decode", "tok/s", "decode", "decode_tokens_per_second"),
    ("Time to first token", "s", "ttft", "ttft_seconds"),
)


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A field of a matrix: ``case`` is what it leads to; all are empty where there is none."""

    case: str = ""
    status: str = ""
    sign: str = ""
    word: str = ""


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """``rows``: a heading with its fields, one for each of ``columns``."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]


def render(report: Mapping[str, Any]) -> str:
    """The page of a report (:func:`build.validation.as_dict`)."""
    import jinja2  # noqa: PLC0415 - 60 ms

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        undefined=jinja2.StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["visible"] = visible
    measured = references(report)
    cases: Sequence[Mapping[str, Any]] = report["cases"]
    samples = [sample for case in cases for sample in case["samples"]]
    page: str = environment.get_template(TEMPLATE).render(
        report=report,
        signs=SIGNS,
        groups=[(name, [case for case in cases if case["group"] == group]) for group, name in GROUPS.items()],
        needles=needles(cases),
        tools=tools(cases),
        charts=charts(samples, measured),
        samples=samples,
        beside=[pair for one in measured for pair in [beside(one, samples)] if pair],
        references=measured,
    )
    return page


def visible(text: object) -> str:
    r"""A text for a page: controls as their pictures, turns of direction and halves of characters by their number.

    >>> visible("a\x1b[0m\u202eb")
    'a␛[0m⟨U+202E⟩b'
    """
    made = []
    for character in str(text):
        number = ord(character)
        if number < 32 and character not in "\n\t":
            made.append(chr(0x2400 + number))
        elif unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co") and character not in "\n\t\u200d":
            made.append(f"⟨U+{number:04X}⟩")
        else:
            made.append(character)
    return "".join(made)


def references(report: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What the profile says was measured before, where it has figures."""
    keys = ("ttft_seconds", "prefill_tokens_per_second", "decode_tokens_per_second")
    measured = (report["profile"] or {}).get("measured", [])
    return [one for one in measured if any(one.get(key) is not None for key in keys)]


def charts(samples: Sequence[Mapping[str, Any]], measured: Sequence[Mapping[str, Any]]) -> list[Chart]:
    """Prefill, decode and time to the first token against the prompt's length, with what was measured before."""
    made = []
    for title, unit, ours, theirs in FIGURES:
        points = [
            Point(tokens=one["prompt_tokens"], value=one[ours], label=_label(one["case"], one, one[ours], unit))
            for one in samples
            if one[ours] is not None and (ours != "ttft" or one["prefill"] is not None)
        ]
        before = [
            Point(tokens=one["prompt_tokens"], value=one[theirs], label=_label(one["what"], one, one[theirs], unit))
            for one in measured
            if one.get(theirs) is not None and one.get("prompt_tokens")
        ]
        chart = against_length(title, unit, points, before)
        made += [chart] if chart else []
    return made


@dataclass(frozen=True, kw_only=True)
class Beside:
    """What was measured before and our median at the same length: ``rows`` of (figure, unit, ours, before)."""

    before: Mapping[str, Any]
    tokens: int
    rows: tuple[tuple[str, str, float | None, float], ...]


def beside(before: Mapping[str, Any], samples: Sequence[Mapping[str, Any]]) -> Beside | None:
    """A measurement of before next to ours of about its length; None where we have none, or it names no length."""
    tokens = before.get("prompt_tokens")
    near = [one for one in samples if tokens and abs(one["prompt_tokens"] - tokens) <= NEAR * tokens]
    if not near:
        return None

    def middle(key: str) -> float | None:
        values = [one[key] for one in near if one[key] is not None and one["prefill"] is not None]
        return statistics.median(values) if values else None

    rows = tuple(
        (title, unit, middle(ours), before[theirs]) for title, unit, ours, theirs in FIGURES if before.get(theirs)
    )
    return Beside(before=before, tokens=round(statistics.median(one["prompt_tokens"] for one in near)), rows=rows)


def _label(name: str, one: Mapping[str, Any], value: float, unit: str) -> str:
    return f"{name}: {value:.4g} {unit} with {one['prompt_tokens']:,} tokens"


def needles(cases: Sequence[Mapping[str, Any]]) -> Matrix | None:
    """Depth by length: found, lost, or why it is not known."""
    found = {
        (depth, int(length)): case
        for case in cases
        if case["group"] == "needle"
        for length, depth in [case["name"].removeprefix("needle-").split("-", 1)]
    }
    lengths = sorted({length for _, length in found})
    depths = sorted({depth for depth, _ in found}, key=float)
    if not found:
        return None
    return Matrix(
        columns=tuple(f"{length:,}" for length in lengths),
        rows=tuple(
            (f"{depth} %", tuple(_needle(found.get((depth, length))) for length in lengths)) for depth in depths
        ),
    )


def _needle(case: Mapping[str, Any] | None) -> Cell:
    if case is None:
        return Cell()
    word = {"passed": "found", "skipped": "not run"}.get(case["status"], "lost")
    if case["status"] == "failed" and case["facts"].get("retained"):
        word = "found, but"
    elif case["status"] == "failed" and any(exchange["trouble"] for exchange in case["exchanges"]):
        word = "no answer"
    return Cell(case=case["name"], status=case["status"], sign=SIGNS[case["status"]], word=word)


def tools(cases: Sequence[Mapping[str, Any]]) -> Matrix | None:
    """What was asked of tools by the way in which it was asked."""
    found = {case["name"]: case for case in cases if case["group"] == "tools"}
    kinds = list(dict.fromkeys(name.rsplit("-", 1)[0] for name in found))
    if not found:
        return None

    def cell(name: str) -> Cell:
        case = found.get(name)
        return (
            Cell(case=name, status=case["status"], sign=SIGNS[case["status"]], word=case["status"]) if case else Cell()
        )

    def title(kind: str) -> str:
        case = next(found[name] for name in found if name.startswith(f"{kind}-"))
        return str(case["title"]).rpartition(",")[0]

    return Matrix(
        columns=("streamed", "in one piece"),
        rows=tuple((title(kind), tuple(cell(f"{kind}-{way}") for way in WAYS)) for kind in kinds),
    )
