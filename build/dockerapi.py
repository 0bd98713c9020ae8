"""The Docker Engine that answers on this machine, and whether it can do our work."""

from __future__ import annotations

import os
import platform
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from build.models import Engine

if TYPE_CHECKING:
    import docker

CONTAINERD_STORE = ["driver-type", "io.containerd.snapshotter.v1"]
API_NEEDED = (1, 45)  # Docker Engine 26, the first with BuildKit 0.13
TIMEOUT_SECONDS = 600
DEFAULT_URL = "unix:///var/run/docker.sock"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What an engine said, or why there was no answer; ``lacks`` in words, empty where it can do the work."""

    url: str
    engine: Engine | None
    lacks: tuple[str, ...]


def user_url() -> str:
    """Where the user's own engine is: DOCKER_HOST, else the current Docker context, else the default socket."""
    if named := os.environ.get("DOCKER_HOST"):
        return named
    import docker.context  # noqa: PLC0415 - 200 ms that a no-op build does not spend
    import docker.errors  # noqa: PLC0415

    try:
        context = docker.context.ContextAPI.get_current_context()
        return str(context.Host) if context else DEFAULT_URL
    except (docker.errors.DockerException, OSError, ValueError, KeyError):
        return DEFAULT_URL


def ask(url: str, *, private: bool = False, timeout: int = 10) -> Answer:
    """Ask the engine at ``url`` who it is and what it can do; never raises for an engine that does not answer."""
    try:
        _probe(url)
    except OSError as error:
        return Answer(url=url, engine=None, lacks=(f"no engine answers at {url} ({error.strerror or error})",))
    import docker.errors  # noqa: PLC0415
    import requests  # noqa: PLC0415

    try:
        api = connect(url, timeout=timeout)
        try:
            version, info = api.version(), api.info()
        finally:
            api.close()
    except (docker.errors.DockerException, requests.RequestException, OSError) as error:
        return Answer(url=url, engine=None, lacks=(f"no engine answers at {url} ({cause(error)})",))
    lacks = _lacks(version, info)
    engine = Engine(url=url, private=private, version=str(version.get("Version", "unknown")))
    return Answer(url=url, engine=None if lacks else engine, lacks=lacks)


def _probe(url: str) -> None:
    """Try a Unix socket before the SDK is loaded for it: 200 ms that most answers do not need."""
    scheme, _, path = url.partition("://")
    if scheme == "unix":
        with socket.socket(socket.AF_UNIX) as probe:
            probe.connect(path)


def connect(url: str, *, timeout: int = TIMEOUT_SECONDS) -> docker.DockerClient:
    """A client of the Docker SDK for the engine at ``url`` (TLS as DOCKER_TLS_VERIFY and DOCKER_CERT_PATH say)."""
    import docker  # noqa: PLC0415

    if url == os.environ.get("DOCKER_HOST"):
        return docker.from_env(timeout=timeout)
    return docker.DockerClient(base_url=url, timeout=timeout)


def _lacks(version: dict[str, Any], info: dict[str, Any]) -> tuple[str, ...]:
    name = f"Docker Engine {version.get('Version', '?')}"
    found: list[str] = []
    machine = str(info.get("Architecture", platform.machine()))
    if machine != platform.machine():
        found.append(f"{name} runs on {machine}, this machine is {platform.machine()}")
    if info.get("OSType", "linux") != "linux":
        found.append(f"{name} runs {info['OSType']} containers")
    if CONTAINERD_STORE not in (info.get("DriverStatus") or []):
        found.append(f"{name} does not use the containerd image store")
    api = tuple(int(part) for part in str(version.get("ApiVersion", "0")).split("."))
    if api < API_NEEDED:
        needed = ".".join(map(str, API_NEEDED))
        found.append(f"{name} is too old for BuildKit 0.13 (API {version.get('ApiVersion')}, needed {needed})")
    return tuple(found)


def cause(error: BaseException) -> str:
    """The innermost reason, without the layers that requests and urllib3 put around it."""
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__ or error
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)
