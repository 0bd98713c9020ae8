"""Servers of ours in an engine: which run, how they are, how they ended; and the volumes of what their images compiled.

Format: Docker Engine API 1.41 (``/containers/json``, ``/containers/{}/json``, ``/volumes``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from build import servercontainer, serverends
from build.serverends import Event

TAIL = 400  # lines of a log that are looked at for why a server ended
RUNNING = ("running", "restarting", "paused")  # "created" is what a start left that was killed
DEFAULT_STOP = 60  # seconds, for a container whose label was lost


@dataclass(frozen=True, kw_only=True)
class Server:
    """A container that serves, or did. ``status``: Docker's word; ``health``: of its health check, with what that said.

    ``engine``: the URL of the engine that has it.
    """

    id: str
    engine: str
    profile: str
    target: str
    image: str
    model: str
    url: str
    status: str
    exit_status: int
    oom: bool
    error: str
    started: str
    finished: str
    health: str
    health_said: str
    stop_seconds: int

    @property
    def lives(self) -> bool:
        return self.status in RUNNING

    @property
    def end(self) -> str:
        """Why it ended, in words."""
        return self.error or serverends.words(self.exit_status, oom=self.oom)


@dataclass(frozen=True, kw_only=True)
class Cache:
    """A volume. ``image``: the digest of the image that it belongs to; ``used``: a container has it."""

    name: str
    image: str
    engine: str
    used: bool = False


def find(api: Any, engine: str) -> tuple[Server, ...]:
    """The servers of an engine, those that run first."""
    rows = api.containers(all=True, filters={"label": servercontainer.SERVE})
    found = [look(api, str(row["Id"]), engine) for row in rows]
    return tuple(
        sorted((item for item in found if item), key=lambda item: (not item.lives, item.started), reverse=False)
    )


def look(api: Any, container: str, engine: str) -> Server | None:
    """One of them as it is now; None where it is gone."""
    import docker.errors  # noqa: PLC0415

    try:
        told: dict[str, Any] = api.inspect_container(container)
    except docker.errors.NotFound:
        return None
    labels = told["Config"].get("Labels") or {}
    state = told["State"]
    health = state.get("Health") or {}
    checks = health.get("Log") or []
    stop = str(labels.get(servercontainer.STOP, ""))
    return Server(
        id=str(told["Id"]), engine=engine, profile=str(labels.get(servercontainer.SERVE, "")),
        target=str(labels.get(f"{servercontainer.LABEL}.target", "")),
        image=str(labels.get(servercontainer.IMAGE, "")), model=str(labels.get(servercontainer.MODEL, "")),
        url=str(labels.get(servercontainer.URL, "")), status=str(state["Status"]),
        exit_status=int(state.get("ExitCode") or 0), oom=bool(state.get("OOMKilled")),
        error=str(state.get("Error") or ""), started=str(state.get("StartedAt") or ""),
        finished=str(state.get("FinishedAt") or ""), health=str(health.get("Status") or ""),
        health_said=str(checks[-1].get("Output") or "").strip() if checks else "",
        stop_seconds=int(stop) if stop.isdigit() else DEFAULT_STOP,
    )  # fmt: skip


def lines(api: Any, container: str, count: int = TAIL) -> list[str]:
    """The last lines of its log, both streams as they came."""
    data: bytes = api.logs(container, stdout=True, stderr=True, tail=count)
    return data.decode("utf-8", errors="replace").splitlines()


def last_words(said: Sequence[str], count: int = 12) -> list[str]:
    """The lines that a person wants to see of a server that ended: without its watchdog's events."""
    return [plain(line) for line in said if line.strip() and serverends.event(line) is None][-count:]


def plain(line: str) -> str:
    r"""A line of somebody else's that does nothing to a terminal.

    >>> plain("a\x1b[2Jb\tc")
    'a?[2Jb c'
    """
    return "".join(char if char.isprintable() else " " if char == "\t" else "?" for char in line)


def told(api: Any, server: Server) -> tuple[Event | None, list[str]]:
    """Why a server ended, as its watchdog told it, and its last words."""
    said = lines(api, server.id)
    return serverends.cause(said), last_words(said)


def stop(api: Any, server: Server) -> Server:
    """End it, giving it its time, and see how it ended; the container stays."""
    if server.lives:
        api.stop(server.id, timeout=server.stop_seconds)
    return look(api, server.id, server.engine) or server


def remove(api: Any, server: Server) -> None:
    """Drop the container, and not its caches."""
    api.remove_container(server.id, force=True)


def caches(api: Any, engine: str) -> tuple[Cache, ...]:
    """The volumes of an engine that hold what images compiled."""
    rows: Iterable[dict[str, Any]] = api.volumes(filters={"label": servercontainer.CACHE_LABEL}).get("Volumes") or []
    used = {
        str(mount.get("Name", ""))
        for row in api.containers(all=True, filters={"label": servercontainer.SERVE})
        for mount in row.get("Mounts") or ()
    }
    return tuple(
        Cache(
            name=str(row["Name"]), engine=engine,
            image=str((row.get("Labels") or {}).get(servercontainer.CACHE_LABEL, "")),
            used=str(row["Name"]) in used,
        )
        for row in rows
    )  # fmt: skip
