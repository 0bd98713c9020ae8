"""The page of a report: whole, escaped, self-contained, readable by eye and by machine."""

import re
from html.parser import HTMLParser

import pytest

from build import validationpage
from build.validationpage import references, visible

VOID = {"meta"}  # all others close, or end in />
EVIL = "<script>alert(1)</script><img src=http://evil.example/x.png>&amp;\x1b[31m\u202e\ud800\"'"


def exchange(**what):
    return {
        "prompt": "[user]\nhi", "tools": [], "streamed": True, "answer": "there", "thinking": "", "calls": [], "finish": "stop",
        "trouble": "", "first_seconds": 0.5, "seconds": 1.0, "prompt_tokens": 10, "completion_tokens": 5, "cached_tokens": None,
        **what,
    }  # fmt: skip


def case(name, status="passed", **what):
    return {
        "name": name, "group": {"diagram": "diagram", "tools": "tools", "needle": "needle"}.get(name.split("-")[0], "smoke"),
        "title": f"Title of {name}, streamed", "status": status, "reasons": [] if status == "passed" else ["why"], "seconds": 1.5,
        "exchanges": [exchange()], "facts": {}, "samples": [], **what,
    }  # fmt: skip


def sample(name, tokens, prefill=500.0, decode=14.0):
    return {
        "case": name,
        "prompt_tokens": tokens,
        "completion_tokens": 99,
        "ttft": tokens / 500,
        "prefill": prefill,
        "decode": decode,
        "remark": "",
    }


def report(cases, **what):
    return {
        "schema": 1, "subject": {"url": "http://spark:8000/v1", "model": "demo", "root": "/m", "version": "0.32.0", "context": 200_000, "listed": ["demo"]},
        "run": "abcd", "started": "2026-05-27T19:01:39+00:00", "seconds": 12.0, "complete": True, "ended": "", "options": {},
        "profile": {"name": "k144", "summary": "A profile.", "measured": [
            {"what": "the card's run", "where": "a Spark", "when": "2026-05-27", "source": "card", "prompt_tokens": 186_390,
             "ttft_seconds": 345.834, "prefill_tokens_per_second": 538.958, "decode_tokens_per_second": 13.899,
             "needle_retained": True, "note": ""},
            {"what": "no figures", "where": "w", "when": "2026-05-27", "source": "s", "prompt_tokens": None, "ttft_seconds": None,
             "prefill_tokens_per_second": None, "decode_tokens_per_second": None, "needle_retained": None, "note": ""},
        ]},
        "cases": cases, "counts": "2 passed, 1 failed, 0 skipped", "passed": False, **what,
    }  # fmt: skip


CASES = [
    case("smoke-stream"),
    case("diagram-ascii", "failed", exchanges=[exchange(answer="+--+\n|  |\n+--+")]),
    case(
        "tools-choice-streamed",
        exchanges=[exchange(tools=["f", "g"], answer="", calls=[{"name": "f", "arguments": '{"a": 1}'}])],
    ),
    case("tools-choice-whole", "failed"),
    case("needle-1000-50", facts={"retained": True, "length": 1000}, samples=[sample("needle-1000-50", 998)]),
    case("needle-186390-50", samples=[sample("needle-186390-50", 186_362, 520.0, 13.0)]),
    case("needle-186390-90", "failed", exchanges=[exchange(trouble="stalled: x")]),
    case("needle-1000-90", "skipped", exchanges=[]),
]


