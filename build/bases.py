"""What a series is carried to: source trees of vLLM and of the components beside it, at one release or commit.

Composes: finds the archives of a release on the index, or a commit at its remote, and lays the trees out in the store.
What is locked (``lock/rebase.toml``) is looked up nowhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from packaging.utils import canonicalize_name

from build import gitsource, index, overlay, releases, sourcetree, steps
from build.errors import OfflineError, ResolveError
from build.intent import MAIN, Intent
from build.models import Component, GitSource, Settings, SourceArchive
from build.releases import Archives, NamedTree, Release, Releases, parsed
from build.tables import ComponentIntent, RebaseIntent, TreeIntent


@dataclass(frozen=True, kw_only=True)
class Base:
    """Source trees to carry a series to.

    ``trees``: component → folder; ``versions``: component → what it is; ``lacking``: component → why it has no tree.
    """

    label: str
    trees: Mapping[str, Path]
    versions: Mapping[str, str]
    lacking: Mapping[str, str]


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


# Archives: looked up by `lock`, and for what no lock names


def look_up(settings: Settings, intent: Intent, version: str, held: Release | None = None) -> Release:
    """A release of vLLM by its source archive, and those of the other components at the versions that it pins.

    ``held``: what was locked for it, for another intent; an archive of it that is still asked for is not looked up.
    Raises ``ResolveError`` where the index has no such archive, ``OfflineError`` where it would have to be asked.
    """
    known = held.archives if held is not None else ()
    return complete(settings, intent, version, main_archive(settings, intent, version, known), known)


def main_archive(settings: Settings, intent: Intent, version: str, held: Archives) -> SourceArchive:
    """vLLM's own archive of a release; as :func:`look_up`."""
    return _archive(settings, intent, tables(intent)[MAIN].distribution, version, held)


def complete(settings: Settings, intent: Intent, version: str, main: SourceArchive, held: Archives) -> Release:
    """A release of which vLLM's own archive is known, with those beside it; as :func:`look_up`."""
    tree = ensure(settings, intent, main)
    return Release(version=version, archives=((MAIN, main), *beside(settings, intent, tree, held)))


def beside(settings: Settings, intent: Intent, tree: Path, held: Archives) -> Archives:
    """The source archives of the other components, at the versions that a tree of vLLM pins; as :func:`look_up`."""
    text = _requirements(intent, tree)
    return tuple(
        (name, _archive(settings, intent, table.distribution, wanted, held))
        for name, table in tables(intent).items()
        if name != MAIN and (wanted := releases.pinned(text, table.distribution))
    )


def _archive(settings: Settings, intent: Intent, distribution: str, version: str, held: Archives) -> SourceArchive:
    name = canonicalize_name(distribution)
    for _, archive in held:
        if archive.name == name and parsed(archive.version) == parsed(version):
            return archive
    if settings.offline:
        raise OfflineError(
            f"{distribution} {version} is in no lock, and --offline was asked for", todo="run it with a network"
        )
    for item in index.locate([(distribution, version)], _environment(intent)).values():
        if item.sdist:
            return item.archive
    raise ResolveError(
        f"{distribution} {version} has no source archive",
        why="a series applies to sources, and the index has none for this release",
        todo="name another release, or a commit",
    )


def _environment(intent: Intent) -> index.Environment:
    """Any target's: source archives are for every platform."""
    target = next(target for target in intent.targets.values() if MAIN in target.components)
    return index.Environment(platform=target.platform, python=target.python)


def _requirement_file(intent: Intent) -> str:
    return (intent.rebase or RebaseIntent()).requirement_file


def _requirements(intent: Intent, tree: Path) -> str:
    """What a tree of vLLM says that it wants; nothing where it has no such file."""
    file = overlay.read(tree, _requirement_file(intent))
    return file.data.decode("utf-8", "replace") if file is not None else ""


# Trees


def ensure(settings: Settings, intent: Intent, archive: SourceArchive) -> Path:
    """The tree of an archive, which is fetched where the store lacks both."""
    return sourcetree.ensure(
        settings,
        component(archive),
        obtain=lambda wanted: steps.fetch_python(settings, [wanted], [_environment(intent)]),
    )


def component(archive: SourceArchive) -> Component:
    """A component as far as it takes one to lay out its tree."""
    return Component(name=archive.name, distribution=archive.name, paths=(), archive=archive, git=None, files=())


def of_release(settings: Settings, intent: Intent, release: Release) -> Base:
    """The trees of a release."""
    trees = {name: ensure(settings, intent, archive) for name, archive in release.archives}
    return _base(intent, f"v{release.version}", trees, {name: archive.version for name, archive in release.archives})


def of_tree(settings: Settings, intent: Intent, label: str, source: GitSource, archives: Archives) -> Base:
    """The trees of a commit of vLLM, and of the other components at the versions that it pins."""
    trees = {MAIN: gitsource.ensure(settings, label, source)}
    trees |= {name: ensure(settings, intent, archive) for name, archive in archives}
    versions = {MAIN: source.commit[:12]} | {name: archive.version for name, archive in archives}
    return _base(intent, label, trees, versions)


def _base(intent: Intent, label: str, trees: Mapping[str, Path], versions: Mapping[str, str]) -> Base:
    there = overlay.read(trees[MAIN], _requirement_file(intent)) is not None
    lacking = {
        name: f"{label} does not say which {name} it wants: "
        + (f"no line `{table.distribution}==…` in {_requirement_file(intent)}" if there
           else f"it has no {_requirement_file(intent)}")
        for name, table in tables(intent).items() if name not in trees
    }  # fmt: skip
    return Base(label=label, trees=trees, versions=versions, lacking=lacking)


def of_locked(settings: Settings, intent: Intent, locked: Releases) -> tuple[Base, ...]:
    """Every release, and every tree that was read."""
    return (
        *(of_release(settings, intent, item) for item in locked.releases),
        *(
            of_tree(settings, intent, item.name, item.source, item.archives)
            for item in locked.trees
            if item.source is not None
        ),
    )


def read_tree(settings: Settings, name: str, table: TreeIntent, held: NamedTree | None) -> tuple[GitSource, Path]:
    """A tree of [rebase] as a source, and its folder. ``held``: what was locked of it, and is still asked for.

    Raises as ``gitsource.resolve`` and ``gitsource.ensure`` do.
    """
    source = held.source if held is not None else None
    if source is None:
        what = f"rebase.trees.{name}"
        source = gitsource.resolve(
            settings, what, url=table.git, mirrors=table.mirrors, tag="", commit=table.commit, version="", locked=None
        )
    return source, gitsource.ensure(settings, name, source)
