"""Native libraries carry code that a GB10 (capability 12.1) can use."""

from __future__ import annotations

import glob
import os
import sysconfig
from typing import Any

from .events import Context, Failed, Outcome
from .fatbin import FIRST_USE, NATIVE, device_code, read_fatbins, summary

CAPABILITY = 121
LARGE = 200_000  # bytes; below it no library of the image holds kernels worth listing


def check_libraries(context: Context) -> Outcome:
    """Fails where a library that the target needs has no usable code, other code than it names, or is not there."""
    site = sysconfig.get_path("purelib")
    faults: list[str] = []
    needed: dict[str, Any] = {}
    late: list[str] = []
    for entry in context.manifest.get("libraries", []):
        paths = sorted(glob.glob(os.path.join(site, entry["path"])))
        if not paths:
            faults.append(f"{entry['path']} is not there")
        for path in paths:
            name = os.path.relpath(path, site)
            figures = summary(read_fatbins(path), CAPABILITY)
            usable: Any = figures["usable"]
            found = sorted({str(code) for code in device_code(path)})
            if entry.get("code") and found != sorted(entry["code"]):
                faults.append(f"{name} has code for {', '.join(found) or 'no GPU'} and not {', '.join(entry['code'])}")
            needed[name] = {**figures, "code": found, "reason": entry.get("reason", "")}
            if usable[NATIVE]:
                continue
            if usable[FIRST_USE]:
                late.append(name)
            else:
                faults.append(f"{name} has no code for capability 12.1")
    evidence = {"needed": needed, "compiled at first use": late, "others": _others(site, needed)}
    if faults:
        raise Failed("; ".join(faults), evidence)
    return Outcome(evidence)


def _others(site: str, needed: dict[str, Any]) -> dict[str, Any]:
    """The same figures, for the report only, of every other library below ``site`` that holds device code."""
    found: dict[str, Any] = {}
    for folder, _, files in os.walk(site):
        for name in files:
            path = os.path.join(folder, name)
            key = os.path.relpath(path, site)
            if ".so" not in name or key in needed or os.path.islink(path) or os.path.getsize(path) < LARGE:
                continue
            if fatbins := read_fatbins(path):
                found[key] = summary(fatbins, CAPABILITY)
    return found