class Page(HTMLParser):
    """Elements with their attributes; whether every one that opens closes."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.open, self.faults, self.texts = [], [], [], []
        self.feed(text)
        self.close()
        self.faults += self.open

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"/{tag}")

    def handle_data(self, data):
        self.texts.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def text():
    return validationpage.render(report(CASES))


@pytest.fixture(scope="module")
def page(text):
    return Page(text)


def test_it_is_whole(page):
    assert page.faults == []
    assert page.all("html") == [{"lang": "en"}]
    identities = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(identities) == len(set(identities))
    for attributes in page.all("a"):
        assert attributes["href"].removeprefix("#") in identities
    for _, attributes in page.elements:
        assert attributes.get("aria-labelledby", identities[0]) in identities


def test_it_needs_nothing_from_anywhere(text, page):
    assert not {"script", "link", "iframe", "object", "embed", "img", "base", "form"} & {
        tag for tag, _ in page.elements
    }
    assert not re.search(r"url\(|@import|//[a-z]+\.|\bon[a-z]+=|src=", text)
    policy = next(meta["content"] for meta in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'")


def test_what_others_said_is_escaped():
    cases = [case("smoke-stream", "failed", title=EVIL, reasons=[EVIL], facts={EVIL: EVIL, "list": [EVIL]},
                  exchanges=[exchange(**dict.fromkeys(("prompt", "answer", "thinking", "finish", "trouble"), EVIL),
                                      tools=[EVIL], calls=[{"name": EVIL, "arguments": EVIL}])])]  # fmt: skip
    made = report(cases, ended=EVIL, complete=False)
    made["subject"] |= dict.fromkeys(("url", "model", "root", "version"), EVIL)
    text = validationpage.render(made)
    text.encode("utf-8")  # halves of characters would not
    page = Page(text)
    assert page.faults == []
    assert page.all("script") == page.all("img") == []
    assert not re.search("[\x00-\x08\x0b-\x1f\u202e]", text)
    assert "<script>alert(1)</script>" in "".join(page.texts)  # shown as it is
    assert "⟨U+202E⟩⟨U+D800⟩" in text


def test_the_needle_map_and_the_tool_matrix(page, text):
    cells = re.findall(r'<td class="(\w+)"><a href="#([\w-]+)"><span aria-hidden="true">(.)</span> ([\w ]+)</a>', text)
    assert cells == [
        ("passed", "needle-1000-50", "✓", "found"), ("passed", "needle-186390-50", "✓", "found"),
        ("skipped", "needle-1000-90", "–", "not run"), ("failed", "needle-186390-90", "✗", "no answer"),
        ("passed", "tools-choice-streamed", "✓", "passed"), ("failed", "tools-choice-whole", "✗", "failed"),
    ]  # fmt: skip
    assert [attributes["id"] for attributes in page.all("table") if "id" in attributes] == ["needles", "tools"]


def test_the_charts_have_words_and_the_cards_figures(page, text):
    charts = [attributes for attributes in page.all("svg") if attributes.get("role") == "img"]
    assert len(charts) == 3
    titles = re.findall(r"<title[^>]*>([^<]*)</title>", text)
    assert "the card&#39;s run: 539 tok/s with 186,390 tokens" in titles
    assert any(
        title.startswith("Prefill against prompt length. 998 tokens: 500 tok/s; 186k tokens: 520") for title in titles
    )
    rows = re.findall(r'<th scope="row">(.*?)</th><td>(.*?)</td><td>(.*?)</td><td>(.*?)</td></tr>', text)
    assert ("Prefill, tok/s", "520.00", "538.96", "0.96") in rows
    assert ("Decode, tok/s", "13.00", "13.90", "0.94") in rows
    assert "no figures" not in text


def test_cases_are_folded_with_their_reason_in_sight(page, text):
    assert len([one for one in page.all("details") if one.get("class") == "case"]) == len(CASES)
    assert not [one for one in page.all("details") if "open" in one]
    assert text.count('<span class="why">why</span>') == 4
    assert '<pre class="drawn">+--+' in text


def test_a_run_that_is_not_whole_says_so():
    text = validationpage.render(
        report(CASES[:1], complete=False, ended="It was interrupted after 1 of 9 cases.", profile=None)
    )
    assert "This run is not whole." in text
    assert "It was interrupted after 1 of 9 cases." in text
    assert "Incomplete" in text
    assert references({"profile": None}) == []


def test_a_run_with_nothing_in_it_is_a_page_too():
    assert Page(validationpage.render(report([], profile=None))).faults == []


def luminance(colour):
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(a, b):
    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_text_stands_out_by_day_and_by_night(text, scheme):
    colours = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", re.findall(r":root \{(.*?)\}", text, re.DOTALL)[scheme]))
    pairs = [(ink, ground) for ink in ("ink", "soft", "good", "bad", "idle") for ground in ("paper", "card", "wash")]
    pairs += [
        ("good", "good-wash"),
        ("bad", "bad-wash"),
        ("idle", "idle-wash"),
        ("ink", "bad-wash"),
        ("mark", "card"),
        ("card-mark", "card"),
    ]
    assert {
        pair: round(contrast(*(colours[name] for name in pair)), 2)
        for pair in pairs
        if contrast(*(colours[name] for name in pair)) < 4.5
    } == {}


def test_characters_that_steer_are_shown():
    assert visible("a\tb\n\x00\x9b\u200b\ufeff é用🙂") == "a\tb\n␀⟨U+009B⟩⟨U+200B⟩⟨U+FEFF⟩ é用🙂"
