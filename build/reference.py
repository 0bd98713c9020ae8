"""Which image a reference names: in the engine, else in its registry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from build.errors import ImageNotFoundError, NetworkError

if TYPE_CHECKING:
    import docker

PLATFORM = "linux/arm64"
LABEL = "spark-runtime"
ABSENT = ("denied", "unauthorized", "not found", "invalid reference", "no match")  # a registry's ways to say no


@dataclass(frozen=True, kw_only=True)
class Image:
    """An image as an engine has it. ``target`` and the ids are its labels; ``foreign`` where they are not there."""

    name: str
    digest: str
    platform: str
    target: str
    chain_id: str
    series_id: str
    user: str

    @property
    def foreign(self) -> bool:
        return not self.target


def find(client: docker.DockerClient, name: str, *, offline: bool = False) -> Image:
    """The image of that reference, pulled for linux/arm64 where the engine has none.

    Raises :class:`ImageNotFoundError` where neither the engine nor the registry has it, :class:`NetworkError` where
    the registry does not answer.
    """
    import docker.errors  # noqa: PLC0415 - 200 ms that a message about arguments does not spend

    api: Any = client.api
    try:
        found: dict[str, Any] = api.inspect_image(name)
    except docker.errors.ImageNotFound as error:
        if offline:
            raise _not_found(name, "the engine has none and --offline was asked for") from error
        _pull(client, name)
        found = api.inspect_image(name)
    except docker.errors.APIError as error:
        raise _not_found(name, str(error.explanation)) from error
    labels = found["Config"].get("Labels") or {}
    return Image(
        name=name,
        digest=str(found["Id"]),
        platform=f"{found['Os']}/{found['Architecture']}",
        target=labels.get(f"{LABEL}.target", ""),
        chain_id=labels.get(f"{LABEL}.chain-id", ""),
        series_id=labels.get(f"{LABEL}.series-id", ""),
        user=found["Config"].get("User") or "",
    )


def _pull(client: docker.DockerClient, name: str) -> None:
    import docker.errors  # noqa: PLC0415

    try:
        for line in client.api.pull(name, platform=PLATFORM, stream=True, decode=True):
            if "error" in line:
                raise _not_found(name, str(line["error"]))
    except docker.errors.NotFound as error:
        raise _not_found(name, str(error.explanation)) from error
    except docker.errors.APIError as error:
        why = str(error.explanation)
        if any(word in why for word in ABSENT):
            raise _not_found(name, why) from error
        raise NetworkError(f"the registry of {name} cannot be reached", why=why) from error


def _not_found(name: str, why: str) -> ImageNotFoundError:
    return ImageNotFoundError(
        f"there is no image {name}", why=why, todo="build it (nox -s build), or name one with --image REF"
    )
