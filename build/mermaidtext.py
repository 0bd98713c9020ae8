"""What Mermaid's grammars share: the text before the grammar proper, a scanner, and the error with its line."""

from __future__ import annotations

import bisect
import re

FRONT_MATTER = re.compile(r"\A\s*---[ \t]*\n.*?\n---[ \t]*(?:\n|\Z)", re.DOTALL)
DIRECTIVE = re.compile(r"%%\{.*?\}%%", re.DOTALL)
COMMENT = re.compile(r"^[ \t]*%%(?!\{)[^\n]*", re.MULTILINE)
ENTITY = re.compile(r"#(\w+);")  # "#35;" is one character to Mermaid, and its semicolon ends nothing


class MermaidError(ValueError):
    """Text that is no diagram, with the number of its line, counted from 1."""

    def __init__(self, line: int, what: str) -> None:
        super().__init__(f"line {line}: {what}")
        self.line = line
        self.what = what


def _blanked(match: re.Match[str]) -> str:
    return "\n" * match[0].count("\n")


def bare(text: str) -> str:
    r"""The text without front matter, directives, comment lines and entities; its lines keep their numbers.

    >>> bare("---\ntitle: x\n---\n%% hidden\ngraph TD")
    '\n\n\n\ngraph TD'
    """
    text = text.replace("\r\n", "\n")
    for pattern in (FRONT_MATTER, DIRECTIVE, COMMENT):
        text = pattern.sub(_blanked, text)
    return ENTITY.sub(r"#\1,", text)


class Scanner:
    """A place in a text."""

    def __init__(self, text: str, position: int = 0) -> None:
        self.text = text
        self.position = position
        self.ends = [found.start() for found in re.finditer("\n", text)]

    @property
    def line(self) -> int:
        return bisect.bisect_left(self.ends, self.position) + 1

    @property
    def done(self) -> bool:
        return self.position >= len(self.text)

    def sees(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        return pattern.match(self.text, self.position)

    def takes(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        """The match here, passed over; None and no step where there is none."""
        found = self.sees(pattern)
        if found:
            self.position = found.end()
        return found

    def error(self, what: str) -> MermaidError:
        """The error to raise: what is wrong, and what stands there."""
        rest = self.text[self.position :].partition("\n")[0].strip()
        return MermaidError(self.line, f"{what}, at {rest[:40]!r}" if rest else f"{what}, at the end of the line")
