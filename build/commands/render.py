"""Write the Dockerfile of a target, from dockerfiles/*.j2 and its lock: the same input gives the same text.
To standard output, or to the folder that --output names.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from build import recipe, steps
from build.models import Settings
from build.settings import add_target_argument


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_target_argument(parser)
    parser.add_argument("--output", type=Path, metavar="DIR", help="write DIR/Dockerfile instead of printing it")


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Render one target's Dockerfile."""
    job = steps.load(settings, args.target)
    text = recipe.dockerfile(job, chain=recipe.chain_id(job))
    if args.output is None:
        print(text, end="")
        return 0
    args.output.mkdir(parents=True, exist_ok=True)
    (args.output / "Dockerfile").write_text(text, encoding="utf-8")
    print(args.output / "Dockerfile")
    return 0
