"""What is attached to a digest: manifests that name it as their subject, listed by the registry, or by a tag.

Specifications: OCI image-spec 1.1 (manifest.md: ``subject``, ``artifactType``, the empty descriptor); OCI
distribution-spec 1.1, "Listing Referrers" and, for registries without that API, the "Referrers Tag Schema": an index
under the tag ``sha256-<hex>``, which clients keep up themselves. GitHub's registry and Docker's own are of these.
"""

from __future__ import annotations

import hashlib
import io
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from build import registry, upload
from build.canonical import canonical_json
from build.errors import RegistryError
from build.registry import Manifest, Repository

EMPTY = b"{}"
EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
TITLE = "org.opencontainers.image.title"
TRIES = 4  # to put an index that somebody else changes at the same time
LIST_LIMIT = 100  # pages


@dataclass(frozen=True, kw_only=True)
class Part:
    """One blob of an artifact. ``title``: the file name that `oras pull` gives it."""

    media_type: str
    blob: upload.Blob
    title: str = ""

    @property
    def descriptor(self) -> dict[str, Any]:
        annotations = {"annotations": {TITLE: self.title}} if self.title else {}
        return {"mediaType": self.media_type, "digest": self.blob.digest, "size": self.blob.size, **annotations}


@dataclass(frozen=True, kw_only=True)
class Referrer:
    """What is attached: its manifest's digest, what it is, and what its annotations say."""

    digest: str
    artifact_type: str
    annotations: Mapping[str, str] = field(default_factory=dict)


def bytes_blob(data: bytes) -> upload.Blob:
    """Bytes as a blob."""
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    return upload.Blob(digest=digest, size=len(data), open=lambda: io.BytesIO(data))


def artifact(
    artifact_type: str, parts: Sequence[Part], *, subject: Manifest | None, annotations: Mapping[str, str]
) -> Manifest:
    """The manifest of an artifact; the same for the same values."""
    empty = bytes_blob(EMPTY)
    told = {
        "schemaVersion": 2,
        "mediaType": registry.MANIFEST,
        "artifactType": artifact_type,
        "config": {"mediaType": EMPTY_TYPE, "digest": empty.digest, "size": empty.size},
        "layers": [part.descriptor for part in parts],
        "annotations": dict(annotations),
    }
    if subject is not None:
        told["subject"] = {"mediaType": subject.media_type, "digest": subject.digest, "size": len(subject.data)}
    return Manifest(media_type=registry.MANIFEST, data=canonical_json(told))


def attach(
    repository: Repository, made: Manifest, parts: Sequence[Part], progress: upload.Progress = lambda _: None
) -> int:
    """Push an artifact and see to it that its subject's list names it; the bytes that were sent."""
    if repository.manifest(made.digest) is None:
        sent = sum(upload.send(repository, blob, progress) for blob in (bytes_blob(EMPTY), *(p.blob for p in parts)))
        listed = repository.put_manifest(made)
        sent += len(made.data)
    else:
        sent, listed = 0, False
    subject = made.content.get("subject")
    if subject and not listed and _api(repository, subject["digest"]) is None:
        sent += _add(repository, made, subject["digest"])
    return sent


def of(repository: Repository, digest: str) -> tuple[Referrer, ...]:
    """All that is attached to a digest, in the order of the registry."""
    rows = _api(repository, digest)
    if rows is None:
        rows = _rows(repository.manifest(fallback_tag(digest)), repository)
    return tuple(
        Referrer(
            digest=str(row.get("digest")),
            artifact_type=str(row.get("artifactType", "")),
            annotations=_texts(row.get("annotations")),
        )
        for row in rows
        if registry.DIGEST.fullmatch(str(row.get("digest")))
    )


def _texts(told: Any) -> dict[str, str]:
    return {str(key): str(value) for key, value in told.items()} if isinstance(told, dict) else {}


def fallback_tag(digest: str) -> str:
    """The tag of the list of a digest's referrers.

    >>> fallback_tag("sha256:" + 64 * "a")[:12]
    'sha256-aaaaa'
    """
    return digest.replace(":", "-")


def _api(repository: Repository, digest: str) -> list[dict[str, Any]] | None:
    """What the registry lists itself; None where it has no such API."""
    path = f"/v2/{repository.name}/referrers/{digest}"
    found: list[dict[str, Any]] = []
    for _ in range(LIST_LIMIT):
        answer = repository.http.request(
            "GET", path, repository.access, ok=(200, 400, 404, 405, 406, 501), headers={"Accept": registry.INDEX}
        )
        kind = answer.headers.get("Content-Type", "").split(";")[0]
        if answer.status_code != 200 or kind != registry.INDEX:
            return None
        found += _rows(Manifest(media_type=kind, data=answer.content), repository)
        path = registry.next_page(answer)
        if not path:
            break
    return found


def _rows(index: Manifest | None, repository: Repository) -> list[dict[str, Any]]:
    if index is None:
        return []
    try:
        return [row for row in index.content["manifests"] if isinstance(row, dict)]
    except (ValueError, KeyError, TypeError) as error:
        raise RegistryError(
            f"{repository.reference} has a list of attached documents that is no index", why=index.digest
        ) from error


def _add(repository: Repository, made: Manifest, subject: str) -> int:
    """Name an artifact in the list under the subject's tag. Read again after it was written: it has no other lock."""
    tag = fallback_tag(subject)
    content = made.content
    row = {
        "mediaType": made.media_type, "digest": made.digest, "size": len(made.data),
        "artifactType": content["artifactType"], "annotations": content["annotations"],
    }  # fmt: skip
    for attempt in range(TRIES):
        known = repository.manifest(tag)
        rows = _rows(known, repository)
        if any(entry.get("digest") == made.digest for entry in rows):
            return 0
        time.sleep(0.2 * attempt)
        others = known.content if known else {}
        try:
            sent = _put_list(repository, tag, others, [*rows, row])
        except RegistryError as error:
            there = [entry for entry in rows if _is_there(repository, str(entry.get("digest")))]
            if not error.status or len(there) == len(rows):
                raise
            sent = _put_list(repository, tag, others, [*there, row])  # some demand that what an index names is there
        if any(entry.get("digest") == made.digest for entry in _rows(repository.manifest(tag), repository)):
            return sent
    raise RegistryError(
        f"{repository.reference} does not keep the list of what is attached",
        why=f"{made.digest} is not in the index under {tag} after it was put there, {TRIES} times",
        todo="is somebody else attaching to the same digest? run it again",
    )


def _is_there(repository: Repository, digest: str) -> bool:
    return registry.DIGEST.fullmatch(digest) is not None and repository.manifest(digest) is not None


def _put_list(repository: Repository, tag: str, others: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> int:
    told = {**others, "schemaVersion": 2, "mediaType": registry.INDEX, "manifests": rows}
    index = Manifest(media_type=registry.INDEX, data=json.dumps(told, separators=(",", ":")).encode())
    repository.put_manifest(index, tag)
    return len(index.data)
