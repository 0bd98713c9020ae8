"""Diagrams drawn in characters: finds their boxes, reads what is in them, follows the lines between.

A box is closed or it is none: that is what makes a drawing of characters one, and what a model gets wrong first.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

FENCE = re.compile(r"^[ \t]*(`{3,}|~{3,})[ \t]*([\w+-]*)[^\n]*\n(.*?)^[ \t]*\1[ \t]*$", re.MULTILINE | re.DOTALL)
MOST_COLUMNS, MOST_LINES, MOST_BOXES = 160, 120, 200  # of a drawing that we look at


@dataclass(frozen=True, kw_only=True)
class Style:
    """Which characters do what. ``corners``: upper left, upper right, lower left, lower right, each as a set."""

    name: str
    corners: tuple[str, str, str, str]
    level: str
    upright: str
    arrows: str


ASCII = Style(
    name="ASCII",
    corners=("+.,/", "+.,\\", "+`'\\", "+'`/"),
    level="-=_+^v<>|",
    upright="|+!:<>-",
    arrows="<>^vV",
)
UNICODE = Style(
    name="Unicode",
    corners=("┌╔╭┏├┬┼╠╦", "┐╗╮┓┤┬┼╣╦", "└╚╰┗├┴┼╠╩", "┘╝╯┛┤┴┼╣╩"),
    level="─━═╌┄┬┴┼┳┻╦╩╤╧╥╨╪╫╬▲▼↑↓△▽┷┯",
    upright="│┃║┆┊├┤┼┣┫╠╣╟╢╞╡╪╫╬▶◀►◄→←▷◁┠┨",
    arrows="▲▼▶◀►◄→←↑↓△▽▷◁<>v^⟶⟵",
)


@dataclass(frozen=True, kw_only=True)
class Box:
    """A closed rectangle: its edges' rows and columns, and the words in it."""

    top: int
    left: int
    bottom: int
    right: int
    words: str

    def holds(self, row: int, column: int) -> bool:
        return self.top <= row <= self.bottom and self.left <= column <= self.right


def blocks(text: str) -> tuple[tuple[str, str], ...]:
    r"""The fenced blocks of a Markdown text: (language, content).

    >>> blocks("See:\n```mermaid\ngraph TD\n```\nok")
    (('mermaid', 'graph TD\n'),)
    """
    return tuple((match[2].lower(), match[3]) for match in FENCE.finditer(text))


def grid(text: str) -> list[str]:
    """The lines of a drawing, of equal length, without tabs."""
    lines = [line.expandtabs(8).rstrip()[:MOST_COLUMNS] for line in text.split("\n")][:MOST_LINES]
    width = max((len(line) for line in lines), default=0)
    return [line.ljust(width) for line in lines]


def boxes(lines: Sequence[str], style: Style) -> tuple[Box, ...]:
    """Every closed rectangle, the smallest first."""
    found = itertools.islice(_rectangles(lines, style), MOST_BOXES)
    return tuple(sorted(found, key=lambda box: (box.bottom - box.top) * (box.right - box.left)))


def _rectangles(lines: Sequence[str], style: Style) -> Iterator[Box]:
    for top, line in enumerate(lines):
        for left, character in enumerate(line):
            if character in style.corners[0]:
                for right in _corners(line, left, style):
                    for bottom in _closed(lines, top, left, right, style):
                        words = _inside(lines, top, left, bottom, right)
                        yield Box(top=top, left=left, bottom=bottom, right=right, words=words)


def _corners(line: str, left: int, style: Style) -> list[int]:
    """Where an upper edge that begins at ``left`` may end."""
    found = []
    for column in range(left + 1, len(line)):
        if line[column] in style.corners[1] and column > left + 1:
            found.append(column)
        if line[column] not in style.level:
            break
    return found


def _closed(lines: Sequence[str], top: int, left: int, right: int, style: Style) -> list[int]:
    """The rows in which a rectangle with that upper edge closes; the first that does."""
    for row in range(top + 1, len(lines)):
        ends = lines[row][left], lines[row][right]
        if row > top + 1 and ends[0] in style.corners[2] and ends[1] in style.corners[3]:
            edge = lines[row][left + 1 : right]
            if all(character in style.level for character in edge):
                return [row]
        if any(end not in style.upright + style.corners[0] + style.corners[1] for end in ends):
            return []
    return []


