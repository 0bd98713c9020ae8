"""What goes with a published image: signed statements, the lock, the Debian packages; made, then attached.

Composes. Statements are signed before anything is sent, so that a wrong password costs no upload. What is attached is
named by its kind, for the record: "signature", "sbom", "provenance", "smoke", "lock", "debs".
"""

from __future__ import annotations

import concurrent.futures
import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from build import cosign, engine, host, published, pushing, referrers, registry, roots, steps, store, upload
from build.canonical import canonical_json
from build.claims import Named
from build.console import human_bytes, step, transfer
from build.cosign import Cosign
from build.models import DebSet, Settings
from build.referrers import Part
from build.registry import Manifest, Repository

CREATED = "org.opencontainers.image.created"
LOCK_TYPE = "application/vnd.spark-runtime.lock.v1"
LISTS_TYPE = "application/vnd.spark-runtime.lists.v1+json"
DEBS_TYPE = "application/vnd.spark-runtime.debs.v1"
TOML_TYPE = "application/toml"
DEB_TYPE = "application/vnd.debian.binary-package"
SIMPLE_CONFIG = "application/vnd.oci.image.config.v1+json"
SIGNERS = 2  # cosign's at once: each opens the key by scrypt, which is meant to cost


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What is to be stated of a digest. ``kind``: for the record."""

    kind: str
    predicate_type: str
    predicate: bytes


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """Something ready to be attached: its manifest and the blobs below it."""

    kind: str
    manifest: Manifest
    parts: tuple[Part, ...]


def tool(settings: Settings) -> Cosign:
    """cosign from its root."""
    root = host.publish(settings)
    return Cosign([*engine.loader(root), root / cosign.PROGRAM], verbose=settings.verbose)


def signed(tool: Cosign, key: str, claims: Sequence[Claim], subject: Manifest, name: str, time: str) -> list[Artifact]:
    """Each claim about an image as a bundle that can be attached to it. ``name``: of the repository."""

    def one(claim: Claim) -> Artifact:
        bundle = tool.attest(key, claim.predicate_type, claim.predicate, name, subject.digest)
        return bundled(claim.kind, bundle, claim.predicate_type, subject, time)

    with (
        step(f"sign {', '.join(claim.kind for claim in claims)}"),
        concurrent.futures.ThreadPoolExecutor(SIGNERS) as pool,
    ):
        return list(pool.map(one, claims))


def bundled(kind: str, bundle: bytes, predicate_type: str, subject: Manifest, time: str) -> Artifact:
    """A bundle as an artifact, in the form of cosign 3 (its BUNDLE_SPEC.md)."""
    part = Part(media_type=cosign.BUNDLE_TYPE, blob=referrers.bytes_blob(bundle))
    annotations = {cosign.CONTENT: "dsse-envelope", cosign.PREDICATE: predicate_type, CREATED: time}
    manifest = referrers.artifact(cosign.BUNDLE_TYPE, [part], subject=subject, annotations=annotations)
    return Artifact(kind=kind, manifest=manifest, parts=(part,))


def old_signature(tool: Cosign, key: str, repository: str, digest: str) -> Artifact:
    """A signature for clients that know no bundles (cosign's SIGNATURE_SPEC.md), to be put under a tag of its own."""
    payload = cosign.simple_payload(repository, digest)
    blob = referrers.bytes_blob(payload)
    config = referrers.bytes_blob(
        canonical_json(
            {"architecture": "", "os": "", "config": {}, "rootfs": {"type": "layers", "diff_ids": [blob.digest]}}
        )
    )
    told = {
        "schemaVersion": 2,
        "mediaType": registry.MANIFEST,
        "config": {"mediaType": SIMPLE_CONFIG, "digest": config.digest, "size": config.size},
        "layers": [
            {
                "mediaType": cosign.SIMPLE_TYPE, "digest": blob.digest, "size": blob.size,
                "annotations": {cosign.SIMPLE_SIGNATURE: tool.sign(key, payload)},
            }
        ],
    }  # fmt: skip
    parts = (Part(media_type=cosign.SIMPLE_TYPE, blob=blob), Part(media_type=SIMPLE_CONFIG, blob=config))
    return Artifact(
        kind="old signature", manifest=Manifest(media_type=registry.MANIFEST, data=canonical_json(told)), parts=parts
    )


def lock(settings: Settings, paths: Sequence[Path], subject: Manifest) -> Artifact:
    """The lock files of a target, each under its path: `oras pull` lays them out as a clone has them."""
    parts = tuple(
        Part(
            media_type=TOML_TYPE,
            blob=referrers.bytes_blob(path.read_bytes()),
            title=str(path.relative_to(settings.repo)),
        )
        for path in paths
    )
    return Artifact(
        kind="lock", manifest=referrers.artifact(LOCK_TYPE, parts, subject=subject, annotations={}), parts=parts
    )


def lists(told: Named, subject: Manifest) -> Artifact:
    """What the locked wheels and packages themselves list, as digests, so that nobody needs those files to compare.

    Lists are in the image too; only these show whether they are the packages' own.
    """
    data = canonical_json(
        {"lists": dict(told.lists), "contradicted": {k: dict(v) for k, v in told.contradicted.items()}}
    )
    part = Part(media_type=LISTS_TYPE, blob=referrers.bytes_blob(data), title="lists.json")
    manifest = referrers.artifact(LISTS_TYPE, [part], subject=subject, annotations={})
    return Artifact(kind="lists", manifest=manifest, parts=(part,))


def debs(settings: Settings, debset: DebSet, subject: Manifest | None) -> Artifact:
    """The locked packages of a root file system, as they were fetched; without a subject: for all images of it."""
    parts = tuple(_deb(settings, deb.file, deb.sha256, deb.size) for deb in debset.debs)
    annotations = {"org.opencontainers.image.title": f"{debset.root}-{debset.arch}"}
    manifest = referrers.artifact(DEBS_TYPE, parts, subject=subject, annotations=annotations)
    return Artifact(kind="debs", manifest=manifest, parts=parts)


def _deb(settings: Settings, file: str, sha256: str, size: int) -> Part:
    path = store.blob(settings.store, sha256)
    blob = upload.Blob(digest=f"sha256:{sha256}", size=size, open=functools.partial(_read, path))
    return Part(media_type=DEB_TYPE, blob=blob, title=file)


def _read(path: Path) -> IO[bytes]:
    return open(path, "rb")


def debs_tag(debset: DebSet) -> str:
    """The tag of a package set: of the set's content, so that it never moves."""
    return f"debs-{debset.root}-{roots.root_id(debset)[:12]}"


def send_debs(repository: Repository, job: steps.Job, subject: Manifest) -> tuple[Artifact, int]:
    """Bring a root file system's packages in, once for all images of it; what to attach, and the bytes sent."""
    settings, debset = job.settings, job.rootfs
    whole, tag = debs(settings, debset, None), debs_tag(debset)
    attached = replace(debs(settings, debset, subject), parts=())  # they will be there: not asked for one by one
    if repository.resolve(tag) == whole.manifest.digest:
        return attached, 0
    host.fetch_debs(settings, debset)
    store.verify_all(settings.store, [(deb.file, deb.sha256) for deb in debset.debs])
    size = sum(part.blob.size for part in whole.parts)
    title = f"send the {len(whole.parts)} Debian packages of {debset.root}"
    with step(f"{title} ({human_bytes(size)})"), transfer(title, size) as progress:
        sent = pushing.send_all(repository, [part.blob for part in whole.parts], progress)
    sent += referrers.attach(repository, whole.manifest, ())
    repository.put_manifest(whole.manifest, tag)
    return attached, sent


def attach(repository: Repository, artifacts: Sequence[Artifact]) -> tuple[list[published.Document], int]:
    """Attach each; what to record of them, and the bytes that were sent."""
    made, sent = [], 0
    for item in artifacts:
        sent += referrers.attach(repository, item.manifest, item.parts)
        made.append(published.Document(kind=item.kind, digest=item.manifest.digest))
    return made, sent


def put_old(repository: Repository, item: Artifact, digest: str) -> int:
    """Put an old signature under its tag; the bytes that were sent."""
    sent = sum(upload.send(repository, part.blob, lambda _: None) for part in item.parts)
    repository.put_manifest(item.manifest, cosign.simple_tag(digest))
    return sent + len(item.manifest.data)
