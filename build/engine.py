"""The engine that builds and runs: the user's own where it can do the work, else the private one.

Composes :mod:`build.dockerapi` (who answers), :mod:`build.private` (ours) and :mod:`build.host` (its root).
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from build import dockerapi, host, private, proc
from build.console import say, step
from build.errors import BuildError, EngineError, HashMismatchError, LockError, NetworkError, OfflineError, SpaceError
from build.models import Engine, Settings

if TYPE_CHECKING:
    import docker

BUILDX = Path("usr/libexec/docker/cli-plugins/docker-buildx")
TLS_VARIABLES = ("DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH", "DOCKER_TLS")
# What a builder's driver needs to find its machines: ssh's agent, kubectl's configuration, a pod's own cluster.
BUILDER_VARIABLES: tuple[str, ...] = (
    "SSH_AUTH_SOCK",
    "KUBECONFIG",
    "KUBERNETES_SERVICE_HOST",
    "KUBERNETES_SERVICE_PORT",
)


def find(settings: Settings, *, start: bool = True) -> Engine:
    """The engine to use: the user's, if it answers and has what is needed, else the private one.

    A private one that runs already is kept to, unless DOCKER_HOST names another. ``start``: whether the private one
    may be started. Raises :class:`EngineError` naming what the user's lacks and why the private one cannot be had.
    """
    running = private.status(settings.store).engine
    if running and "DOCKER_HOST" not in os.environ:
        return running
    answer = dockerapi.ask(dockerapi.user_url())
    if answer.engine:
        return answer.engine
    lack = "; ".join(answer.lacks)
    if not running and not start:
        raise EngineError("no engine can do the work", why=lack, todo="start the private one: nox -s engine -- up")
    say(f"{lack}: using the private engine")
    try:
        return running or up(settings)
    except BuildError as error:
        if isinstance(error, (SpaceError, OfflineError, NetworkError, HashMismatchError, LockError)):
            raise
        raise EngineError(
            "no engine can do the work",
            why=f"{lack}. The private engine: {error.what}: {error.why}",
            todo=f"{error.todo}; or give this user a Docker Engine 26 or newer with the containerd image store "
            '("features": {"containerd-snapshotter": true} in its daemon.json)',
        ) from error


def of_builder() -> Engine:
    """What stands for the engine where a buildx builder was named: the user's, which need not be able to build."""
    return Engine(url=dockerapi.user_url(), private=False, version="")


def up(settings: Settings) -> Engine:
    """The private engine, started if it is not running."""
    running = private.status(settings.store).engine
    if running:
        return running
    tools = host.tools(settings)
    with step("start the private engine"):
        return private.up(settings.store, tools, network=proc.proxy_env())


def client(engine: Engine) -> docker.DockerClient:
    """The Docker SDK's client of ``engine``."""
    return dockerapi.connect(engine.url)


def buildx(engine: Engine, settings: Settings) -> tuple[list[str], dict[str, str]]:
    """How to run buildx against ``engine``: the start of an argument list, and what to add to the environment.

    The tools root's own buildx, through that root's dynamic loader: the host's glibc and buildx do not matter.
    Credentials for pushes are the user's (DOCKER_CONFIG, else ``~/.docker``); builders are looked up in the store,
    or in the user's own configuration where a builder was named.
    """
    tools = host.tools(settings)
    environment = {**dict(private.GO), **proc.network_env(), **_way(engine, settings)}
    if "DOCKER_CONFIG" in os.environ:
        environment["DOCKER_CONFIG"] = os.environ["DOCKER_CONFIG"]
    return [*loader(tools), str(tools / BUILDX)], environment


def _way(engine: Engine, settings: Settings) -> dict[str, str]:
    """What leads buildx to the engine, or to the builder that was named."""
    if settings.builder is None:
        config = settings.store / "buildx"
        config.mkdir(parents=True, exist_ok=True)
    else:
        config = Path(os.environ.get("BUILDX_CONFIG") or docker_config() / "buildx").absolute()
    found = {"BUILDX_CONFIG": str(config)}
    passed = BUILDER_VARIABLES
    if settings.builder is not None and is_context(settings.builder):
        found["DOCKER_CONTEXT"] = settings.builder  # a context is a builder only where it is the current one
    else:
        passed += TLS_VARIABLES
        found["DOCKER_HOST"] = engine.url
    if not engine.private:
        found |= {name: os.environ[name] for name in passed if name in os.environ}
    return found


def docker_config() -> Path:
    """The folder of the user's own Docker configuration."""
    return Path(os.environ.get("DOCKER_CONFIG") or "~/.docker").expanduser()


def is_context(name: str) -> bool:
    """Whether the user has a Docker context of that name (docker/cli, ``cli/context/store``: by its name's sha256)."""
    named = hashlib.sha256(name.encode()).hexdigest()
    return (docker_config() / "contexts" / "meta" / named / "meta.json").is_file()


def buildkit_version(engine: Engine, settings: Settings) -> str:
    """The version of the BuildKit in ``engine``, as buildx tells it; empty where it does not (Debian's is v0.0.0).

    Where a builder was named, its own: of its first node.
    """
    argv, environment = buildx(engine, settings)
    try:
        told = proc.run([*argv, "inspect", settings.builder or "default"], env=environment).stdout
    except BuildError:
        return ""
    lines = (line.partition(":") for line in told.splitlines())
    told = next((value.strip() for name, _, value in lines if name.strip() == "BuildKit version"), "")
    return "" if told.startswith("v0.0.0") else told


def loader(root: Path) -> list[str]:
    """How to run a program of ``root`` on the host: by the root's own dynamic loader and libraries."""
    found = sorted((root / "usr/lib").glob("*/ld-linux-*.so.*"))
    if not found:
        raise EngineError(f"{root} has no dynamic loader", todo="nox -s clean -- roots, then again")
    return [str(found[0]), "--library-path", str(found[0].parent)]
