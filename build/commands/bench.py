"""Measure builds of a target: with nothing to do, after a change of one line of a patch, and with --cold from nothing.

Each figure is the median of its runs, in wall seconds. A build with nothing to do is told twice: its own steps, and all
of it with nox. Each change of a patch is another one, so that nothing of it is in any cache; the bytes are those of the
compressed layers that the image before did not have, and how much of them are RECORD files (each compressed alone).

--usual builds the same target beside it as people usually do it, in turns in the same run, by the same private engine
from the same root file system, wheels and patched files: one Dockerfile, one layer that pip (or uv) installs inside the
image's own root, patched files copied over it; then with the time as an argument above that layer, so that it is made
again. This and --cold empty the private engine's build cache, and wait a minute then (--settle): ext4 is slow to make
files while it remembers many deleted ones. A full target needs 40 GB of disk for it, and an hour where pip is emulated.

--push measures publishing instead, to a registry of its own on this machine: all of the image beside `skopeo copy` of
the same files, in turns; then the whole command after a change of one line, and `verify`.

--fetch measures fetching instead, into empty stores, in turns with one plain parallel download of the same addresses by
curl, eight at once.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import time
from collections.abc import Sequence
from typing import Any

from build import console, engine, fetchrace, measures, ourway, pushrace, steps, store, usualway
from build.console import human_bytes, step
from build.errors import UsageError
from build.measures import Measure, Pair
from build.models import Engine, Settings
from build.settings import add_target_argument

IDLE_RUNS = 5
CHANGES = 3
TIMES_THE_WHEELS = 8  # disk for two builds and their caches at once, as a multiple of the wheels (v0.32: 34 GB)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_target_argument(parser)
    parser.add_argument("--cold", action="store_true", help="also drop the build cache and build everything anew")
    parser.add_argument(
        "--usual", choices=sorted(usualway.INSTALLERS), nargs="?", const="pip",
        help="also build it as people usually do, with this installer (pip), and compare; implies --cold",
    )  # fmt: skip
    parser.add_argument(
        "--settle", type=seconds, default=ourway.FORGET_SECONDS, metavar="SECONDS",
        help="wait so long after the build cache was dropped (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--fetch", action="store_true", help="measure fetching instead, beside curl")
    parser.add_argument("--push", action="store_true", help="measure publishing instead, beside skopeo")
    parser.add_argument(
        "--gigabytes", type=float, default=1.0, metavar="N",
        help="with --fetch: at most so much, every n-th file by size (default: %(default)s)",
    )  # fmt: skip


def seconds(text: str) -> int:
    seconds = int(text)
    if seconds < 0:
        raise ValueError(text)
    return seconds


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Measure one target."""
    job = steps.load(settings, args.target)
    if args.fetch:
        return fetch(job, int(args.gigabytes * 1e9))
    if args.push:
        return push(job)
    if not job.series.patches:
        raise UsageError(f"{job.name} has no patch to change", todo="name a target with a series")
    chosen = engine.find(settings)
    if args.usual:
        return compare(job, chosen, args.usual, args.settle)
    with step(f"build {job.name}, so that there is something to compare with"):
        first = ourway.build(settings, job.name, settings.repo)
    found: list[Measure] = []
    if args.cold:
        ourway.drop_build_cache(settings, chosen, settle=args.settle)
        found.append(ourway.cold(settings, chosen, job.name)[0])
    with step(f"{IDLE_RUNS} builds with nothing to do"):
        idle = [ourway.no_op(settings, job.name) for _ in range(IDLE_RUNS)]
    with step(f"{CHANGES} builds after a one-line change of a patch"), ourway.changes(job, first["layers"]) as changes:
        for _ in range(CHANGES):
            changes.one_line(token())
    tell(job, [*found, *idle_measures(idle), changes.measure()])
    return 0


def token() -> str:
    """What no run had before."""
    return str(time.time_ns())


def idle_measures(idle: Sequence[tuple[float, float]]) -> list[Measure]:
    alone, whole = zip(*idle, strict=True)
    return [Measure(name="nothing to do, the steps", times=alone), Measure(name="nothing to do, with nox", times=whole)]


