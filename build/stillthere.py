"""Is what was published still there? Asked of the registry that a record names: the digest, and what its tags say."""

from __future__ import annotations

from dataclasses import dataclass

from build import registry
from build.credentials import Credentials
from build.published import Place, Record
from build.registry import Repository


@dataclass(frozen=True, kw_only=True)
class Tag:
    """A tag and the digest that it stands for now, empty where it is gone. ``fixed``: one that is never moved."""

    name: str
    digest: str
    fixed: bool


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What one repository says of one record. ``lack``: why there is no answer; nothing is known then."""

    repository: str
    manifest: str
    present: bool = False
    tags: tuple[Tag, ...] = ()
    lack: str = ""

    @property
    def findings(self) -> tuple[str, ...]:
        """What is not as the record says; that a moving tag moved on is none."""
        if self.lack:
            return ()
        said = [] if self.present else [f"{self.repository}@{self.manifest} is gone"]
        for tag in self.tags:
            if tag.fixed and tag.digest != self.manifest:
                now = f"stands for {tag.digest}" if tag.digest else "is gone"
                said.append(f"{self.repository}:{tag.name} {now}, and was published as {self.manifest}")
        return tuple(said)


def ask(record: Record, place: Place, credentials: Credentials | None) -> Answer:
    """Ask one place of a record. Raises the errors of :mod:`build.registry` where it does not answer as it must."""
    where = registry.parse(place.repository)
    with Repository(where.host, where.name, credentials) as repository:
        present = repository.manifest(record.manifest) is not None
        tags = [
            Tag(name=name, digest=repository.resolve(name), fixed=name == place.tag)
            for name in dict.fromkeys((place.tag, record.target))
        ]
    return Answer(repository=place.repository, manifest=record.manifest, present=present, tags=tuple(tags))
