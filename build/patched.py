"""The series of a target over its components' trees: composes series, patches, trees and wheels.

Used by ``lock`` (which notes the hashes) and by ``patch`` and ``build`` (which demand them).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from build import (
    madewheel,
    patchwork,
    requirementfiles,
    requirements,
    sourcetree,
    store,
    treehash,
    udiffparse,
    wheels,
)
from build import series as serieses
from build.errors import LockError
from build.models import Component, Lock, PatchedFile, RequirementChange, Settings, SourceArchive, Wheel
from build.patchwork import Applied, Work
from build.sourcetree import Obtain


def inputs(lock: Lock, *, git: bool = False) -> tuple[Wheel | SourceArchive, ...]:
    """The locked files that the series needs: each component's wheel, and its source archive unless ``git``."""
    components = {item.distribution for item in lock.components}
    return (*(wheel for wheel in lock.wheels if wheel.name in components and not wheel.made), *archives(lock, git=git))


def archives(lock: Lock, *, git: bool = False) -> tuple[SourceArchive, ...]:
    """The source archives among them."""
    return tuple(item.archive for item in lock.components if item.archive is not None and not git)


def works(
    settings: Settings, lock: Lock, series: serieses.Series, *, git: bool = False, obtain: Obtain | None = None
) -> tuple[Work, ...]:
    """Each component that the series patches, with its pristine tree and its wheel's RECORD.

    Raises ``UnresolvedError`` where the lock leaves open a commit that is asked for, and as reading all these does.
    """
    sourcetree.require_resolved(lock, git=git)
    madewheel.ensure(settings, lock, obtain=obtain)
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
                compiled=_compiled(lock, component),
            )
        )
    return tuple(found)


def _compiled(lock: Lock, component: Component) -> tuple[str, ...]:
    native = lock.native
    return native.sources if native is not None and native.component == component.name else ()


def apply(
    settings: Settings, lock: Lock, series: serieses.Series, *, git: bool = False, obtain: Obtain | None = None
) -> Applied:
    """The series applied; the patched files are kept in the store. What the lock says of them is not asked."""
    return _apply(settings, works(settings, lock, series, git=git, obtain=obtain), series, git=git)


def _apply(settings: Settings, prepared: Sequence[Work], series: serieses.Series, *, git: bool) -> Applied:
    files: dict[str, tuple[PatchedFile, ...]] = {}
    trees: dict[str, tuple[str, str]] = {}
    content: dict[str, bytes] = {}
    for work in prepared:
        name = work.component.name
        patchwork.check_installable(work)
        files[name], made = patchwork.apply(work)
        content |= made
        trees[name] = treehash.tree_ids(work.tree, patchwork.changed(work), sourcetree.pins(work.component, git=git))
    return patchwork.write(settings.store, patchwork.patched_id(prepared, series.id), files, trees, content)


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


def demand(component: Component, applied: Applied, *, git: bool = False) -> None:
    """An error where the patched files, or the whole patched tree, are not the locked ones."""
    found = applied.files.get(component.name, ())
    if component.files != found:
        differing = sorted({file.source for file in set(component.files) ^ set(found)})
        raise LockError(
            f"the patched files of {component.name} are not the locked ones",
            why=", ".join(differing),
            todo="run `nox -s lock` if the series was meant to change",
        )
    trees = applied.trees.get(component.name)
    locked = (component.tree, component.patched_tree)
    of_lock = not git or component.archive is None  # a commit's tree has other files beside those of its archive
    if of_lock and trees is not None and trees != locked:
        raise LockError(
            f"the tree of {component.name} is not the locked one",
            why=f"expected {locked[0]}, patched {locked[1]}; found {trees[0]}, patched {trees[1]}",
            todo="drop it from the store (`nox -s clean -- trees`); if it was meant to change: `nox -s lock`",
        )


def locked(
    settings: Settings, lock: Lock, series: serieses.Series, *, git: bool = False, obtain: Obtain | None = None
) -> Applied:
    """The series applied, every hash and tree the lock's. Kept files are not made again."""
    sourcetree.require_resolved(lock, git=git)
    applied = patchwork.kept(settings.store, name(settings, lock, series, git=git))
    if applied is None:
        prepared = works(settings, lock, series, git=git, obtain=obtain)
        for work in prepared:
            patchwork.check_preimages(work)
        applied = _apply(settings, prepared, series, git=git)
    for component in lock.components:
        demand(component, applied, git=git)
    return applied


def locked_files(
    settings: Settings, lock: Lock, series: serieses.Series, *, git: bool = False, obtain: Obtain | None = None
) -> dict[str, Path]:
    """Installed path → the patched file in the store, as :func:`locked` makes them."""
    applied = locked(settings, lock, series, git=git, obtain=obtain)
    made = [file for group in applied.files.values() for file in group if file.installed and file.after]
    return {file.installed: applied.folder / file.installed for file in made}


def compiled_files(
    settings: Settings, lock: Lock, series: serieses.Series, *, obtain: Obtain | None = None
) -> dict[str, Path | None]:
    """Repository path → the patched source in the store, of what is compiled; None for one that the series deletes."""
    applied = locked(settings, lock, series, obtain=obtain)
    return {
        file.source: applied.folder / patchwork.compiled_place(key, file.source) if file.after else None
        for key, group in applied.files.items()
        for file in group
        if file.compiled
    }


def name(settings: Settings, lock: Lock, series: serieses.Series, *, git: bool) -> str:
    """The id in the store of the patched files, known before any tree is there."""
    bare = []
    for item in lock.components:
        if series.of(item.name):
            tree = sourcetree.tree_id(item, git=git or item.archive is None)
            bare.append(
                Work(
                    component=item,
                    tree=settings.store / "trees" / tree,
                    changes=(),
                    record={},
                    compiled=_compiled(lock, item),
                )
            )
    return patchwork.patched_id(bare, series.id)


def is_kept(settings: Settings, lock: Lock, series: serieses.Series) -> bool:
    """Whether the store holds the patched files, whole."""
    return patchwork.kept(settings.store, name(settings, lock, series, git=False)) is not None
