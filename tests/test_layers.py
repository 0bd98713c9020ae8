"""Layers: no path in two of them, losers disown, patched distributions keep their dist-info for later."""

import pytest

from build.errors import OverlapError
from build.layers import plan_layers
from build.models import Wheel
from build.wheels import overlaps, winners


def wheel(name):
    return Wheel(name=name, version="1", file=f"{name}-1.whl", sha256=name, size=1)


HOME = {"low": "base", "high": "top", "twin": "top", "vllm": "top"}


def plan(records, declared=(), patched=(), left_out=None):
    found = overlaps(records)
    chosen = winners(found, list(declared))
    names = [wheel(name) for name in sorted(records)]
    made = plan_layers(
        names, ["base", "empty", "top"], HOME.__getitem__,
        overlaps=found, winners=chosen, left_out=left_out or {}, bytecode={"high": ("x.py",)}, patched=patched,
    )  # fmt: skip
    return {item.name: item for item in made}


def test_layers_come_in_order_and_empty_ones_are_left_out():
    assert list(plan({"low": {}, "high": {}})) == ["base", "top"]


@pytest.mark.parametrize("high", ["1", "2"])
def test_a_path_of_two_layers_is_refused(high):
    with pytest.raises(OverlapError, match="x would be in two layers") as caught:
        plan({"low": {"x": "1"}, "high": {"x": high}}, [("low", ("high",))])
    assert "high (layer top)" in caught.value.why


def test_a_winner_of_the_same_layer_is_installed_last():
    made = plan({"high": {"x": "1"}, "twin": {"x": "2"}}, [("high", ("twin",))])
    assert [[w.name for w in step] for step in made["top"].steps] == [["twin"], ["high"]]
    assert made["top"].disown == (("twin", ("x",)),)


def test_patched_distributions_are_deferred():
    made = plan({"low": {}, "vllm": {}}, patched=["vllm"])
    assert made["top"].defer == ("vllm",)
    assert made["base"].defer == ()
    assert made["top"].as_dict()["defer"] == ["vllm"]


def test_a_layer_is_told_only_what_its_own_wheels_leave_out():
    made = plan({"low": {"a": "1"}, "high": {}}, left_out={"low": ("a",)})
    assert made["base"].as_dict()["left_out"] == {"low": ["a"]}
    assert made["top"].as_dict()["left_out"] == {}
    assert [made[name].as_dict()["bytecode"] for name in ("base", "top")] == [[], ["x.py"]]
