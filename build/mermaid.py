"""Mermaid diagrams that a model wrote: read strictly, as Mermaid itself would. Flowcharts and sequence diagrams.

Whoever shows such text in a page gets an error box for one wrong bracket, so that "it looks like Mermaid" is no check.
"""

from __future__ import annotations

import re

from build import mermaidflow, mermaidsequence
from build.mermaidflow import Flowchart
from build.mermaidsequence import Sequence
from build.mermaidtext import MermaidError, Scanner, bare

FIRST = re.compile(r"\s*([A-Za-z][\w-]*)")


def parse(text: str) -> Flowchart | Sequence:
    r"""The diagram. Raises :class:`MermaidError` for text that Mermaid would not draw, and for other kinds of diagrams.

    >>> parse("graph LR; A[Start] -->|go| B").edges
    (Edge(source='A', target='B', label='go'),)
    >>> parse("sequenceDiagram\nA->>B: hi").messages[0].text
    'hi'
    """
    scanner = Scanner(bare(text))
    first = scanner.sees(FIRST)
    kind = first[1] if first else ""
    if kind in ("graph", "flowchart", "flowchart-elk"):
        return mermaidflow.read(scanner)
    if kind == "sequenceDiagram":
        return mermaidsequence.read(scanner)
    raise MermaidError(scanner.line, f"no flowchart and no sequence diagram: it begins with {kind or 'no word'!r}")
