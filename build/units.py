"""What a target's native build compiles: each translation unit, of which CMake target, for which GPU architectures.

CMake's configure tells it without compiling anything; ``lock/units/<target>.toml`` keeps it, so that a file or an
architecture which an update brings is seen in minutes. Compared with, never an input.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from build import lockform

SCHEMA = 1
FOLDER = Path("lock/units")
HEADER = """\
# Written by `nox -s configure`: what CMake would compile, by its targets and by the GPU code that nvcc makes of a file.
# sm_… is machine code, compute_… is PTX; default: nvcc was told none; host: for the CPU alone. Compared with, never
# an input.
"""
HOST = "host"
COLUMNS = ("CMake's target", ".cu", "C++", "architectures")


@dataclass(frozen=True, kw_only=True, order=True)
class Unit:
    """A file as one of CMake's targets compiles it. ``architectures``: sorted; none for what is no CUDA.

    ``source``: below vLLM's tree, or ``deps/<name>/…`` of an external, ``build/…`` of what configure generated.
    """

    target: str
    source: str
    architectures: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Units:
    """All that ``target`` (one of ours) compiles, sorted.

    ``absent``: (external, reason) pairs where a substitute or a stub stood in. ``complete``: the list is what a build
    with everything in place would compile, all the same.
    """

    target: str
    complete: bool
    absent: tuple[tuple[str, str], ...]
    units: tuple[Unit, ...]


def path_of(repo: Path, target: str) -> Path:
    """Where a target's list is kept."""
    return repo / FOLDER / f"{target}.toml"


def text(listed: Units) -> str:
    """The list's bytes: a table for each CMake target, in it the files of each set of architectures."""
    grouped: dict[str, dict[str, list[str]]] = {}
    for unit in sorted(listed.units, key=lambda unit: (unit.target, unit.architectures, unit.source)):
        files = grouped.setdefault(unit.target, {}).setdefault(_set(unit), [])
        files.append(unit.source)
    absent = [{"name": name, "reason": reason} for name, reason in sorted(listed.absent)]
    data = {"target": listed.target, "complete": listed.complete, "absent": absent, "units": grouped}
    return lockform.text(HEADER, SCHEMA, data)


def _set(unit: Unit) -> str:
    return " ".join(unit.architectures) or HOST


def write(repo: Path, listed: Units) -> bool:
    """Write a list; whether its bytes changed."""
    return lockform.write(path_of(repo, listed.target), text(listed))


def read(repo: Path, target: str) -> Units | None:
    """The kept list of a target; None where none was ever made. ``LockError`` for one that was edited."""
    path = path_of(repo, target)
    if not path.exists():
        return None
    again = f"run `nox -s configure -- --target {target}`"
    data = lockform.read(path, name=str(path.relative_to(repo)), schema=SCHEMA, refresh=again)
    units = [
        Unit(target=name, source=source, architectures=() if key == HOST else tuple(key.split(" ")))
        for name, sets in data["units"].items()
        for key, sources in sets.items()
        for source in sources
    ]
    absent = tuple((row["name"], row["reason"]) for row in data["absent"])
    return Units(target=data["target"], complete=data["complete"], absent=absent, units=tuple(sorted(units)))


def compare(before: Units, after: Units) -> Sequence[str]:
    """What changed, in lines by CMake's target; nothing where both list the same.

    ``+`` is a unit more, ``-`` one less, ``~`` one that is compiled for other architectures.
    """
    was, now = ({(unit.target, unit.source): _set(unit) for unit in listed.units} for listed in (before, after))
    said = [*_wholeness(before, after)]
    for target in sorted({target for target, _ in was | now}):
        added = [f"  + {key[1]} ({now[key]})" for key in sorted(now.keys() - was) if key[0] == target]
        gone = [f"  - {key[1]} ({was[key]})" for key in sorted(was.keys() - now) if key[0] == target]
        moved = [
            f"  ~ {key[1]}: {was[key]} -> {now[key]}"
            for key in sorted(now.keys() & was)
            if key[0] == target and was[key] != now[key]
        ]
        if added or gone or moved:
            counts = [sum(name == target for name, _ in side) for side in (was, now)]
            what = f"{len(added)} added, {len(gone)} gone, {len(moved)} for other architectures"
            said += [f"{target}: {counts[0]} -> {counts[1]} units ({what})", *added, *gone, *moved]
    return said


def _wholeness(before: Units, after: Units) -> Iterator[str]:
    if before.complete != after.complete:
        yield "the list is complete now, and was not" if after.complete else "the list is not complete any more"
    was, now = dict(before.absent), dict(after.absent)
    for name in sorted(was | now):
        if name not in now:
            yield f"{name}: not absent any more"
        elif was.get(name) != now[name]:
            yield f"{name}: absent{'' if name not in was else ' for another reason'}: {now[name]}"


def rows(listed: Units) -> list[list[str]]:
    """Lines of the table with :data:`COLUMNS`, one for each CMake target, then their sum."""
    targets = sorted({unit.target for unit in listed.units})
    told = [_row(name, [unit for unit in listed.units if unit.target == name]) for name in targets]
    return [*told, _row("all", listed.units)]


def _row(name: str, units: Sequence[Unit]) -> list[str]:
    cuda = Counter("+".join(unit.architectures) for unit in units if unit.architectures)
    counted = sorted(cuda.items(), key=lambda item: (-item[1], item[0]))
    return [
        name, str(cuda.total()), str(len(units) - cuda.total()), ", ".join(f"{count} {key}" for key, count in counted),
    ]  # fmt: skip
