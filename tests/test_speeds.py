"""Figures as the card has them, and what cannot be told."""

import pytest

from build import speeds
from build.replies import Clock, Reply, Usage


def reply(prompt=186_390, completion=101, first=345.834, last=353.029, cached=None):
    return Reply(
        usage=Usage(prompt=prompt, completion=completion, cached=cached), clock=Clock(first=first, last=last, end=last)
    )


def test_the_cards_own_figures():
    one = speeds.sample("needle", reply())
    assert one.ttft == 345.834
    assert one.prefill == pytest.approx(538.958, abs=0.001)
    assert one.decode == pytest.approx(13.899, abs=0.001)
    assert one.remark == ""


def test_a_cached_prompt_is_no_measurement_of_prefill():
    one = speeds.sample("x", reply(cached=180_000))
    assert (one.prefill, one.remark) == (None, "180000 tokens of the prompt came from the prefix cache")
    assert speeds.sample("x", reply(cached=256)).prefill is not None  # a template's own beginning


@pytest.mark.parametrize(
    ("changed", "remark"), [({"completion": 9}, "too few"), ({"last": 345.834}, "all tokens came at once")]
)
def test_what_cannot_be_told_of_decoding(changed, remark):
    one = speeds.sample("x", reply(**changed))
    assert one.decode is None
    assert remark in one.remark


@pytest.mark.parametrize(
    "silent", [Reply(clock=Clock(first=1.0, last=2.0)), Reply(usage=Usage(prompt=9, completion=9))]
)
def test_without_usage_or_tokens_nothing_is_measured(silent):
    assert speeds.sample("x", silent) is None
