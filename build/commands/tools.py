"""For developers: resolve lock/python.in to lock/python.txt, every file of each release by its hash, for every machine
and Python that the launcher starts on. What is locked stays as it is unless --upgrade is given.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

from build import index, lockform, proc, toolwheels, uvconfig
from build.console import step
from build.models import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--upgrade", nargs="*", metavar="PACKAGE", help="take the newest versions, of all or of these")


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Resolve the tools; uv keeps the versions of the file that it is to replace."""
    folder = settings.repo / "lock"
    kept = folder / "python.txt"
    named = [word for name in args.upgrade or () for word in ("--upgrade-package", name)]
    upgrade = [] if args.upgrade is None else named or ["--upgrade"]
    with tempfile.TemporaryDirectory(prefix="tools-") as scratch, step("resolve lock/python.in"):
        made = Path(scratch) / "python.txt"
        made.write_bytes(kept.read_bytes())
        config = Path(scratch) / "uv.toml"
        config.write_text(uvconfig.text(os.environ), encoding="utf-8")
        proc.run(
            [
                index.uv_binary(), "pip", "compile", "--universal", "--python-version", "3.11", "--generate-hashes",
                "--quiet", "--no-header", "--no-emit-index-url", "--no-emit-find-links", "--no-annotate",
                "--config-file", config, "python.in", "--output-file", made, *upgrade,
            ],
            env=index.uv_environment(),
            cwd=folder,
        )  # fmt: skip
        text = toolwheels.text((folder / "python.in").read_text(encoding="utf-8"), made.read_text(encoding="utf-8"))
    print("lock/python.txt is new" if lockform.write(kept, text) else "nothing changed")
    return 0
