"""What the locks of this clone name in the store, and what there is besides.

Composes: every lock under ``lock/`` is read, of all targets and architectures, and each id that a build could ask the
store for is computed. One lock that cannot be read is an error: what it names is not known then.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from build import (
    bases,
    deblock,
    debs,
    gitsource,
    licences,
    lockfile,
    named,
    patched,
    private,
    processes,
    recipe,
    releases,
    rootfs,
    roots,
    series,
    sourcetree,
    toolwheels,
    torchenv,
    wheeltree,
)
from build import store as stores
from build.errors import LockError
from build.intent import FILE, Intent, read_intent
from build.models import DebSet, Lock, Settings, Wheel

NO_TARGETS = (FILE.name, "actions.toml", releases.FILE.name)  # of lock/*.toml
LAUNCHED = re.compile(r"[0-9a-f]{24}")  # the launcher's name of an environment


@dataclass(frozen=True, kw_only=True)
class Named:
    """What locks name: ``blobs`` as sha256 → a file name, ``entries`` as folder of the store → names in it."""

    blobs: Mapping[str, str]
    entries: Mapping[str, frozenset[str]]


def read(settings: Settings) -> Named:
    """Everything that the locks of this clone name. Raises :class:`LockError` where one cannot be read."""
    intent = read_intent(settings.repo)
    locks = _target_locks(settings.repo, intent)
    debsets = _deb_sets(settings.repo)
    tools = toolwheels.read(settings.repo)
    blobs = {sha256: tool.name for tool in tools for sha256 in tool.hashes}
    for lock in locks:
        archives = (item.archive for item in lock.components if item.archive is not None)
        blobs |= {item.sha256: item.file for item in (*lock.wheels, *lock.tools, *archives, *_native_wheels(lock))}
    carried = releases.read(settings.repo) if (settings.repo / releases.FILE).exists() else releases.NOTHING
    blobs |= {archive.sha256: archive.file for _, archive in carried.archives}
    blobs |= {deb.sha256: deb.file for debset in debsets for deb in debset.debs}
    uvs = {f"uv-{wheel.sha256}" for lock in locks for wheel in lock.tools}
    folders = {roots.root_id(debset) for debset in debsets}
    entries = {
        "trees": frozenset(name for lock in locks for name in _trees(settings, intent, lock))
        | frozenset(_carried_trees(carried))
        | frozenset(_told(locks, debsets)),
        "roots": frozenset(folders | {f"{name}.tar" for name in folders} | uvs | _running_root(settings.store)),
        "rootfs": frozenset(f"{rootfs.rootfs_id(debset)}.tar" for debset in debsets),
        "contexts": frozenset(lock.target for lock in locks),
        "partial": frozenset(blobs),
    }
    return Named(blobs=blobs, entries=entries)


def _target_locks(repo: Path, intent: Intent) -> list[Lock]:
    there = {path.stem for path in (repo / "lock").glob("*.toml") if path.name not in NO_TARGETS}
    return [lockfile.read_lock(repo, name) for name in sorted(there | set(intent.targets))]


def _deb_sets(repo: Path) -> list[DebSet]:
    """Of every table of the intent, and of every lock that is there."""
    tables = tomllib.loads((repo / FILE).read_text(encoding="utf-8"))
    asked = {deblock.path_of(repo, request.root, request.arch) for request in debs.requests(tables)}
    return [deblock.read(path).debset for path in sorted(asked | set((repo / deblock.FOLDER).glob("*.toml")))]


def _native_wheels(lock: Lock) -> tuple[Wheel, ...]:
    """Of what a native build takes in."""
    native = lock.native
    return (*native.tools, *native.hosts, *(item.wheel for item in native.substitutes)) if native else ()


def _trees(settings: Settings, intent: Intent, lock: Lock) -> Iterator[str]:
    """The names in ``trees/`` that a target's lock and series give."""
    yield recipe.overlaps_name(lock.wheels)
    yield from (gitsource.tree_id(item.source) for item in lock.externals)
    if lock.native is not None:
        yield wheeltree.name(lock.native.tools)
        yield wheeltree.name(lock.native.hosts)
        yield from (wheeltree.name([item.wheel], item.path) for item in lock.native.substitutes)
    for item in lock.components:
        if item.archive is not None:
            yield sourcetree.tree_id(item, git=False)
        if item.git is not None:
            yield sourcetree.tree_id(item, git=True)
    if lock.target in intent.targets:
        target = intent.targets[lock.target]
        gone = [item.patterns for item in target.left_out]
        yield recipe.left_out_name(lock.wheels, gone)
        yield recipe.bytecode_name(lock.wheels, gone, target.bytecode)
        found = series.read(settings.repo, target.series, tuple(target.components))
        for git in (False, True):
            with suppress(LockError):  # a component has no such source
                name = patched.name(settings, lock, found, git=git)
                yield from (name, f"{name}.json")


def _told(locks: Iterable[Lock], debsets: Iterable[DebSet]) -> Iterator[str]:
    """The names in ``trees/`` of what packages say of themselves: their licences, and digests of their lists."""
    for lock in locks:
        yield licences.name(licences.wheels_of(lock))
    for debset in debsets:
        yield licences.name(debset.debs)
        yield named.deb_lists_name(debset)


def _carried_trees(carried: releases.Releases) -> Iterator[str]:
    """The names in ``trees/`` of what ``rebase`` carries series to."""
    for _, archive in carried.archives:
        yield sourcetree.tree_id(bases.component(archive), git=False)
    for tree in carried.trees:
        if tree.source is not None:
            yield gitsource.tree_id(tree.source)


def _running_root(store: Path) -> set[str]:
    """The root that the private engine of this store runs in, whatever it was made from."""
    now = private.status(store)
    return {Path(now.places.root_file.read_text(encoding="utf-8")).name} if now.running else set()


def strays(settings: Settings, named: Named) -> dict[str, list[Path]]:
    """Folder of the store → what is in it that no lock names and no process works with."""
    store = settings.store
    found = {"blobs": [path for path in _listed(store, "blobs/sha256/*/*") if path.name not in named.blobs]}
    for folder, names in named.entries.items():
        found[folder] = [
            path for path in _listed(store, f"{folder}/*") if path.name not in names and not stores.in_use(path)
        ]
    links = {path.stat().st_ino for path in found["blobs"]}
    found["contexts"] += [
        path for path in _listed(store, "contexts/*/**/*") if path.is_file() and path.stat().st_ino in links
    ]
    old = [path for path in _listed(store, "env/*") if _is_old(path)]
    old += [path for path in _listed(store, "env/behaviours-*") if path != torchenv.place(settings)]
    found["env"] = old + [lock for path in old if (lock := path.with_name(f"{path.name}.lock")).exists()]
    return found


def _listed(store: Path, pattern: str) -> list[Path]:
    return sorted(store.glob(pattern))


def _is_old(path: Path) -> bool:
    """Whether this is an environment of tools that is not ours, and nobody makes or runs it at this moment."""
    if not LAUNCHED.fullmatch(path.name) or path.name == Path(sys.prefix).name:
        return False
    return not stores.is_locked(path.with_name(f"{path.name}.lock")) and not processes.started_in(path)
