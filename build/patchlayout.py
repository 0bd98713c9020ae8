"""A component's whole patched tree in a folder of the user's, compared with the lock after it was written."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from build import sourcetree, treehash
from build.errors import LockError, UsageError
from build.models import Component, Lock, Settings
from build.overlay import Overlay
from build.patchsteps import walk
from build.series import Series


def require_empty(folder: Path) -> None:
    """``UsageError`` for a folder that has something in it, or is none."""
    if folder.is_dir() and not any(folder.iterdir()):
        return
    if os.path.lexists(folder):
        raise UsageError(f"{folder} is not empty", todo="name a folder that is empty, or not there yet")


def write(settings: Settings, lock: Lock, series: Series, folder: Path, *, git: bool) -> dict[str, str]:
    """Lay out each component that the series patches as ``folder/<component>``, whole or not there.

    Gives git's id of each tree. Raises ``PatchError`` where the series does not apply, ``LockError`` where what comes
    of it is not what is locked; then that component is not there.
    """
    sourcetree.require_resolved(lock, git=git)
    found = {}
    for component in lock.components:
        if patches := series.of(component.name):
            tree = sourcetree.ensure(settings, component, git=git)
            files = Overlay(tree=tree)
            for step in walk(tree, patches, {}):
                files = step.before.after(step.edits)
            found[component.name] = _write(files, component, folder / component.name, git=git)
    return found


def _write(files: Overlay, component: Component, final: Path, *, git: bool) -> str:
    final.parent.mkdir(parents=True, exist_ok=True)
    partial = final.with_name(f".{final.name}-{os.getpid()}")
    try:
        files.write_out(partial)
        pins = {item.path: item.commit for item in component.git.submodules} if component.git else {}
        found = treehash.tree_id(partial, pins)
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
