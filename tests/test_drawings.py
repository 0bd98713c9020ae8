"""Drawings of characters: boxes are found where they are closed, labels in them, and what is connected."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from build.drawings import ASCII, UNICODE, blocks, boxes, findings, grid
from tests import openaianswers

THREE = ("Client", "Server", "Database")
FOUR = ("Balancer", "Worker 1", "Worker 2", "Worker 3")


def fenced(drawing):
    return f"```\n{drawing}\n```"


DOWN = """\
+--------+
| Client |
+--------+
    |
    v
+--------+   query   +----------+
| Server |---------->| Database |
+--------+           +----------+"""
NESTED = """\
┌────────────── Cluster ─────────────┐
│ ╔══════════╗      ┏━━━━━━━━━━┓     │
│ ║ Balancer ║─────►┃ Worker 1 ┃     │
│ ╚════╤═════╝      ┗━━━━━━━━━━┛     │
│      │ ╭──────────╮  ╭──────────╮  │
│      ├▶│ Worker 2 │  │ Worker 3 │  │
│      │ ╰──────────╯  ╰────▲─────╯  │
│      └────────────────────┘        │
└────────────────────────────────────┘"""


@pytest.mark.parametrize(
    ("text", "labels", "style"),
    [(openaianswers.ASCII, THREE, ASCII), (fenced(DOWN), THREE, ASCII), (openaianswers.UNICODE, FOUR, UNICODE)],
)
def test_good_drawings(text, labels, style):
    assert findings(text, labels, style) == ()


def test_nested_boxes_of_any_line():
    cluster = NESTED.replace(" Cluster ", "─────────")
    assert findings(fenced(cluster), FOUR, UNICODE) == ()


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("Here it is:\n+---+", "no fenced block"),
        (openaianswers.ASCII.replace("Server", "Host"), "'Server' stands in no closed box of ASCII lines"),
        (openaianswers.ASCII.replace("| Server |", "| Server  |"), "'Server' stands in no closed box"),
        (openaianswers.ASCII.replace("+----------+\n```", "+-----  ---+\n```"), "'Database' stands in no closed box"),
        (openaianswers.ASCII.replace("--->", "    "), "no line leads from 'Client' to 'Database', 'Server'"),
        (openaianswers.ASCII.replace("--->", "----"), "no arrow is drawn"),
        (openaianswers.ASCII.replace("--->", "---→"), "not all of it is ASCII: →"),
        (
            "```\n+-----------------+\n| Client Server   |\n|   Database  ->  |\n+-----------------+\n```",
            "two labels share a box",
        ),
    ],
)
def test_each_defect_is_told(text, what):
    assert any(what in finding for finding in findings(text, THREE, ASCII)), findings(text, THREE, ASCII)


def test_one_column_off_is_not_closed():
    off = openaianswers.UNICODE.replace("│ Worker 2 │", " │ Worker 2│")
    assert findings(off, FOUR, UNICODE) == ("'Worker 2' stands in no closed box of Unicode lines",)


def test_blocks_of_markdown():
    text = "a\n```mermaid\nx\n```\n~~~\ny\n~~~\n````md\n```\nz\n```\n````\n"
    assert blocks(text) == (("mermaid", "x\n"), ("", "y\n"), ("md", "```\nz\n```\n"))
    assert blocks("```\nnever closed") == ()


@given(st.integers(3, 30), st.integers(1, 6), st.integers(0, 20), st.integers(0, 5), st.sampled_from([ASCII, UNICODE]))
def test_a_box_that_was_drawn_is_found(width, height, left, top, style):
    a, b, c, d = (corner[0] for corner in style.corners)
    lines = [
        a + style.level[0] * width + b,
        *[style.upright[0] + "w" * width + style.upright[0]] * height,
        c + style.level[0] * width + d,
    ]
    drawn = boxes(grid("\n" * top + "\n".join(" " * left + line for line in lines)), style)
    assert [(box.top, box.left, box.bottom, box.right) for box in drawn] == [
        (top, left, top + height + 1, left + width + 1)
    ]


@given(st.text("+-|┌─┐│└┘ \n>v", max_size=300), st.sampled_from([ASCII, UNICODE]))
def test_any_text_is_judged(text, style):
    assert findings(fenced(text), ("A",), style)


@pytest.mark.parametrize("character", ["+", "-", "┼", "┌", "|"])
def test_nonsense_takes_no_time(character):
    findings(fenced("\n".join([character * 160] * 120)), ("A",), UNICODE if ord(character) > 127 else ASCII)
