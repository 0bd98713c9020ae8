"""Tool calls: were the right tools called, with arguments that are JSON and what their schema says; or none, if none is
needed. Format of tools and calls: OpenAI's chat completions. Pure functions; a finding is a sentence.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from build.replies import Call, Reply

Tool = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A call that must be there. ``fits``: whether its arguments are those that the question asks for."""

    name: str
    fits: Callable[[Mapping[str, Any]], bool] = lambda _: True
    meaning: str = ""


def tool(name: str, description: str, properties: Mapping[str, Any], required: Sequence[str] = ()) -> Tool:
    """A tool, as a request has it; without ``required`` every property is needed, and no other one may be there."""
    schema = {
        "type": "object",
        "properties": dict(properties),
        "required": list(required or properties),
        "additionalProperties": False,
    }
    return {"type": "function", "function": {"name": name, "description": description, "parameters": schema}}


def findings(reply: Reply, tools: Sequence[Tool], wanted: Sequence[Wanted]) -> tuple[str, ...]:
    """All that is wrong with a reply that should call the wanted tools, in any order, and no other."""
    wrong = list(reply.notes)
    if not reply.calls:
        return (*wrong, _uncalled(reply))
    if reply.leaked:
        wrong.append("the thinking stands in the answer, between think tags")
    if reply.finish != "tool_calls":
        wrong.append(f"finish_reason is {reply.finish!r}, not 'tool_calls'")
    wrong += _identities(reply.calls)
    known = {each["function"]["name"]: each["function"]["parameters"] for each in tools}
    arguments: list[tuple[str, Mapping[str, Any]]] = []
    for call in reply.calls:
        if call.name not in known:
            wrong.append(f"it calls {call.name!r}, and there is no such tool")
            continue
        found, faults = parsed(call, known[call.name])
        wrong += faults
        if found is not None:
            arguments.append((call.name, found))
    return tuple(wrong + _unmatched(arguments, wanted, reply.calls))


def none_wanted(reply: Reply) -> tuple[str, ...]:
    """What is wrong with a reply to a question that needs no tool."""
    if reply.calls:
        return (f"it calls {', '.join(call.name for call in reply.calls)}, and no tool is needed",)
    return ()


def parsed(call: Call, schema: Mapping[str, Any]) -> tuple[Mapping[str, Any] | None, list[str]]:
    """The arguments of a call, None where they are no JSON object; and what is wrong with them."""
    import jsonschema  # type: ignore[import-untyped]  # noqa: PLC0415 - 150 ms

    try:
        value = json.loads(call.arguments, parse_constant=_no_constant, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        return None, [f"the arguments of {call.name} are not JSON: {error}: {call.arguments[:80]!r}"]
    if not isinstance(value, dict):
        return None, [f"the arguments of {call.name} are no JSON object: {call.arguments[:80]!r}"]
    faults = sorted(jsonschema.Draft202012Validator(schema).iter_errors(value), key=lambda fault: list(fault.path))
    return value, [
        f"the arguments of {call.name} are not what its schema says: "
        f"{'.'.join(map(str, fault.absolute_path)) or 'the whole'}: {fault.message[:160]}"
        for fault in faults
    ]


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError("a key stands there twice")
    return made


def _uncalled(reply: Reply) -> str:
    """Why there is no call; a call that was written as text is what a missing parser of the server looks like."""
    text = reply.text.strip()
    if any(mark in text for mark in ("tool_call", "<｜", "<|", "DSML", '"arguments"', "<invoke")):
        return f"the call stands in the text: the server's tool-call parser is not at work: {text[:80]!r}"
    return f"no tool is called; it says {text[:80]!r}" if text else "no tool is called, and nothing said"


def _identities(calls: Sequence[Call]) -> list[str]:
    wrong = [f"the call of {call.name} has no id" for call in calls if not call.id]
    twice = [name for name, count in Counter(call.id for call in calls if call.id).items() if count > 1]
    return wrong + [f"two calls have the id {name}" for name in twice]


def _unmatched(
    arguments: Sequence[tuple[str, Mapping[str, Any]]], wanted: Sequence[Wanted], calls: Sequence[Call]
) -> list[str]:
    """The wanted calls that are not there, and those that nobody wanted."""
    left = list(arguments)
    wrong = []
    for want in wanted:
        match = next((one for one in left if one[0] == want.name and _fits(want, one[1])), None)
        if match is not None:
            left.remove(match)
        elif want.name not in (call.name for call in calls):
            wrong.append(f"{want.name} is not called, but {', '.join(call.name for call in calls)}")
        elif want.name in (name for name, _ in left):
            wrong.append(f"{want.name} is not called with {want.meaning or 'what was asked for'}")
    made, meant = Counter(call.name for call in calls), Counter(want.name for want in wanted)
    return wrong + [
        f"{name} is called {count} times, not {meant[name]}"
        for name, count in sorted(made.items())
        if count > meant[name] or (count < meant[name] and not any(f"{name} is not called" in one for one in wrong))
    ]


def _fits(want: Wanted, found: Mapping[str, Any]) -> bool:
    try:
        return want.fits(found)
    except (KeyError, TypeError, AttributeError, IndexError, ValueError):
        return False  # not of the schema's form, which is told by itself
