"""Bring everything that a target's build needs into the store, verified: wheels, source archives, Debian packages.
In parallel, resumable, and never again what the store has.

--export DIR also writes all of it as a folder that a machine without any network builds from, with the wheels of this
project's own tools: for this machine, or for those that --machine and --python name (a DGX Spark as it is delivered:
--machine arm64 --python 3.12). README.txt in the folder says how it is used. Files are plain, and below 4 GiB: a
stick with FAT will do.

--verify reads every file of the store again instead and removes the damaged ones.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import time
from dataclasses import replace
from pathlib import Path

from build import download, export, kept, publisheddebs, recipe, steps, store, toolwheels
from build.console import human_bytes, say, step, transfer
from build.download import Download
from build.errors import HashMismatchError, OfflineError, UsageError
from build.models import Settings
from build.settings import add_target_argument

OLDEST_PYTHON = (3, 11)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_target_argument(parser)
    parser.add_argument("--export", type=Path, metavar="DIR", help="also write it all as a folder to carry away")
    parser.add_argument(
        "--machine", action="append", choices=sorted(steps.MACHINES), help="building machines (default: this one's)"
    )
    parser.add_argument(
        "--python", action="append", metavar="3.x", help="with --export: the Pythons of those machines (this one's)"
    )
    parser.add_argument(
        "--published", metavar="REPO", help="take Debian packages from where an image was pushed, before any mirror"
    )
    parser.add_argument("--verify", action="store_true", help="read every file of the store again, and no more")


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Fetch what one target needs; export it; or verify the store."""
    if args.verify:
        if args.export or args.target or args.machine or args.python or args.published:
            raise UsageError("--verify reads the whole store", todo="leave the other options out")
        return verify(settings)
    if args.python and not args.export:
        raise UsageError("--python says for whom to export", todo="add --export DIR, or leave it out")
    job = steps.load(settings, args.target)
    machines = tuple(dict.fromkeys(args.machine or steps.this_machine()))
    told: dict[str, str | int] = {"target": job.name}
    if args.published:
        if settings.offline:
            raise UsageError("--published needs a network", todo="leave out --offline")
        told |= {"from_published_bytes": publisheddebs.take(settings, job, args.published, machines)}
    if args.export:
        pythons = tuple(dict.fromkeys(map(_python, args.python or [f"3.{sys.version_info[1]}"])))
        told |= export_to(job, args.export.absolute(), machines, pythons)
    else:
        told |= {"fetched_bytes": steps.fetch_all(job, machines)}
    tell(settings, told)
    return 0


def _python(text: str) -> str:
    if not re.fullmatch(r"3\.\d{1,2}", text) or tuple(map(int, text.split("."))) < OLDEST_PYTHON:
        raise UsageError(f"{text} is no Python that the tools run with", todo="name one like 3.12, at least 3.11")
    return text


def tell(settings: Settings, told: dict[str, str | int]) -> None:
    """The result, for a program or for a person."""
    if settings.json:
        print(json.dumps(told))
        return
    print(f"{told['target']}: all there ({human_bytes(int(told['fetched_bytes']))} fetched)")
    if "folder" in told:
        print(f"{told['folder']}: {told['files']} files, {human_bytes(int(told['bytes']))}", end="")
        print(f" ({human_bytes(int(told['copied_bytes']))} copied); its README.txt says how to use it")


def export_to(
    job: steps.Job, folder: Path, machines: tuple[str, ...], pythons: tuple[str, ...]
) -> dict[str, str | int]:
    """Fetch what is missing, then write the folder; what there is to tell."""
    settings = job.settings
    export.require_folder(settings.store, folder)
    wheels = tool_wheels(settings, machines, pythons)
    count = steps.fetch_all(job, machines)
    with step(f"fetch {len(wheels)} wheels of the tools"):
        count += download.fetch(settings.store, wheels, folders=settings.exported)
    wanted = export.places(steps.all_files(job, machines), wheels)
    known = export.facts(settings.repo, job.name, recipe.chain_id(job), machines, pythons)
    copied = export.write(settings, folder, wanted, steps.sources(job), known)
    size = sum(item.size for item in wanted.values())
    return {
        "fetched_bytes": count, "folder": str(folder), "files": len(wanted), "bytes": size, "copied_bytes": copied,
        "chain_id": known.chain_id,
    }  # fmt: skip


def tool_wheels(settings: Settings, machines: tuple[str, ...], pythons: tuple[str, ...]) -> tuple[Download, ...]:
    """The wheels of the project's own tools for all those machines, each once."""
    if settings.offline:
        raise OfflineError(
            "--export asks the Python index which wheels of the tools other machines need",
            why="lock/python.txt names releases and hashes, not files",
            todo="export without --offline",
        )
    tools = toolwheels.read(settings.repo)
    found: dict[str, Download] = {}
    with step(f"ask the Python index for the tools' wheels ({', '.join(machines)}; Python {', '.join(pythons)})"):
        for machine in machines:
            for python in pythons:
                found |= {item.file: item for item in toolwheels.locate(tools, steps.MACHINES[machine], python)}
    return tuple(replace(item, gone=steps.GONE) for item in found.values())


def verify(settings: Settings) -> int:
    """Read every blob again; damaged ones are removed and named."""
    total, count = store.content(settings.store)
    start = time.monotonic()
    with step(f"read {count} files of the store again, {human_bytes(total)}"), transfer("verify", total) as progress:
        bad = store.verify_content(settings.store, progress)
    seconds = time.monotonic() - start
    speed = total / max(seconds, 1e-6)
    told = {"files": count, "bytes": total, "seconds": round(seconds, 3), "removed": list(bad)}
    said = f"{count} files, {human_bytes(total)} in {seconds:.1f} s: {human_bytes(speed)}/s on {os.cpu_count()} cores"
    if settings.json:
        print(json.dumps(told))
    else:
        print(said)
    if bad:
        names = kept.read(settings).blobs
        raise HashMismatchError(
            f"{len(bad)} of {count} files of the store were damaged, and are removed",
            why="; ".join(f"{names.get(sha256, 'a file that no lock here names')} ({sha256})" for sha256 in bad),
            todo="run `nox -s fetch`; damage that comes again is a disk's or a memory's",
        )
    say("every file is what its name says")
    return 0