def tell(job: steps.Job, found: Sequence[Measure], more: dict[str, Any] | None = None) -> None:
    """What our own way came to, as a table; or all of it as JSON."""
    if job.settings.json:
        told = {"target": job.name, "cores": os.cpu_count(), "measures": [item.as_dict() for item in found]}
        print(json.dumps({**told, **(more or {})}, indent=1))
    else:
        console.table(f"{job.name} on {os.cpu_count()} cores", measures.COLUMNS, [measures.row(item) for item in found])


def compare(job: steps.Job, chosen: Engine, installer: str, settle: int) -> int:
    """Our way and the usual one, in turns."""
    settings = job.settings
    require_both(job, chosen)
    with step(f"build {job.name}, so that there is something to compare with"):
        first = ourway.build(settings, job.name, settings.repo)
    with usualway.prepared(job, chosen, installer) as usual:
        ourway.drop_build_cache(settings, chosen, settle=settle)
        cold, again = ourway.cold(settings, chosen, job.name)
        with step(f"a cold build with {installer}, the usual way"):
            early = usual.build(clock=token(), no_cache=True)
        ours, nothing, line = turns(job, usual, first["layers"], early)
        # The clock's build needs room: what is kept is what a clock does not touch, wheels and root file system.
        ourway.drop_build_cache(settings, chosen, kind="regular", settle=settle)
        usual.build(clock=early.clock, stage=usualway.BASE)
        with step(f"a build after a change of one line, with {installer} and a clock"):
            usual.change(token())
            late = usual.build(clock=token())
    ourway.drop_build_cache(settings, chosen)
    pairs = [
        Pair(name="cold build", ours=cold, usual=usualway.measure("cold build", [early])),
        Pair(name="nothing to do: our steps, and buildx", ours=ours[0], usual=nothing),
        Pair(name="one-line change, copied over the installed", ours=ours[-1], usual=line),
        Pair(
            name="one-line change, a clock above the install",
            ours=ours[-1],
            usual=usualway.measure("one-line change, a clock", [late], early),
        ),
    ]
    installed = {build.layers[usualway.INSTALLED] for build in (early, late)}
    same = {"ours": again["layers"] == first["layers"], "usual": len(installed) == 1}
    tell_pairs(job, installer, [cold, *ours], pairs, same)
    return 0


def require_both(job: steps.Job, chosen: Engine) -> None:
    """An error where the two ways cannot be compared: an engine that is not ours, or a small disk."""
    if not chosen.private:
        raise UsageError(
            "--usual needs the private engine",
            why=f"the engine at {chosen.url} does not show what it holds, and its build cache is not ours to drop",
            todo="run it where no other engine answers (`nox -s engine -- up`, with DOCKER_HOST unset)",
        )
    needed = TIMES_THE_WHEELS * sum(wheel.size for wheel in job.lock.wheels)
    store.require_space(job.settings.store, needed, f"building {job.name} in two ways")


def turns(
    job: steps.Job, usual: usualway.Usual, first: ourway.Layers, early: usualway.Made
) -> tuple[list[Measure], Measure, Measure]:
    """Nothing to do, then one-line changes, by turns: what is to be told of ours, and of both of the usual way."""
    idle, usual_idle, changed = [], [], []
    with step(f"{IDLE_RUNS} builds with nothing to do, in turns"):
        for _ in range(IDLE_RUNS):
            idle.append(ourway.no_op(job.settings, job.name))
            usual_idle.append(usual.build(clock=early.clock))
    title = f"{CHANGES} builds after a change of one line, in turns"
    with step(title), ourway.changes(job, first) as changes:
        for _ in range(CHANGES):
            changes.one_line(token())
            usual.change(token())
            changed.append(usual.build(clock=early.clock))
    nothing, line = (
        usualway.measure("nothing to do", usual_idle, early),
        usualway.measure("one-line change", changed, early),
    )
    return [*idle_measures(idle), changes.measure()], nothing, line


def tell_pairs(
    job: steps.Job, installer: str, ours: Sequence[Measure], pairs: Sequence[Pair], same: dict[str, bool]
) -> None:
    """Both ways beside each other."""
    usual = {pair.name: pair.usual.as_dict() for pair in pairs}
    told = {"installer": installer, "usual": usual, "ratios": measures.ratios(pairs), "same_layers_twice": same}
    tell(job, ours, told)
    if not job.settings.json:
        title = f"the same with {installer}, the usual way, in turns"
        console.table(title, measures.PAIR_COLUMNS, [measures.pair_row(pair) for pair in pairs])
        said = {way: "yes" if equal else "no" for way, equal in same.items()}
        print(f"the same layers when built twice: ours {said['ours']}, the usual way {said['usual']}")


