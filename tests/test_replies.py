"""Gathering a reply from pieces: thinking by any name, tool calls by index, what is malformed."""

from types import SimpleNamespace

import pytest

from build.replies import Gatherer, Kind, MalformedError, Trouble, as_message


def thing(value):
    if isinstance(value, dict):
        return SimpleNamespace(**{key: thing(item) for key, item in value.items()})
    return [thing(item) for item in value] if isinstance(value, list) else value


def gathered(*deltas, finish="stop", usage=None):
    gatherer = Gatherer()
    for number, delta in enumerate(deltas, 1):
        gatherer.piece(thing({"choices": [{"delta": delta, "finish_reason": None}]}), float(number))
    gatherer.piece(thing({"choices": [{"delta": {}, "finish_reason": finish}]}), len(deltas) + 1.0)
    gatherer.piece(thing({"choices": [], "usage": usage}), len(deltas) + 2.0)
    return gatherer.reply(99.0)


@pytest.mark.parametrize("name", ["reasoning", "reasoning_content"])
def test_thinking_comes_in_a_field_of_either_name(name):
    reply = gathered({"role": "assistant", "content": ""}, {name: "so "}, {name: "it is"}, {"content": "42"})
    assert (reply.thinking, reply.thinking_field, reply.text, reply.leaked) == ("so it is", name, "42", False)


def test_a_server_that_sends_both_names_is_read_once():
    assert gathered({"reasoning": "so", "reasoning_content": "so"}).thinking == "so"


@pytest.mark.parametrize("text", ["<think>so</think>\n42", "so</think>42"])
def test_thinking_in_the_text_is_told_and_taken_out(text):
    reply = gathered({"content": text})
    assert (reply.text, reply.thinking, reply.leaked) == ("42", "so", True)


def test_the_clock_starts_with_the_first_word_not_with_the_role():
    reply = gathered({"role": "assistant", "content": ""}, {"content": "a"}, {"content": "b"})
    assert (reply.clock.first, reply.clock.last, reply.clock.end) == (2.0, 4.0, 99.0)  # the end mark is a token too


def test_an_empty_answer_has_no_first_token():
    assert gathered({"role": "assistant", "content": ""}).clock.first is None


def test_tool_calls_are_put_together_by_index():
    def call(index, arguments, name=None, identity=None):
        return {"tool_calls": [{"index": index, "id": identity, "function": {"name": name, "arguments": arguments}}]}

    reply = gathered(
        call(1, "", "b", "id-b"), call(0, '{"x"', "a", "id-a"), call(1, "{}"), call(0, ": 1}"), finish="tool_calls"
    )
    assert [(c.id, c.name, c.arguments) for c in reply.calls] == [("id-a", "a", '{"x": 1}'), ("id-b", "b", "{}")]
    assert reply.notes == ()


def test_two_calls_with_one_index_are_noted():
    def call(name, identity):
        return {"tool_calls": [{"index": 0, "id": identity, "function": {"name": name, "arguments": "{}"}}]}

    assert gathered(call("a", "1"), call("b", "2")).notes == ("two tool calls share the index 0: 1 and 2",)


def test_usage_is_read_from_the_last_piece():
    told = {"prompt_tokens": 7, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 2}}
    usage = gathered({"content": "a"}, usage=told).usage
    assert (usage.prompt, usage.completion, usage.cached) == (7, 3, 2)
    assert gathered({"content": "a"}, usage={"prompt_tokens": "7", "completion_tokens": None}).usage is None


@pytest.mark.parametrize(
    "chunk",
    [
        {}, {"choices": None}, {"choices": "x"}, {"choices": [{"delta": None, "finish_reason": None}]},
        {"choices": [{"delta": "x"}]}, {"choices": [{"delta": {"content": 5}}]}, {"choices": [{"delta": {"content": ["x"]}}]},
        {"choices": [{"delta": {"tool_calls": "x"}}]}, {"choices": [{"delta": {"tool_calls": [{"index": None}]}}]},
        {"choices": [{"delta": {"tool_calls": [{"index": 0, "function": {"name": 1}}]}}]},
        {"choices": [{"delta": {}, "finish_reason": 3}]},
    ],
)  # fmt: skip
def test_a_piece_that_is_not_of_the_protocol_is_malformed(chunk):
    with pytest.raises(MalformedError):
        Gatherer().piece(thing(chunk), 1.0)


@pytest.mark.parametrize("whole", [{}, {"choices": []}, {"choices": [{"message": None}]}, {"choices": [{"message": "x"}]},
                                   {"choices": [{"message": {"content": {}}}]}])  # fmt: skip
def test_a_message_that_is_not_of_the_protocol_is_malformed(whole):
    with pytest.raises(MalformedError):
        Gatherer().message(thing(whole))


def test_a_whole_message_is_read():
    calls = [
        {"id": "1", "function": {"name": "a", "arguments": "{}"}},
        {"id": "2", "function": {"name": "b", "arguments": "{}"}},
    ]
    gatherer = Gatherer()
    message = {"content": None, "reasoning": "so", "tool_calls": calls}
    gatherer.message(thing({"choices": [{"message": message, "finish_reason": "tool_calls"}]}))
    reply = gatherer.reply(1.0)
    assert ([call.name for call in reply.calls], reply.thinking, reply.finish) == (["a", "b"], "so", "tool_calls")


def test_a_reply_goes_back_as_it_came():
    call = {"tool_calls": [{"index": 0, "id": "1", "function": {"name": "a", "arguments": "{}"}}]}
    message = as_message(gathered({"reasoning_content": "so"}, call))
    assert message["reasoning_content"] == "so"
    assert message["tool_calls"][0] == {"id": "1", "type": "function", "function": {"name": "a", "arguments": "{}"}}
    assert "tool_calls" not in as_message(gathered({"content": "x"}))


def test_a_trouble_reads_as_a_sentence():
    assert str(Trouble(kind=Kind.CUT, text="after 3 pieces")) == "cut off: after 3 pieces"
    assert Trouble(kind=Kind.DENIED, text="").fatal
    assert not Trouble(kind=Kind.STALLED, text="").fatal
