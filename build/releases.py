"""``lock/rebase.toml``: the releases and other trees that ``rebase`` carries the series to, by hash and by commit.

Nothing of it enters an image; it makes what the matrix says repeatable.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from packaging.version import InvalidVersion, Version

from build import lockform
from build.canonical import digest
from build.errors import LockError
from build.models import GitSource, SourceArchive, Unresolved

SCHEMA = 1
FILE = Path("lock/rebase.toml")
HEADER = "# Written by `nox -s lock`, from [rebase] of targets.toml: what series are carried to. No image has it.\n"
REFRESH = "run `nox -s lock`"
KEYS = ("name", "version", "file", "size", "sha256")


Archives = tuple[tuple[str, SourceArchive], ...]
"""(component, its source archive) pairs."""


@dataclass(frozen=True, kw_only=True)
class Release:
    """A release of vLLM: its own source archive, and those of the other components at the versions that it pins."""

    version: str
    archives: Archives


@dataclass(frozen=True, kw_only=True)
class NamedTree:
    """A tree that is no release; ``source`` is None until a run of ``lock`` could read it.

    ``archives``: the other components' source archives, at the versions that it pins.
    """

    name: str
    source: GitSource | None
    archives: Archives = ()


@dataclass(frozen=True, kw_only=True)
class Releases:
    """All that is locked for ``rebase``. ``intent``: the checksum of the table that it was made from."""

    intent: str
    releases: tuple[Release, ...]
    trees: tuple[NamedTree, ...]
    unresolved: tuple[Unresolved, ...] = ()

    def release(self, version: str) -> Release | None:
        """What is locked of a release, however its version is written (0.22 is 0.22.0)."""
        wanted = parsed(version)
        return next((item for item in self.releases if wanted and parsed(item.version) == wanted), None)

    def tree(self, name: str, *, url: str, mirrors: tuple[str, ...], commit: str) -> NamedTree | None:
        """What is locked of a tree, where that is what is asked for now; its mirrors are those of now."""
        found = next((item for item in self.trees if item.name == name), None)
        if found is None or found.source is None or (found.source.url, found.source.commit) != (url, commit):
            return None
        return replace(found, source=replace(found.source, mirrors=mirrors))

    @property
    def archives(self) -> Archives:
        """Every source archive of it."""
        groups = [*(item.archives for item in self.releases), *(item.archives for item in self.trees)]
        return tuple(pair for group in groups for pair in group)


NOTHING = Releases(intent="", releases=(), trees=())


def checksum(table: Mapping[str, Any], distributions: Mapping[str, str]) -> str:
    """The checksum of what the lock follows from: the table [rebase], and which distribution each component is."""
    return digest({"rebase": table, "components": distributions})


def parsed(version: str) -> Version | None:
    """A version as PEP 440 compares it; None for a text that is none.

    >>> parsed("v0.22") == parsed("0.22.0"), parsed("main")
    (True, None)
    """
    try:
        return Version(version)
    except InvalidVersion:
        return None


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
    data: dict[str, Any] = {
        "intent": locked.intent,
        "archives": [{"release": item.version, **row} for item in locked.releases for row in _rows(item.archives)],
        "unresolved": [asdict(item) for item in locked.unresolved],
    }
    trees = {
        item.name: {**asdict(item.source), "archives": _rows(item.archives)}
        for item in locked.trees
        if item.source is not None
    }
    if trees:
        data["trees"] = trees
    return lockform.text(HEADER, SCHEMA, data)


def _rows(archives: Archives) -> list[dict[str, Any]]:
    return [{"component": component, **{key: getattr(archive, key) for key in KEYS}} for component, archive in archives]


def read(repo: Path, *, intent: str | None = None) -> Releases:
    """The lock. ``intent``: the checksum of today's table; a lock made from another is a :class:`LockError`."""
    data = lockform.read(repo / FILE, name=str(FILE), schema=SCHEMA, refresh=REFRESH)
    if intent is not None and data["intent"] != intent:
        raise LockError(
            f"{FILE} is stale",
            why="[rebase] of lock/targets.toml has changed since, or what a component's distribution is",
            todo=REFRESH,
        )
    rows: dict[str, list[Mapping[str, Any]]] = {}
    for row in data["archives"]:
        rows.setdefault(row["release"], []).append(row)
    unresolved = tuple(Unresolved(**row) for row in data["unresolved"])
    trees = [_tree(name, table) for name, table in data.get("trees", {}).items()]
    trees += [NamedTree(name=item.what.removeprefix("trees."), source=None) for item in unresolved]
    return Releases(
        intent=data["intent"],
        releases=tuple(Release(version=version, archives=_archives(group)) for version, group in rows.items()),
        trees=tuple(sorted(trees, key=lambda item: item.name)),
        unresolved=unresolved,
    )


def _tree(name: str, table: Mapping[str, Any]) -> NamedTree:
    if "archives" not in table:
        raise LockError(
            f"{FILE} was written by an older version of this tool",
            why=f"it does not say which archives trees.{name} wants",
            todo=REFRESH,
        )
    source = {key: value for key, value in table.items() if key != "archives"}
    return NamedTree(name=name, source=lockform.git_source(source), archives=_archives(table["archives"]))


def _archives(rows: Iterable[Mapping[str, Any]]) -> Archives:
    return tuple((row["component"], SourceArchive(**{key: row[key] for key in KEYS})) for row in rows)
