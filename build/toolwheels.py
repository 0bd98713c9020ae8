"""The wheels of this project's own Python tools, for machines other than this one: what ``lock/python.txt`` names.

That lock is universal (``uv pip compile --universal``): markers say where a line holds, and its hashes are those of
every file of a release. What one machine needs is chosen as pip will choose there, among the locked files only.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from build import index, wheeltags
from build.canonical import digest
from build.download import Download
from build.errors import LockError, ResolveError

LOCK = Path("lock") / "python.txt"
BEHAVIOURS = Path("lock") / "behaviours.txt"  # what behaviours are asked with (build/torchenv.py)
CPU = Path("lock") / "behaviours-cpu.txt"  # by hand: builds that the public index does not have
LOCKS = (LOCK, BEHAVIOURS)
HEADER = "# Written by `./nox -s tools` from the .in beside it. Not to be edited: `./nox -s lock -- --check` sees it.\n"
GLIBC = "manylinux_2_36"  # Debian 12's, the oldest system whose Python will do
ENTRY = re.compile(r"^(?P<name>[a-z0-9][a-z0-9-]*)==(?P<version>[^ ;\\]+)(?: *; *(?P<marker>[^\\]+?))? *\\?$")
HASH = re.compile(r"^ +--hash=sha256:(?P<sha256>[0-9a-f]{64})(?: *\\)?$")


@dataclass(frozen=True, kw_only=True)
class Tool:
    """A line of the lock: a release, the marker that says where it is needed, the sha256 of each of its files."""

    name: str
    version: str
    marker: str
    hashes: frozenset[str]


def stamp(wanted: str, locked: str) -> str:
    """The checksum that ``lock/python.txt`` states: over ``lock/python.in`` and its own lines but comments."""
    lines = [line for line in locked.splitlines() if line.strip() and not line.startswith("#")]
    return digest({"wanted": wanted, "locked": lines})


def stated(locked: str) -> str:
    """The checksum in the header of ``lock/python.txt``; empty where there is none."""
    return next((line.split()[-1] for line in locked.splitlines() if line.startswith("# checksum: ")), "")


def text(wanted: str, locked: str) -> str:
    """``lock/python.txt`` as it is kept: uv's lines below a header of ours."""
    return f"{HEADER}# checksum: {stamp(wanted, locked)}\n{locked}"


def read(repo: Path, lock: Path = LOCK) -> tuple[Tool, ...]:
    """Every tool of a lock; :class:`LockError` for a line that is not understood, and without hashes."""
    found: list[tuple[re.Match[str], set[str]]] = []
    for number, line in enumerate((repo / lock).read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if entry := ENTRY.match(line):
            found.append((entry, set()))
        elif (known := HASH.match(line)) and found:
            found[-1][1].add(known["sha256"])
        else:
            raise LockError(f"{lock} cannot be read", why=f"line {number}: {line[:80]}", todo="run `nox -s tools`")
    if lacking := [entry["name"] for entry, hashes in found if not hashes]:
        raise LockError(f"{lock} has no hash for {', '.join(lacking)}", todo="run `nox -s tools`")
    return tuple(
        Tool(name=entry["name"], version=entry["version"], marker=entry["marker"] or "", hashes=frozenset(hashes))
        for entry, hashes in found
    )


def needed(tools: Iterable[Tool], machine: str, python: str) -> tuple[Tool, ...]:
    """Those whose markers hold on a Linux machine (``x86_64``, ``aarch64``) with a Python like ``3.12``."""
    from packaging.markers import Marker  # noqa: PLC0415 - only an export asks

    there = _environment(machine, python)
    return tuple(tool for tool in tools if not tool.marker or Marker(tool.marker).evaluate(there))


def _environment(machine: str, python: str) -> Mapping[str, str]:
    return {
        "implementation_name": "cpython",
        "implementation_version": f"{python}.0",
        "os_name": "posix",
        "platform_machine": machine,
        "platform_python_implementation": "CPython",
        "platform_system": "Linux",
        "python_full_version": f"{python}.0",
        "python_version": python,
        "sys_platform": "linux",
    }


def locate(tools: Iterable[Tool], machine: str, python: str) -> tuple[Download, ...]:
    """The wheel of each tool that a machine needs, the one that pip will take there, with its place on the index.

    Raises :class:`ResolveError` where the index has no wheel of a release, or another file than was locked.
    """
    wanted = {tool.name: tool for tool in needed(tools, machine, python)}
    pins = [(tool.name, tool.version) for tool in wanted.values()]
    environment = index.Environment(platform=f"{machine}-{GLIBC}", python=python)
    ranks = wheeltags.ranks(environment.platform, python)
    chosen: dict[str, index.Found] = {}
    for found in index.locate(pins, environment).values():
        if not found.sdist and found.sha256 in wanted[found.name].hashes:
            known = chosen.setdefault(found.name, found)
            chosen[found.name] = min(known, found, key=lambda item: wheeltags.rank(item.file, ranks))
    if lacking := sorted(wanted.keys() - chosen.keys()):
        raise ResolveError(
            f"the index has no locked wheel of {', '.join(lacking)} for {machine} and Python {python}",
            why=f"every tool is installed from a wheel whose hash {LOCK} has",
            todo="name another --python, or another index",
        )
    return tuple(
        Download(file=item.file, sha256=item.sha256, size=item.size, urls=(item.url,)) for item in chosen.values()
    )
