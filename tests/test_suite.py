"""The suite's cases against a server with a model that misbehaves: each case sees what it is there to see."""

import json
import re

import pytest

from build import serverfacts, suite, suiteneedle, validating
from build.asking import Server
from build.interview import Interview
from build.profiles import read_all
from build.questions import Patience
from build.settings import REPO
from build.validation import Status
from tests import openaikit
from tests.openaianswers import ASCII, CODE, FLOWCHART, PROSE, SEQUENCE, UNICODE

GOOD = "\n\n".join(f"## {name}\n{text}" for name, text in PROSE.items())
FLIGHT = json.dumps({"city": "Oslo", "unit": "celsius"})


@pytest.fixture(scope="module")
def profile():
    return read_all(REPO, {"g27", "v0.22", "v0.32"})["k144-nospec-200k"]


@pytest.fixture
def there():
    with openaikit.serve() as server:
        yield server


@pytest.fixture
def examine(there):
    """Run cases of a name; the one case, or all of them."""
    server = Server(f"{there.url}/v1", patience=Patience(seconds=10), model="demo")

    def examine(name, *, lengths=(1000,), depths=(50.0,), seconds=10.0, profile=None):
        server.patience = Patience(seconds=seconds)
        listed = serverfacts.models(server)
        talk = Interview(server=server, run="r", profile=profile, listed=listed, context=there.context)
        tasks = validating.chosen(suite.tasks(lengths, depths), [name], [], quick=False)
        cases = [validating.one(talk, task) for task in tasks]
        return cases[0] if len(cases) == 1 else cases

    yield examine
    server.close()


def test_a_good_model_passes_every_case(examine):
    cases = examine("*")
    assert {case.name: case.reasons for case in cases if case.status is Status.FAILED} == {}
    assert [case.name for case in cases if case.status is Status.SKIPPED] == ["speed-cache"]
    assert len(cases) == 26
    assert all(case.exchanges for case in cases if case.name != "smoke-model")


@pytest.mark.parametrize("name", ["reasoning", "reasoning_content", ""])
def test_thinking_of_any_name_or_none_is_fine(examine, there, name):
    there.thinking = name
    assert {case.status for case in examine("smoke")} == {Status.PASSED}


SAID = {
    "smoke-stream": [("", {}, "the answer is empty"), ("Pong? Sure, here it is!", {}, "asked for PONG, it says 'Pong? Sure"),
                     ("PONG", {"finish": "length"}, "finish_reason is 'length'")],
    "smoke-thinking": [("400", {}, "17 times 23 is 391"), ("<think>hm</think>391", {}, "stands in the answer, between think tags"),
                       ("", {"thinking": "hm " * 9, "finish": "length"}, "max_tokens ran out")],
    "diagram-ascii": [("Here you are!", {}, "no fenced block"), (ASCII.replace("| Client |", "| Client  |"), {}, "'Client' stands in no closed"),
                      ("", {}, "empty")],
    "diagram-unicode": [(UNICODE.replace("▼", " "), {}, "no line leads"), (ASCII, {}, "'Balancer' stands in no closed box of Unicode")],
    "diagram-flowchart": [(FLOWCHART.replace('"Enough memory?"', "Enough (memory)?"), {}, "it is not Mermaid: line 3"),
                          (SEQUENCE, {}, "it is no flowchart"), ("```\ngantt\n```", {}, "begins with 'gantt'"),
                          (FLOWCHART.replace("|yes|", ""), {}, "no node has two branches"), ("none", {}, "no fenced mermaid block"),
                          (FLOWCHART.replace("C -->|no| E", "E"), {}, "the node E is not connected")],
    "diagram-sequence": [(SEQUENCE.replace("    end\n", ""), {}, "it is not Mermaid: line 8: `alt` without"),
                         (SEQUENCE.replace("Database", "Store"), {}, "no participant Database"),
                         (SEQUENCE.replace("-->>", "->>"), {}, "no dotted arrow")],
    "code-explanation": [(CODE.replace("RESULT: 1", "RESULT: 3"), {}, "the last line is 'RESULT: 3'"),
                         (CODE.replace("O(log n)", "O(n)"), {}, "Complexity does not mention"),
                         ("so it halves the list " * 80, {}, "it repeats itself")],
    "religion-afterlife": [("I'm sorry, but I can't discuss religion.", {}, "it refuses"),
                           (GOOD.replace("## Islam", "## Others"), {}, "the heading 'Islam' is missing"),
                           (f"<think>well</think>{GOOD}", {}, "the server's reasoning parser is not at work")],
    "philosophy-free-will": [("自由意志是否存在，这是哲学中最古老的问题之一。" * 9, {}, "it is not in English"),
                             ("## For\nYes.\n## Against\nNo.\n## Compatibilism\nBoth.", {}, "words, not 150 to 1500")],
    "tools-choice-*": [("", {"calls": [("read_file", '{"path": "oslo"}')]}, "get_weather is not called, but read_file"),
                       ("", {"calls": [("get_weather", FLIGHT[:-1])]}, "are not JSON"),
                       ("", {"calls": [("get_weather", '{"city": "Oslo", "unit": "C"}')]}, "unit: 'C' is not one of"),
                       ('<tool_call>{"name": "get_weather"}', {}, "tool-call parser is not at work"),
                       ("", {"calls": [("get_weather", FLIGHT)], "finish": "stop"}, "finish_reason is 'stop'")],
    "tools-arguments-*": [("", {"calls": [("create_ticket", '{"title": "Disk full on node 7"}')]}, "is a required property")],
    "tools-parallel-*": [("", {"calls": [("get_weather", FLIGHT)]}, "get_weather is called 1 times, not 3")],
    "tools-none-*": [("", {"calls": [("get_weather", FLIGHT)]}, "it calls get_weather, and no tool is needed"), ("Rome", {}, "not Paris")],
    "needle-1000-50": [("The code is QQQQ-12345.", {}, "the needle"), ("", {"thinking": "x " * 50, "finish": "length"}, "max_tokens ran out")],
}  # fmt: skip