def fetch(job: steps.Job, most: int) -> int:
    """Fetch the same files with our own code and with curl, in turns, each into an empty folder beside the store."""
    known = steps.locate(steps.python_files(job), steps.environments(job))
    files = fetchrace.every_nth([item for item in known if item.urls], most)
    size = sum(item.size for item in files)
    title = f"{fetchrace.TURNS} times {len(files)} files, {human_bytes(size)}"
    with step(f"{title}, by each of us"):
        times = fetchrace.race(job.settings.store, files)
    ours, theirs = (statistics.median(found) for found in times.values())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    if job.settings.json:
        told = {"bytes": size, "files": len(files), "seconds": times, "ratio": theirs / ours, "peak_bytes": peak}
        print(json.dumps({"target": job.name, **told}, indent=1))
        return 0
    rows = [
        [name, f"{statistics.median(found):.2f} s", f"{human_bytes(size / statistics.median(found))}/s", memory]
        for (name, found), memory in zip(times.items(), (human_bytes(peak), ""), strict=True)
    ]
    console.table(title, ["what", "median", "speed", "our memory"], rows)
    print(f"fetch reaches {theirs / ours:.0%} of curl's speed")
    return 0


def push(job: steps.Job) -> int:
    """Publish to a registry on this machine: all of it beside skopeo, then after one-line changes; and verify."""
    settings = job.settings
    with step(f"build {job.name}, so that there is something to publish"):
        first = ourway.build(settings, job.name, settings.repo)
    with pushrace.place(settings) as (folder, local):
        key = pushrace.key_pair(settings, folder)
        with step(f"{pushrace.TURNS} times all of the image, by each of us"):
            times = pushrace.race(job, folder, local)
        local.empty()
        changed = []
        with ourway.changes(job, first["layers"]) as changes:  # in a copy, so that no record stays here
            pushrace.as_commit(changes.repo)
            report = pushrace.report_for(job, first["digest"], first["chain_id"], folder)
            with step("the whole command, and verify"):
                whole, told = pushrace.push(job, changes.repo, local, key, report)
                verified = pushrace.verify(job, changes.repo, key, told["image"])
            for _ in range(CHANGES):
                changes.one_line(token())
                made = pushrace.record(job, changes.repo)
                report = pushrace.report_for(job, made["digest"], made["chain_id"], folder)
                seconds_, sent = pushrace.push(job, changes.repo, local, key, report)
                changed.append((seconds_, int(sent["sent"])))
    return tell_push(job, times, whole, verified, changed)


def tell_push(
    job: steps.Job, times: pushrace.Times, whole: float, verified: float, changed: Sequence[tuple[float, int]]
) -> int:
    """Print what publishing took."""
    ours, theirs = statistics.median(times.push), statistics.median(times.skopeo)
    after = statistics.median(seconds for seconds, _ in changed)
    sent = statistics.median(count for _, count in changed)
    if job.settings.json:
        told = {
            "target": job.name, "bytes": times.size, "push": times.push, "skopeo": times.skopeo, "ratio": theirs / ours,
            "whole": whole, "verify": verified, "changed": changed,
        }  # fmt: skip
        print(json.dumps(told, indent=1))
        return 0
    rows = [
        ["all of the image, push", f"{ours:.1f} s", f"{human_bytes(times.size / ours)}/s"],
        ["all of the image, skopeo copy", f"{theirs:.1f} s", f"{human_bytes(times.size / theirs)}/s"],
        ["the whole command, everything attached, nothing there", f"{whole:.1f} s", ""],
        ["the whole command after a one-line change", f"{after:.1f} s", f"{human_bytes(sent)} sent"],
        ["verify, every file", f"{verified:.1f} s", f"{human_bytes(times.size / verified)}/s"],
    ]
    console.table(f"{job.name}, {human_bytes(times.size)}", ["what", "median", ""], rows)
    print(f"push reaches {theirs / ours:.0%} of skopeo's speed")
    return 0
