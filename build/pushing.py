"""An image into a repository: what is missing of it, its manifest by digest, read back; tags last.

Composes :mod:`build.registry`, :mod:`build.upload` and an image as :mod:`build.ociimage` reads it. What was sent stays
where a run is cut: the next one asks what is there and goes on.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from build import ocisource, registry, sidebyside, upload
from build.console import human_bytes, step, transfer
from build.errors import HashMismatchError, PublishError, RegistryError, TagError
from build.ociimage import Image
from build.registry import Manifest, Repository

WORKERS = 4


class Stopped(Exception):  # noqa: N818 - a signal within this module
    """Another blob could not be sent: this one need not be."""


@dataclass(frozen=True, kw_only=True)
class Sent:
    """What a push cost: bytes that were sent, and how many of the image's blobs were there already."""

    bytes: int
    blobs: int
    there: int


def manifest_of(image: Image) -> Manifest:
    """The image's manifest as its source has it; :class:`PublishError` for one without (a bare tar, an old save)."""
    if not image.manifest:
        raise PublishError(f"{image.name} has no manifest to publish", why="it is no OCI image", todo="build it here")
    data = _bytes(image, image.manifest)
    found = Manifest(media_type=str(json.loads(data).get("mediaType", registry.MANIFEST)), data=data)
    if found.digest != image.manifest:
        raise HashMismatchError(
            f"{image.name} changed while it was read", why=f"it was {image.manifest}", todo="run the same command again"
        )
    return found


def blobs_of(image: Image) -> list[upload.Blob]:
    """What the manifest names, the largest first: layers and config."""
    config = len(_bytes(image, image.config_digest))
    named = {image.config_digest: config, **{layer.digest: layer.size for layer in image.layers}}
    made = [blob_of(image, digest, size) for digest, size in named.items()]
    return sorted(made, key=lambda blob: -blob.size)


def blob_of(image: Image, digest: str, size: int) -> upload.Blob:
    file = f"blobs/{digest.replace(':', '/')}"
    return upload.Blob(
        digest=digest, size=size, open=lambda: ocisource.open_blob(image.source, file, image.name)
    )  # fmt: skip


def _bytes(image: Image, digest: str) -> bytes:
    with ocisource.open_blob(image.source, f"blobs/{digest.replace(':', '/')}", image.name) as stream:
        return stream.read()


def push(repository: Repository, image: Image, manifest: Manifest) -> Sent:
    """Bring all of an image in, under its digest and no tag, and read the manifest back."""
    blobs = blobs_of(image)
    missing = _missing(repository, blobs)
    size = sum(blob.size for blob in missing)
    sent = 0
    if missing:
        title = f"send {len(missing)} of {len(blobs)} blobs to {repository.reference}"
        with step(f"{title} ({human_bytes(size)})"), transfer(title, size) as progress:
            sent = send_all(repository, missing, progress)
    repository.put_manifest(manifest)
    read_back(repository, manifest, manifest.digest)
    return Sent(bytes=sent + len(manifest.data), blobs=len(blobs), there=len(blobs) - len(missing))


def _missing(repository: Repository, blobs: Sequence[upload.Blob]) -> list[upload.Blob]:
    repository.has_blob(blobs[-1].digest)  # logs in once, before all of them would
    stop = threading.Event()
    there = sidebyside.each(lambda blob: repository.has_blob(blob.digest), blobs, workers=WORKERS, stop=stop)
    return [blob for blob, known in zip(blobs, there, strict=True) if not known]


def send_all(repository: Repository, blobs: Iterable[upload.Blob], progress: upload.Progress) -> int:
    """Send blobs side by side; the bytes that were sent. The first that cannot be sent ends it, in their middle."""
    stop = threading.Event()

    def told(count: int) -> None:
        if stop.is_set():
            raise Stopped
        progress(count)

    return sum(sidebyside.each(lambda blob: upload.send(repository, blob, told), blobs, workers=WORKERS, stop=stop))


def read_back(repository: Repository, manifest: Manifest, reference: str) -> None:
    """That the registry gives the very manifest that was pushed."""
    found = repository.manifest(reference)
    if found is None or found.data != manifest.data:
        raise RegistryError(
            f"{repository.reference} does not give back what was pushed",
            why=f"under {reference}: {found.digest if found else 'nothing'}, pushed was {manifest.digest}",
            todo="no tag was moved; look at the registry, then run the same command again",
        )


def require_free(repository: Repository, tag: str, digest: str) -> bool:
    """Whether a tag that is never moved is there already; :class:`TagError` where it stands for another digest."""
    found = repository.resolve(tag)
    if found and found != digest:
        raise TagError(
            f"{repository.reference}:{tag} stands for another image",
            why=f"it is {found}, this one is {digest}; such a tag is never moved",
            todo="the same inputs gave another image: `nox -s diff` tells how they differ, `nox -s reproduce` which of "
            "them is right; a wrong one is deleted by its owner, never overwritten",
        )
    return bool(found)


def tag(repository: Repository, manifest: Manifest, immutable: str, moving: str) -> None:
    """The immutable tag where it is not there, then the moving one; each read back."""
    if not require_free(repository, immutable, manifest.digest):
        repository.put_manifest(manifest, immutable)
        read_back(repository, manifest, immutable)
    if repository.resolve(moving) != manifest.digest:
        repository.put_manifest(manifest, moving)
        read_back(repository, manifest, moving)
