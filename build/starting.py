"""Starting a server: what this machine, its engines, the image and the model have to be, what is run, and the wait.

Composes what `nox -s serve` is made of, so that its story can be read without it.
"""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from build import (
    intent,
    modelready,
    nvidia,
    preflight,
    profiles,
    readiness,
    servercontainer,
    serverengine,
    serverimage,
    servermemory,
    servers,
    serverstate,
    smoke,
    store,
)
from build.console import human_bytes, say, step, warn
from build.errors import BuildError, EngineError, ServeError
from build.models import Settings
from build.preflight import Preflight
from build.profiles import Profile
from build.reference import Image
from build.servercontainer import Plan
from build.serverengine import Engines, Place
from build.serverimage import Choice
from build.serverstate import Server

# Room for what is compiled at run time. Nobody measured that on a GB10; on other machines it is some GB.
CACHE_BYTES = 10_000_000_000


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What was asked for. ``gpu``: false for a trial of the plumbing; ``foreign``: arm64 may be emulated.

    ``words``: more for vLLM; ``key``: the API key, empty for none.
    """

    profile: Profile
    content: bytes
    models: Path | None
    target: str | None
    image: str | None
    host: str
    port: int
    gpu: bool
    foreign: bool
    words: tuple[str, ...]
    key: str


@dataclass(frozen=True, kw_only=True)
class Looked:
    """What was found, as far as it was; where something is None the preflight has the reason."""

    engine: Place | None
    choice: Choice | None
    model: Path | None
    emulated: bool


def wished(text: str, settings: Settings) -> tuple[Profile, bytes]:
    """The profile that ``--profile`` names, and its file's bytes: those are what is served."""
    profile = modelready.chosen(settings, text)
    own = Path(text) if os.sep in text else settings.repo / profiles.FOLDER / f"{profile.name}.toml"
    return profile, own.read_bytes()


def known(settings: Settings) -> list[Profile]:
    """The profiles of this clone."""
    return list(profiles.read_all(settings.repo, intent.read_intent(settings.repo).targets).values())


def look(settings: Settings, wish: Wish, engines: Engines, checks: Preflight) -> Looked:
    """Look at every item, what others rest on first."""
    emulated = checks.ask("machine", lambda: preflight.architecture(platform.machine(), foreign=wish.foreign))
    if wish.gpu:
        driver = checks.ask("driver", lambda: preflight.driver(nvidia.driver()))
        for name, capability in driver.gpus if driver else ():
            if capability != nvidia.GB10:
                checks.warn(
                    "GPU", f"{name} is of compute capability {capability}; the image's own code is for {nvidia.GB10}"
                )
    else:
        checks.skip("driver", "no GPU is wanted (--device none)")
    choice = checks.ask("image", lambda: _image(settings, wish, engines))
    engine = _engine(wish, engines, choice)
    if wish.gpu and engine:
        for lack in engines.lacks if not engine.gpus else ():
            checks.warn("engine", lack)
        checks.ask("toolkit", lambda: preflight.toolkit(str(engine), engine.gpus, private=engine.private))
    checks.ask("server", lambda: _no_other(engines.places))
    model = checks.ask("model", lambda: _model(settings, wish, choice))
    checks.ask("memory", lambda: preflight.memory(wish.profile, servermemory.memory(), known(settings)))
    if engine and choice:
        checks.ask("disk", lambda: _disk(engine, choice))
    checks.ask("port", lambda: preflight.port(wish.host, wish.port))
    return Looked(engine=engine, choice=choice, model=model, emulated=bool(emulated))


def _image(settings: Settings, wish: Wish, engines: Engines) -> tuple[Choice, str]:
    engines.demand()
    found = serverimage.choose(
        settings, wish.profile, target=wish.target, image=wish.image, engines=engines.places
    )  # fmt: skip
    if found.target and found.target not in wish.profile.targets:
        raise serverimage.not_for(wish.profile, found.target)
    pull = f", {human_bytes(found.size)} to pull" if found.size and not found.source else ""
    return found, f"{found.target or found.name}: {found.said}{pull}"


def _engine(wish: Wish, engines: Engines, choice: Choice | None) -> Place | None:
    if not engines.places:
        return None
    return serverengine.best(
        engines.places, gpu=wish.gpu, holds=lambda place: choice is not None and serverimage.holds(place, choice.name)
    )


