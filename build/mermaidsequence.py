"""Mermaid's sequence diagrams, strictly: a text that Mermaid would not draw is an error, with its line.

The grammar was written down by asking Mermaid 11.17.2 itself what it takes (tests/data/mermaid.json has each answer).
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field

from build.mermaidtext import MermaidError, Scanner

HEADER = re.compile(r"\s*sequenceDiagram\b")
# Words that begin a statement, and are no names of participants.
RESERVED = re.compile(
    r"(?:participant|actor|create|destroy|box|loop|rect|opt|alt|else|par|par_over|and|critical|option|break|end"
    r"|note|activate|deactivate|links?|properties|details|autonumber)\b",
    re.IGNORECASE,
)
TITLED = re.compile(r"title\b", re.IGNORECASE)
NAME = r"[^+<>:\n,;\-@]+(?:(?!-x|--x|-\)|--\))-+[^+<>:\n,;\-@]+)*"
ARROW = r"<<-->>|<<->>|-->>|->>|-->|->|--x|-x|--\)|-\)"
MESSAGE = re.compile(rf"({NAME}?)[ \t]*({ARROW})[ \t]*([+-]?)(?![/\\])[ \t]*({NAME}?)[ \t]*:(.*)")
PARTICIPANT = re.compile(
    rf"(create[ \t]+)?(?:participant|actor)[ \t]+(?:({NAME}?)[ \t]+as\b(.*)|({NAME}))", re.IGNORECASE
)
DESTROY = re.compile(rf"destroy[ \t]+({NAME})", re.IGNORECASE)
NOTE = re.compile(
    rf"note[ \t]+(?:(?:left of|right of)[ \t]+{NAME}|over[ \t]+{NAME}(?:,{NAME})?)[ \t]*:.*", re.IGNORECASE
)
ACTIVATION = re.compile(rf"(activate|deactivate)[ \t]+({NAME})", re.IGNORECASE)
BLOCK = re.compile(r"(loop|rect|opt|alt|par_over|par|critical|break|box)\b.*", re.IGNORECASE)
BRANCH = re.compile(r"(else|and|option)\b.*", re.IGNORECASE)
BRANCHES = {"else": ("alt",), "and": ("par", "par_over"), "option": ("critical",)}
END = re.compile(r"end", re.IGNORECASE)
OTHER = re.compile(
    rf"autonumber(?:[ \t]+(?:off|\d+(?:[ \t]+\d+)?))?|title[ \t:].*|accTitle[ \t]*:.*|accDescr[ \t]*:.*"
    rf"|(?:links?|properties|details)[ \t]+{NAME}:.*",
    re.IGNORECASE,
)


@dataclass(frozen=True, kw_only=True)
class Message:
    """One arrow. ``arrow``: as it is written, two dashes for a dotted line."""

    source: str
    target: str
    arrow: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Sequence:
    """``participants``: name → what is shown for it. ``blocks``: the kinds of blocks in it, in their order."""

    participants: dict[str, str]
    messages: tuple[Message, ...]
    blocks: tuple[str, ...]


@dataclass
class _Drawing:
    """A diagram while it is read. ``open``: (kind, line) of blocks; ``active``: participants at work, how often."""

    participants: dict[str, str] = field(default_factory=dict)
    messages: list[Message] = field(default_factory=list)
    blocks: list[str] = field(default_factory=list)
    open: list[tuple[str, int]] = field(default_factory=list)
    active: Counter[str] = field(default_factory=Counter)
    created: str = ""
    destroyed: str = ""


def read(scanner: Scanner) -> Sequence:
    """The sequence diagram that begins at the scanner. Raises :class:`MermaidError`."""
    scanner.takes(HEADER)
    drawing = _Drawing()
    for number, line in enumerate(scanner.text[scanner.position :].split("\n"), scanner.line):
        for statement in line.split(";"):
            if statement.strip():
                _statement(drawing, statement.strip(), number)
    if drawing.open:
        kind, line_number = drawing.open[-1]
        raise MermaidError(line_number, f"`{kind}` without its `end`")
    return Sequence(participants=drawing.participants, messages=tuple(drawing.messages), blocks=tuple(drawing.blocks))


def _statement(drawing: _Drawing, text: str, line: int) -> None:
    if text.startswith("%%") or _structure(drawing, text, line):
        return
    if drawing.open and drawing.open[-1][0] == "box" and not PARTICIPANT.fullmatch(text):
        raise MermaidError(line, f"in a box there are only participants, not {text[:40]!r}")
    if found := PARTICIPANT.fullmatch(text):
        name = (found[2] or found[4]).strip()
        drawing.participants[name] = (found[3] or name).strip() or name
        drawing.created = name if found[1] else drawing.created
    elif found := DESTROY.fullmatch(text):
        drawing.destroyed = found[1].strip()
    elif found := ACTIVATION.fullmatch(text):
        _activate(drawing, found[2].strip(), on=found[1].lower() == "activate", line=line)
    elif not (NOTE.fullmatch(text) or OTHER.fullmatch(text)):
        _message(drawing, text, line)


def _structure(drawing: _Drawing, text: str, line: int) -> bool:
    """Take a statement that opens, divides or closes a block; whether it was one."""
    if END.fullmatch(text):
        if not drawing.open:
            raise MermaidError(line, "`end` and no block is open")
        drawing.open.pop()
    elif found := BRANCH.fullmatch(text):
        kind = found[1].lower()
        if not drawing.open or drawing.open[-1][0] not in BRANCHES[kind]:
            raise MermaidError(line, f"`{kind}` outside of {' or '.join(BRANCHES[kind])}")
    elif found := BLOCK.fullmatch(text):
        drawing.open.append((found[1].lower(), line))
        drawing.blocks.append(found[1].lower())
    else:
        return False
    return True


def _message(drawing: _Drawing, text: str, line: int) -> None:
    found = MESSAGE.fullmatch(text)
    if not found:
        raise MermaidError(line, f"no message (A->>B: text) and nothing else that is known: {text[:40]!r}")
    source, target = found[1].strip(), found[4].strip()
    for name, word in ((source, RESERVED.match(source)), (target, RESERVED.match(target) or TITLED.match(target))):
        if not name or word:
            raise MermaidError(
                line, f"{name!r} begins with a word of Mermaid's" if word else "a message to or of nobody"
            )
    for name in (source, target):
        drawing.participants.setdefault(name, name)
    if drawing.created not in ("", target) or drawing.destroyed not in ("", source, target):
        raise MermaidError(line, "the message after `create` or `destroy` must be to that participant")
    drawing.created = drawing.destroyed = ""
    if found[3]:
        _activate(drawing, target if found[3] == "+" else source, on=found[3] == "+", line=line)
    drawing.messages.append(Message(source=source, target=target, arrow=found[2], text=found[5].strip()))


def _activate(drawing: _Drawing, name: str, *, on: bool, line: int) -> None:
    drawing.participants.setdefault(name, name)
    if not on and drawing.active[name] < 1:
        raise MermaidError(line, f"{name!r} is deactivated and was not active")
    drawing.active[name] += 1 if on else -1