def _inside(lines: Sequence[str], top: int, left: int, bottom: int, right: int) -> str:
    return " ".join(" ".join(lines[row][left + 1 : right] for row in range(top + 1, bottom)).split())


def box_of(found: Sequence[Box], label: str) -> Box | None:
    """The smallest box in which a label stands, whatever its case and line breaks."""
    return next((box for box in found if label.casefold() in box.words.casefold()), None)


def innermost(found: Sequence[Box]) -> list[Box]:
    """The boxes that hold no other box."""
    return [box for box in found if not any(_within(other, box) for other in found)]


def reach(lines: Sequence[str], found: Sequence[Box], start: Box) -> set[Box]:
    """The boxes that lines from ``start`` lead to, also through other boxes' edges.

    A line may have a gap of one column, as in ``| --> |``; what stands inside of a box leads nowhere.
    """
    inner = innermost(found)
    seen = {(row, column) for row, column in _border(start)}
    todo, reached = list(seen), set()
    while todo:
        row, column = todo.pop()
        for next_row, next_column in _near(row, column):
            place = (next_row, next_column)
            if place in seen or not (0 <= next_row < len(lines) and 0 <= next_column < len(lines[next_row])):
                continue
            if lines[next_row][next_column] == " ":
                continue
            seen.add(place)
            hit = [box for box in inner if box.holds(*place)]
            for box in hit:
                if box not in reached and box != start:
                    reached.add(box)
                    border = [spot for spot in _border(box) if spot not in seen]
                    seen.update(border)
                    todo += border
            if not hit:
                todo.append(place)
    return reached


def _within(inner: Box, outer: Box) -> bool:
    return inner != outer and outer.holds(inner.top, inner.left) and outer.holds(inner.bottom, inner.right)


def _border(box: Box) -> list[tuple[int, int]]:
    level = [(row, column) for row in (box.top, box.bottom) for column in range(box.left, box.right + 1)]
    return level + [(row, column) for column in (box.left, box.right) for row in range(box.top, box.bottom + 1)]


def _near(row: int, column: int) -> list[tuple[int, int]]:
    return [*((row, column + step) for step in (-2, -1, 1, 2)), (row - 1, column), (row + 1, column)]


def findings(text: str, labels: Sequence[str], style: Style) -> tuple[str, ...]:
    """What is wrong with an answer that should have one drawing: ``labels`` in boxes of their own, all connected."""
    drawn = blocks(text)
    if not drawn:
        return ("there is no fenced block with a drawing in it",)
    lines = grid(drawn[0][1])
    wrong = _alphabet("\n".join(lines), style)
    found = boxes(lines, style)
    mine = {label: box_of(found, label) for label in labels}
    wrong += [f"{label!r} stands in no closed box of {style.name} lines" for label, box in mine.items() if not box]
    here = [box for box in mine.values() if box]
    if len(set(here)) < len(here):
        wrong.append("two labels share a box")
    elif not wrong and (lost := {box.words for box in here[1:]} - {box.words for box in reach(lines, here, here[0])}):
        wrong.append(f"no line leads from {here[0].words!r} to {', '.join(map(repr, sorted(lost)))}")
    if not any(character in style.arrows for character in _outside(lines, found)):
        wrong.append("no arrow is drawn")
    return tuple(wrong)


def _alphabet(drawing: str, style: Style) -> list[str]:
    if style is ASCII and (strange := sorted({c for c in drawing if ord(c) > 126})):
        return [f"not all of it is ASCII: {' '.join(strange[:8])}"]
    return []


def _outside(lines: Sequence[str], found: Sequence[Box]) -> str:
    """The characters that do not stand in a box that holds words alone."""
    inner = innermost(found)
    return "".join(
        character
        for row, line in enumerate(lines)
        for column, character in enumerate(line)
        if not any(box.top < row < box.bottom and box.left < column < box.right for box in inner)
    )
