"""Bring everything that a target's build needs into the store, verified: wheels, source archives, Debian packages.
In parallel, resumable, and never again what the store has.
"""

from __future__ import annotations

import argparse
import json

from build import steps
from build.console import human_bytes
from build.models import Settings
from build.settings import add_target_argument


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_target_argument(parser)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Fetch what one target needs."""
    job = steps.load(settings, args.target)
    count = steps.fetch_all(job)
    if settings.json:
        print(json.dumps({"target": job.name, "fetched_bytes": count}))
    else:
        print(f"{job.name}: all there ({human_bytes(count)} fetched)")
    return 0
