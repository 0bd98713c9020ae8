"""Start, stop, inspect and remove the private Docker Engine."""

from __future__ import annotations

import argparse
import json

from build import dockerapi, engine, private
from build.console import say
from build.models import Engine, Settings

VERBS = {
    "up": "start it (if it is not running) and print where it listens",
    "down": "stop it; images and build cache stay",
    "status": "say what is running, and whether the machine's own engine could do the work",
    "rm": "stop it and delete its images and build cache",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    lines = "; ".join(f"{verb}: {text}" for verb, text in VERBS.items())
    parser.add_argument("verb", nargs="?", choices=VERBS, default="status", help=lines)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """One verb; its result on standard output, as JSON with ``--json``."""
    if args.verb == "up":
        return _tell(settings, engine.up(settings))
    if args.verb == "down":
        stopped = private.down(settings.store)
        say("stopped" if stopped else "it was not running")
        return _result(settings, {"stopped": stopped})
    if args.verb == "rm":
        private.remove(settings.store)
        say("removed, with its images and build cache")
        return _result(settings, {"removed": True})
    return _status(settings)


def _tell(settings: Settings, found: Engine) -> int:
    buildkit = engine.buildkit_version(found, settings)
    if settings.json:
        return _result(settings, {"url": found.url, "version": found.version, "buildkit": buildkit})
    print(f"Docker Engine {found.version}{f' (BuildKit {buildkit})' if buildkit else ''} at {found.url}")
    return 0


def _status(settings: Settings) -> int:
    ours = private.status(settings.store)
    theirs = dockerapi.ask(dockerapi.user_url())
    known = {
        "private": {
            "running": ours.running,
            "pid": ours.pid,
            "url": ours.places.url,
            "version": ours.engine.version if ours.engine else None,
            "log": str(ours.places.log),
        },
        "user": {"url": theirs.url, "usable": theirs.engine is not None, "lacks": list(theirs.lacks)},
    }
    if settings.json:
        return _result(settings, known)
    if ours.engine:
        print(f"private engine: running, Docker Engine {ours.engine.version} at {ours.places.url} (pid {ours.pid})")
    else:
        print("private engine: " + ("its process lives but does not answer" if ours.running else "not running"))
    print(f"your engine:    {'can do the work, at ' + theirs.url if theirs.engine else '; '.join(theirs.lacks)}")
    return 0


def _result(settings: Settings, value: object) -> int:
    if settings.json:
        print(json.dumps(value, indent=2, sort_keys=True))
    return 0