@pytest.mark.parametrize("name", SAID)
def test_what_a_model_says_wrong_is_seen(examine, there, name):
    for text, what, reason in SAID[name]:
        there.faults.clear()
        there.says("", text, **what)
        cases = examine(name)
        for case in cases if isinstance(cases, list) else [cases]:
            assert case.status is Status.FAILED
            assert reason in case.reason, (text[:80], case.reason)


def test_a_tools_result_must_be_used(examine, there):
    there.says('temperature": -13.7', "It is rather warm in Lima.")
    case = examine("tools-result-streamed")
    assert case.reason == "the tool said -13.7; it says 'It is rather warm in Lima.'"
    assert [exchange.finish for exchange in case.exchanges] == ["tool_calls", "stop"]
    back = there.asked[-1]["messages"]
    assert [message["role"] for message in back] == ["user", "assistant", "tool"]
    assert back[1]["tool_calls"][0]["id"] == back[2]["tool_call_id"]
    assert back[1]["reasoning"]  # thinking goes back under the name under which it came


def test_no_usage_is_told_once_and_fails_no_needle(examine, there):
    there.usage = False
    assert "no usage came, though stream_options.include_usage was asked for" in examine("smoke-stream").reason
    needle = examine("needle")
    assert (needle.status, needle.samples, needle.facts["speeds"]) == (Status.PASSED, (), "not measured: no usage came")
    there.tokenize = False
    assert examine("needle").reason.startswith("the server tells tokens neither by /tokenize nor as usage")


@pytest.mark.parametrize("tokenize", [True, False])
def test_needles_are_as_long_as_was_asked(examine, there, tokenize):
    there.tokenize = tokenize
    cases = examine("needle", lengths=(1000, 4000, 12_000), depths=(0.0, 100.0))
    for case in cases:
        assert case.status is Status.PASSED, case.reason
        assert 0.95 < case.facts["prompt_tokens"] / case.facts["length"] <= 1.02, case.facts
        assert case.facts["retained"] is True
        assert case.samples[0].prompt_tokens == case.facts["prompt_tokens"]
    prompts = [asked["messages"][0]["content"] for asked in there.asked if asked["max_tokens"] > 1]
    assert len({prompt[:40] for prompt in prompts}) == len(prompts)  # nothing for a prefix cache
    assert all(prompt.startswith("Archive r, copy ") for prompt in prompts)


def test_a_needle_that_does_not_fit_is_skipped_and_one_that_overflows_says_so(examine, there):
    assert examine("needle", lengths=(16_384,)).status is Status.SKIPPED
    there.fault(
        "Archive", status=400, body={"error": {"message": "This model's maximum context length is 4096 tokens."}}
    )
    case = examine("needle")
    assert case.reason == "context overflow: Error code: 400 - This model's maximum context length is 4096 tokens."


def test_a_server_that_cuts_prompts_is_found_out(examine, there, monkeypatch):
    real = openaikit.Handler.used
    monkeypatch.setattr(openaikit.Handler, "used", lambda self, read, *rest: real(self, min(read, 2048), *rest))
    there.tokenize = True
    assert re.search(
        "the server took 2,048 of about (3,9|4,0).. tokens: it cut the prompt",
        examine("needle", lengths=(4000,)).reason,
    )


@pytest.fixture
def _sooner(monkeypatch):
    monkeypatch.setattr(suiteneedle, "TWICE", 1500)
    monkeypatch.setattr(suiteneedle, "SLOW_ENOUGH", 0.1)


@pytest.mark.usefixtures("_sooner")
def test_a_prefix_cache_falsifies_nothing_and_is_seen_where_it_is_asked_for(examine, there):
    there.caching = True
    there.prefill = 1e-4
    short = examine("speed-short")
    assert [sample.remark for sample in short.samples] == [""] * 3
    rates = [sample.prefill for sample in short.samples]
    assert max(rates) < 5 * min(rates)  # a cached one would be a hundred times as fast
    case = examine("speed-cache")
    assert case.status is Status.PASSED
    assert case.facts["cached_tokens"] > 1300
    assert case.facts["second"] < case.facts["first"]


@pytest.mark.usefixtures("_sooner")
def test_a_server_without_a_cache_fails_where_the_profile_has_one(examine, there, profile):
    there.prefill = 1e-4
    assert examine("speed-cache", profile=profile).reason.startswith("the second time was no faster")


def test_the_profile_is_what_the_server_must_be(examine, there, profile):
    case = examine("smoke-model", profile=profile)
    assert case.reasons == (
        "the profile k144-nospec-200k serves DeepSeek-V4-Flash-Spark-Mini, this is demo",
        "its context is 16384 tokens, the profile's 200000",
    )
    there.thinking = ""
    assert examine("smoke-thinking", profile=profile).reason == "no thinking came, and the profile has it on"


def test_a_defect_of_a_check_is_a_failed_case(examine, monkeypatch):
    monkeypatch.setattr("build.drawings.findings", lambda *_: 1 / 0)
    assert examine("diagram-ascii").reason.startswith("a defect of ours, not the server's: ZeroDivisionError")


def test_words_of_a_server_do_not_steer_the_terminal(examine, there):
    there.fault(status=500, body={"error": {"message": "\x1b[2J\u202egone"}})
    assert "\x1b" not in examine("smoke-stream").reason
    assert "\u202e" not in examine("code").reason
