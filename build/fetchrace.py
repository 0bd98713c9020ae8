"""Fetching against curl: the same files, into empty folders, in turns."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from build import download, proc, store
from build.download import Download

TURNS = 3


def race(root: Path, files: Sequence[Download]) -> Mapping[str, Sequence[float]]:
    """Seconds of each turn, of ``fetch`` (our own code) and of ``curl``; what came is dropped. ``root``: the store."""
    times: dict[str, list[float]] = {"fetch": [], "curl": []}
    ways = {"fetch": with_fetch, "curl": with_curl}
    for turn in range(TURNS):
        for name in sorted(ways, reverse=bool(turn % 2)):
            with store.scratch(root, "bench") as folder:
                start = time.monotonic()
                ways[name](folder, files)
                times[name].append(time.monotonic() - start)
    return times


def every_nth(files: Sequence[Download], most: int) -> list[Download]:
    """Files of every size, at most ``most`` bytes: every n-th by size, with the least n that will do.

    >>> names = [Download(file=str(n), sha256=str(n), size=n, urls=()) for n in (5, 4, 3, 2, 1)]
    >>> [item.size for item in every_nth(names, 8)]
    [5, 2]
    """
    ordered = sorted(files, key=lambda item: (-item.size, item.file))
    for number in range(1, len(ordered)):
        chosen = ordered[::number]
        if sum(item.size for item in chosen) <= most:
            return chosen
    return ordered[-1:]


def with_fetch(folder: Path, files: Sequence[Download]) -> None:
    """Our own code, which hashes what it receives."""
    download.fetch(folder, files)


def with_curl(folder: Path, files: Sequence[Download]) -> None:
    """One plain parallel download, which compares nothing."""
    config = folder / "curl"  # in a file: an address may hold credentials
    config.write_text("".join(f'url = "{item.urls[0]}"\noutput = "{folder / item.sha256}"\n' for item in files))
    options = ["--disable", "--fail", "--location", "--silent", "--show-error"]
    at_once = ["--parallel", "--parallel-max", str(download.WORKERS)]
    proc.run(["curl", *options, *at_once, "--config", config], env=proc.network_env())
