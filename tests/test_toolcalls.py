"""Tool calls: the right ones, their arguments, what a broken parser of a server looks like."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from build import toolcalls
from build.replies import Call, Reply
from build.suitetools import TICKET, TOOLS
from build.toolcalls import Wanted, none_wanted, parsed

OSLO = Wanted(name="get_weather", fits=lambda found: found["city"] == "Oslo", meaning="Oslo")
LIMA = Wanted(name="get_weather", fits=lambda found: found["city"] == "Lima", meaning="Lima")


def call(city="Oslo", name="get_weather", identity=None, arguments=None):
    arguments = json.dumps({"city": city, "unit": "celsius"}) if arguments is None else arguments
    return Call(id=identity or f"id-{city}", name=name, arguments=arguments)


def found(*calls, wanted=(OSLO,), **what):
    return toolcalls.findings(Reply(calls=calls, **{"finish": "tool_calls", **what}), TOOLS, wanted)


def test_the_right_call():
    assert found(call()) == ()
    assert found(call("Lima"), call(), wanted=(OSLO, LIMA)) == ()


@pytest.mark.parametrize(
    ("calls", "what"),
    [
        ([call(name="get_time")], "it calls 'get_time', and there is no such tool"),
        ([call(name="read_file", arguments='{"path": "x"}')], "get_weather is not called, but read_file"),
        ([call("Bergen")], "get_weather is not called with Oslo"),
        ([call(), call("Lima")], "get_weather is called 2 times, not 1"),
        ([call(arguments='{"city": "Oslo"')], "are not JSON"),
        ([call(arguments="")], "are not JSON"),
        ([call(arguments='{"city": "Oslo", "unit": "celsius"}{}')], "are not JSON"),
        ([call(arguments='{"city": NaN, "unit": "celsius"}')], "NaN is not JSON"),
        ([call(arguments='{"city": "Oslo", "city": "Oslo", "unit": "celsius"}')], "a key stands there twice"),
        ([call(arguments='"Oslo"')], "are no JSON object"),
        ([call(arguments="null")], "are no JSON object"),
        ([call(arguments="[" * 100_000)], "are not JSON"),
        ([call(arguments='{"city": "Oslo", "unit": "kelvin"}')], "unit: 'kelvin' is not one of"),
        ([call(arguments='{"city": "Oslo"}')], "'unit' is a required property"),
        ([call(arguments='{"city": "Oslo", "unit": "celsius", "day": 1}')], "'day' was unexpected"),
        ([call(arguments='{"city": 3, "unit": "celsius"}')], "city: 3 is not of type 'string'"),
        ([Call(id="", name="get_weather", arguments="{}")], "has no id"),
    ],
)
def test_each_defect_is_told(calls, what):
    assert any(what in finding for finding in found(*calls)), found(*calls)


def test_parallel_calls():
    assert found(call(), wanted=(OSLO, LIMA)) == ("get_weather is called 1 times, not 2",)
    same = found(call(identity="x"), call("Lima", identity="x"), wanted=(OSLO, LIMA))
    assert same == ("two calls have the id x",)


def test_why_it_ended():
    assert found(call(), finish="stop") == ("finish_reason is 'stop', not 'tool_calls'",)


def test_no_call():
    assert found(text="It is sunny.") == ("no tool is called; it says 'It is sunny.'",)
    assert found() == ("no tool is called, and nothing said",)


@pytest.mark.parametrize("text", ['<tool_call>{"name"', "<｜DSML｜invoke", '{"name": "get_weather", "arguments": {}}'])
def test_a_call_in_the_text_means_that_no_parser_is_at_work(text):
    assert found(text=text)[0].startswith("the call stands in the text: the server's tool-call parser is not at work")


def test_none_is_wanted():
    assert none_wanted(Reply(text="Paris")) == ()
    assert none_wanted(Reply(calls=(call(),))) == ("it calls get_weather, and no tool is needed",)


def test_nested_arguments_are_told_with_their_place():
    schema = TICKET["function"]["parameters"]
    value = {
        "title": "x",
        "priority": "high",
        "labels": ["a"],
        "estimate_hours": 3,
        "assignee": {"name": "M", "email": "no"},
    }
    assert parsed(Call(id="1", name="t", arguments=json.dumps(value)), schema)[1][0].startswith(
        "the arguments of t are not what its schema says: assignee.email: 'no' does not match"
    )


@settings(max_examples=40)
@given(
    st.text()
    | st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    ).map(json.dumps)
)
def test_any_arguments_are_judged(arguments):
    assert found(call(arguments=arguments))
