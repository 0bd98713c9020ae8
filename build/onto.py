"""What ``--onto`` names: a tree of [rebase], a release, or a tag, a branch or a commit of vLLM's remote.

Composes. What is locked and still asked for is looked up nowhere.
"""

from __future__ import annotations

import re

from build import bases, gitsource
from build.bases import Base
from build.errors import NetworkError, ResolveError
from build.intent import FILE, MAIN, Intent
from build.models import Settings
from build.releases import NamedTree, Release, Releases, parsed
from build.tables import ComponentIntent, TargetIntent, TreeIntent


def find(settings: Settings, intent: Intent, target: TargetIntent, named: str, locked: Releases) -> Base:
    """The trees that a name stands for: in [rebase]; else of a release; else at the remote of the target's vLLM.

    ``locked``: what is locked, for whatever intent. Raises ``ResolveError`` where the name is nothing, which says what
    it was tried as; ``NetworkError`` and ``OfflineError`` where that cannot be known.
    """
    if intent.rebase is not None and named in intent.rebase.trees:
        tree = _named_tree(settings, intent, intent.rebase.trees[named], named, locked)
        assert tree.source is not None
        return bases.of_tree(settings, intent, named, tree.source, tree.archives)
    release = _release(settings, intent, named, locked) if parsed(named) is not None else None
    if isinstance(release, Release):
        return bases.of_release(settings, intent, release)
    return _of_remote(settings, intent, target.components[MAIN], named, release)


def _named_tree(settings: Settings, intent: Intent, table: TreeIntent, name: str, locked: Releases) -> NamedTree:
    held = locked.tree(name, url=table.git, mirrors=table.mirrors, commit=table.commit)
    if held is not None and locked.intent == bases.checksum(intent):
        return held
    source, folder = bases.read_tree(settings, name, table, held)
    archives = bases.beside(settings, intent, folder, held.archives if held is not None else ())
    return NamedTree(name=name, source=source, archives=archives)


def _release(settings: Settings, intent: Intent, named: str, locked: Releases) -> Release | ResolveError:
    """A release as it is locked, else as the index has it; the reason where it has none of that version."""
    held = locked.release(named)
    if held is not None and locked.intent == bases.checksum(intent):
        return held
    known = held.archives if held is not None else ()
    try:
        archive = bases.main_archive(settings, intent, str(parsed(named)), known)
    except ResolveError as error:
        return error
    return bases.complete(settings, intent, archive.version, archive, known)


def _of_remote(
    settings: Settings, intent: Intent, main: ComponentIntent, named: str, no_release: ResolveError | None
) -> Base:
    """A commit of the component's remote, however it is named."""
    if not main.git:
        raise ResolveError(
            f"there is no release {named}" if no_release else f"{named} is no release",
            why=_reasons(no_release, f"the component '{MAIN}' names no `git` to ask for a tag or a commit"),
            todo=f"name a release that the index has, or give that component a `git` in {FILE}",
        )
    whole = re.fullmatch(r"[0-9a-fA-F]{40}", named)
    commit = named.lower() if whole else _commit(settings, main.git, main.mirrors, named, no_release)
    source = gitsource.resolve(
        settings, MAIN, url=main.git, mirrors=main.mirrors, tag="", commit=commit, version="", locked=None
    )
    archives = bases.beside(settings, intent, gitsource.ensure(settings, MAIN, source), ())
    return bases.of_tree(settings, intent, commit[:12] if whole else named, source, archives)


def _commit(
    settings: Settings, url: str, mirrors: tuple[str, ...], named: str, no_release: ResolveError | None
) -> str:  # fmt: skip
    """What a tag or a branch stands for; an error that says what else the name was tried as."""
    short = re.fullmatch(r"[0-9a-f]{4,39}", named)
    advice = "name a release that the index has, a tag, a branch or a commit"
    if short:
        advice += f", that by all its 40 digits (`git rev-parse {named}` says them)"
    try:
        return gitsource.lookup_any(settings, url, mirrors, named)
    except ResolveError as error:
        raise ResolveError(error.what, why=_reasons(no_release, error.why), todo=advice) from error
    except NetworkError as error:
        todo = f"{advice}; else {error.todo}" if short or no_release else error.todo
        raise NetworkError(f"{named} could not be looked up", why=_reasons(no_release, error.why), todo=todo) from error


def _reasons(no_release: ResolveError | None, why: str) -> str:
    """Why a name is no release, where it might have been one, and why it is nothing else."""
    return "\n       ".join([*([no_release.why or no_release.what] if no_release is not None else []), why])
