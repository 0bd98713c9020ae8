"""The suite's tool calls: the right one of several, its arguments, parallel calls, none, and what a result is used for.

Each is asked streamed and in one piece: servers parse calls by different code in either way.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from build import answers, toolcalls
from build.interview import Interview, Outcome, Task, judged
from build.replies import Reply, as_message
from build.toolcalls import Wanted, tool

TOKENS = 4096  # that an answer may have, thinking included
CITY = {"type": "string", "description": "Name of a city, in English"}
WEATHER = tool(
    "get_weather",
    "The weather of a city at this moment",
    {"city": CITY, "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]}},
)
TICKET = tool(
    "create_ticket",
    "Opens a ticket in the issue tracker",
    {
        "title": {"type": "string", "minLength": 1},
        "priority": {"type": "string", "enum": ["low", "normal", "high"]},
        "labels": {"type": "array", "items": {"type": "string"}, "minItems": 1},
        "estimate_hours": {"type": "integer", "minimum": 1, "maximum": 100},
        "assignee": {
            "type": "object",
            "properties": {"name": {"type": "string"}, "email": {"type": "string", "pattern": "^[^@ ]+@[^@ ]+$"}},
            "required": ["name", "email"],
            "additionalProperties": False,
        },
    },
)
CURRENCY = tool(
    "convert_currency",
    "Converts an amount of money",
    {
        "amount": {"type": "number"},
        "source": {"type": "string", "pattern": "^[A-Z]{3}$"},
        "target": {"type": "string", "pattern": "^[A-Z]{3}$"},
    },
)
FILE = tool("read_file", "Reads a text file of the project", {"path": {"type": "string"}})
TOOLS = (FILE, WEATHER, TICKET, CURRENCY)
DEGREES = "-13.7"  # what no model would guess of Lima


def tasks() -> tuple[Task, ...]:
    """Each case in both ways; a quick run has the streamed ones."""
    cases = (
        ("choice", "The right one of four tools", choice),
        ("arguments", "Nested arguments, as their schema says", nested),
        ("parallel", "Three calls at once", parallel),
        ("none", "No call where none is needed", none),
        ("result", "A tool's result is used in the answer", result),
    )
    return tuple(
        Task(
            name=f"tools-{name}-{'streamed' if stream else 'whole'}",
            group="tools",
            title=f"{title}, {'streamed' if stream else 'in one piece'}",
            do=_in_way(do, stream=stream),
            quick=stream,
        )
        for name, title, do in cases
        for stream in (True, False)
    )


def _in_way(do: Callable[[Interview, bool], Outcome], *, stream: bool) -> Callable[[Interview], Outcome]:
    return lambda talk: do(talk, stream)


def _weather(city: str) -> Wanted:
    return Wanted(
        name="get_weather",
        fits=lambda found: city in found["city"].casefold() and found["unit"] == "celsius",
        meaning=f"{city.title()} in celsius",
    )


def _asked(talk: Interview, prompt: str, wanted: Sequence[Wanted], stream: bool) -> Outcome:
    reply = talk.ask(prompt, max_tokens=TOKENS, tools=TOOLS, stream=stream)
    return judged(reply, lambda reply: toolcalls.findings(reply, TOOLS, wanted))


def choice(talk: Interview, stream: bool) -> Outcome:
    return _asked(talk, "What is the weather in Oslo right now, in celsius?", [_weather("oslo")], stream)


def nested(talk: Interview, stream: bool) -> Outcome:
    prompt = (
        'Open a ticket titled "Disk full on node 7" with priority high, the labels storage and urgent, an estimate of '
        "3 hours, assigned to Mira Olsen (mira.olsen@example.org)."
    )

    def fits(found: Mapping[str, Any]) -> bool:
        return (
            "disk full on node 7" in found["title"].casefold()
            and found["priority"] == "high"
            and {label.casefold() for label in found["labels"]} == {"storage", "urgent"}
            and found["estimate_hours"] == 3
            and found["assignee"] == {"name": "Mira Olsen", "email": "mira.olsen@example.org"}
        )

    return _asked(talk, prompt, [Wanted(name="create_ticket", fits=fits, meaning="what the prompt says")], stream)


def parallel(talk: Interview, stream: bool) -> Outcome:
    prompt = (
        "Compare the weather in Oslo, Lima and Tokyo, in celsius. Get the three at once: call the tool for all three "
        "cities in one turn, before you say anything."
    )
    return _asked(talk, prompt, [_weather(city) for city in ("oslo", "lima", "tokyo")], stream)


def none(talk: Interview, stream: bool) -> Outcome:
    reply = talk.ask("What is the capital of France? One word.", max_tokens=TOKENS, tools=TOOLS, stream=stream)

    def wrong(reply: Reply) -> tuple[str, ...]:
        if called := toolcalls.none_wanted(reply):
            return called
        if (empty := answers.emptiness(reply)) is not None:
            return (empty,)
        return () if "paris" in reply.text.casefold() else (f"it says {reply.text.strip()[:60]!r}, not Paris",)

    return judged(reply, wrong)


def result(talk: Interview, stream: bool) -> Outcome:
    prompt = "What is the temperature in Lima right now, in celsius? Say it with one decimal."
    first = talk.ask(prompt, max_tokens=TOKENS, tools=TOOLS, stream=stream)
    asked = judged(first, lambda reply: toolcalls.findings(reply, TOOLS, [_weather("lima")]))
    if asked.findings:
        return asked
    told = {"city": "Lima", "unit": "celsius", "temperature": float(DEGREES), "sky": "clear"}
    conversation = [
        {"role": "user", "content": prompt},
        as_message(first),
        {"role": "tool", "tool_call_id": first.calls[0].id, "content": json.dumps(told)},
    ]
    second = talk.ask(conversation, max_tokens=TOKENS, tools=TOOLS, stream=stream)

    def wrong(reply: Reply) -> tuple[str, ...]:
        if called := toolcalls.none_wanted(reply):
            return called
        if (empty := answers.emptiness(reply)) is not None:
            return (empty,)
        said = reply.text.translate(str.maketrans("−–,", "--."))
        return () if DEGREES in said else (f"the tool said {DEGREES}; it says {reply.text.strip()[:80]!r}",)

    return judged(second, wrong)
