"""How ``lock/rebase.toml`` is made: releases by their source archives, other trees by their commits.

Composes. What was locked before stays while it is still asked for; a tree whose remote cannot be reached is left open.
"""

from __future__ import annotations

from build import bases, gitsource
from build.console import warn
from build.errors import CommandError, GoneCommitError, NetworkError
from build.intent import Intent
from build.locksources import UNREACHED
from build.models import GitSource, Settings, Unresolved
from build.releases import NamedTree, Releases


def resolve(settings: Settings, intent: Intent, before: Releases | None) -> Releases:
    """What [rebase] names, resolved. A tree that cannot be reached is left open; what was locked before stays."""
    wanted = intent.rebase
    assert wanted is not None
    held = {item.name: item.source for item in before.trees} if before is not None else {}
    known = {item.version: item for item in before.releases} if before is not None else {}
    names = set(bases.tables(intent))
    found = []
    for version in wanted.releases:
        item = known.get(version)
        if item is None or not {name for name, _ in item.archives} <= names:
            item = bases.look_up(settings, intent, version)
        found.append(item)
    trees, unresolved = [], []
    for name, table in sorted(wanted.trees.items()):
        source = held.get(name)
        if source is None or (source.url, source.commit) != (table.git, table.commit):
            source = _read(settings, name, table.git, table.mirrors, table.commit)
        trees.append(NamedTree(name=name, source=source))
        if source is None:
            asked = f"{table.git} {table.commit}"
            unresolved.append(Unresolved(what=f"trees.{name}", wanted=asked, why=UNREACHED))
    return Releases(
        intent=bases.checksum(intent), releases=tuple(found), trees=tuple(trees), unresolved=tuple(unresolved)
    )  # fmt: skip


def _read(settings: Settings, name: str, url: str, mirrors: tuple[str, ...], commit: str) -> GitSource | None:
    if settings.offline:
        return None
    try:
        return gitsource.resolve(
            settings, f"rebase.trees.{name}", url=url, mirrors=mirrors, tag="", commit=commit, version="", locked=None
        )
    except GoneCommitError:
        raise
    except (NetworkError, CommandError) as error:
        warn(f"rebase.trees.{name}: it is left open ({error.why.splitlines()[0] if error.why else error.what})")
        return None
