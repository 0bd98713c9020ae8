"""What is checked of prose: language, length, form, loops, refusals, thinking in the wrong place."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from build import answers
from build.answers import Form
from build.replies import Call, Reply
from tests import openaianswers

GOOD = "\n\n".join(f"## {name}\n{text}" for name, text in openaianswers.PROSE.items())
FORM = Form(
    words=(150, 800), sections=tuple(openaianswers.PROSE), balance=3.0, mentions={"Islam": "jannah", "": "moksha"}
)


def found(text, form=FORM, **what):
    return answers.findings(Reply(text=text, **{"finish": "stop", **what}), form)


def test_a_good_answer_has_no_findings():
    assert found(GOOD) == ()
    assert found(GOOD.replace("## Islam", "**3. Islam:**")) == ()


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "the answer is empty (finish_reason stop)"),
        (GOOD[:200], "words, not 150 to 800"),
        (GOOD + GOOD.replace("##", "") * 5, "words, not 150 to 800"),
        (GOOD.replace("## Islam", "## Others"), "the heading 'Islam' is missing"),
        (GOOD.replace("jannah", "garden"), "Islam does not mention what it must: jannah"),
        (GOOD.replace("moksha", "freedom"), "the answer does not mention what it must: moksha"),
        ("I'm sorry, but I can't discuss religion.", "it refuses: \"I'm sorry, but I can't\""),
        ("I’m sorry, I cannot help with that.", "it refuses"),
        ("As an AI language model, I have no beliefs.", "it refuses: 'As an AI'"),
        (GOOD + "\nso it goes on and on" * 60, "it repeats itself: "),
    ],
)
def test_each_defect_is_told(text, what):
    assert any(what in finding for finding in found(text)), found(text)


def test_headings_in_another_order():
    parts = [f"## {name}\n{text}" for name, text in openaianswers.PROSE.items()]
    assert "the headings are in another order" in found("\n".join(reversed(parts)))


def test_one_side_that_gets_more_words():
    heavy = GOOD.replace(
        "## Islam\n",
        "## Islam\n" + openaianswers.LONG[0].format("") + openaianswers.LONG[1].format("") + openaianswers.LONG[2],
    )
    assert any(finding.startswith("it is not balanced: ") for finding in found(heavy))
    assert "nothing stands below 'Buddhism'" in found(GOOD[: GOOD.index("## Buddhism") + 11])


def test_thinking_that_leaked_or_loops_or_took_all_room():
    assert found(GOOD, leaked=True)[0].startswith("the thinking stands in the answer, between think tags")
    assert found(GOOD, thinking="wait, let me think about it again. " * 50)[0].startswith("the thinking repeats itself")
    assert found("", thinking="so " * 9, finish="length") == (
        "the answer is empty: 27 characters of thinking, then max_tokens ran out in the middle of it",
    )
    assert found("", calls=(Call(id="1", name="f", arguments="{}"),))[0].startswith("no answer but a tool call")


def test_an_answer_that_was_cut():
    assert "it was cut off at max_tokens" in found(GOOD, finish="length")


def test_the_last_line():
    form = Form(words=(1, 99), last=r"RESULT:\s*1")
    assert found("So it is.\n\n**RESULT: 1**\n", form) == ()
    assert found("RESULT: 1\nThat was it.", form) == ("the last line is 'That was it.', not RESULT:\\s*1",)


GERMAN = "Der Mensch hat einen freien Willen, sagen die einen, denn er erlebt sich selbst als jemanden, der wählt und entscheidet."
FRENCH = "Les uns disent que chaque événement a une cause, les autres que nous choisissons librement ce que nous faisons ici."
SPANISH = "Unos dicen que cada suceso tiene una causa, y otros que elegimos con libertad lo que hacemos en nuestra vida diaria."
CHINESE = "自由意志是否存在，这是哲学中最古老的问题之一。有人认为一切都由因果决定，也有人认为我们可以自由选择。"
ENGLISH = "Some say that every event has a cause, and others that we are free to choose what we do in our daily lives."


@pytest.mark.parametrize("text", [GERMAN, FRENCH, SPANISH, CHINESE, CHINESE + " (free will)"])
def test_other_languages_are_told_from_english(text):
    assert answers.foreign(text)


@pytest.mark.parametrize("text", [ENGLISH, GOOD, ENGLISH + " It is called 自由 there.", openaianswers.CODE, "Paris.",
                                  ENGLISH + "\n```python\n" + "über = größe\n" * 50 + "```"])  # fmt: skip
def test_english_is_english(text):
    assert answers.foreign(text) == ""


@pytest.mark.parametrize("text", [
    "the same words again and again, " * 20, GOOD + "\nno no no no no no no no no no no no no no no", "哈" * 100, "ab" * 200,
    "\n".join(["- It is good.", "- It is bad."] * 30), GOOD + "!?" * 400,
])  # fmt: skip
def test_loops_are_seen(text):
    assert answers.loop(text)


@pytest.mark.parametrize("text", [
    GOOD, openaianswers.CODE, openaianswers.UNICODE, "| a | b |\n|---|---|\n| 1 | 2 |\n" + "-" * 100, "ha ha ha", "",
    "\n".join(f"Line {number} tells of the number {number * 7}." for number in range(60)), "=" * 200,
])  # fmt: skip
def test_what_only_looks_like_a_loop_is_none(text):
    assert answers.loop(text) == ""


@given(st.text(max_size=400), st.text(max_size=400), st.sampled_from(["stop", "length", "", "x"]), st.booleans())
def test_any_answer_is_judged(text, thinking, finish, leaked):
    for finding in answers.findings(Reply(text=text, thinking=thinking, finish=finish, leaked=leaked), FORM):
        assert finding.strip()


@given(st.lists(st.sampled_from(["#", "##", "**", "\n", "Islam", "a b c", "```", "|"]), max_size=40).map("".join))
def test_any_markdown_has_sections(text):
    assert all(isinstance(body, str) for body in answers.sections(text).values())
