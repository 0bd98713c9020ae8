"""What the target leaves out is not there, nothing that is there needs it, and what it was for is true.

The steps that left files out listed each in ``/opt/spark/left-out``, with the device code that was in it.
"""

from __future__ import annotations

import glob
import json
import os
import re
import sys
import sysconfig
from pathlib import Path
from typing import Any

from .elf import needed
from .events import Context, Outcome, Skipped, listed
from .fatbin import NONE, Code, serves
from .libraries import CAPABILITY

LISTS = Path("/opt/spark/left-out")
CODE = re.compile(r"(sm|compute)_(\d+)([af]?)( \(LTO\))?")


def check_left_out(context: Context) -> Outcome:
    """Findings: a file that is there all the same; a library that another one NEEDs; foreign code that is not."""
    declared = context.manifest.get("left_out", [])
    if not declared:
        raise Skipped("the target leaves nothing out")
    site = sysconfig.get_path("purelib")
    gone: dict[str, Any] = {}
    for path in sorted(LISTS.glob("*.json")):
        gone.update(json.loads(path.read_text(encoding="utf-8")))
    findings, tables = [], []
    for entry in declared:
        mine = [path for path in gone if any(_expression(pattern).fullmatch(path) for pattern in entry["paths"])]
        there = [path for pattern in entry["paths"] for path in glob.glob(os.path.join(site, pattern), recursive=True)]
        there = [os.path.relpath(path, site) for path in there if os.path.lexists(path)]  # `a/**` gives `a/` unseen
        findings += [f"{path} is there, though left out" for path in sorted(there)]
        if not mine:
            findings.append(f"{entry['paths'][0]}: no step says that it left such a file out")
        if entry.get("foreign"):
            findings += [text for path in mine for text in _usable(path, gone[path].get("code", []))]
        size = sum(gone[path]["bytes"] for path in mine)
        tables.append({"reason": entry["reason"], "files": len(mine), "bytes": size, "code": _codes(gone, mine)})
    wanting = _wanting({os.path.basename(path) for path in gone})
    findings += [f"{user} needs {name}, which is left out" for user, name in wanting]
    evidence = {
        "tables": tables,
        "files": len(gone),
        "bytes": sum(said["bytes"] for said in gone.values()),
        "faults": listed(findings),
    }
    return Outcome(evidence, findings)


def _expression(pattern: str) -> re.Pattern[str]:
    """A pattern as the build reads it: ``*`` is a part of one name, a last name ``**`` all that is below."""
    head, tail = (pattern[:-2], ".+") if pattern.endswith("/**") else (pattern, "")
    return re.compile(re.escape(head).replace(r"\*", "[^/]*") + tail)


def _codes(gone: dict[str, Any], paths: list[str]) -> list[str]:
    return sorted({code for path in paths for code in gone[path].get("code", [])})


def _usable(path: str, codes: list[str]) -> list[str]:
    """What contradicts that a file's device code is for other devices only."""
    if not codes:
        return [f"{path} was left out as device code, and holds none"]
    parsed = [CODE.fullmatch(code) for code in codes]
    return [
        f"{path} was left out as device code for others, and its {match.group()} is of use"
        for match in parsed
        if match and serves(_code(match), CAPABILITY) != NONE
    ]


def _code(match: re.Match[str]) -> Code:
    kind = "lto" if match.group(4) else {"sm": "sass", "compute": "ptx"}[match.group(1)]
    return Code(kind, int(match.group(2)), match.group(3))


def _wanting(names: set[str]) -> list[tuple[str, str]]:
    """(file, library) for each file below the venv whose loader would look for a name that nothing there has."""
    users: list[tuple[str, str]] = []
    kept: set[str] = set()
    for folder, _, files in os.walk(sys.prefix):
        kept.update(files)
        for file in files:
            path = os.path.join(folder, file)
            if not os.path.islink(path):
                users += [(os.path.relpath(path, sys.prefix), name) for name in needed(path) if name in names]
    return sorted((user, name) for user, name in users if name not in kept)
