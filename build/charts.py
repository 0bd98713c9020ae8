"""Charts of measurements against a prompt's length, as numbers: where to draw what. A template makes SVG of them.

Both axes are read off the data and the reference figures together, so that they stand side by side.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 360, 240  # of the drawing, in its own units
LEFT, RIGHT, TOP, BOTTOM = 58, 14, 14, 46  # margins, for the axes' labels


@dataclass(frozen=True, kw_only=True)
class Point:
    """A measurement: at how many tokens, how much, and what it is called."""

    tokens: int
    value: float
    label: str


@dataclass(frozen=True, kw_only=True)
class Tick:
    position: float
    label: str


@dataclass(frozen=True, kw_only=True)
class Dot:
    x: float
    y: float
    label: str


@dataclass(frozen=True, kw_only=True)
class Chart:
    """``line``: the medians at each length, as the points of an SVG polyline. ``summary``: it all in a sentence."""

    title: str
    unit: str
    summary: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    dots: tuple[Dot, ...]
    references: tuple[Dot, ...]
    line: str
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    top: int = TOP
    bottom: int = HEIGHT - BOTTOM


def against_length(title: str, unit: str, points: Sequence[Point], references: Sequence[Point]) -> Chart | None:
    """A chart with tokens from left to right, logarithmic, and values from zero up; None where there is no point."""
    everything = [*points, *references]
    if not points:
        return None
    low, high = _bounds([point.tokens for point in everything])
    steps = _steps(max(point.value for point in everything))
    most = steps[-1] or 1.0

    def x(tokens: float) -> float:
        part = (math.log10(tokens) - math.log10(low)) / (math.log10(high) - math.log10(low))
        return round(LEFT + part * (WIDTH - LEFT - RIGHT), 1)

    def y(value: float) -> float:
        return round(HEIGHT - BOTTOM - value / most * (HEIGHT - TOP - BOTTOM), 1)

    def dots(of: Sequence[Point]) -> tuple[Dot, ...]:
        return tuple(Dot(x=x(point.tokens), y=y(point.value), label=point.label) for point in of)

    middles = medians(points)
    return Chart(
        title=title,
        unit=unit,
        summary="; ".join(f"{short(tokens)} tokens: {value:.4g} {unit}" for tokens, value in middles),
        x_ticks=tuple(Tick(position=x(tokens), label=short(tokens)) for tokens in _round_lengths(low, high)),
        y_ticks=tuple(Tick(position=y(step), label=f"{step:,g}") for step in steps),
        dots=dots(points),
        references=dots(references),
        line=" ".join(f"{x(tokens)},{y(value)}" for tokens, value in middles) if len(middles) > 1 else "",
    )


def medians(points: Sequence[Point]) -> list[tuple[float, float]]:
    """(tokens, value): the median of points whose lengths are within a tenth of each other, from short to long."""
    groups: list[list[Point]] = []
    for point in sorted(points, key=lambda point: point.tokens):
        if groups and point.tokens <= 1.1 * groups[-1][0].tokens:
            groups[-1].append(point)
        else:
            groups.append([point])
    return [(statistics.median(p.tokens for p in group), statistics.median(p.value for p in group)) for group in groups]


def short(tokens: float) -> str:
    """A length for an axis.

    >>> short(500), short(2000), short(186390), short(1048576)
    ('500', '2k', '186k', '1.05M')
    """
    if tokens >= 1_000_000:
        return f"{tokens / 1_000_000:.3g}M"
    return f"{tokens / 1000:.3g}k" if tokens >= 1000 else f"{tokens:.0f}"


def _bounds(lengths: Sequence[int]) -> tuple[float, float]:
    low, high = max(1, min(lengths)), max(1, *lengths)
    return low / 1.3, high * 1.3


def _round_lengths(low: float, high: float) -> list[float]:
    """Round lengths between two, few enough to be read side by side."""
    found = [
        digit * 10.0**power
        for power in range(int(math.log10(low)), int(math.log10(high)) + 1)
        for digit in ((1, 2, 5) if high / low < 60 else (1, 3) if high / low < 1000 else (1,))
    ]
    return [tokens for tokens in found if low <= tokens <= high]


def _steps(most: float) -> list[float]:
    """Four to six round steps from zero to just above a value.

    >>> _steps(538.9), _steps(0.42)
    ([0.0, 200.0, 400.0, 600.0], [0.0, 0.1, 0.2, 0.3, 0.4, 0.5])
    """
    if most <= 0:
        return [0.0, 1.0]
    magnitude = 10.0 ** math.floor(math.log10(most))
    step = next(part * magnitude for part in (0.1, 0.2, 0.25, 0.5, 1, 2) if most / (part * magnitude) <= 5)
    return [round(step * number, 10) for number in range(math.ceil(most / step - 1e-9) + 1)]
