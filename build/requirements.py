"""Requirements: of a source's requirement files, of wheels' METADATA, and what the locked versions make of them.

Pure. A requirement's normal form is its text here: PEP 508 with the name normalised as in PEP 503, extras and version
specifiers sorted, the marker as ``packaging`` writes it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from build.errors import PatchError, ResolveError
from build.models import Lock, RequirementChange


class Environment(Protocol):
    """What markers are evaluated for (``build.index.Environment``)."""

    @property
    def platform(self) -> str: ...
    @property
    def python(self) -> str: ...


class Stating(Protocol):
    """What states requirements (``build.metadata.Metadata``): the lines of its METADATA."""

    @property
    def requires(self) -> Sequence[str]: ...


@lru_cache(maxsize=4096)
def parsed(requirement: str) -> Requirement:
    """A requirement's parts. Raises :class:`ResolveError` for text that is none."""
    try:
        return Requirement(requirement)
    except InvalidRequirement as error:
        raise ResolveError(f"'{requirement}' is no requirement", why=str(error).split("\n", 1)[0]) from error


def normal(requirement: str) -> str:
    """A requirement in normal form.

    >>> normal("Foo_Bar [b,a] >= 1, <2 ; python_version > '3.11'")
    'foo-bar[a,b]<2,>=1; python_version > "3.11"'
    """
    item = parsed(requirement)
    end = " ;" if item.url else ";"  # an address ends where a space is
    return bare(requirement) + (f"{end} {item.marker}" if item.marker else "")


def bare(requirement: str) -> str:
    """The normal form without the marker."""
    item = parsed(requirement)
    extras = f"[{','.join(sorted(canonicalize_name(extra) for extra in item.extras))}]" if item.extras else ""
    return canonicalize_name(item.name) + extras + (f" @ {item.url}" if item.url else str(item.specifier))


def name_of(requirement: str) -> str:
    """The distribution that a requirement names, normalised."""
    return canonicalize_name(parsed(requirement).name)


def marker_environment(environment: Environment) -> dict[str, str]:
    """What markers see (PEP 508) in a CPython of that version on Linux; of the version only major and minor count."""
    return {
        "implementation_name": "cpython",
        "implementation_version": f"{environment.python}.0",
        "os_name": "posix",
        "platform_machine": environment.platform.partition("-")[0],
        "platform_python_implementation": "CPython",
        "platform_release": "",
        "platform_system": "Linux",
        "platform_version": "",
        "python_full_version": f"{environment.python}.0",
        "python_version": environment.python,
        "sys_platform": "linux",
    }


def _holds(requirement: str, environment: Mapping[str, str], extra: str = "") -> bool:
    marker = parsed(requirement).marker
    return marker is None or marker.evaluate({**environment, "extra": extra})


# What a series changes


def changes(before: Iterable[str], after: Iterable[str]) -> tuple[RequirementChange, ...]:
    """What became of requirement lines, each pair of one distribution; those of the same marker go together."""
    old, new = ([normal(line) for line in lines] for lines in (before, after))
    gone, come = [line for line in old if line not in new], [line for line in new if line not in old]
    found = []
    for line in gone:
        partners = [other for other in come if name_of(other) == name_of(line)]
        partner = min(partners, key=lambda other: _marker(other) != _marker(line), default="")
        if partner:
            come.remove(partner)
        found.append(RequirementChange(before=line, after=partner))
    found += [RequirementChange(before="", after=line) for line in come]
    return tuple(sorted(found, key=lambda change: (name_of(change.before or change.after), change.before)))


def _marker(line: str) -> str:
    return str(parsed(line).marker or "")


def overrides_for(found: Iterable[RequirementChange], environment: Environment) -> tuple[str, ...]:
    """What a resolver must be told, as overrides, so that changed pins are followed where they hold.

    An override replaces what every wheel asks of that distribution: whether the others agree is what
    :func:`unsatisfied` tells. A line that is gone for good leaves nothing to follow.
    """
    known = marker_environment(environment)
    return tuple(
        sorted({bare(item.after) for item in found if item.before and item.after and _holds(item.after, known)})
    )


def additions_for(found: Iterable[RequirementChange], environment: Environment) -> tuple[str, ...]:
    """What a resolver must be told, as further requirements: lines that a series adds and that hold."""
    known = marker_environment(environment)
    return tuple(sorted({bare(item.after) for item in found if not item.before and _holds(item.after, known)}))


