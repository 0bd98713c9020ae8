"""The keys of a profile, as ``build/profiles.py`` of the repository has them: what may stand there, and the default."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Callable
from typing import Any, NamedTuple

REQUIRED = object()


class Key(NamedTuple):
    """What may stand at a key: a function that gives "" or what is wrong, and the value where it is not there."""

    wrong: Callable[[Any], str]
    default: Any = REQUIRED


def _matches(pattern: str, what: str) -> Callable[[Any], str]:
    return lambda value: "" if isinstance(value, str) and re.fullmatch(pattern, value) else what


def _integer(least: int, most: int | None = None) -> Callable[[Any], str]:
    what = f"a whole number from {least}" + (f" to {most}" if most else "")
    return lambda value: (
        "" if type(value) is int and value >= least and (most is None or value <= most) else f"{what} is needed"
    )


def _number(value: Any) -> str:
    return "" if type(value) in (int, float) and value > 0 else "a number above 0 is needed"


def _flag(value: Any) -> str:
    return "" if type(value) is bool else "true or false is needed"


def _date(value: Any) -> str:
    return "" if type(value) is dt.date else "a date is needed"


def _fraction(value: Any) -> str:
    good = isinstance(value, str) and re.fullmatch(r"[0-9]+(\.[0-9]+)?", value) and 0 < float(value) <= 1
    return "" if good else 'a part as text, like "0.88", is needed: more than 0, at most 1'


def _object(value: Any) -> str:
    try:
        good = value == "" or (isinstance(value, str) and isinstance(json.loads(value), dict))
    except ValueError:
        good = False
    return "" if good else "the text of a JSON object is needed, or an empty text"


def _each(wrong: Callable[[Any], str]) -> Callable[[Any], str]:
    def list_wrong(value: Any) -> str:
        if not isinstance(value, list):
            return "a list is needed"
        return next((f"{number}: {found}" for number, item in enumerate(value) if (found := wrong(item))), "")

    return list_wrong


TEXT = _matches(r"(?s).+", "a text is needed")
ANY_TEXT = _matches(r"(?s).*", "a text is needed")
WORD = _matches(r"[A-Za-z0-9][A-Za-z0-9_.-]*", "a word of letters, digits, - _ . is needed")
NAME = _matches(r"[a-z0-9][a-z0-9.-]*", "a name of small letters, digits, - . is needed")
COUNT = _integer(1)

TABLES: dict[str, dict[str, Key]] = {
    "": {
        "schema": Key(_integer(1, 1)),
        "name": Key(NAME),
        "summary": Key(TEXT),
        "targets": Key(_each(NAME)),
    },
    "model": {
        "repo": Key(_matches(r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*", "owner/name is needed")),
        "revision": Key(_matches(r"[0-9a-f]{40}", "a whole commit is needed")),
        "served-name": Key(WORD),
        "bytes": Key(COUNT),
        "type": Key(WORD),
        "routed-experts": Key(COUNT),
        "layers": Key(COUNT, None),
        "hash-layers": Key(_integer(0), None),
        "experts-per-token": Key(COUNT, None),
    },
    "serve": {
        "context": Key(COUNT),
        "kv-cache-memory": Key(_matches(r"[0-9]+(\.[0-9]+[kmgt]|[kmgtKMGT])?", 'a size like "14G" is needed')),
        "kv-cache-dtype": Key(WORD),
        "batched-tokens": Key(COUNT),
        "sequences": Key(COUNT),
        "gpu-memory-utilization": Key(_fraction),
        "block-size": Key(COUNT),
        "thinking": Key(_flag),
        "speculative": Key(_object),
        "tokenizer-mode": Key(WORD),
        "reasoning-parser": Key(WORD),
        "reasoning-config": Key(_object, ""),
        "tool-call-parser": Key(WORD),
        "auto-tool-choice": Key(_flag),
        "prefix-caching": Key(_flag),
        "cudagraph-mode": Key(WORD),
        "custom-ops": Key(_each(TEXT), []),
        "arguments": Key(_each(TEXT), []),
        "optional": Key(_each(_matches(r"--[a-z][a-z0-9-]*", "an option like --block-size is needed")), []),
    },
    "watchdog": {
        "min-available-kb": Key(COUNT),
        "startup-min-available-kb": Key(COUNT, None),
        "critical-kb": Key(COUNT, 1048576),
        "warn-percent": Key(_integer(100, 1000), 150),
        "patience-seconds": Key(_integer(0, 600), 3),
        "drain-seconds": Key(_integer(0, 3600), 30),
        "history-seconds": Key(_integer(1, 600), 60),
    },
}
MEASURED: dict[str, Key] = {
    "what": Key(TEXT),
    "where": Key(TEXT),
    "when": Key(_date),
    "source": Key(TEXT),
    "prompt-tokens": Key(COUNT, None),
    "ttft-seconds": Key(_number, None),
    "prefill-tokens-per-second": Key(_number, None),
    "decode-tokens-per-second": Key(_number, None),
    "needle-retained": Key(_flag, None),
    "note": Key(ANY_TEXT, ""),
}
VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*")
