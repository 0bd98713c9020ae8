"""Free disk space: says what each kind takes, removes what is named, sizes before and after.

Without a kind it removes only what no run needs any more: leftovers of runs that were killed, and cut downloads.

--keep-locked removes what no lock of this clone names, of any target and architecture: files, trees, roots, root file
systems, contexts, cut downloads, and environments of older tools that nobody uses. Another clone that shares the store
and has other locks fetches again what only its locks name. A lock that cannot be read, or a run that works with the
store at this moment, ends it before anything is removed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from build import assemble, console, dockerapi, kept, private, steps, store
from build.console import human_bytes
from build.errors import UsageError
from build.models import Settings

KINDS = {
    "leftovers": ("scratch", "partial"),
    "contexts": ("contexts",),
    "trees": ("trees",),
    "roots": ("roots",),
    "rootfs": ("rootfs",),
    "blobs": ("blobs",),
    "cache": (),
    "engine": ("engine",),
}
MEANS = {
    "leftovers": "of killed runs, and cut downloads: always safe",
    "contexts": "links to blobs for BuildKit: made again in a second",
    "trees": "sources and patched files: made again in seconds",
    "roots": "tools for this machine: unpacked again from blobs",
    "rootfs": "images' root file systems: minutes to make again where emulated",
    "blobs": "wheels, source archives, Debian packages: fetched again",
    "cache": "in the private engine: build cache, and images that a later build replaced",
    "engine": "the private engine's images and build cache",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    kinds = "; ".join(f"{kind}: {text}" for kind, text in MEANS.items())
    parser.add_argument("kinds", nargs="*", choices=[*KINDS, []], metavar="KIND", help=kinds)
    parser.add_argument("--all", action="store_true", help="every kind")
    parser.add_argument("--keep-locked", action="store_true", help="remove what no lock of this clone names")
    parser.add_argument("--dry-run", action="store_true", help="only say what would go")


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Remove the named kinds, or what no lock names; a table of sizes."""
    if args.keep_locked:
        if args.kinds or args.all:
            raise UsageError("--keep-locked chooses by what locks name", todo="leave the kinds out")
        return keep_locked(settings, dry_run=args.dry_run)
    chosen = list(KINDS) if args.all else args.kinds or ["leftovers"]
    before = {kind: size(settings.store, kind) for kind in KINDS}
    before["cache"] = cache_size(settings.store)
    if not args.dry_run:
        for kind in chosen:
            remove(settings.store, kind)
    after = {kind: size(settings.store, kind) for kind in KINDS}
    after["cache"] = cache_size(settings.store)
    freed = sum(before[kind] - after[kind] for kind in KINDS if kind != "cache")
    if settings.json:
        print(json.dumps({"before": before, "after": after, "freed": freed}, indent=1))
        return 0
    rows = [[kind, human_bytes(before[kind]), human_bytes(after[kind]), MEANS[kind]] for kind in KINDS]
    console.table(str(settings.store), ["kind", "before", "after", "what it is"], rows)
    print(
        f"{'would free' if args.dry_run else 'freed'} {human_bytes(_would(before, chosen) if args.dry_run else freed)}"
    )
    return 0


def keep_locked(settings: Settings, *, dry_run: bool) -> int:
    """Remove what no lock names; what it was, and the sizes before and after."""
    with store.alone(settings.store):
        named = kept.read(settings)
        found = kept.strays(settings, named)
        before = {kind: bytes_of([settings.store / kind]) for kind in found}
        everything = [path for paths in found.values() for path in paths]
        after = {kind: before[kind] - bytes_of(paths) for kind, paths in found.items()}
        total = bytes_of(everything)
        if not dry_run:
            held = bytes_of([settings.store])
            for path in everything:
                _drop(path)
            after = {kind: bytes_of([settings.store / kind]) for kind in found}
            total = held - bytes_of([settings.store])
    if settings.json:
        names = {kind: [str(path.relative_to(settings.store)) for path in paths] for kind, paths in found.items()}
        print(json.dumps({"before": before, "after": after, "freed": total, "removed": names}, indent=1))
        return 0
    rows = [[kind, human_bytes(before[kind]), human_bytes(after[kind]), str(len(found[kind]))] for kind in found]
    console.table(str(settings.store), ["folder", "before", "after", "no lock names"], rows)
    print(f"{'would free' if dry_run else 'freed'} {human_bytes(total)}")
    return 0


def _drop(path: Path) -> None:
    """Remove a file, a link or a folder."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _would(before: dict[str, int], chosen: list[str]) -> int:
    return sum(before[kind] for kind in chosen)


def size(root: Path, kind: str) -> int:
    """Bytes on disk of a kind."""
    return bytes_of([root / name for name in KINDS[kind]])


def bytes_of(paths: Iterable[Path]) -> int:
    """Bytes on disk of files and folders; a file with several names (links to blobs) counts where it is first seen."""
    seen: dict[tuple[int, int], int] = {}
    for path in paths:
        files = (
            [path]
            if not path.is_dir()
            else (Path(folder, name) for folder, _, names in os.walk(path) for name in names)
        )
        for file in files:
            with contextlib.suppress(FileNotFoundError):
                entry = file.lstat()
                seen[entry.st_dev, entry.st_ino] = entry.st_blocks * 512
    return sum(seen.values())


def cache_size(root: Path) -> int:
    """Bytes of the private engine's build cache, as it says itself (part of what ``engine`` takes)."""
    found = private.status(root).engine
    if found is None:
        return 0
    client = dockerapi.connect(found.url)
    used: dict[str, Any] = client.df()
    client.close()
    return sum(int(entry["Size"]) for entry in used.get("BuildCache") or [] if not entry.get("Shared"))


def remove(root: Path, kind: str) -> None:
    """Remove one kind; the engine through its own door, so that nothing of it is left running."""
    if kind == "engine":
        private.remove(root)
        return
    if kind == "cache":
        drop_cache(root)
        return
    if kind == "roots":
        private.down(root)  # it runs in one of them
    with store.locked(root, f"clean-{kind}"):
        for name in KINDS[kind]:
            for entry in _entries(root / name):
                _drop(entry)


def _entries(folder: Path) -> list[Path]:
    """What is in a folder, but for the scratch of processes that live."""
    if not folder.is_dir():
        return []
    return [entry for entry in folder.iterdir() if not store.in_use(entry)]


def drop_cache(root: Path) -> None:
    """Prune the private engine's build cache, and untag images of ours that are not the last build of their target."""
    found = private.status(root).engine
    if found is None:
        return
    client = dockerapi.connect(found.url)
    client.api.prune_builds(all=True)
    for note in (root / "built").glob("*.json"):
        assemble.forget_base(note)
    for image in client.images.list(name=steps.LABEL):
        for tag in image.tags:
            target, _, chain = tag.partition(":")[2].rpartition("-")
            known = assemble.read_built(root, target) if target else None
            if target and (known is None or known.chain_id[:12] != chain):
                client.images.remove(tag)
    client.close()
