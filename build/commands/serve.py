"""Serve a profile's model with the image that is for it: look whether this machine can, start it, wait for it.

Without a verb it is started (--profile P); `stop` ends it and removes its container, `status` tells how it is, `logs`
shows what it said. One server a machine: it takes nearly all memory. It listens to this machine alone unless --host
says otherwise.

The image: the newest that was published for the profile's targets, by its digest, verified; where nothing is published
yet, the one that was built here; or --image. The model must be whole, at the profile's revision (`nox -s model`).
An API key is taken from VLLM_API_KEY; `docker inspect` shows it to who may use Docker. A model hub's token is never
handed on. Ctrl-C while it starts ends it. See docs/serving.md.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from build import (
    emulation,
    entrycode,
    host,
    modelfolder,
    preflight,
    readiness,
    servercontainer,
    serverengine,
    serverimage,
    servermemory,
    servers,
    starting,
)
from build.console import human_bytes, say, table, warn
from build.errors import ServeError, UsageError
from build.models import Settings
from build.preflight import Preflight
from build.servercontainer import Plan
from build.serverengine import Engines, Place
from build.serverstate import Server
from build.starting import Looked, Wish

VERBS = ("start", "stop", "status", "logs")
TIMEOUT_SECONDS = 1800.0
DOUBTED = ("memory", "disk")  # what --anyway starts in spite of
# What is no further word for vLLM, since more hangs on it here.
ELSEWHERE = {
    "--api-key": "on a command line everyone can read it: set VLLM_API_KEY in the environment",
    "--host": "it is an option of this command itself",
    "--port": "it is an option of this command itself",
    "--served-model-name": "the profile says it (model.served-name), and who waits for the server looks for it",
    "--ssl-": "the server is asked without TLS: put a proxy in front of it",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("verb", nargs="?", choices=VERBS, default="start", help="what to do (default: start)")
    parser.add_argument("--profile", metavar="P", help="a name in lock/profiles/, or a file (with a slash)")
    parser.add_argument(
        "--models", type=Path, metavar="DIR", help=f"where models are kept, as for `model` (${modelfolder.VARIABLE})"
    )
    parser.add_argument("--target", metavar="NAME", help="with an image of this target of the profile")
    parser.add_argument("--image", metavar="REF", help="with this image: a name or a digest, here or in a registry")
    parser.add_argument("--host", default="127.0.0.1", metavar="ADDRESS", help="where to listen (default: %(default)s)")
    parser.add_argument("--port", type=int, default=servercontainer.PORT, metavar="N", help="(default: %(default)s)")
    parser.add_argument(
        "--device", choices=("gpu", "none"), default="gpu", help="none: a trial of the plumbing, on a CPU"
    )
    parser.add_argument("--allow-foreign", action="store_true", help="also on a machine that must emulate arm64")
    parser.add_argument("--anyway", action="store_true", help=f"in spite of what is said of {' and '.join(DOUBTED)}")
    parser.add_argument(
        "--vllm", action="append", default=[], metavar="WORD", help="a further word for vLLM: --vllm=--seed=1"
    )
    parser.add_argument(
        "--timeout", type=float, default=TIMEOUT_SECONDS, metavar="SECONDS",
        help="give up after so long without a line in its log (default: %(default).0f)",
    )  # fmt: skip
    parser.add_argument("--dry-run", action="store_true", help="look, print the commands, start nothing")
    parser.add_argument("--prune", action="store_true", help="stop: also remove caches that belong to no server")
    parser.add_argument("-f", "--follow", action="store_true", help="logs: go on until it ends")
    parser.add_argument("--tail", type=int, metavar="N", help="logs: only the last lines")


def run(args: argparse.Namespace, settings: Settings) -> int:
    """One verb."""
    engines = serverengine.answering(settings)
    if args.verb == "start":
        return start(args, settings, engines)
    engines.demand()
    return {"stop": stop, "status": status, "logs": logs}[args.verb](args, settings, engines.places)


def start(args: argparse.Namespace, settings: Settings, engines: Engines) -> int:
    """Look at everything and tell all that is in the way at once; then start it and wait."""
    wish = wished(args, settings)
    checks = Preflight(anyway=DOUBTED if args.anyway else ())
    say(f"look whether {wish.profile.name} can be served here")
    found = starting.look(settings, wish, engines, checks)
    if args.dry_run:
        return foresee(settings, wish, found, checks)
    checks.demand()
    assert found.engine is not None
    assert found.choice is not None
    if found.emulated:
        emulation.ensure(settings.store, host.tools(settings))
    if reach := preflight.reach(args.host):
        warn(f"it can be used by {reach}, unencrypted, {'with the API key' if wish.key else 'without any API key'}")
    with serverengine.opened(found.engine.url) as client:
        image = serverimage.bring(settings, found.choice, found.engine, client)
        serverimage.demand_fitting(client, image, wish.profile)
        plan = starting.planned(settings, wish, found, engine=found.engine, image=image)
        server = starting.begun(client.api, found.engine, plan)
        say(f"started the container {servercontainer.NAME}; the first start with an image compiles kernels")
        seconds = starting.ready(client.api, server, wish, args.timeout)
    return tell(settings, wish, plan, server, seconds)


def wished(args: argparse.Namespace, settings: Settings) -> Wish:
    """What the arguments and the environment ask for."""
    if not args.profile:
        names = ", ".join(item.name for item in starting.known(settings))
        raise UsageError("which profile?", todo=f"--profile P, one of: {names}")
    for word in args.vllm:
        for option, instead in ELSEWHERE.items():
            if word.replace("_", "-").startswith(option):
                raise UsageError(f"{option} is not given that way", why=instead)
    profile, content = starting.wished(args.profile, settings)
    return Wish(
        profile=profile, content=content, models=args.models, target=args.target, image=args.image, host=args.host,
        port=args.port, gpu=args.device == "gpu", foreign=args.allow_foreign, words=tuple(args.vllm),
        key=os.environ.get(servercontainer.API_KEY, ""),
    )  # fmt: skip


def foresee(settings: Settings, wish: Wish, found: Looked, checks: Preflight) -> int:
    """Print what would be run, as far as that is known; then fail for what is in the way."""
    told: dict[str, Any] = {
        "preflight": [{"item": row.item, "status": row.status, "text": row.text} for row in checks.findings]
    }
    if found.engine and found.choice:
        image = starting.foreseen(found.choice, found.engine)
        plan = starting.planned(settings, wish, found, engine=found.engine, image=image)
        listen = None if plan.bridge else (plan.host, plan.port)
        folder = f"/models/{plan.model.name}"
        told |= {
            "engine": found.engine.url, "docker_run": servercontainer.docker_run(plan),
            "vllm": entrycode.vllm_command(settings.repo, wish.content, folder, plan.words, listen),
        }  # fmt: skip
    if settings.json:
        print(json.dumps(told, indent=1))
    elif "vllm" in told:
        print(f"# the container, by the engine at {told['engine']}")
        print(servercontainer.shown(told["docker_run"]))
        print(
            "\n# in it, under the watchdog; the image compares its options with what its vLLM knows, and then starts it"
        )
        print(told["vllm"])
    checks.demand()
    return 0


def tell(settings: Settings, wish: Wish, plan: Plan, server: Server, seconds: float) -> int:
    """The address, and how to use it."""
    name = wish.profile.model.served_name
    if settings.json:
        told = {
            "url": plan.url, "model": name, "profile": plan.profile, "image": plan.image, "target": plan.target,
            "container": server.id, "engine": server.engine, "cache": plan.volume, "seconds": round(seconds, 1),
        }  # fmt: skip
        print(json.dumps(told, indent=1))
        return 0
    key = f' -H "Authorization: Bearer ${servercontainer.API_KEY}"' if wish.key else ""
    body = json.dumps({"model": name, "messages": [{"role": "user", "content": "Hello"}]})
    print(f"{name} is served at {plan.url}/v1 (ready after {seconds:.0f} s)")
    print(f"  curl {plan.url}/v1/chat/completions{key} -H 'Content-Type: application/json' -d '{body}'")
    print(f"  nox -s serve -- status | logs -f | stop;  nox -s validate -- --url {plan.url}")
    return 0


def stop(args: argparse.Namespace, settings: Settings, places: Sequence[Place]) -> int:
    """End every server of ours, say how it ended, remove its container."""
    ended = [servers.ended(server) for server in servers.found(places)]
    for server in ended:
        say(f"{server.profile}: {server.end}")
    removed = servers.prune(places) if args.prune else []
    for cache in removed:
        say(f"removed the cache {cache.name}")
    if settings.json:
        rows = [asdict(server) | {"end": server.end} for server in ended]
        print(json.dumps({"ended": rows, "caches_removed": [cache.name for cache in removed]}, indent=1))
    elif not ended:
        say("no server of ours was there")
    return 0


def status(args: argparse.Namespace, settings: Settings, places: Sequence[Place]) -> int:
    """How they are, whatever that is."""
    del args
    there, caches = servermemory.memory(), servers.caches(places)
    rows = [asdict(item) | {"lives": item.lives, **seen(item)} for item in servers.found(places)]
    if settings.json:
        told = {"servers": rows, "caches": [asdict(item) for item in caches], "memory": asdict(there)}
        print(json.dumps(told, indent=1))
        return 0
    for row in rows:
        table("", ("server", servercontainer.NAME), [(name, str(row[key])) for name, key in SHOWN if row.get(key)])
    if not rows:
        print("no server of ours is there")
    print(f"memory: {human_bytes(there.available)} of {human_bytes(there.total)} are available")
    if old := [item.name for item in caches if not item.used]:
        print(f"caches that belong to no server: {', '.join(old)} (nox -s serve -- stop --prune removes them)")
    return 0


SHOWN = (
    ("profile", "profile"), ("target", "target"), ("image", "image"), ("model", "model"), ("address", "url"),
    ("state", "status"), ("since", "started"), ("ended", "finished"), ("answers", "answers"), ("health", "health"),
    ("which says", "health_said"), ("why", "end"), ("memory", "memory"), ("last lines", "words"),
)  # fmt: skip


def seen(server: Server) -> dict[str, str]:
    """What is found out of a server besides: of a living one whether it answers, of another why it ended."""
    if server.lives:
        return {"answers": "yes" if readiness.answers(server.url) else "not now", "end": "", "finished": ""}
    event, words = servers.told(server)
    return {"end": server.end, "memory": event.memory if event else "", "words": "\n".join(words[-5:])}


def logs(args: argparse.Namespace, settings: Settings, places: Sequence[Place]) -> int:
    """What it said, as it came, on standard output."""
    del settings
    server = next(iter(servers.found(places)), None)
    if server is None:
        raise ServeError("no server of ours is there", todo="start one: nox -s serve -- --profile P")
    try:
        for piece in servers.log(server, tail=args.tail, follow=args.follow):
            sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()
    except KeyboardInterrupt:
        say("no longer shown; the server goes on")
    return 0