def edits(requires: Sequence[str], found: Iterable[RequirementChange]) -> tuple[tuple[str, str], ...]:
    """The changes as (line of METADATA as it is written there, line to write instead); an empty one is no line.

    Raises :class:`PatchError` where METADATA does not have exactly one such line.
    """
    written: dict[str, list[str]] = {}
    for line in requires:
        written.setdefault(normal(line), []).append(line)
    made = []
    for change in found:
        lines = written.get(change.before, []) if change.before else [""]
        if len(lines) != 1:
            times = "does not have" if not lines else f"has {len(lines)} times"
            raise PatchError(
                f"the series changes a requirement that the wheel's METADATA {times}: {change.before}",
                why="what is installed goes by METADATA, and the requirement files were read otherwise for it",
                todo="take the line out of the patch, or name the version under the target's overrides instead",
            )
        made.append((lines[0], change.after))
    return tuple(made)


def changed(requires: Sequence[str], found: Iterable[RequirementChange]) -> tuple[str, ...]:
    """The lines of METADATA as a series changes them; raises as :func:`edits` does."""
    made = edits(requires, found)
    instead = {old: new for old, new in made if old}
    lines = [instead.get(line, line) for line in requires]
    return tuple(line for line in [*lines, *(new for old, new in made if not old)] if line)


def differences(stated: Iterable[str], requires: Iterable[str], environment: Environment) -> tuple[str, ...]:
    """Where a source's requirement files and its wheel's METADATA disagree in an environment, a sentence for each."""
    known = marker_environment(environment)
    files, metadata = (_by_name(line for line in lines if _holds(line, known)) for lines in (stated, requires))
    return tuple(
        f"{name}: the requirement files say {_listed(files.get(name))}, METADATA {_listed(metadata.get(name))}"
        for name in sorted(files.keys() | metadata.keys())
        if files.get(name) != metadata.get(name)
    )


def _by_name(lines: Iterable[str]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for line in lines:
        found.setdefault(name_of(line), set()).add(bare(line))
    return found


def _listed(lines: Iterable[str] | None) -> str:
    return " and ".join(sorted(lines or ())) or "nothing"


# What is asked for and what is locked


def active(stated: Mapping[str, Stating], roots: Iterable[str], environment: Environment) -> dict[str, tuple[str, ...]]:
    """Distribution → its requirements that hold, bare and sorted, for each that is reached from the roots.

    ``stated``: by normalised name. Extras count where something that is reached asks for them.
    """
    known = marker_environment(environment)
    found: dict[str, set[str]] = {}
    seen: set[tuple[str, str]] = set()
    todo = [line for line in roots if _holds(line, known)]
    while todo:
        line = todo.pop()
        name = name_of(line)
        if name not in stated:
            continue
        for extra in ("", *sorted(parsed(line).extras)):
            if (name, extra) not in seen:
                seen.add((name, extra))
                holding = [other for other in stated[name].requires if _holds(other, known, extra)]
                found.setdefault(name, set()).update(bare(other) for other in holding)
                todo += holding
    return {name: tuple(sorted(lines)) for name, lines in sorted(found.items())}


@dataclass(frozen=True, kw_only=True)
class Lines:
    """What one distribution states, as a series changes it."""

    requires: tuple[str, ...]


def of_lock(
    lock: Lock, stated: Mapping[str, Stating], roots: Iterable[str], environment: Environment
) -> dict[str, tuple[str, ...]]:
    """:func:`active` for the wheels of a lock, METADATA as its series changes it."""
    changing = {item.distribution: item.requires for item in lock.components}
    said = {name: Lines(requires=changed(data.requires, changing.get(name, ()))) for name, data in stated.items()}
    return active(said, roots, environment)


def unsatisfied(
    requires: Mapping[str, Sequence[str]], versions: Mapping[str, str], overrides: Iterable[str]
) -> tuple[str, ...]:
    """The requirements that the locked versions do not satisfy, a sentence for each.

    ``requires``: as :func:`active` gives it. What an override names is asked of the override alone. A pre-release and
    a local version satisfy what they satisfy by PEP 440, whether or not the resolver would have chosen them.
    """
    overruled = {name_of(line): line for line in overrides}
    asked = [(f"{by} requires {line}", line) for by, lines in requires.items() for line in lines]
    asked = [(text, line) for text, line in asked if name_of(line) not in overruled]
    asked += [(f"an override says {line}", line) for line in overruled.values()]
    faults = []
    for text, line in asked:
        version = versions.get(name_of(line))
        if version is None and not parsed(line).marker:
            faults.append(f"{text}, and it is not locked")
        elif version is not None and not parsed(line).specifier.contains(version, prereleases=True):
            faults.append(f"{text}, and locked is {version}")
    return tuple(faults)


def disagreements(locked: Mapping[str, Sequence[str]], found: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Where requirements that were locked are not those found now, both as :func:`active` gives them."""
    return tuple(
        f"{name} requires {_listed(found.get(name))}; locked was {_listed(locked.get(name))}"
        for name in sorted(locked.keys() | found.keys())
        if set(locked.get(name, ())) != set(found.get(name, ()))
    )
