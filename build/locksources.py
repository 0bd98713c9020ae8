"""The git sources of a target's lock: commits of its components, external sources, and what has to be left open.

A source that is locked is not asked for again unless the lock is made anew. One whose remote cannot be reached is
left open, by name, where the target can do without it or has never had it; the next run asks again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from build import gitsource
from build.console import warn
from build.errors import CommandError, GoneCommitError, NetworkError
from build.models import External, GitSource, Lock, Settings, Unresolved
from build.tables import ComponentIntent, SourceIntent, TargetIntent

UNREACHED = "its remote could not be reached"


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A source that the intent names: its place in the lock, what was asked for, what was locked for it before."""

    what: str
    url: str
    mirrors: tuple[str, ...]
    tag: str
    commit: str
    version: str
    locked: GitSource | None

    @property
    def asked(self) -> str:
        """In words: the remote, and what of it."""
        return f"{self.url} {self.commit or self.tag}"

    @property
    def is_locked(self) -> bool:
        """Whether what was locked before is what is asked for now."""
        held = self.locked
        if held is None or (held.url, held.mirrors, held.tag) != (self.url, self.mirrors, self.tag):
            return False
        return self.commit in ("", held.commit)


def pin(settings: Settings, target: TargetIntent, lock: Lock, held: Mapping[str, GitSource], *, anew: bool) -> Lock:
    """The lock with its git sources. ``held``: those that were locked before, by place; ``anew``: ask for them again.

    Raises ``MovedTagError`` where a tag is not where it was, ``GoneCommitError`` where no remote has a commit.
    """
    found: dict[str, GitSource] = {}
    unresolved = []
    for wanted in _wanted(target, lock, held):
        source = _find(settings, wanted, anew=anew)
        if source is not None:
            found[wanted.what] = source
        else:
            unresolved.append(Unresolved(what=wanted.what, wanted=wanted.asked, why=UNREACHED))
    return replace(
        lock,
        components=tuple(replace(item, git=found.get(f"components.{item.name}.git")) for item in lock.components),
        externals=tuple(
            External(name=name, source=found[f"externals.{name}"])
            for name in sorted(target.externals)
            if f"externals.{name}" in found
        ),
        unresolved=tuple(unresolved),
    )


def _wanted(target: TargetIntent, lock: Lock, held: Mapping[str, GitSource]) -> list[Wanted]:
    versions = {wheel.name: wheel.version for wheel in lock.wheels}
    tables: list[tuple[str, ComponentIntent | SourceIntent, str]] = [
        (f"components.{name}.git", table, versions.get(table.distribution, target.version))
        for name, table in sorted(target.components.items())
        if table.git and (table.tag or table.commit)
    ]
    tables += [(f"externals.{name}", table, "") for name, table in sorted(target.externals.items())]
    return [
        Wanted(
            what=what,
            url=table.git or "",
            mirrors=table.mirrors,
            tag=table.tag or "",
            commit=table.commit or "",
            version=version,
            locked=held.get(what),
        )
        for what, table, version in tables
    ]


def _find(settings: Settings, wanted: Wanted, *, anew: bool) -> GitSource | None:
    """The source, resolved or as it was locked; None where it has to be left open."""
    held = wanted.locked if wanted.is_locked else None
    if settings.offline or (held is not None and not anew):
        return held
    try:
        return gitsource.resolve(
            settings,
            wanted.what,
            url=wanted.url,
            mirrors=wanted.mirrors,
            tag=wanted.tag,
            commit=wanted.commit,
            version=wanted.version,
            locked=wanted.locked,
        )
    except GoneCommitError:
        raise
    except (NetworkError, CommandError) as error:  # no answer; or no git here
        left = "it stays as it was locked" if held is not None else "it is left open"
        warn(f"{wanted.what}: {left} ({error.why.splitlines()[0] if error.why else error.what})")
        return held
