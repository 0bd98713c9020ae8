"""Servers of ours and their caches, in all engines of this machine.

Composes :mod:`build.serverengine`, :mod:`build.serverstate` and :mod:`build.serverends`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from build import serverengine, serverstate
from build.console import step
from build.serverends import Event
from build.serverengine import Place
from build.serverstate import Cache, Server


def found(places: Sequence[Place]) -> list[Server]:
    """Every one, those that run first."""
    rows: list[Server] = []
    for place in places:
        with serverengine.opened(place.url) as client:
            rows += serverstate.find(client.api, place.url)
    return sorted(rows, key=lambda item: not item.lives)


def ended(server: Server) -> Server:
    """End one, which takes its drain time and a little at most, and remove its container; how it ended."""
    with serverengine.opened(server.engine) as client:
        now = server
        if server.lives:
            with step(f"end {server.profile} (at most {server.stop_seconds} s)"):
                now = serverstate.stop(client.api, server)
        serverstate.remove(client.api, now)
    return now


def told(server: Server) -> tuple[Event | None, list[str]]:
    """What its watchdog told last, and its last words."""
    with serverengine.opened(server.engine) as client:
        return serverstate.told(client.api, server)


def log(server: Server, *, tail: int | None, follow: bool) -> Iterator[bytes]:
    """Its log, both streams as they came; ``follow``: on and on until it ends."""
    with serverengine.opened(server.engine) as client:
        api: Any = client.api
        how = {"tail": "all" if tail is None else tail}
        if follow:
            yield from api.logs(server.id, stream=True, follow=True, **how)
        else:
            yield api.logs(server.id, **how)


def caches(places: Sequence[Place]) -> list[Cache]:
    """The volumes of what images compiled."""
    rows: list[Cache] = []
    for place in places:
        with serverengine.opened(place.url) as client:
            rows += serverstate.caches(client.api, place.url)
    return rows


def prune(places: Sequence[Place]) -> list[Cache]:
    """Remove the caches that no server's container has."""
    removed = [cache for cache in caches(places) if not cache.used]
    for cache in removed:
        with serverengine.opened(cache.engine) as client:
            client.api.remove_volume(cache.name)
    return removed
