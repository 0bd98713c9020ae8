"""Which image is which: what engines hold, found again among the records of what was published and built."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from build import images, published, results
from build.nodes import Held, Node, Running
from build.published import Record
from build.results import Result


@dataclass(frozen=True, kw_only=True)
class Known:
    """All records. ``content``: a content store (of containerd) whose manifests may be read, where there is one."""

    records: tuple[Record, ...]
    recorded: tuple[Result, ...]
    content: Path | None = None

    def config(self, manifest: str) -> str:
        """The digest of the config that a manifest names; empty where nobody knows. Manifests never change."""
        rows: list[Record | Result] = [*self.records, *self.recorded]
        if found := [row.config for row in rows if row.manifest == manifest and row.config]:
            return found[0]
        try:
            return str(images.blob(self.content, manifest)["config"]["digest"]) if self.content else ""
        except (OSError, ValueError, KeyError, TypeError):
            return ""

    def record_of(self, held: Held) -> Record | None:
        """The record of an image that an engine holds."""
        return next((record for record in self.records if _is(record, held)), None)

    def result_of(self, held: Held) -> Result | None:
        """What `lock/results/` says of it."""
        return next((result for result in self.recorded if _is(result, held)), None)


def read(repo: Path, content: Path | None) -> Known:
    """All that a clone's records say. ``LockError`` for one that was edited."""
    targets = sorted(path.stem for path in (repo / results.FOLDER).glob("*.toml"))
    recorded = tuple(result for target in targets if (result := results.read(repo, target)))
    return Known(records=published.read_all(repo), recorded=recorded, content=content)


def _is(said: Record | Result, held: Held) -> bool:
    return said.manifest in held.manifests or bool(held.config and said.config == held.config)


def holders(record: Record, engines: Sequence[Node]) -> list[tuple[Node, tuple[Running, ...]]]:
    """The engines that have a published image, each with the containers that run it."""
    found = []
    for node in engines:
        running = tuple(item for item in node.running if _is(record, item.image))
        if running or any(_is(record, held) for held in node.images):
            found.append((node, running))
    return found
