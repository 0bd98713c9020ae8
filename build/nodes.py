"""What engines hold and run of our images, and which of them is which, whatever the image store.

With the containerd image store an image's id is the digest of its manifest, with the classic one (overlay2 and the
like) that of its config. The config's digest is what both have: the classic store tells it, of the other one it is
looked up (records, results, a content store that can be read). The layers' diff ids and the settings of the config
are told by both.

Format: Docker Engine API 1.45 (``/info``, ``/images/json``, ``/images/{}/json``, ``/containers/json``).
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from build import dockerapi, sshengine
from build.errors import BuildError, UsageError

if TYPE_CHECKING:
    import docker

LABEL = "spark-runtime"
TARGET, CHAIN, CHECK = f"{LABEL}.target", f"{LABEL}.chain-id", f"{LABEL}.smoke"
SCHEMES = ("unix", "tcp", "http", "https", "ssh")
TIMEOUT_SECONDS = 30
ANY_API = "1.44"  # to be told which one an engine speaks
CONTAINERD, CLASSIC = "containerd", "classic"
# The members of a config (OCI image-spec, config.md) that say how it runs; engines add members of their own.
SETTINGS = ("Cmd", "Entrypoint", "Env", "ExposedPorts", "Labels", "StopSignal", "User", "Volumes", "WorkingDir")
Configs = Callable[[str], str]  # a manifest's digest → its config's, empty where it is not known


@dataclass(frozen=True, kw_only=True)
class Held:
    """An image of ours in an engine. ``id``: what the engine calls it; ``names``: tags and digests that it has there.

    ``manifests``: the digests of manifests that are known to be this image's. ``config``: its config's digest, empty
    where that cannot be told. ``layers`` (diff ids) and ``settings`` are asked for where a container runs of it; they
    are empty of an image that is gone from its engine.
    """

    id: str
    target: str
    chain_id: str
    names: tuple[str, ...] = ()
    manifests: tuple[str, ...] = ()
    config: str = ""
    layers: tuple[str, ...] = ()
    settings: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Running:
    """A container that runs: its name, how long ("Up 2 hours"), the name that it was started by, and its image."""

    name: str
    status: str
    started_as: str
    image: Held


@dataclass(frozen=True, kw_only=True)
class Node:
    """An engine and what it has of ours. ``lack``: why there is no answer; all else is empty then."""

    url: str
    name: str = ""
    version: str = ""
    store: str = ""
    images: tuple[Held, ...] = ()
    running: tuple[Running, ...] = ()
    lack: str = ""


def checked(url: str) -> str:
    """The URL of an engine as it was typed; :class:`UsageError` for what is none."""
    scheme, mark, place = url.partition("://")
    if not mark or not place or scheme not in SCHEMES:
        raise UsageError(
            f"'{url}' is no URL of a Docker Engine",
            why="that begins with unix://, tcp:// or ssh://",
            todo="for a machine that you reach by ssh: --node ssh://USER@HOST",
        )
    if scheme == "ssh":
        sshengine.command(url)
    return url


def look(url: str, configs: Configs) -> Node:
    """What the engine at ``url`` has of our images and runs of them; never raises for one that does not answer.

    ``url``: ``unix://``, ``tcp://`` (TLS as DOCKER_TLS_VERIFY and DOCKER_CERT_PATH say), ``ssh://``. Containers that
    ``smoke`` started are left out.
    """
    import docker.errors  # noqa: PLC0415 - 200 ms that a table without engines does not spend
    import requests  # noqa: PLC0415

    said: list[str] = []
    try:
        with _reached(checked(url), said) as api:
            return _told(url, api, configs)
    except BuildError as error:
        return Node(url=url, lack=f"{error.what}: {error.why}")
    except (docker.errors.DockerException, requests.RequestException, OSError) as error:
        return Node(url=url, lack=f"no engine answers at {url} ({next(filter(None, said), dockerapi.cause(error))})")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        return Node(url=url, lack=f"what answers at {url} is no Docker Engine that we understand ({error!r})")


@contextlib.contextmanager
def _reached(url: str, said: list[str]) -> Iterator[Any]:
    with contextlib.ExitStack() as kept:
        tunnel = kept.enter_context(sshengine.opened(url)) if url.startswith(sshengine.SCHEME) else None
        there = tunnel.url if tunnel else url
        if there == url and url.startswith("unix://"):
            with socket.socket(socket.AF_UNIX) as probe:  # the SDK would leave its own open where nobody listens
                probe.connect(url.removeprefix("unix://"))
        try:
            with contextlib.closing(_client(there, ANY_API)) as first:
                told = first.api.version(api_version=False)
            client = _client(there, str(told["ApiVersion"]))
            kept.callback(client.close)
            yield client.api
        except BaseException:
            said += [tunnel.said()] if tunnel else []
            raise


def _client(url: str, api: str) -> docker.DockerClient:
    """A client that speaks a version of the API: one that asks for it leaves its socket open where that fails."""
    import docker  # noqa: PLC0415

    if url.startswith("unix://"):
        return docker.DockerClient(base_url=url, version=api, timeout=TIMEOUT_SECONDS)
    return docker.from_env(version=api, timeout=TIMEOUT_SECONDS, environment={**os.environ, "DOCKER_HOST": url})


def _told(url: str, api: Any, configs: Configs) -> Node:
    """As few requests as can be: over ssh each is a connection of its own."""
    info = api.info()
    store = CONTAINERD if dockerapi.CONTAINERD_STORE in (info.get("DriverStatus") or []) else CLASSIC
    listed = {str(row["Id"]): row for row in api.images(filters={"label": TARGET})}
    rows = [row for row in api.containers(filters={"label": TARGET}) if CHECK not in (row.get("Labels") or {})]
    first = {str(row["ImageID"]): row for row in rows}
    runs = {name: _held(name, store, configs, _inspected(api, name, row)) for name, row in first.items()}
    return Node(
        url=url,
        name=str(info.get("Name", "")),
        version=str(info.get("ServerVersion", "")),
        store=store,
        images=tuple(runs.get(name) or _held(name, store, configs, row) for name, row in listed.items()),
        running=tuple(
            Running(
                name=str((row.get("Names") or [row["Id"][:12]])[0]).removeprefix("/"),
                status=str(row.get("Status", "")),
                started_as=str(row.get("Image", "")),
                image=runs[str(row["ImageID"])],
            )
            for row in rows
        ),
    )


def _inspected(api: Any, name: str, container: Mapping[str, Any]) -> Mapping[str, Any]:
    """All that the engine says of an image that runs; of one that is gone, its labels, which its container has too."""
    import docker.errors  # noqa: PLC0415

    try:
        found: Mapping[str, Any] = api.inspect_image(name)
    except docker.errors.NotFound:
        return {"Labels": container.get("Labels")}
    return found


def _held(name: str, store: str, configs: Configs, found: Mapping[str, Any]) -> Held:
    """An image from what was said of it: a row of the list, or what `inspect` says, which has layers and config."""
    config = found.get("Config") or {}
    labels = config.get("Labels") or found.get("Labels") or {}
    digests = [str(text).rpartition("@")[2] for text in found.get("RepoDigests") or ()]
    manifests = dict.fromkeys([name, *digests] if store == CONTAINERD else digests)
    known = name if store == CLASSIC else next(filter(None, map(configs, manifests)), "")
    return Held(
        id=name,
        target=str(labels.get(TARGET, "")),
        chain_id=str(labels.get(CHAIN, "")),
        names=tuple(dict.fromkeys([*(found.get("RepoTags") or ()), *(found.get("RepoDigests") or ())])),
        manifests=tuple(manifests),
        config=known,
        layers=tuple((found.get("RootFS") or {}).get("Layers") or ()),
        settings=_settings(found, config),
    )


def _settings(found: Mapping[str, Any], config: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """How an image runs, as both stores tell it; what is not set is left out, as they differ in writing that."""
    told = {name: config.get(name) for name in SETTINGS} | {name: found.get(name) for name in ("Os", "Architecture")}
    return tuple((name, json.dumps(value, sort_keys=True)) for name, value in sorted(told.items()) if value)
