"""Long texts and their needles: the same for the same seed, unlike all others, of the length that was asked for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from build import haystack, sizing, suiteneedle
from build.replies import Reply, Usage
from build.sizing import Scale


def test_the_same_seed_gives_the_same_text():
    one = haystack.hidden("7-8000-50", count=40, depth=0.5, run="r")
    assert one == haystack.hidden("7-8000-50", count=40, depth=0.5, run="r")
    assert one.splitlines()[2] == (  # written down: another Python must not change the texts
        "Notice 10001. On 25 December 1901, before the thaw, Wanda Lindqvist weighed 32 coils of wire at the lighthouse. "
        "Some of it was damp."
    )


def test_no_two_texts_begin_alike_or_share_lines():
    texts = [haystack.hidden(f"0-{n}", count=200, depth=0.5, run=run) for run in ("a", "b") for n in (1, 2)]
    assert len({text[:24] for text in texts}) == 4
    first, second = (set(text.splitlines()[2:]) for text in texts[:2])
    assert first & second == set()
    assert len(first) == 201


@pytest.mark.parametrize(("depth", "line"), [(0.0, 0), (0.5, 100), (0.9, 180), (1.0, 200)])
def test_the_needle_lies_at_its_depth(depth, line):
    text = haystack.hidden("x", count=200, depth=depth, run="r")
    needle = haystack.needle("x")
    assert text.splitlines()[2:].index(needle.notice) == line
    assert text.count(needle.code) == text.count(needle.owner) == 1


def test_needles_differ():
    assert len({haystack.needle(str(seed)).code for seed in range(200)}) == 200


@given(st.integers(0, 300), st.floats(20, 60), st.integers(300, 1_000_000))
def test_a_length_is_met_and_not_exceeded(base, notice, tokens):
    def measure(count):
        return round(base + notice * count)

    scale = sizing.scale(measure, context=200_000)
    notices, count = sizing.fitted(tokens + base, scale, measure)
    assert count <= tokens + base
    assert tokens + base - count <= max(2 * notice, 0.006 * (tokens + base))
    assert measure(notices) == count


def test_a_tokenizer_that_grows_is_followed():
    def measure(count):  # each notice costs more, the further on it is
        return round(100 + 40 * count + count**1.2)

    scale = sizing.scale(measure, context=200_000)
    _, count = sizing.fitted(150_000, scale, measure)
    assert 0.99 * 150_000 < count <= 150_000


def test_without_a_measure_the_scale_is_what_there_is():
    assert sizing.fitted(1000, Scale(base=100, notice=45), None) == (20, 1000)
    assert sizing.scale(lambda _: None, context=8192) is None
    assert sizing.scale(lambda _: 7, context=8192) is None  # a server that counts nonsense
    assert sizing.corrected(Scale(base=100, notice=40), 1000, 45_100) == Scale(base=100, notice=45)


@pytest.mark.parametrize(
    ("reply", "what"),
    [
        (Reply(text="It is XYZW-12345."), "the needle ABCD-11111 is not in the answer; it says 'It is XYZW-12345.'"),
        (Reply(text="I do not know.", thinking="ABCD-11111"), "(it stands in the thinking)"),
        (Reply(text=""), "the answer is empty"),
        (
            Reply(text="abcd-11111", usage=Usage(prompt=4096, completion=9)),
            "took 4,096 of about 8,000 tokens: it cut the prompt",
        ),
        (Reply(text="ABCD-11111 " * 50), "it repeats itself"),
    ],
)
def test_a_lost_needle_names_itself(reply, what):
    found = suiteneedle.findings(reply, "ABCD-11111", 8000)
    assert len(found) == 1
    assert what in found[0]


def test_a_found_needle():
    assert (
        suiteneedle.findings(Reply(text="abcd-11111", usage=Usage(prompt=7950, completion=9)), "ABCD-11111", 8000) == ()
    )
