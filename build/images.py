"""What an engine knows of an image, through the Docker SDK."""

from __future__ import annotations

from dataclasses import dataclass
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
    size: int


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
        size=int(found["Size"]),
    )
