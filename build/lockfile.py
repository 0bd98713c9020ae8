"""Read and write ``lock/<target>.toml``: machine-written, sorted, stable to the byte, one fact a line.

A lock carries two checksums: ``intent``, of the hand-written tables that it was made from, and ``checksum``, of all
that it says, so that an edit by hand is seen.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from build import lockform
from build.errors import LockError
from build.models import (
    Component,
    External,
    Fetched,
    GitSource,
    Lock,
    Native,
    Override,
    PatchedFile,
    PatchRef,
    RequirementChange,
    SourceArchive,
    Substitute,
    Unresolved,
    Wheel,
)

SCHEMA = 3
HEADER = "# Written by `nox -s lock`. Not to be edited: a build refuses a lock that was.\n"
FILE_KEYS = ("name", "version", "file", "size", "sha256")


def lock_path(repo: Path, target: str) -> Path:
    """Where a target's lock is kept."""
    return repo / "lock" / f"{target}.toml"


def read_lock(repo: Path, target: str, *, intent: str | None = None) -> Lock:
    """The lock of a target.

    ``intent``: the checksum of today's intent; a lock made from another is stale. Raises :class:`LockError` for a
    lock that is missing, stale, edited, or of another version of this tool.
    """
    path = lock_path(repo, target)
    refresh = f"run `nox -s lock -- --target {target}`"
    data = lockform.read(path, name=f"lock/{path.name}", schema=SCHEMA, refresh=refresh)
    if intent is not None and data["intent"] != intent:
        raise LockError(
            f"lock/{path.name} is stale",
            why="lock/targets.toml has changed since it was made",
            todo=f"{refresh} (versions stay as they are unless you ask for --upgrade)",
        )
    return _parse(data)


def known_wheels(repo: Path, target: str) -> tuple[Wheel, ...]:
    """The wheels that a target's lock names, however old or stale it is: what to hold on to and to compare with.

    None where there is no lock or it cannot be read.
    """
    try:
        data = tomllib.loads(lock_path(repo, target).read_text(encoding="utf-8"))
        return tuple(Wheel(**row) for row in data["wheels"])
    except (OSError, ValueError, KeyError, TypeError):
        return ()


def known_native(repo: Path, target: str) -> tuple[Wheel, ...]:
    """The same for the wheels of what a native build runs."""
    try:
        data = tomllib.loads(lock_path(repo, target).read_text(encoding="utf-8"))
        return tuple(Wheel(**row) for row in data["native"]["tools"])
    except (OSError, ValueError, KeyError, TypeError):
        return ()


def known_sources(repo: Path, target: str) -> dict[str, GitSource]:
    """The git sources that a target's lock names, by their place in it, however stale it is."""
    try:
        data = tomllib.loads(lock_path(repo, target).read_text(encoding="utf-8"))
        tables = {f"components.{name}.git": item.get("git") for name, item in data.get("components", {}).items()}
        tables |= {f"externals.{name}": item for name, item in data.get("externals", {}).items()}
        return {place: lockform.git_source(table) for place, table in tables.items() if table}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def requirement_changes(repo: Path, target: str) -> dict[str, tuple[RequirementChange, ...]]:
    """What a target's lock says that its series changes in requirements, by component, however stale it is."""
    try:
        data = tomllib.loads(lock_path(repo, target).read_text(encoding="utf-8"))
        rows = {name: table.get("requires", ()) for name, table in data.get("components", {}).items()}
        return {name: tuple(RequirementChange(**row) for row in group) for name, group in rows.items() if group}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _parse(data: Mapping[str, Any]) -> Lock:
    return Lock(
        target=data["target"],
        intent=data["intent"],
        epoch=data["epoch"],
        python=data["python"],
        platform=data["platform"],
        tools=tuple(Wheel(**row) for row in data["tools"]),
        wheels=tuple(Wheel(**row) for row in data["wheels"]),
        overrides=tuple(Override(**row) for row in data["overrides"]),
        patches=tuple(PatchRef(**row) for row in data["patches"]),
        unresolved=tuple(Unresolved(**row) for row in data["unresolved"]),
        components=tuple(_component(name, table) for name, table in data.get("components", {}).items()),
        externals=tuple(
            External(name=name, source=lockform.git_source(table)) for name, table in data.get("externals", {}).items()
        ),
        native=_native(data["native"]) if "native" in data else None,
    )


