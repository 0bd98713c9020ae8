"""The pristine source tree of a component: its release's source archive, or its pinned git commit.

Kept in the store as ``trees/<id>/``, whole or not there; the id is that of the bytes it was made from.
"""

from __future__ import annotations

import gzip
import os
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path

from build import gitsource, treetar
from build import store as stores
from build.canonical import digest
from build.errors import LockError, OfflineError, UnresolvedError
from build.models import Component, GitSource, Lock, Settings, SourceArchive

Obtain = Callable[[SourceArchive], object]
"""Brings a source archive into the store."""

FORM = 1  # of what is kept: a new number makes every tree anew


def tree_id(component: Component, *, git: bool) -> str:
    """The id of a component's tree: of the pinned one, or of its archive's bytes. Raises ``LockError`` without one."""
    if git or component.archive is None:
        return gitsource.tree_id(_commit(component))
    return digest({"form": FORM, "archive": component.archive.sha256})


def _commit(component: Component) -> GitSource:
    if component.git is not None:
        return component.git
    raise LockError(
        f"the lock knows no commit of the component '{component.name}'",
        why="" if component.archive else "nor does it know a source archive",
        todo="name `git` and `commit` in its table of lock/targets.toml, then `nox -s lock`",
    )


def pins(component: Component, *, git: bool = False) -> dict[str, str]:
    """The submodules of a component's tree, path → commit. An archive's has none: it holds their files, if anything."""
    if component.git is None or (component.archive is not None and not git):
        return {}
    return {item.path: item.commit for item in component.git.submodules}


def require_resolved(lock: Lock, *, git: bool) -> None:
    """``UnresolvedError`` where the lock leaves open a commit that is asked for, or that there is no archive for."""
    left_open = {item.what: item for item in lock.unresolved}
    for component in lock.components:
        item = left_open.get(f"components.{component.name}.git")
        if item is not None and component.git is None and (git or component.archive is None):
            raise UnresolvedError(
                f"the lock leaves the commit of {component.name} open",
                why=f"{item.wanted}: {item.why}",
                todo=f"run `nox -s lock -- --target {lock.target}` where the remote can be reached"
                + (", or take the source archive: leave out `--from git`" if component.archive else ""),
            )


def ensure(settings: Settings, component: Component, *, git: bool = False, obtain: Obtain | None = None) -> Path:
    """The folder of a component's tree, made where the store lacks it.

    From the release's source archive (``obtain`` fetches one that the store lacks); from the pinned commit when
    ``git`` is asked for or no archive is locked (:func:`build.gitsource.ensure`). An interruption leaves nothing.
    Raises ``LockError`` (no such source is locked, or it is none), ``HashMismatchError``, ``OfflineError``.
    """
    if git or component.archive is None:
        return gitsource.ensure(settings, component.name, _commit(component))
    name = tree_id(component, git=False)
    final = settings.store / "trees" / name
    if final.is_dir():
        return final
    with stores.locked(settings.store, f"tree-{name[:16]}"), stores.scratch(settings.store, "tree") as scratch:
        if final.is_dir():
            return final
        made = _from_archive(settings, component.archive, scratch / "archive", obtain)
        final.parent.mkdir(parents=True, exist_ok=True)
        os.replace(made, final)
    return final


def _from_archive(settings: Settings, archive: SourceArchive, folder: Path, obtain: Obtain | None) -> Path:
    if obtain is not None:
        obtain(archive)
    if not stores.has(settings.store, archive.sha256, archive.size):
        raise OfflineError(
            f"{archive.file} is not in the store", todo="run `nox -s fetch` where there is a network, then again"
        )
    stores.verify(settings.store, archive.file, archive.sha256)
    try:
        with tarfile.open(stores.blob(settings.store, archive.sha256)) as tar:
            treetar.unpack(tar, folder)
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise LockError(
            f"{archive.file} cannot be unpacked",
            why=str(error),
            todo="its bytes are the locked ones: lock another release, or report this one",
        ) from error
    tops = sorted(folder.iterdir())
    if len(tops) != 1 or not tops[0].is_dir():
        raise LockError(
            f"{archive.file} does not hold one top folder",
            why=f"it holds {', '.join(top.name for top in tops) or 'nothing'}",
            todo="a source archive of a release is expected",
        )
    return tops[0]
