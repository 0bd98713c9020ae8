"""Whose series are carried, and what each was made for: targets with their locked sources, trees of [rebase].

Composes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from build import index, lockfile, sourcetree, steps
from build import series as serieses
from build.bases import Base
from build.errors import UsageError
from build.intent import MAIN, Intent, target_checksum
from build.models import Settings
from build.series import Series


@dataclass(frozen=True, kw_only=True)
class Owner:
    """A series, whose it is, and what it was made for.

    ``name``: the target's, or the tree's. ``like``: the target whose components it patches. ``home``: the label of its
    base; ``trees``: component → the folder that its patches were written for. ``unread``: nobody has read its tree yet,
    and ``trees`` are those of ``like``.
    """

    name: str
    like: str
    series: Series
    home: str
    trees: Mapping[str, Path]
    unread: bool = False


def of_target(settings: Settings, intent: Intent, name: str | None) -> Owner:
    """A target's series, and the sources that its lock names; whether the series changed since does not matter.

    Raises ``LockError`` for a lock that is missing or broken, or was made for another intent: it may name other sources
    than those that the patches are for.
    """
    chosen, target = intent.target(name)
    if MAIN not in target.components:
        raise UsageError(f"the target {chosen} has no component '{MAIN}'", todo="name another --target")
    found = serieses.read(settings.repo, target.series, tuple(target.components))
    lock = lockfile.read_lock(settings.repo, chosen, intent=target_checksum(intent, chosen))
    sourcetree.require_resolved(lock, git=False)
    environment = index.Environment(platform=lock.platform, python=lock.python)
    trees = {
        item.name: sourcetree.ensure(
            settings, item, obtain=lambda wanted: steps.fetch_python(settings, [wanted], [environment])
        )
        for item in lock.components
        if item.name in found.components
    }
    return Owner(name=chosen, like=chosen, series=found, home=f"v{target.version}", trees=trees)


def every(settings: Settings, intent: Intent, there: Sequence[Base]) -> tuple[Owner, ...]:
    """Every target that patches vLLM, and every tree of [rebase]; one that is among ``there`` is its series' home.

    A target that is called as such a tree is the same sources: the tree stands for it, whether it was read or not.
    """
    named = intent.rebase.trees if intent.rebase is not None else {}
    targets = {
        name: of_target(settings, intent, name)
        for name, table in intent.targets.items()
        if MAIN in table.components and name not in named
    }
    read = {base.label: base.trees for base in there}
    trees = []
    for name, table in named.items():
        found = serieses.read(settings.repo, table.series, tuple(intent.targets[table.like].components))
        made_for = read.get(name, targets[table.like].trees)
        unread = name not in read
        trees.append(Owner(name=name, like=table.like, series=found, home=name, trees=made_for, unread=unread))
    return (*targets.values(), *trees)
