"""Measure what the README claims: a build with nothing to do, one after a one-line change of a patch, a cold one.

The changed patch lives in a copy of this clone; the image is built back afterwards. With --cold the engine's build
cache is dropped first and everything is built anew from what is fetched.

With --fetch the target's Python files are fetched instead, into empty stores, in turns with one plain parallel download
of the same addresses by curl, eight at once.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from build import console, download, engine, proc, steps, store, udiffparse
from build.console import human_bytes, step
from build.download import Download
from build.errors import UsageError
from build.models import PatchRef, Settings
from build.settings import STORE_VARIABLE, add_target_argument

RUNS = 5
FETCHES = 3
COPIED = ("build", "dockerfiles", "lock", "patches", "nox", "noxfile.py", "pyproject.toml")


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A figure: what was done, seconds (the median of ``runs``), bytes of new layers, peak memory of our process."""

    name: str
    seconds: float
    runs: int
    new_bytes: int = 0
    peak_bytes: int = 0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_target_argument(parser)
    parser.add_argument("--fetch", action="store_true", help="measure fetching instead, beside curl")
    parser.add_argument(
        "--gigabytes", type=float, default=1.0, metavar="N",
        help="with --fetch: at most so much, every n-th file by size (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--cold", action="store_true", help="also drop the build cache and build everything anew")


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Measure one target."""
    job = steps.load(settings, args.target)
    if args.fetch:
        return fetch(job, int(args.gigabytes * 1e9))
    if not job.series.patches:
        raise UsageError(f"{job.name} has no patch to change", todo="name a target with a series")
    with step(f"build {job.name}, so that there is something to compare with"):
        first = build(settings, job.name, settings.repo)
    found = [cold(settings, job.name)] if args.cold else []
    found += [no_op(settings, job.name), patch(settings, job, first)]
    if settings.json:
        print(json.dumps({"target": job.name, "measures": [asdict(item) for item in found]}, indent=1))
        return 0
    rows = [
        [m.name, f"{m.seconds:.2f} s", str(m.runs), human_bytes(m.new_bytes) if m.new_bytes else "", _memory(m)]
        for m in found
    ]
    console.table(f"{job.name} on {os.cpu_count()} cores", ["what", "median", "runs", "new layers", "our memory"], rows)
    return 0


def fetch(job: steps.Job, most: int) -> int:
    """Fetch the same files with our own code and with curl, in turns, each into an empty folder beside the store."""
    known = steps.locate(steps.python_files(job), steps.environments(job))
    files = every_nth([item for item in known if item.urls], most)
    total = sum(item.size for item in files)
    times: dict[str, list[float]] = {"fetch": [], "curl": []}
    ways = {"fetch": with_fetch, "curl": with_curl}
    title = f"{FETCHES} times {len(files)} files, {human_bytes(total)}"
    with step(f"{title}, by each of us"):
        for turn in range(FETCHES):
            for name in sorted(ways, reverse=bool(turn % 2)):
                with store.scratch(job.settings.store, "bench") as folder:
                    start = time.monotonic()
                    ways[name](folder, files)
                    times[name].append(time.monotonic() - start)
    ours, theirs = (statistics.median(times[name]) for name in ways)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    if job.settings.json:
        told = {"bytes": total, "files": len(files), "seconds": times, "ratio": theirs / ours, "peak_bytes": peak}
        print(json.dumps({"target": job.name, **told}, indent=1))
        return 0
    rows = [
        [name, f"{statistics.median(found):.2f} s", f"{human_bytes(total / statistics.median(found))}/s", memory]
        for (name, found), memory in zip(times.items(), (human_bytes(peak), ""), strict=True)
    ]
    console.table(title, ["what", "median", "speed", "our memory"], rows)
    print(f"fetch reaches {theirs / ours:.0%} of curl's speed")
    return 0


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


def _memory(measure: Measure) -> str:
    return human_bytes(measure.peak_bytes) if measure.peak_bytes else ""


def build(settings: Settings, target: str, repo: Path, *more: str) -> Mapping[str, Any]:
    """One build as a user runs it, without nox; its JSON."""
    argv = [sys.executable, "-m", "build", "build", "--target", target, "--json", *more]
    done = proc.run(argv, cwd=repo, env=_environment(settings), verbose=settings.verbose)
    return dict(json.loads(done.stdout))


def _environment(settings: Settings) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("DOCKER_HOST", "XDG_CACHE_HOME") if name in os.environ}
    return {**proc.network_env(), **kept, STORE_VARIABLE: str(settings.store)}


def cold(settings: Settings, target: str) -> Measure:
    """Everything from what is fetched: the build cache is empty, the root file system is there."""
    chosen = engine.find(settings)
    if chosen.private:  # a user's own engine holds the cache of other work too: --no-cache must do there
        argv, env = engine.buildx(chosen, settings)
        proc.run([*argv, "prune", "--all", "--force"], env=env)
    with step("a cold build"):
        start = time.monotonic()
        made = build(settings, target, settings.repo, "--no-cache")
        seconds = time.monotonic() - start
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    new = sum(size for _, size in made["layers"])
    return Measure(name="cold build", seconds=seconds, runs=1, new_bytes=new, peak_bytes=peak)


def no_op(settings: Settings, target: str) -> Measure:
    """``./nox -s build`` with nothing to do, nox itself included."""
    argv: list[proc.Arg] = [sys.executable, settings.repo / "nox", "-s", "build", "--", "--target", target]
    times = []
    with step(f"{RUNS} builds with nothing to do"):
        for _ in range(RUNS):
            start = time.monotonic()
            proc.run(argv, cwd=settings.repo, env=_environment(settings))
            times.append(time.monotonic() - start)
    return Measure(name="nothing to do, with nox", seconds=statistics.median(times), runs=RUNS)


def patch(settings: Settings, job: steps.Job, first: Mapping[str, Any]) -> Measure:
    """One line more in the last patch of the series' first component, locked and built; then back."""
    known = {digest for digest, _ in first["layers"]}
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        repo = Path(folder)
        for name in COPIED:
            source = settings.repo / name
            if source.is_dir():
                shutil.copytree(source, repo / name, ignore=shutil.ignore_patterns("__pycache__", ".*"))
            else:
                shutil.copy2(source, repo / name)
        add_line(repo / "patches", job.series.of(job.series.patches[0].ref.component)[-1].ref)
        lock = [sys.executable, "-m", "build", "lock", "--target", job.name, "--offline"]
        proc.run(lock, cwd=repo, env=_environment(settings))
        with step("a build after a one-line change of a patch"):
            start = time.monotonic()
            made = build(settings, job.name, repo)
            seconds = time.monotonic() - start
    build(settings, job.name, settings.repo)
    new = sum(size for digest, size in made["layers"] if digest not in known)
    return Measure(name="one-line change of a patch", seconds=seconds, runs=1, new_bytes=new)


def add_line(patches: Path, ref: PatchRef) -> None:
    """Add a comment to the first hunk of a patch, its line count made right."""
    path = patches / ref.series / ref.component / ref.file
    lines = path.read_text(encoding="utf-8").split("\n")
    at = next(number for number, line in enumerate(lines) if line.startswith("@@ "))
    added = next(number for number in range(at + 1, len(lines)) if lines[number].startswith("+"))
    head, new, rest = lines[at].partition("+")
    start, _, tail = rest.partition(" ")
    first, _, count = start.partition(",")
    lines[at] = f"{head}{new}{first},{int(count or 1) + 1} {tail}"
    lines.insert(added, "+# changed by nox -s bench")
    path.write_text("\n".join(lines), encoding="utf-8")
    udiffparse.parse(ref.file, path.read_bytes())