def _native(table: Mapping[str, Any]) -> Native:
    return Native(
        component=table["component"],
        sources=tuple(table["sources"]),
        requires=tuple(table["requires"]),
        tools=tuple(Wheel(**row) for row in table["tools"]),
        hosts=tuple(Wheel(**row) for row in table["hosts"]),
        tools_tree=table["tools-tree"],
        hosts_tree=table["hosts-tree"],
        fetched=tuple(Fetched(**row) for row in table["fetched"]),
        substitutes=tuple(
            Substitute(name=name, path=row["path"], tree=row["tree"], wheel=Wheel(**row["wheel"]))
            for name, row in table.get("substitutes", {}).items()
        ),
    )


def _component(name: str, table: Mapping[str, Any]) -> Component:
    return Component(
        name=name,
        distribution=table["distribution"],
        paths=tuple((row["source"], row["installed"]) for row in table["paths"]),
        archive=SourceArchive(**table["archive"]) if "archive" in table else None,
        git=lockform.git_source(table["git"]) if "git" in table else None,
        files=tuple(PatchedFile(**row) for row in table["files"]),
        requirement_files=tuple(table.get("requirement-files", ())),
        requires=tuple(RequirementChange(**row) for row in table["requires"]),
        tree=table["tree"],
        patched_tree=table["patched-tree"],
    )


def write_lock(repo: Path, lock: Lock) -> bool:
    """Write a target's lock in one step: a reader sees the old file or the new one. Whether its bytes changed."""
    return lockform.write(lock_path(repo, lock.target), lock_text(lock))


def lock_text(lock: Lock) -> str:
    """The bytes of a lock file: the same lock gives the same text."""
    data: dict[str, Any] = {
        "target": lock.target,
        "intent": lock.intent,
        "epoch": lock.epoch,
        "python": lock.python,
        "platform": lock.platform,
        "tools": _rows(lock.tools, FILE_KEYS),
        "wheels": _rows(lock.wheels, FILE_KEYS),
        "overrides": _rows(lock.overrides, ("requirement", "reason")),
        "patches": _rows(lock.patches, ("series", "component", "file", "sha256")),
        "unresolved": _rows(lock.unresolved, ("what", "wanted", "why")),
    }
    if lock.components:
        data["components"] = {item.name: _component_table(item) for item in lock.components}
    if lock.externals:
        data["externals"] = {item.name: asdict(item.source) for item in lock.externals}
    if lock.native is not None:
        data["native"] = _native_table(lock.native)
    return lockform.text(HEADER, SCHEMA, data)


def image_text(lock: Lock) -> str:
    """:func:`lock_text` without what enters no image: commits beside a source archive, names of requirement files,
    and what is left open.
    """
    components = tuple(
        replace(item, requirement_files=(), git=item.git if item.archive is None else None) for item in lock.components
    )
    return lock_text(replace(lock, components=components, unresolved=()))


def _rows(items: Iterable[Any], keys: tuple[str, ...]) -> list[dict[str, Any]]:
    """One row an item. A wheel that is made and a file that is compiled say so, others say nothing of it."""
    return [
        {key: getattr(item, key) for key in keys}
        | {flag: True for flag in ("made", "compiled") if getattr(item, flag, False)}
        for item in items
    ]


def _native_table(native: Native) -> dict[str, Any]:
    table: dict[str, Any] = {
        "component": native.component,
        "sources": list(native.sources),
        "requires": list(native.requires),
        "tools": _rows(native.tools, FILE_KEYS),
        "hosts": _rows(native.hosts, FILE_KEYS),
        "tools-tree": native.tools_tree,
        "hosts-tree": native.hosts_tree,
        "fetched": _rows(native.fetched, ("name", "url", "tag")),
    }
    if native.substitutes:
        table["substitutes"] = {
            item.name: {"path": item.path, "tree": item.tree, "wheel": _rows([item.wheel], FILE_KEYS)[0]}
            for item in native.substitutes
        }
    return table


def _component_table(item: Component) -> dict[str, Any]:
    table: dict[str, Any] = {"distribution": item.distribution}
    if item.archive is not None:
        table["archive"] = _rows([item.archive], FILE_KEYS)[0]
    if item.git is not None:
        table["git"] = asdict(item.git)
    table["paths"] = [{"source": source, "installed": installed} for source, installed in item.paths]
    if item.requirement_files:
        table["requirement-files"] = list(item.requirement_files)
    table["tree"] = item.tree
    table["patched-tree"] = item.patched_tree
    table["requires"] = _rows(item.requires, ("before", "after"))
    table["files"] = _rows(item.files, ("source", "installed", "before", "after"))
    return table
