"""Asking a real server on loopback that misbehaves in every way that we know: each ends in time and names itself."""

import socket
import threading
import time

import pytest

from build import asking, troubles
from build.asking import Server
from build.errors import UsageError
from build.questions import Patience, Question, base_url
from build.replies import Kind
from tests import openaikit


@pytest.fixture
def there():
    with openaikit.serve() as server:
        yield server


@pytest.fixture
def client():
    """Makes clients, and closes them."""
    opened = []

    def client(url, seconds=5.0):
        opened.append(Server(f"{url}/v1", patience=Patience(seconds=seconds), model="demo"))
        return opened[-1]

    yield client
    for server in opened:
        server.close()


@pytest.fixture
def ask(there, client):
    def ask(prompt="Reply PONG", *, seconds=5.0, **what):
        question = Question(messages=[{"role": "user", "content": prompt}], **{"max_tokens": 100, **what})
        return client(there.url, seconds).ask(question)

    return ask


SHORT = 0.25  # seconds of patience, where it must end
PLAIN = Question(messages=[{"role": "user", "content": "x"}], max_tokens=50)


def test_a_streamed_answer(ask, there):
    there.says("", "PONG and more", thinking="so it is")
    reply = ask()
    assert reply.trouble is None
    assert (reply.text, reply.thinking, reply.finish, reply.leaked) == ("PONG and more", "so it is", "stop", False)
    assert reply.usage.completion == 7
    assert 0 < reply.clock.first <= reply.clock.last <= reply.clock.end


def test_what_is_asked_is_what_openai_documents(ask, there):
    ask(tools=[{"type": "function", "function": {"name": "f", "parameters": {}}}])
    asked = there.asked[0]
    assert asked["stream_options"] == {"include_usage": True}
    assert (asked["stream"], asked["temperature"], asked["max_tokens"], asked["tool_choice"]) == (
        True,
        0.0,
        100,
        "auto",
    )
    ask(stream=False)
    assert not {"stream", "stream_options", "tools", "tool_choice"} & set(there.asked[1])


def test_an_answer_in_one_piece(ask, there):
    there.says("", "PONG", calls=(("f", '{"a": 1}'), ("g", "{}")))
    reply = ask(stream=False)
    assert (reply.text, reply.finish, reply.trouble) == ("PONG", "tool_calls", None)
    assert [(call.name, call.arguments) for call in reply.calls] == [("f", '{"a": 1}'), ("g", "{}")]


def test_streamed_tool_calls(ask, there):
    there.says("", calls=(("f", '{"a": "twelve letters"}'), ("g", "{}")))
    reply = ask()
    assert [(call.name, call.arguments) for call in reply.calls] == [("f", '{"a": "twelve letters"}'), ("g", "{}")]
    assert len({call.id for call in reply.calls}) == 2
    assert reply.finish == "tool_calls"


@pytest.mark.parametrize("name", ["reasoning", "reasoning_content", "tags"])
@pytest.mark.parametrize("stream", [True, False])
def test_thinking_by_any_name(ask, there, name, stream):
    there.thinking = name
    there.says("", "PONG", thinking="so it is")
    reply = ask(stream=stream)
    assert (reply.text, reply.thinking, reply.leaked) == ("PONG", "so it is", name == "tags")


FAULTS = {
    "401": ({"status": 401}, Kind.DENIED, "401"),
    "403": ({"status": 403}, Kind.DENIED, "403"),
    "404": ({"status": 404}, Kind.UNKNOWN, "404"),
    "400": ({"status": 400}, Kind.REFUSED, "told to fail"),
    "429": ({"status": 429}, Kind.REFUSED, "429"),
    "500": ({"status": 500}, Kind.FAILED, "500"),
    "503": ({"status": 503}, Kind.FAILED, "503"),
    "silent": ({"silent": "all"}, Kind.SILENT, "nothing came in "),
    "silent after headers": ({"silent": "headers"}, Kind.SILENT, "nothing came in "),
    "silent but for comments": ({"silent": "pings"}, Kind.SILENT, "nothing came in "),
    "stalls": ({"stall": 3}, Kind.STALLED, "after 3 pieces nothing came for "),
    "cut": ({"cut": 3}, Kind.CUT, "peer closed connection"),
    "no finish_reason": ({"unfinished": 3}, Kind.CUT, "ended after 3 pieces without a finish_reason"),
    "error inside": ({"error": 3}, Kind.FAILED, "EngineCore died"),
    "malformed event": ({"garbage": 3}, Kind.MALFORMED, "not JSON"),
    "malformed piece": ({"raw": [{"choices": "x"}]}, Kind.MALFORMED, "no list of choices"),
    "a list": ({"raw": [[1, 2]]}, Kind.MALFORMED, "no list of choices"),
    "null": ({"raw": [None]}, Kind.MALFORMED, "no list of choices"),
    "nothing": ({"raw": []}, Kind.CUT, "after 0 pieces"),
    "a page": ({"html": True}, Kind.MALFORMED, "text/html"),
    "drips": ({"drip": 0.15}, Kind.SLOW, "and no end"),
    "a line without end": ({"endless": True}, Kind.HUGE, "bytes for one answer"),
    "dies": ({"die": True}, Kind.CUT, "disconnected"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_each_trouble_of_a_stream_names_itself(ask, there, case, monkeypatch):
    monkeypatch.setattr(troubles, "MOST_BYTES", 1 << 22)
    fault, kind, words = FAULTS[case]
    there.fault(**{"said": openaikit.Said("one two three four five six seven eight nine ten"), **fault})
    start = time.monotonic()
    reply = ask(seconds=SHORT if kind in (Kind.SILENT, Kind.STALLED, Kind.SLOW) else 5.0)
    assert time.monotonic() - start < 3
    assert (reply.trouble.kind, words in reply.trouble.text) == (kind, True), reply.trouble
    if case in ("stalls", "cut", "no finish_reason", "error inside", "malformed event"):
        assert reply.text == "one two three"  # what came until then is evidence


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ({"status": 500}, Kind.FAILED), ({"status": 401}, Kind.DENIED), ({"silent": "all"}, Kind.SILENT),
        ({"html": True}, Kind.MALFORMED), ({"die": True}, Kind.CUT), ({"status": 200, "body": ["x"]}, Kind.MALFORMED),
        ({"status": 200, "body": {"choices": [{"message": {"content": 3}}]}}, Kind.MALFORMED),
    ],
)  # fmt: skip
def test_each_trouble_of_a_whole_answer_names_itself(ask, there, fault, kind):
    there.fault(**fault)
    assert ask(stream=False, seconds=SHORT if kind is Kind.SILENT else 5.0).trouble.kind is kind


