"""An image in a registry as a source of its files, so that it is read as one in a folder is: nothing is pulled or kept.

Composes :mod:`build.registry` and :mod:`build.ociimage`.
"""

from __future__ import annotations

import io
from typing import IO

from build import ociimage
from build.errors import ImageNotFoundError, RegistryError
from build.ociimage import Image
from build.registry import Manifest, Repository

PREFIX = "blobs/sha256/"


class Remote:
    """What :class:`build.ocisource.Source` asks for, of a manifest and the blobs that it names."""

    def __init__(self, repository: Repository, manifest: Manifest) -> None:
        self.repository = repository
        self.manifests = {manifest.digest: manifest}
        self.sizes: dict[str, int] = {}
        self._learn(manifest)

    def has(self, name: str) -> bool:
        return name.startswith(PREFIX)

    def open(self, name: str) -> IO[bytes]:
        """A blob's bytes as they come in; who reads them compares the digest."""
        digest = f"sha256:{name.removeprefix(PREFIX)}"
        if digest in self.manifests:
            return io.BytesIO(self.manifests[digest].data)
        if digest in self.sizes:
            return self.repository.open_blob(digest, self.sizes[digest])
        found = self.repository.manifest(digest)
        if found is None:
            raise ImageNotFoundError(f"{self.repository.reference} has no {digest}")
        self.manifests[digest] = found
        self._learn(found)
        return io.BytesIO(found.data)

    def _learn(self, manifest: Manifest) -> None:
        try:
            told = manifest.content
            rows = [told["config"], *told["layers"]] if "config" in told else []
            self.sizes |= {str(row["digest"]): int(row["size"]) for row in rows}
        except (ValueError, KeyError, TypeError) as error:
            raise RegistryError(
                f"{self.repository.reference} has a manifest that is none", why=f"{manifest.digest}: {error!r}"
            ) from error


def opened(repository: Repository, digest: str) -> tuple[Image, Manifest]:
    """The image of a digest, and its manifest; :class:`ImageNotFoundError` where the repository has none."""
    manifest = repository.manifest(digest)
    if manifest is None:
        raise ImageNotFoundError(
            f"{repository.reference} has no {digest}",
            why="it was never pushed there, or was deleted",
            todo="`nox -s images -- --remote` tells what is there",
        )
    image = ociimage.of_digest(f"{repository.reference}@{digest}", Remote(repository, manifest), digest)
    return image, manifest
