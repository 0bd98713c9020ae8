"""How ``lock/rebase.toml`` is made: releases by their source archives, other trees by their commits.

Composes. What was locked before stays while it is still asked for; a tree whose remote cannot be reached is left open.
"""

from __future__ import annotations

from build import bases
from build.console import warn
from build.errors import CommandError, GoneCommitError, NetworkError, OfflineError
from build.intent import Intent
from build.locksources import UNREACHED
from build.models import Settings, Unresolved
from build.releases import NOTHING, NamedTree, Releases
from build.tables import TreeIntent


def resolve(settings: Settings, intent: Intent, before: Releases | None) -> Releases:
    """What [rebase] names, resolved. A tree that cannot be reached is left open; what was locked before stays.

    Where the intent has changed since, each release and tree is read again for what it wants beside vLLM.
    """
    wanted = intent.rebase
    assert wanted is not None
    before = before or NOTHING
    fresh = before.intent == bases.checksum(intent)
    found = []
    for version in wanted.releases:
        held = next((item for item in before.releases if item.version == version), None)
        found.append(held if held is not None and fresh else bases.look_up(settings, intent, version, held))
    trees, unresolved = [], []
    for name, table in sorted(wanted.trees.items()):
        tree = before.tree(name, url=table.git, mirrors=table.mirrors, commit=table.commit)
        if tree is None or not fresh:
            tree = _read(settings, intent, name, table, tree)
        trees.append(tree)
        if tree.source is None:
            asked = f"{table.git} {table.commit}"
            unresolved.append(Unresolved(what=f"trees.{name}", wanted=asked, why=UNREACHED))
    return Releases(
        intent=bases.checksum(intent), releases=tuple(found), trees=tuple(trees), unresolved=tuple(unresolved)
    )  # fmt: skip


def _read(settings: Settings, intent: Intent, name: str, table: TreeIntent, held: NamedTree | None) -> NamedTree:
    """The tree as it is today; as it was locked, or left open, where it cannot be reached."""
    try:
        source, folder = bases.read_tree(settings, name, table, held)
    except GoneCommitError:
        raise
    except (NetworkError, CommandError, OfflineError) as error:
        left = "it stays as it was locked" if held is not None else "it is left open"
        warn(f"rebase.trees.{name}: {left} ({error.why.splitlines()[0] if error.why else error.what})")
        return held or NamedTree(name=name, source=None)
    archives = bases.beside(settings, intent, folder, held.archives if held is not None else ())
    return NamedTree(name=name, source=source, archives=archives)