def _no_other(places: Sequence[Place]) -> tuple[None, str]:
    for server in servers.found(places):
        if server.lives:
            raise ServeError(
                f"a server runs already: {server.profile} at {server.url}",
                why="one takes nearly all memory",
                todo="use that one, or end it: nox -s serve -- stop",
            )
    return None, "no other of ours runs"


def _model(settings: Settings, wish: Wish, choice: Choice | None) -> tuple[Path, str]:
    target = (choice.target if choice else "") or wish.target or wish.profile.targets[0]
    return preflight.readable(modelready.require(settings, wish.profile, wish.models, target))


def _disk(engine: Place, choice: Choice) -> tuple[int, str]:
    needed = serverimage.disk_needed(choice, engine.url) + CACHE_BYTES
    folder = engine.data if os.access(engine.data, os.F_OK) else Path("/")
    todo = "free some space; --anyway starts all the same"
    store.require_space(folder, needed, "the image and what it compiles", todo=todo)
    return needed, f"{human_bytes(shutil.disk_usage(folder).free)} are free, {human_bytes(needed)} are needed"


def planned(settings: Settings, wish: Wish, found: Looked, *, engine: Place, image: Image) -> Plan:
    """The container of that image."""
    environment: Mapping[str, str] = {
        **({servercontainer.API_KEY: wish.key} if wish.key else {}),
        **(smoke.EMULATED if found.emulated else {}),
    }
    return Plan(
        image=image.name, digest=image.digest, target=image.target, profile=wish.profile.name,
        profile_file=servercontainer.kept(settings.store, wish.profile.name, wish.content),
        model=found.model or modelready.place(settings, wish.profile, wish.models).folder,
        host=wish.host, port=wish.port, bridge=engine.bridge,
        gpus=nvidia.request(engine.info) if wish.gpu else None,
        drain=wish.profile.watchdog.drain_seconds, words=wish.words, environment=environment,
    )  # fmt: skip


def foreseen(choice: Choice, engine: Place) -> Image:
    """The image as far as it can be told without bringing it in."""
    found = serverimage.facts(engine, choice.name)
    digest = choice.name.rpartition("@")[2] if "@" in choice.name else choice.name
    return found or Image(
        name=choice.name, digest=digest, platform=servercontainer.PLATFORM, target=choice.target, chain_id="",
        series_id="", user="",
    )  # fmt: skip


def begun(api: Any, engine: Place, plan: Plan) -> Server:
    """Make the container and start it; one that has ended before makes room. Raises :class:`ServeError`."""
    for old in serverstate.find(api, engine.url):
        if not old.lives:
            say(f"remove the container of {old.profile}, which ended: {old.end}")
            serverstate.remove(api, old)
    try:
        container = servercontainer.create(api, plan)
        try:
            servercontainer.start(api, container)
        except KeyboardInterrupt:
            api.remove_container(container, force=True)
            raise
    except (ServeError, EngineError) as error:
        if not (plan.memlock and servercontainer.forbids_memlock(error)):
            raise
        warn("the engine may not lift the limit of locked memory (a rootless one may not): started with its own")
        return begun(api, engine, replace(plan, memlock=False))
    server = serverstate.look(api, container, engine.url)
    if server is None:
        raise ServeError("the server's container is gone", why="somebody removed it")
    return server


def ready(api: Any, server: Server, wish: Wish, timeout: float) -> float:
    """Wait until it answers, as what it is; seconds. What does not is ended: nothing that nobody can use takes memory.

    Its container stays, for its log; but where Ctrl-C ended the waiting it is removed too.
    """
    try:
        with step(f"wait until it answers at {server.url}"):
            seconds = readiness.wait(api, server, timeout=timeout)
        named = readiness.served(server.url, wish.key)
        if named != wish.profile.model.served_name:
            raise ServeError(
                f"what answers at {server.url} serves {named or 'no model that it names'}",
                why=f"{wish.profile.model.served_name} was started",
                todo="see its log (nox -s serve -- logs), and what else listens there (ss -ltnp)",
            )
    except BuildError:
        _end(api, server)
        raise
    except KeyboardInterrupt:
        if now := _end(api, server):
            serverstate.remove(api, now)
        raise
    return seconds


def _end(api: Any, server: Server) -> Server | None:
    now = serverstate.look(api, server.id, server.engine)
    if now is None or not now.lives:
        return now
    with step(f"end it (at most {server.stop_seconds} s)"):
        return serverstate.stop(api, server)
