"""Mermaid's flowcharts, strictly: a text that Mermaid would not draw is an error, with its line.

The grammar was written down by asking Mermaid 11.17.2 itself what it takes (tests/data/mermaid.json has each answer).
Statements that only style are looked at, not understood.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from build.mermaidtext import MermaidError, Scanner

HEADER = re.compile(
    r"\s*(?:flowchart-elk|flowchart|graph)\b(?:[ \t]+(TB|TD|BT|RL|LR|[<>^v])(?![\w-]))?[ \t]*(?=[\n;]|\Z)"
)
BETWEEN = re.compile(r"[ \t]*(?:[\n;]+\s*|\Z)")
SPACE = re.compile(r"[ \t]*")
# Words that are no names of nodes, wherever they stand alone.
RESERVED = re.compile(r"(?:end|graph|flowchart|subgraph|style|linkStyle|classDef|class|click)\b")
NAME = re.compile(r"(?!:::)(?:[\w!#$%&'*+.`?\\/:,]|-(?=[^>\-.])|=(?!=))+")
CLASS = re.compile(r":::(?:\w|-(?=[^>\-.]))+")
DATA = re.compile(r"@\{[^}\"]*(?:\"[^\"]*\"[^}\"]*)*\}")
LINK = re.compile(r"\s*(?:[xo<]?--+[-xo>]|[xo<]?==+[=xo>]|[xo<]?-?\.+-[xo>]?|~~~+)\s*")
LINK_NAME = re.compile(r"\s*[^\s\"@]{1,100}@(?=[xo<]?(?:--|==|-\.))")
AT = re.compile(r"[^\s\"]{1,100}@(?=[^{\"])")  # read as the name of a link, wherever a word begins
AMPERSAND = re.compile(r"\s+&\s+")
PIPE = re.compile(r"\|")
# A link that opens for a text: how it opens, what the text may hold, how it closes.
OPENED = tuple(
    (re.compile(opens), re.compile(holds), re.compile(closes))
    for opens, holds, closes in (
        (r"\s*[xo<]?--\s*", r"(?:[^-\"]|-(?!-))", r"\s*[xo<]?--+[-xo>]\s*"),
        (r"\s*[xo<]?==\s*", r"[^=\"]", r"\s*[xo<]?==+[=xo>]\s*"),
        (r"\s*[xo<]?-\.\s*", r"[^.\"]", r"\s*[xo<]?\.+-[xo>]?\s*"),
    )
)
QUOTED = re.compile(r"\"[^\"]+\"")
PLAIN = re.compile(r"[^\[\](){}|\"]+")
ROUND = re.compile(r"[^\-\[\](){}|\"]+")
SLANTED = re.compile(r"(?:[^\\\[\](){}/]|/(?!\])|\\(?!\]))+")
# Shapes, the longer openings first: how each opens, how it may close, what its text may hold.
SHAPES = tuple(
    (opens, closes, SLANTED if opens in ("[/", "[\\") else ROUND if opens == "(-" else PLAIN)
    for opens, closes in (
        ("(((", (")))",)), ("((", ("))",)), ("([", ("])",)), ("(-", ("-)",)), ("[[", ("]]",)), ("[(", (")]",)),
        ("[/", ("/]", "\\]")), ("[\\", ("\\]", "/]")), ("[", ("]",)), ("{{", ("}}",)), ("{", ("}",)), ("(", (")",)),
        (">", ("]",)),
    )
)  # fmt: skip
REST = re.compile(r"[^\n;]*")
SUBGRAPH = re.compile(r"subgraph(?:[ \t]+([^\n;]*)|(?=[\n;]|\Z))")
TITLE = re.compile(
    r"(?!.*(?:--|==|-\.))(?:\"[^\"]+\"|[^\[\](){}|\"<>]+?)[ \t]*(?:\[(?:\"[^\"]+\"|[^\[\](){}|\"]+)\])?[ \t]*"
)
DIRECTION = re.compile(r"direction[ \t]+(?:TB|TD|BT|RL|LR)\b[^\n;]*")
END = re.compile(r"end\b[ \t]*")
NAMES, STYLES = r"[\w,.-]+", r"[\w#][\w#,:.%' \t-]*"
STYLING = re.compile(
    rf"(?:style|classDef)[ \t]+{NAMES}[ \t]+{STYLES}(?=[\n;]|\Z)|class[ \t]+{NAMES}[ \t]+[\w-]+(?=[ \t]*(?:[\n;]|\Z))"
    r"|click[ \t]+\S+[ \t]+\S[^\n;]*|accTitle[ \t]*:[^\n]*|accDescr[ \t]*(?::[^\n]*|\{[^}]*\})"
)
LINK_STYLE = re.compile(rf"linkStyle[ \t]+(default|\d+(?:[ \t]*,[ \t]*\d+)*)[ \t]+{STYLES}(?=[\n;]|\Z)")


@dataclass(frozen=True, kw_only=True)
class Edge:
    """A link between two nodes, by their names; ``label`` may be empty."""

    source: str
    target: str
    label: str


@dataclass(frozen=True, kw_only=True)
class Flowchart:
    """``nodes``: name → what is written in it (the name itself, where nothing is)."""

    direction: str
    nodes: dict[str, str]
    edges: tuple[Edge, ...]


@dataclass
class _Drawing:
    """A flowchart while it is read. ``open``: the lines of subgraphs that are not closed yet."""

    scanner: Scanner
    nodes: dict[str, str] = field(default_factory=dict)
    edges: list[Edge] = field(default_factory=list)
    open: list[int] = field(default_factory=list)


def read(scanner: Scanner) -> Flowchart:
    """The flowchart that begins at the scanner. Raises :class:`MermaidError`."""
    header = scanner.takes(HEADER)
    if header is None:
        raise scanner.error("no direction of a flowchart (TB, TD, BT, LR, RL) and a new line")
    drawing = _Drawing(scanner)
    scanner.takes(BETWEEN)
    while not scanner.done:
        scanner.takes(SPACE)
        if scanner.takes(BETWEEN):
            continue
        _statement(drawing)
        if not scanner.takes(BETWEEN):
            raise scanner.error("a statement ends before its line does")
    if drawing.open:
        raise MermaidError(drawing.open[-1], "a subgraph without its `end`")
    return Flowchart(direction=header[1] or "TB", nodes=drawing.nodes, edges=tuple(drawing.edges))


def _statement(drawing: _Drawing) -> None:
    scanner = drawing.scanner
    line = scanner.line
    if title := scanner.takes(SUBGRAPH):
        if not TITLE.fullmatch(title[1] or ""):
            raise MermaidError(line, f"a subgraph cannot be called {title[1] or 'nothing'!r}")
        drawing.open.append(line)
    elif scanner.takes(END):
        if not drawing.open:
            raise MermaidError(line, "`end` and no subgraph is open (it is no name of a node either)")
        drawing.open.pop()
    elif styled := scanner.takes(LINK_STYLE):
        numbers = [] if styled[1] == "default" else [int(number) for number in styled[1].split(",")]
        if any(number >= len(drawing.edges) for number in numbers):
            raise MermaidError(line, f"linkStyle of a link that there is not ({len(drawing.edges)} before it)")
    elif not (scanner.takes(DIRECTION) or scanner.takes(STYLING)):
        _chain(drawing)


def _chain(drawing: _Drawing) -> None:
    """``A & B -->|text| C --> D``."""
    left = _nodes(drawing)
    while (label := _link(drawing.scanner)) is not None:
        right = _nodes(drawing)
        drawing.edges += [Edge(source=a, target=b, label=label) for a in left for b in right]
        left = right


def _nodes(drawing: _Drawing) -> list[str]:
    names = [_node(drawing)]
    while drawing.scanner.takes(AMPERSAND):
        names.append(_node(drawing))
    return names


def _node(drawing: _Drawing) -> str:
    scanner = drawing.scanner
    if word := scanner.sees(RESERVED):
        raise scanner.error(f"`{word[0]}` is a word of Mermaid's and no name of a node")
    if scanner.sees(AT):
        raise scanner.error("an @ outside of quotes")
    if not (name := scanner.takes(NAME)):
        raise scanner.error("no node where one must be")
    label = _shape(scanner)
    drawing.nodes[name[0]] = label or drawing.nodes.get(name[0], name[0])
    scanner.takes(DATA)
    scanner.takes(CLASS)
    return name[0]


def _shape(scanner: Scanner) -> str:
    """What is written in a node; empty where it has no shape."""
    for opens, closes, holds in SHAPES:
        if scanner.text.startswith(opens, scanner.position):
            start = scanner.position
            scanner.position += len(opens)
            label = _written(scanner, holds)
            for close in closes:
                if scanner.text.startswith(close, scanner.position):
                    scanner.position += len(close)
                    return label
            scanner.position = start
            raise scanner.error(f"a node that opens with {opens} does not close with {closes[0]}: quote what is in it")
    return ""


def _written(scanner: Scanner, holds: re.Pattern[str]) -> str:
    found = scanner.takes(QUOTED) or (None if scanner.sees(AT) else scanner.takes(holds))
    if not found:
        raise scanner.error("no text where one must be")
    return found[0].strip('"').strip()


def _link(scanner: Scanner) -> str | None:
    """The label of the link that stands here, passed over; None where there is none."""
    start = scanner.position
    scanner.takes(LINK_NAME)
    if scanner.takes(LINK):
        if not scanner.takes(PIPE):
            return ""
        label = _written(scanner, PLAIN)
        if not scanner.takes(PIPE):
            raise scanner.error("the text of a link does not end with |: quote what is in it")
        scanner.takes(SPACE)
        return label
    for opens, holds, closes in OPENED:
        if scanner.takes(opens):
            return _between(scanner, holds, closes)
    scanner.position = start
    return None


def _between(scanner: Scanner, holds: re.Pattern[str], closes: re.Pattern[str]) -> str:
    """The text of a link that is written in its middle."""
    start = scanner.position
    while not scanner.sees(closes):
        if not (scanner.takes(holds) or scanner.takes(QUOTED)):
            scanner.position = start
            raise scanner.error("a link that opens and does not end in an arrow")
    label = scanner.text[start : scanner.position]
    scanner.takes(closes)
    if not label.strip():
        raise scanner.error("a link with an empty text")
    return label.strip().strip('"')
