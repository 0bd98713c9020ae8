"""Apply the target's series to its source trees, exactly: no fuzz, no offset, full context, all or nothing.
The patched files are kept in the store at their installed paths, and their hashes must be those of the lock.
"""

from __future__ import annotations

import argparse
import json

from build import patched, steps
from build.models import Settings
from build.settings import add_target_argument


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_target_argument(parser)
    parser.add_argument(
        "--from", dest="source", choices=("archive", "git"), default="archive",
        help="patch the tree of the source archive (default) or of the pinned commit",
    )  # fmt: skip


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Apply one target's series."""
    job = steps.load(settings, args.target)
    git = args.source == "git"
    steps.fetch_python(settings, patched.inputs(job.lock, git=git), [job.environment])
    files = patched.locked_files(settings, job.lock, job.series, git=git)
    if settings.json:
        report = {
            "target": job.name,
            "series": job.series.name,
            "series_id": job.series.id,
            "patches": [{"patch": patch.name, "sha256": patch.ref.sha256} for patch in job.series.patches],
            "files": [
                {"component": item.name, "source": file.source, "installed": file.installed,
                 "before": file.before, "after": file.after, "path": str(files.get(file.installed, ""))}
                for item in job.lock.components for file in item.files
            ],
        }  # fmt: skip
        print(json.dumps(report, indent=2))
    else:
        for patch in job.series.patches:
            print(f"{patch.name}: {patch.fields['description']}")
        for installed, path in sorted(files.items()):
            print(f"  {installed}  →  {path}")
    return 0
