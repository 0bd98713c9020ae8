"""Records of what was published: ``lock/published/<digest>.toml``, one file per manifest digest, written by ``push``.

A record is a claim that anyone can check against the registry (``verify``); it is never an input of a build. The same
image pushed to a second repository, and smoke reports attached later, are added to its record.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from build import lockform

SCHEMA = 1
FOLDER = Path("lock/published")
HEADER = """\
# Written by `nox -s push`: what was published under this digest, when, from which commit. Layers from the lowest to
# the highest, as in lock/results/. `nox -s verify -- REPOSITORY@DIGEST` checks all of it against the registry.
"""


@dataclass(frozen=True, kw_only=True)
class PublishedLayer:
    """A layer: the digest of its content, of its compressed bytes, and their number."""

    diff_id: str
    digest: str
    size: int


@dataclass(frozen=True, kw_only=True)
class Signer:
    """Whose signature to expect. ``kind``: "key" (``identity``: sha256 of the public key's DER form) or "keyless"
    (``identity`` and ``issuer`` of the certificate); "" where nothing was signed, for private tests.
    """

    kind: str = ""
    identity: str = ""
    issuer: str = ""


@dataclass(frozen=True, kw_only=True)
class Tested:
    """A smoke report: sha256 of its JSON, when it was made, on what. ``gpu``: its name, empty where there was none."""

    sha256: str
    time: str
    execution: str
    gpu: str
    summary: str
    skipped: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Document:
    """Something attached to the digest: what it is ("sbom", "provenance", …) and its manifest's digest there."""

    kind: str
    digest: str


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where it was pushed: the repository (``ghcr.io/owner/name``), when (UTC, ISO 8601), its immutable tag there.

    ``commit``: of this repository, as it was pushed from. ``remarks``: what makes it unfit for others ("dirty
    checkout", …), empty for a release.
    """

    repository: str
    time: str
    tag: str
    commit: str
    remarks: tuple[str, ...]
    signer: Signer
    documents: tuple[Document, ...]


@dataclass(frozen=True, kw_only=True)
class Record:
    """One published image. ``engine``, ``buildkit``: what built it, as in a result. ``places``: the newest last."""

    target: str
    chain_id: str
    manifest: str
    config: str
    canonical_config: str
    rootfs: str
    engine: str
    buildkit: str
    places: tuple[Place, ...]
    reports: tuple[Tested, ...]
    layers: tuple[PublishedLayer, ...]

    @property
    def time(self) -> str:
        """The earliest of when it was published at its places; pushing it anew to one of them counts anew."""
        return min((place.time for place in self.places), default="")

    @property
    def remarks(self) -> tuple[str, ...]:
        """Those of its last publication."""
        return self.places[-1].remarks if self.places else ()

    def at(self, repository: str) -> Place | None:
        """Its publication in a repository."""
        return next((place for place in self.places if place.repository == repository), None)

    @property
    def size(self) -> int:
        """Compressed bytes of all layers."""
        return sum(layer.size for layer in self.layers)

    @property
    def on_gpu(self) -> tuple[Tested, ...]:
        """The reports that were made on a GPU."""
        return tuple(report for report in self.reports if report.gpu)


def merged(known: Record | None, new: Record) -> Record:
    """A record with what an older one of the same image tells besides: other places, other reports."""
    if known is None:
        return new
    here = {place.repository for place in new.places}
    seen = {report.sha256 for report in new.reports}
    places = (*(place for place in known.places if place.repository not in here), *new.places)
    reports = (*(report for report in known.reports if report.sha256 not in seen), *new.reports)
    return replace(new, places=places, reports=reports)


def path_of(repo: Path, digest: str) -> Path:
    """Where the record of a manifest digest is kept."""
    return repo / FOLDER / f"{digest.replace(':', '-')}.toml"


def text(record: Record) -> str:
    """The bytes of a record's file."""
    return lockform.text(HEADER, SCHEMA, _plain(asdict(record)))


def write(repo: Path, record: Record) -> Path:
    """Write a record, in one step; its path."""
    path = path_of(repo, record.manifest)
    lockform.write(path, text(record))
    return path


def read(repo: Path, digest: str) -> Record | None:
    """The record of a manifest digest; None where there is none. ``LockError`` for one that was edited."""
    path = path_of(repo, digest)
    return _read(path, f"{FOLDER}/{path.name}") if path.exists() else None


def read_file(path: Path) -> Record:
    """A record from any file."""
    return _read(path, str(path))


def read_all(repo: Path) -> tuple[Record, ...]:
    """Every record of this clone, the newest first."""
    found = [_read(path, f"{FOLDER}/{path.name}") for path in sorted((repo / FOLDER).glob("*.toml"))]
    return tuple(sorted(found, key=lambda record: (record.time, record.manifest), reverse=True))


def _read(path: Path, name: str) -> Record:
    data = lockform.read(path, name=name, schema=SCHEMA, refresh="restore it from git: a record is made once")
    return Record(
        **{
            **data,
            "places": tuple(_place(row) for row in data["places"]),
            "reports": tuple(Tested(**{**row, "skipped": tuple(row["skipped"])}) for row in data["reports"]),
            "layers": tuple(PublishedLayer(**row) for row in data["layers"]),
        }
    )


def _place(row: Mapping[str, Any]) -> Place:
    lists = {
        "remarks": tuple(row["remarks"]),
        "signer": Signer(**row["signer"]),
        "documents": tuple(Document(**item) for item in row["documents"]),
    }
    return Place(**{**row, **lists})


def _plain(data: Mapping[str, Any]) -> dict[str, Any]:
    """Tuples as lists, at every depth, as the TOML writer wants them."""
    return {key: _list(value) for key, value in data.items()}


def _list(value: Any) -> Any:
    if isinstance(value, Mapping):
        return _plain(value)
    return [_list(item) for item in value] if isinstance(value, (list, tuple)) else value
