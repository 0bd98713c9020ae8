"""Lay out the source trees that patches apply to: each component's pinned git commit, or its release's source archive
by sha256. Either way the files that the series touches must equal those of the installed wheel (its RECORD).
"""

from __future__ import annotations

import argparse
import json

from build import patched, patchwork, sourcetree, steps
from build.models import Settings
from build.settings import add_target_argument


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_target_argument(parser)
    parser.add_argument(
        "--from", dest="source", choices=("archive", "git"), default="archive",
        help="the source archive (default), or the pinned commit; where only one is locked, that",
    )  # fmt: skip


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Check out every component of one target."""
    job = steps.load(settings, args.target)
    git = args.source == "git"
    sourcetree.require_resolved(job.lock, git=git)
    steps.fetch_python(settings, patched.inputs(job.lock, git=git), [job.environment])
    works = patched.works(settings, job.lock, job.series, git=git)
    for work in works:
        patchwork.check_installable(work)
    if settings.json:
        trees = [
            {
                "component": work.component.name,
                "folder": str(work.tree),
                "id": work.tree.name,
                "source": "git" if git or work.component.archive is None else "archive",
                "compared": sorted(
                    {file.path for change in work.changes for file in change.files if not work.only_read(file.path)}
                ),
            }
            for work in works
        ]
        print(json.dumps({"target": job.name, "trees": trees}, indent=2))
    else:
        for work in works:
            print(f"{work.component.name}: {work.tree}")
    return 0
