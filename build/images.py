"""What an engine knows of an image, through the Docker SDK and, where it can be read, its content store."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import docker


@dataclass(frozen=True, kw_only=True)
class ImageFacts:
    """An image in an engine with the containerd store, whose id is the digest of its manifest."""

    digest: str
    platform: str
    labels: tuple[tuple[str, str], ...]
    layers: tuple[str, ...]


def facts(client: docker.DockerClient, name: str) -> ImageFacts | None:
    """The image of that name, or None where the engine has none. ``layers`` are diff ids, in order."""
    import docker.errors  # noqa: PLC0415

    try:
        api: Any = client.api
        found: dict[str, Any] = api.inspect_image(name)
    except docker.errors.ImageNotFound:
        return None
    return ImageFacts(
        digest=str(found["Id"]),
        platform=f"{found['Os']}/{found['Architecture']}",
        labels=tuple(sorted((found["Config"].get("Labels") or {}).items())),
        layers=tuple(found["RootFS"]["Layers"]),
    )


def blob(content: Path, digest: str) -> dict[str, Any]:
    """A manifest or a config (OCI image-spec, manifest.md and config.md) as the engine's content store holds it.

    ``content``: containerd's ``…content.v1.content/blobs``. Raises ``OSError`` or ``ValueError``.
    """
    algorithm, _, name = digest.partition(":")
    found: dict[str, Any] = json.loads((content / algorithm / name).read_text(encoding="utf-8"))
    return found


def compressed_layers(content: Path, digest: str) -> tuple[tuple[str, int], ...]:
    """The layers of an image manifest, in order: digest and bytes as they are pushed and pulled.

    Docker's API does not tell these sizes before Engine 28; empty where the store cannot be read.
    """
    try:
        return tuple((layer["digest"], layer["size"]) for layer in blob(content, digest)["layers"])
    except (OSError, ValueError, KeyError):
        return ()


def write_layout(content: Path, digest: str, folder: Path) -> None:
    """Copy an image out of the engine's content store, as an OCI image layout (image-spec, image-layout.md)."""
    made = blob(content, digest)
    size = (content / digest.replace(":", "/")).stat().st_size
    for name in (digest, made["config"]["digest"], *(layer["digest"] for layer in made["layers"])):
        target = folder / "blobs" / name.replace(":", "/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(content / name.replace(":", "/"), target)
    described = {"mediaType": made["mediaType"], "digest": digest, "size": size}
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [described]}), encoding="utf-8")
    (folder / "oci-layout").write_text(json.dumps({"imageLayoutVersion": "1.0.0"}), encoding="utf-8")
