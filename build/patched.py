"""The series of a target over its components' trees: composes series, patches, trees and wheels.

Used by ``lock`` (which notes the hashes) and by ``patch`` and ``build`` (which demand them).
"""

from __future__ import annotations

from pathlib import Path

from build import patchwork, requirementfiles, requirements, sourcetree, store, udiffparse, wheels
from build import series as serieses
from build.errors import LockError
from build.models import Component, Lock, PatchedFile, RequirementChange, Settings, SourceArchive, Wheel
from build.patchwork import Work
from build.sourcetree import Obtain


def inputs(lock: Lock, *, git: bool = False) -> tuple[Wheel | SourceArchive, ...]:
    """The locked files that the series needs: each component's wheel, and its source archive unless ``git``."""
    components = {item.distribution for item in lock.components}
    archives = [item.archive for item in lock.components if item.archive is not None and not git]
    return (*(wheel for wheel in lock.wheels if wheel.name in components), *archives)


def works(
    settings: Settings, lock: Lock, series: serieses.Series, *, git: bool = False, obtain: Obtain | None = None
) -> tuple[Work, ...]:
    """Each component that the series patches, with its pristine tree and its wheel's RECORD."""
    by_name = {wheel.name: wheel for wheel in lock.wheels}
    found = []
    for component in lock.components:
        if not series.of(component.name):
            continue
        wheel = by_name[component.distribution]
        tree = sourcetree.ensure(settings, component, git=git, obtain=obtain)
        found.append(
            Work(
                component=component,
                tree=tree,
                requirement_files=requirementfiles.closure(tree, component.requirement_files),
                changes=tuple(udiffparse.parse(patch.name, patch.data) for patch in series.of(component.name)),
                record=wheels.record(store.blob(settings.store, wheel.sha256)),
            )
        )
    return tuple(found)


def apply(
    settings: Settings, lock: Lock, series: serieses.Series, *, git: bool = False, obtain: Obtain | None = None
) -> tuple[Path, dict[str, tuple[PatchedFile, ...]]]:
    """The patched files, kept in the store: their folder, and each component's files with their hashes."""
    prepared = works(settings, lock, series, git=git, obtain=obtain)
    files: dict[str, tuple[PatchedFile, ...]] = {}
    content: dict[str, bytes] = {}
    for work in prepared:
        patchwork.check_installable(work)
        files[work.component.name], made = patchwork.apply(work)
        content |= made
    name = patchwork.patched_id(prepared, series.id)
    return patchwork.write(settings.store, name, files, content), files


def pristine(settings: Settings, component: Component) -> Path:
    """The tree that a component's patches apply to, made where the store lacks it."""
    return sourcetree.ensure(settings, component)


def requirement_changes(
    settings: Settings, lock: Lock, series: serieses.Series, *, obtain: Obtain | None = None
) -> dict[str, tuple[RequirementChange, ...]]:
    """What the series changes in the requirement files of each component that it patches."""
    found = {}
    for work in works(settings, lock, series, obtain=obtain):
        names = work.component.requirement_files
        before = requirementfiles.read(work.tree, names)
        after = requirementfiles.read(work.tree, names, patchwork.changed(work))
        found[work.component.name] = requirements.changes(before, after)
    return found


def demand(component: Component, found: tuple[PatchedFile, ...]) -> None:
    """An error where the patched files are not the locked ones."""
    if component.files == found:
        return
    differing = sorted({file.source for file in set(component.files) ^ set(found)})
    raise LockError(
        f"the patched files of {component.name} are not the locked ones",
        why=", ".join(differing),
        todo="run `nox -s lock` if the series was meant to change",
    )


def locked_files(
    settings: Settings, lock: Lock, series: serieses.Series, *, git: bool = False, obtain: Obtain | None = None
) -> dict[str, Path]:
    """Installed path → the patched file in the store; each hash is the lock's. Kept ones are not made again."""
    kept = patchwork.kept(settings.store, name(settings, lock, series, git=git))
    folder, files = kept or apply(settings, lock, series, git=git, obtain=obtain)
    for component in lock.components:
        demand(component, files.get(component.name, ()))
    made = [file for group in files.values() for file in group if file.installed and file.after]
    return {file.installed: folder / file.installed for file in made}


def name(settings: Settings, lock: Lock, series: serieses.Series, *, git: bool) -> str:
    """The id in the store of the patched files, known before any tree is there."""
    bare = []
    for item in lock.components:
        if series.of(item.name):
            tree = sourcetree.tree_id(item, git=git or item.archive is None)
            bare.append(Work(component=item, tree=settings.store / "trees" / tree, changes=(), record={}))
    return patchwork.patched_id(bare, series.id)


def is_kept(settings: Settings, lock: Lock, series: serieses.Series) -> bool:
    """Whether the store holds the patched files, whole."""
    return patchwork.kept(settings.store, name(settings, lock, series, git=False)) is not None
