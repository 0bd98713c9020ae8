"""Where things are kept, and the options that every session takes."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from build.models import Settings

STORE_VARIABLE = "SPARK_RUNTIME_STORE"
EXPORTED_VARIABLE = "SPARK_RUNTIME_EXPORTED"
REPO = Path(__file__).resolve().parent.parent


def default_store() -> Path:
    """``$SPARK_RUNTIME_STORE``, else ``spark-runtime`` in the user's cache folder (XDG Base Directory)."""
    if named := os.environ.get(STORE_VARIABLE):
        return Path(named).expanduser().absolute()
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(cache) / "spark-runtime"


def default_exported() -> list[Path]:
    """The folders of ``$SPARK_RUNTIME_EXPORTED``, separated as those of ``$PATH`` are."""
    named = os.environ.get(EXPORTED_VARIABLE, "").split(os.pathsep)
    return [Path(name).expanduser() for name in named if name]


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """The options that every session takes after ``--``."""
    parser.add_argument("--store", type=Path, metavar="DIR", help=f"where files are kept (${STORE_VARIABLE})")
    parser.add_argument(
        "--exported", type=Path, action="append", metavar="DIR",
        help=f"a folder that `fetch -- --export` wrote, looked into before any network (${EXPORTED_VARIABLE})",
    )  # fmt: skip
    parser.add_argument("--offline", action="store_true", help="use no network: what is not in the store is an error")
    parser.add_argument("--json", action="store_true", help="print the result as JSON on standard output")
    parser.add_argument("-v", "--verbose", action="store_true", help="show each program that is run")


def add_target_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--target", metavar="NAME", help="a table of lock/targets.toml (default: its `default`)")


def settings_from(args: argparse.Namespace) -> Settings:
    """The settings of one run, from its parsed arguments."""
    return Settings(
        repo=REPO,
        store=(args.store or default_store()).absolute(),
        exported=tuple(folder.absolute() for folder in args.exported or default_exported()),
        offline=args.offline,
        verbose=args.verbose,
        json=args.json,
        builder=getattr(args, "builder", None),
    )
