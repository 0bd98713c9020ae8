"""The engines of this machine that could run a server: what each can do for it. Any will do, whatever it can build.

Composes :mod:`build.dockerapi`, :mod:`build.private` and :mod:`build.nvidia`.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from build import dockerapi, nvidia, private
from build.errors import EngineError, UsageError
from build.models import Settings

if TYPE_CHECKING:
    import docker

MINIMAL_API = (1, 41)  # Docker Engine 20.10: `platform` of a container


@dataclass(frozen=True, kw_only=True)
class Place:
    """An engine that answers. ``gpus``: how it hands over GPUs, empty where it does not; ``bridge``: it publishes
    ports; ``data``: where its files are, as far as this machine can tell; ``info``: all that it says of itself.
    """

    url: str
    private: bool
    version: str
    gpus: str
    bridge: bool
    data: Path
    info: dict[str, Any] = field(repr=False)

    def __str__(self) -> str:
        return f"Docker Engine {self.version} at {self.url}"


@dataclass(frozen=True, kw_only=True)
class Engines:
    """Those that answer, and why others do not."""

    places: tuple[Place, ...]
    lacks: tuple[str, ...]

    def demand(self) -> None:
        """Raise :class:`EngineError` where none answers."""
        if not self.places:
            raise EngineError(
                "no engine answers",
                why="; ".join(self.lacks),
                todo="start Docker, and let this user in (group docker); or the private one: nox -s engine -- up",
            )


def answering(settings: Settings) -> Engines:
    """The engines of this machine: the one that DOCKER_HOST names, else the private one and the user's own."""
    urls = [(dockerapi.user_url(), False)]
    if "DOCKER_HOST" not in os.environ:
        urls.insert(0, (private.places(settings.store).url, True))
    elif not urls[0][0].startswith("unix://"):
        raise UsageError(
            f"{urls[0][0]} is not on this machine",
            why="memory, driver and ports are looked at here",
            todo="run it on that machine, or unset DOCKER_HOST",
        )
    found, lacks = [], []
    for url, ours in urls:
        place, lack = look(settings, url, ours=ours)
        found += [place] if place else []
        lacks += [lack] if lack and not ours else []
    return Engines(places=tuple(found), lacks=tuple(lacks))


def look(settings: Settings, url: str, *, ours: bool) -> tuple[Place | None, str]:
    """What an engine says of itself, or why it does not."""
    if not os.path.exists(url.removeprefix("unix://")):
        return None, f"no engine answers at {url} (there is no such socket)"
    try:
        with opened(url, timeout=10) as client:
            version, info = client.version(), client.info()
            bridge = any(row["Driver"] == "bridge" for row in client.api.networks(names=["bridge"]))
    except EngineError as error:
        return None, f"no engine answers at {url} ({error.why})"
    if tuple(int(part) for part in str(version["ApiVersion"]).split(".")) < MINIMAL_API:
        return None, f"the engine at {url} is too old (API {version['ApiVersion']})"
    data = private.places(settings.store).home / "data" if ours else Path(str(info.get("DockerRootDir") or "/"))
    place = Place(
        url=url, private=ours, version=str(version.get("Version", "")), bridge=bridge, data=data, info=info,
        gpus=nvidia.handed_over(info, local=not ours),
    )  # fmt: skip
    return place, ""


@contextlib.contextmanager
def opened(url: str, *, timeout: int = dockerapi.TIMEOUT_SECONDS) -> Iterator[docker.DockerClient]:
    """A client that is closed in the end; what an engine says that is no answer is an :class:`EngineError`."""
    import docker.errors  # noqa: PLC0415 - 200 ms that --help does not spend
    import requests  # noqa: PLC0415

    try:
        with contextlib.closing(dockerapi.connect(url, timeout=timeout)) as client:
            yield client
    except (docker.errors.DockerException, requests.RequestException) as error:
        raise EngineError(
            f"the engine at {url} does not do what it was asked for",
            why=str(getattr(error, "explanation", "") or dockerapi.cause(error)),
            todo="look whether it runs, and lets this user in: docker -H URL version",
        ) from error


def best(places: Sequence[Place], *, gpu: bool, holds: Callable[[Place], bool]) -> Place:
    """The one to serve with: that has GPUs to hand over (``gpu``), then that has the image, then the first."""
    return min(places, key=lambda place: (gpu and not place.gpus, not holds(place)))
