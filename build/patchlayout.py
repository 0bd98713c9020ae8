"""Whole patched trees: a series over each tree that it patches, and such trees in a folder of the user's."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from build import processes, sourcetree, treehash
from build.errors import LockError, UsageError
from build.models import Component, Lock, Settings
from build.overlay import Overlay
from build.patchsteps import walk
from build.series import Series

SHOWN = 5  # names of what is there

_PARTIAL = re.compile(r"\.[a-z0-9][a-z0-9.-]*\.partial-(\d+)")  # of a tree that is being written


def require_empty(folder: Path) -> None:
    """``UsageError`` for a folder that has something in it, or is none.

    What killed runs left there is removed, where there is nothing else.
    """
    todo = "name a folder that is empty, or not there yet"
    if not folder.is_dir():
        if os.path.lexists(folder):
            what = "a file" if folder.exists() else f"a symbolic link to {os.readlink(folder)}, which is not there"
            raise UsageError(f"{folder} is no folder", why=f"it is {what}", todo=todo)
        return
    there = sorted(folder.iterdir())
    if others := [path.name for path in there if not _is_leftover(path)]:
        names = ", ".join(others[:SHOWN]) + (", …" if len(others) > SHOWN else "")
        raise UsageError(f"{folder} is not empty", why=f"it holds {names}", todo=todo)
    for path in there:
        shutil.rmtree(path)


def _is_leftover(path: Path) -> bool:
    found = _PARTIAL.fullmatch(path.name)
    return found is not None and path.is_dir() and not path.is_symlink() and not processes.arguments(int(found[1]))


def patched_trees(settings: Settings, lock: Lock, series: Series, *, git: bool) -> dict[str, Overlay]:
    """Each component that the lock knows and the series patches, with its tree as the series makes it; as values.

    Raises ``PatchError`` where the series does not apply. Whether it is the locked one is not asked.
    """
    sourcetree.require_resolved(lock, git=git)
    found = {}
    for component in lock.components:
        if patches := series.of(component.name):
            found[component.name] = Overlay(tree=sourcetree.ensure(settings, component, git=git))
            for step in walk(found[component.name].tree, patches, {}):
                found[component.name] = step.before.after(step.edits)
    return found


def write(settings: Settings, lock: Lock, series: Series, folder: Path, *, git: bool) -> dict[str, str]:
    """Lay out each component that the series patches as ``folder/<component>``, whole or not there.

    Gives git's id of each tree. Raises ``PatchError`` where the series does not apply, and then nothing is there;
    ``LockError`` where what comes of it is not what is locked, and then that component is not there.
    """
    trees = patched_trees(settings, lock, series, git=git)
    by_name = {component.name: component for component in lock.components}
    return {name: _write(files, by_name[name], folder / name, git=git) for name, files in trees.items()}


def _write(files: Overlay, component: Component, final: Path, *, git: bool) -> str:
    final.parent.mkdir(parents=True, exist_ok=True)
    partial = final.with_name(f".{final.name}.partial-{os.getpid()}")
    try:
        files.write_out(partial)
        found = treehash.tree_id(partial, sourcetree.pins(component, git=git))
        of_lock = not git or component.archive is None  # a commit's tree has other files beside those of its archive
        if of_lock and found != component.patched_tree:
            raise LockError(
                f"the patched tree of {component.name} is not the locked one",
                why=f"expected {component.patched_tree}, found {found}",
                todo="drop its source from the store (`nox -s clean -- trees`), then again; "
                "`nox -s lock` if it was meant to change",
            )
        os.replace(partial, final)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return found
