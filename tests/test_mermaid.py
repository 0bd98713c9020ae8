"""Mermaid's grammars, against what Mermaid itself said of each text, and by properties.

tests/data/mermaid.json has [whether Mermaid takes it, text] rows, as ``mermaid.parse`` of the npm package mermaid 11.17.2
answered under jsdom: texts made by hand for each rule, texts as models write them, and such texts with one thing changed.
(The npm package @mermaid-js/parser 1.2.1 reads other kinds of diagrams only: no flowchart, no sequence diagram.)
"""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from build.mermaid import parse
from build.mermaidflow import Flowchart
from build.mermaidsequence import Sequence
from build.mermaidtext import MermaidError

ROWS = json.loads((Path(__file__).parent / "data/mermaid.json").read_text(encoding="utf-8"))
# Where we say otherwise than Mermaid, knowingly: things that no model writes, and styling that is not understood.
OTHERWISE = (
    "A-|\\B: y", 'A["a" b]', "A@x->>B: y", "subgraph a@b", " \\   Note over U,S: done", "classDef hot :#f00",
    "style A fill:#f-.9f",
)  # fmt: skip


def takes(text):
    try:
        parse(text)
    except MermaidError:
        return False
    return True


def test_it_takes_what_mermaid_takes_and_nothing_else():
    assert len(ROWS) > 600
    assert 0.4 < sum(taken for taken, _ in ROWS) / len(ROWS) < 0.7
    other = [text for taken, text in ROWS if takes(text) is not taken]
    assert sorted(other) == sorted(text for _, text in ROWS if any(mark in text for mark in OTHERWISE))


def test_a_flowchart_is_read_into_nodes_and_edges():
    drawn = parse(
        'flowchart LR\n  A([Start]) --> B{"Enough (RAM)?"}\n  B -->|yes| C & D\n  B -- no --> E[Stop]\n  C ==> A'
    )
    assert isinstance(drawn, Flowchart)
    assert drawn.direction == "LR"
    assert drawn.nodes == {"A": "Start", "B": "Enough (RAM)?", "C": "C", "D": "D", "E": "Stop"}
    assert [(e.source, e.target, e.label) for e in drawn.edges] == [
        ("A", "B", ""), ("B", "C", "yes"), ("B", "D", "yes"), ("B", "E", "no"), ("C", "A", ""),
    ]  # fmt: skip


def test_a_sequence_diagram_is_read_into_participants_messages_and_blocks():
    drawn = parse(
        "sequenceDiagram\nactor U as User\nU->>+S: hi: you\nalt a\nS-->>-U: x\nelse\nloop y\nU-xS: z\nend\nend"
    )
    assert isinstance(drawn, Sequence)
    assert drawn.participants == {"U": "User", "S": "S"}
    assert [(m.source, m.target, m.arrow, m.text) for m in drawn.messages] == [
        ("U", "S", "->>", "hi: you"), ("S", "U", "-->>", "x"), ("U", "S", "-x", "z"),
    ]  # fmt: skip
    assert drawn.blocks == ("alt", "loop")


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("flowchart TD\n\nA[f(x)]", 3, "quote what is in it"),
        ("---\ntitle: x\n---\n%% remark\ngraph LR\nA-->end", 6, "`end` is a word of Mermaid's"),
        ("flowchart TD\nsubgraph one\nA-->B\n", 2, "a subgraph without its `end`"),
        ("flowchart TD\nA -- yes -> B", 2, "does not end in an arrow"),
        ("flowchart TD\nA-->|a (b)|B", 2, "does not end with |"),
        ("flowchart sideways\nA", 1, "no direction"),
        ("sequenceDiagram\nA->>B: x\nalt y\nA->>B: z", 3, "`alt` without its `end`"),
        ("sequenceDiagram\nA->>B", 2, "no message"),
        ("sequenceDiagram\nEnd user->>A: x", 2, "begins with a word"),
        ("sequenceDiagram\nA->>-B: x", 2, "was not active"),
        ("sequenceDiagram\nopt a\nelse b\nend", 3, "`else` outside of alt"),
        ("sequenceDiagram\nbox T\nA->>B: x\nend", 3, "only participants"),
        ("sequenceDiagram\ncreate participant C\nA->>B: x", 3, "must be to that participant"),
        ("gantt\ntitle x", 1, "begins with 'gantt'"),
        ("", 1, "no word"),
    ],
)
def test_an_error_names_its_line(text, line, what):
    with pytest.raises(MermaidError, match=f"^line {line}: ") as caught:
        parse(text)
    assert what in str(caught.value)


WORDS = st.text("abcdefgh XYZ0123456789?'é用", min_size=1, max_size=12).filter(lambda text: text.strip())
NAMES = st.from_regex(r"\A[A-D][0-9]{0,2}\Z")
SHAPES = st.sampled_from(
    ["[{}]", "({})", "(({}))", "([{}])", "{{{}}}", "[[{}]]", "[({})]", "{{{{{}}}}}", '["{}"]', ">{}]"]
)
LINKS = st.sampled_from(
    ["-->", "---", "-.->", "==>", "--x", "--o", "<-->", "-- {} -->", "-->|{}|", "== {} ==>", "-. {} .->"]
)


@settings(max_examples=50)
@given(st.lists(st.tuples(NAMES, SHAPES, WORDS, LINKS, WORDS, NAMES), min_size=1, max_size=8), st.sampled_from("\n;"))
def test_what_is_written_by_the_rules_is_read_back(rows, end):
    lines, edges = [], []
    for source, shape, words, link, label, target in rows:
        lines.append(f"{source}{shape.format(words)} {link.format(label)} {target}")
        edges.append((source, target, label.strip() if "{}" in link else ""))
    drawn = parse("graph TD" + end + end.join(lines))
    assert [(edge.source, edge.target, edge.label) for edge in drawn.edges] == edges
    for source, _, words, *_ in rows[-1:]:
        assert drawn.nodes[source] == words.strip()


@settings(max_examples=50)
@given(st.lists(st.tuples(NAMES, st.sampled_from(["->", "-->", "->>", "-->>", "-x", "--)"]), NAMES, WORDS), max_size=8))
def test_messages_are_read_back(rows):
    drawn = parse("sequenceDiagram\n" + "\n".join(f"  {a}{arrow}{b}: {text}" for a, arrow, b, text in rows))
    assert [(m.source, m.arrow, m.target, m.text) for m in drawn.messages] == [
        (a, w, b, t.strip()) for a, w, b, t in rows
    ]


@given(
    st.sampled_from(["", "graph TD\n", "flowchart LR\nA", "sequenceDiagram\n", "sequenceDiagram\nA->>B: x\n"]),
    st.text(),
)
def test_any_text_is_a_diagram_or_an_error_with_a_line(start, rest):
    text = start + rest
    line = 1
    try:
        parse(text)
    except MermaidError as error:
        line = error.line
    assert 1 <= line <= text.count("\n") + 1


@pytest.mark.parametrize("text", ["graph TD\n" + "A[" * 20_000, "graph TD\nA " + "- " * 20_000, "sequenceDiagram\n" + "A-" * 20_000,
                                  "graph TD\nA -- " + "x" * 40_000, "graph TD\n" + "A-->B;" * 5_000])  # fmt: skip
def test_long_nonsense_takes_no_time(text):
    takes(text)
