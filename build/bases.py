"""What a series is carried to: source trees of vLLM and of the components beside it, at one release or commit.

Composes: finds the archives of a release on the index, or a commit at its remote, and lays the trees out in the store.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from packaging.version import InvalidVersion, Version

from build import gitsource, index, releases, sourcetree, steps
from build.errors import OfflineError, ResolveError
from build.intent import ComponentIntent, Intent, RebaseIntent, TargetIntent
from build.models import Component, GitSource, Settings, SourceArchive
from build.releases import Release, Releases

MAIN = "vllm"  # the component that decides which versions of the others are wanted


@dataclass(frozen=True, kw_only=True)
class Base:
    """Source trees to carry a series to. ``trees``: component → folder; ``versions``: component → what it is."""

    label: str
    trees: Mapping[str, Path]
    versions: Mapping[str, str]


def tables(intent: Intent) -> dict[str, ComponentIntent]:
    """Component → its table, of every target that patches vLLM; the first that names it counts."""
    found: dict[str, ComponentIntent] = {}
    for target in intent.targets.values():
        if MAIN in target.components:
            found = {**target.components, **found}
    return found


def checksum(intent: Intent) -> str:
    """Of all that ``lock/rebase.toml`` follows from; empty where the intent has no table [rebase]."""
    if intent.rebase is None:
        return ""
    distributions = {name: table.distribution for name, table in tables(intent).items()}
    return releases.checksum(intent.rebase.model_dump(mode="json", by_alias=True), distributions)


# A release


def look_up(settings: Settings, intent: Intent, version: str) -> Release:
    """A release of vLLM by its source archive, and those of the other components at the versions that it pins."""
    if settings.offline:
        raise OfflineError(f"vLLM {version} is in no lock, and --offline was asked for", todo="run it with a network")
    known = tables(intent)
    archives = [(MAIN, _archive(intent, known[MAIN].distribution, version))]
    tree = ensure(settings, intent, MAIN, archives[0][1])
    text = (tree / _requirement_file(intent)).read_text(encoding="utf-8", errors="replace")
    for name, table in known.items():
        if name != MAIN and (wanted := releases.pinned(text, table.distribution)):
            archives.append((name, _archive(intent, table.distribution, wanted)))
    return Release(version=version, archives=tuple(archives))


def _requirement_file(intent: Intent) -> str:
    return (intent.rebase or RebaseIntent()).requirement_file


def _environment(intent: Intent) -> index.Environment:
    """Any target's: source archives are for every platform."""
    target = next(target for target in intent.targets.values() if MAIN in target.components)
    return index.Environment(platform=target.platform, python=target.python)


def _archive(intent: Intent, distribution: str, version: str) -> SourceArchive:
    for item in index.locate([(distribution, version)], _environment(intent)).values():
        if item.sdist:
            return SourceArchive(
                name=item.name, version=item.version, file=item.file, sha256=item.sha256, size=item.size
            )
    raise ResolveError(
        f"{distribution} {version} has no source archive",
        why="a series applies to sources, and the index has none for this release",
        todo="name another release, or a commit",
    )


def ensure(settings: Settings, intent: Intent, name: str, archive: SourceArchive) -> Path:
    """The tree of an archive, fetched where the store lacks it."""
    steps.fetch_python(settings, [archive], [_environment(intent)])
    return sourcetree.ensure(settings, component(tables(intent), name, archive))


def component(known: Mapping[str, ComponentIntent], name: str, archive: SourceArchive | None) -> Component:
    """A component as a lock would have it, before any series."""
    return Component(
        name=name,
        distribution=known[name].distribution,
        paths=tuple(sorted(known[name].paths.items())),
        archive=archive,
        git=None,
        files=(),
    )


def of_release(settings: Settings, intent: Intent, release: Release) -> Base:
    """The trees of a release."""
    return Base(
        label=f"v{release.version}",
        trees={name: ensure(settings, intent, name, archive) for name, archive in release.archives},
        versions={name: archive.version for name, archive in release.archives},
    )


# A commit, or a named tree


def of_source(settings: Settings, intent: Intent, label: str, source: GitSource) -> Base:
    """The trees of a commit of vLLM, and those of the other components at the versions that it pins."""
    tree = gitsource.ensure(settings, label, source)
    text = (tree / _requirement_file(intent)).read_text(encoding="utf-8", errors="replace")
    trees, versions = {MAIN: tree}, {MAIN: source.commit[:12]}
    for name, table in tables(intent).items():
        if name != MAIN and (wanted := releases.pinned(text, table.distribution)):
            trees[name] = ensure(settings, intent, name, _archive(intent, table.distribution, wanted))
            versions[name] = wanted
    return Base(label=label, trees=trees, versions=versions)


def of_reference(settings: Settings, intent: Intent, target: TargetIntent, named: str, locked: Releases | None) -> Base:
    """What ``--onto`` names: a release (``0.27.1``, ``v0.27.1``), a named tree, or a tag or commit of the remote."""
    if intent.rebase is not None and (table := intent.rebase.trees.get(named)):
        held = {item.name: item.source for item in locked.trees} if locked is not None else {}
        tree = held.get(named) or gitsource.resolve(
            settings, named, url=table.git, mirrors=table.mirrors, tag="", commit=table.commit, version="", locked=None
        )
        return of_source(settings, intent, named, tree)
    if (version := _version(named)) is not None:
        known = {item.version: item for item in (locked.releases if locked is not None else ())}
        return of_release(settings, intent, known.get(version) or look_up(settings, intent, version))
    main = target.components[MAIN]
    url = main.git or ""
    commit = named if re.fullmatch(r"[0-9a-f]{40}", named) else gitsource.lookup_any(url, main.mirrors, named)
    source = gitsource.resolve(
        settings, named, url=url, mirrors=main.mirrors, tag="", commit=commit, version="", locked=None
    )
    return of_source(settings, intent, named if named != commit else named[:12], source)


def _version(named: str) -> str | None:
    try:
        return str(Version(named.removeprefix("v")))
    except InvalidVersion:
        return None