def test_a_prompt_that_is_too_long_is_told_apart_from_other_refusals(ask, there):
    there.context = 50
    assert ask("word " * 100).trouble.kind is Kind.CONTEXT


def test_a_huge_answer_is_ended(ask, there, monkeypatch):
    monkeypatch.setattr(asking, "MOST_TEXT", 10_000)
    there.context = 10**7
    there.says("", "A very long story. " * 2000)
    reply = ask(max_tokens=10**6, seconds=20)
    assert reply.trouble.kind is Kind.HUGE
    assert "though max_tokens is 1000000" in reply.trouble.text


@pytest.mark.parametrize("fault", [{"stall": 1}, {"silent": "all"}, {"drip": 0.2}])
@pytest.mark.parametrize("warm", [False, True])
def test_who_gives_up_hangs_up(ask, there, client, fault, warm):
    server = client(there.url)
    if warm:
        assert server.ask(PLAIN).trouble is None  # so that its connection is used again
    server.patience = Patience(seconds=SHORT)
    there.fault(**fault)
    threads = threading.active_count()
    assert server.ask(PLAIN).trouble is not None
    assert threading.active_count() <= threads + 1  # the server's own
    deadline = time.monotonic() + 2
    while not there.hung_up and time.monotonic() < deadline:
        time.sleep(0.01)
    assert there.hung_up == 1


def test_no_server(client):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nobody listens
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        reply = client(url.removesuffix("/v1"), 1).ask(PLAIN)
    assert reply.trouble.kind is Kind.UNREACHABLE
    assert reply.trouble.fatal


def test_a_companys_proxy_is_not_asked_for_this_machine(there, client, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("all_proxy", "http://127.0.0.1:9")
    assert client(there.url).ask(PLAIN).trouble is None


def test_there_are_no_second_tries(ask, there):
    there.fault(status=500, times=openaikit.ALWAYS)
    ask()
    assert len(there.asked) == 1


def test_a_wait_is_shown(there, client, monkeypatch):
    monkeypatch.setattr(asking, "TICK", 0.1)
    there.fault(stall=2)
    seen = []
    client(there.url, 0.6).ask(PLAIN, seen.append)
    assert [progress.pieces for progress in seen][-2:] == [2] * 2


def test_the_key_comes_from_the_environment_and_is_masked(there, client, monkeypatch):
    there.key = "sk-right"
    monkeypatch.setenv("OPENAI_API_KEY", "sk-wrong-one")
    reply = client(there.url).ask(PLAIN)
    assert reply.trouble.kind is Kind.DENIED
    assert "sk-wrong-one" not in str(reply.trouble)
    assert "Bearer ***" in str(reply.trouble)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-right")
    assert client(there.url).ask(PLAIN).trouble is None


def test_long_prompts_and_answers_have_more_time():
    patience = Patience()
    assert patience.first(0) == 120
    assert patience.first(186_390) == pytest.approx(120 + 1863.9)
    assert patience.whole(0, 2048) == 120 + 1024


@pytest.mark.parametrize(
    "text", ["", "spark:8000", "ftp://x", "http://", "http://me:pw@host", "http://h/v1?key=x", "http://h:99999"]
)
def test_what_is_no_address_is_said_so(text):
    with pytest.raises(UsageError):
        base_url(text)


@pytest.mark.parametrize(
    ("text", "url"),
    [("http://h/", "http://h/v1"), ("http://h:1/api/", "http://h:1/api"), ("http://[::1]:8", "http://[::1]:8/v1")],
)
def test_addresses(text, url):
    assert base_url(text) == url
