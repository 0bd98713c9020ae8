"""``lock/rebase.toml``: the releases and other trees that ``rebase`` carries the series to, by hash and by commit.

Nothing of it enters an image; it makes what the matrix says repeatable.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from build import lockform
from build.canonical import digest
from build.errors import LockError
from build.models import GitSource, SourceArchive, Unresolved

SCHEMA = 1
FILE = Path("lock/rebase.toml")
HEADER = "# Written by `nox -s lock`, from [rebase] of targets.toml: what series are carried to. No image has it.\n"
REFRESH = "run `nox -s lock`"
KEYS = ("name", "version", "file", "size", "sha256")


@dataclass(frozen=True, kw_only=True)
class Release:
    """A release of vLLM and what it wants of the other components: component → its source archive."""

    version: str
    archives: tuple[tuple[str, SourceArchive], ...]


@dataclass(frozen=True, kw_only=True)
class NamedTree:
    """A tree that is no release; ``source`` is None until a run of ``lock`` could read it."""

    name: str
    source: GitSource | None


@dataclass(frozen=True, kw_only=True)
class Releases:
    """All that is locked for ``rebase``. ``intent``: the checksum of the table that it was made from."""

    intent: str
    releases: tuple[Release, ...]
    trees: tuple[NamedTree, ...]
    unresolved: tuple[Unresolved, ...] = ()


def checksum(table: Mapping[str, Any], paths: Mapping[str, Any]) -> str:
    """The checksum of what the lock follows from: the table [rebase], and which distributions components are."""
    return digest({"rebase": table, "components": paths})


def pinned(requirements: str, distribution: str) -> str:
    r"""The version that a requirement file pins exactly; empty where it does not.

    >>> pinned("-r common.txt\nflashinfer-python==0.7.0.post1  # moves with vLLM\n", "flashinfer-python")
    '0.7.0.post1'
    """
    name = re.escape(distribution).replace(r"\-", "[-_.]")
    found = re.search(rf"^{name}(?:\[[^\]]*\])?\s*==\s*([^\s;#]+)", requirements, re.MULTILINE | re.IGNORECASE)
    return found[1] if found else ""


def text(locked: Releases) -> str:
    """The lock's bytes: the same releases give the same text."""
    rows = [
        {"release": item.version, "component": component, **{key: getattr(archive, key) for key in KEYS}}
        for item in locked.releases
        for component, archive in item.archives
    ]
    data: dict[str, Any] = {
        "intent": locked.intent,
        "archives": rows,
        "unresolved": [asdict(item) for item in locked.unresolved],
    }
    trees = {item.name: asdict(item.source) for item in locked.trees if item.source is not None}
    if trees:
        data["trees"] = trees
    return lockform.text(HEADER, SCHEMA, data)


def read(repo: Path, *, intent: str | None = None) -> Releases:
    """The lock. ``intent``: the checksum of today's table; a lock made from another is a :class:`LockError`."""
    data = lockform.read(repo / FILE, name=str(FILE), schema=SCHEMA, refresh=REFRESH)
    if intent is not None and data["intent"] != intent:
        raise LockError(f"{FILE} is stale", why="[rebase] of lock/targets.toml has changed since", todo=REFRESH)
    found: dict[str, list[tuple[str, SourceArchive]]] = {}
    for row in data["archives"]:
        archive = SourceArchive(**{key: row[key] for key in KEYS})
        found.setdefault(row["release"], []).append((row["component"], archive))
    unresolved = tuple(Unresolved(**row) for row in data["unresolved"])
    trees = [NamedTree(name=name, source=lockform.git_source(table)) for name, table in data.get("trees", {}).items()]
    trees += [NamedTree(name=item.what.removeprefix("trees."), source=None) for item in unresolved]
    return Releases(
        intent=data["intent"],
        releases=tuple(Release(version=version, archives=tuple(rows)) for version, rows in found.items()),
        trees=tuple(sorted(trees, key=lambda item: item.name)),
        unresolved=unresolved,
    )
