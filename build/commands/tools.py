"""For developers: resolve lock/python.in to lock/python.txt, and lock/behaviours.in to lock/behaviours.txt: every file
of each release by its hash, for every machine and Python that the launcher starts on. What is locked stays as it is
unless --upgrade is given.
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
    """Resolve both sets of tools; uv keeps the versions of the file that it is to replace."""
    named = [word for name in args.upgrade or () for word in ("--upgrade-package", name)]
    upgrade = [] if args.upgrade is None else named or ["--upgrade"]
    for lock in toolwheels.LOCKS:
        changed = resolve(settings.repo, lock, upgrade)
        print(f"{lock} is new" if changed else f"{lock}: nothing changed")
    return 0


def resolve(repo: Path, lock: Path, upgrade: list[str]) -> bool:
    """Resolve what the ``.in`` beside a lock wants; whether the lock's bytes changed."""
    kept = repo / lock
    wanted = kept.with_suffix(".in").read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory(prefix="tools-") as scratch, step(f"resolve {lock.with_suffix('.in')}"):
        made = Path(scratch) / "made.txt"
        made.write_bytes(kept.read_bytes() if kept.exists() else b"")
        config = Path(scratch) / "uv.toml"
        config.write_text(uvconfig.text(os.environ), encoding="utf-8")
        proc.run(
            [
                index.uv_binary(), "pip", "compile", "--universal", "--python-version", "3.11", "--generate-hashes",
                "--quiet", "--no-header", "--no-emit-index-url", "--no-emit-find-links", "--no-annotate",
                "--config-file", config, kept.with_suffix(".in"), "--output-file", made, *upgrade,
            ],
            env=index.uv_environment(),
            cwd=scratch,
        )  # fmt: skip
        text = toolwheels.text(wanted, made.read_text(encoding="utf-8"))
    return lockform.write(kept, text)
