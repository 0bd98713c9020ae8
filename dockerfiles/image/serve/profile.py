"""A profile, read strictly, with what an image has at hand: a file of its own, or one that a user brings along.

It is given as the tables of its file, all defaults filled in. Every fault is told at once, with its place.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from typing import Any

from .exits import PROFILE, Fault
from .keys import MEASURED, REQUIRED, TABLES, VARIABLE, Key

FOLDER = "/opt/spark/profiles"


def read(name: str, folder: str = FOLDER) -> dict[str, Any]:
    """The profile of that name in the image, or of that file where it is a path (with a slash, or ending in .toml)."""
    path = name if "/" in name or name.endswith(".toml") else os.path.join(folder, f"{name}.toml")
    try:
        with open(path, "rb") as stream:
            content = stream.read()
    except OSError as error:
        baked = ", ".join(names(folder)) or "none"
        raise Fault(
            PROFILE,
            f"the profile {name} cannot be read: {error.strerror}",
            [f"in this image: {baked}"],
            "name one of these, or mount a file of your own and name it by its path",
        ) from error
    return parse(content, path)


def names(folder: str = FOLDER) -> list[str]:
    """The profiles in the image."""
    try:
        return sorted(entry.removesuffix(".toml") for entry in os.listdir(folder) if entry.endswith(".toml"))
    except OSError:
        return []


def parse(content: bytes, place: str) -> dict[str, Any]:
    """The tables of a profile's file. Raises :class:`Fault` with every fault."""
    try:
        data = tomllib.loads(content.decode("utf-8"))
    except ValueError as error:  # of TOML, of UTF-8
        raise Fault(PROFILE, f"{place} is not TOML: {error}") from error
    faults: list[str] = []
    parts = {name: data.pop(name, None) for name in (*(name for name in TABLES if name), "environment", "measured")}
    made = {**parts, **_keys(data, TABLES[""], "", faults)}
    for name in TABLES:
        if name:
            made[name] = _table(parts[name], name, faults)
    made["environment"] = _environment({} if parts["environment"] is None else parts["environment"], faults)
    made["measured"] = _measured([] if parts["measured"] is None else parts["measured"], faults)
    if not faults:
        faults += _contradictions(made["watchdog"])
    if faults:
        raise Fault(PROFILE, f"{place} is no profile", faults, "correct the file")
    return made


def _table(value: Any, name: str, faults: list[str]) -> dict[str, Any]:
    if not isinstance(value, dict):
        faults.append(f"{name}: {'missing' if value is None else 'a table is needed'}")
        return {}
    return _keys(value, TABLES[name], f"{name}.", faults)


def _keys(table: dict[str, Any], keys: dict[str, Key], prefix: str, faults: list[str]) -> dict[str, Any]:
    """The table with its defaults; what is wrong with it goes to ``faults``."""
    made: dict[str, Any] = {}
    for name, key in keys.items():
        if name not in table:
            made[name] = key.default
            if key.default is REQUIRED:
                faults.append(f"{prefix}{name}: missing key")
        elif wrong := key.wrong(table[name]):
            faults.append(f"{prefix}{name}: {wrong} (found {table[name]!r})")
        else:
            made[name] = table[name]
    for name in table.keys() - keys.keys():
        near = difflib.get_close_matches(name, keys, n=1)
        faults.append(f"{prefix}{name}: unknown key" + (f"; did you mean '{near[0]}'?" if near else ""))
    return made


def _environment(value: Any, faults: list[str]) -> dict[str, str]:
    if not isinstance(value, dict):
        faults.append("environment: a table is needed")
        return {}
    for name, text in value.items():
        if not VARIABLE.fullmatch(name):
            faults.append(f"environment.{name}: a name of capital letters, digits and _ is needed")
        if not isinstance(text, str) or "\0" in text:
            faults.append(f"environment.{name}: a text is needed (found {text!r})")
    return value


def _measured(value: Any, faults: list[str]) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        faults.append("measured: a list of tables is needed")
        return []
    return [_keys(item, MEASURED, f"measured.{number}.", faults) for number, item in enumerate(value)]


def _contradictions(watchdog: dict[str, Any]) -> list[str]:
    least = min(watchdog["min-available-kb"], watchdog["startup-min-available-kb"] or watchdog["min-available-kb"])
    return ["watchdog: critical-kb is above the least that must stay available"] * (watchdog["critical-kb"] > least)
