"""Builds of a target as its users run them, measured: from nothing, with nothing to do, after a change of one line.

Composes: each build is a process of its own, started as the launcher starts it, so that loading Python counts too.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from build import assemble, clone, engine, private, proc, processes, recordshare, steps, store, udiffparse
from build.console import step
from build.errors import UsageError
from build.measures import Measure
from build.models import Engine, PatchRef, Settings
from build.settings import STORE_VARIABLE

# ext4 gives no inode out again within a minute of its deletion (RECENTCY_MIN in fs/ext4/ialloc.c), and walks over all
# that it must pass by: after a build cache of 100,000 files has just gone, one file in ten is slow to make. A machine
# that builds for the first time has deleted nothing.
FORGET_SECONDS = 65

COMMENT = "# changed by nox -s bench: {}"

Layers = tuple[tuple[str, int], ...]


def build(settings: Settings, target: str, repo: Path, *more: str) -> Mapping[str, Any]:
    """One build as a user runs it, without nox; its JSON."""
    argv = [sys.executable, "-m", "build", "build", "--target", target, "--json", *more]
    done = proc.run(argv, cwd=repo, env=environment(settings), verbose=settings.verbose)
    return dict(json.loads(done.stdout))


def environment(settings: Settings) -> dict[str, str]:
    """What our own commands are started with: the user's network and engine, this run's store."""
    kept = {name: os.environ[name] for name in ("DOCKER_HOST", "XDG_CACHE_HOME") if name in os.environ}
    return {**proc.network_env(), **kept, STORE_VARIABLE: str(settings.store)}


def engine_cpu(settings: Settings, chosen: Engine) -> float:
    """Seconds of CPU that the private engine took so far, with the steps that ended; 0 for another engine."""
    pid = private.status(settings.store).pid if chosen.private else None
    return processes.cpu_seconds(pid) if pid else 0.0


def drop_build_cache(settings: Settings, chosen: Engine, *, kind: str = "", settle: int = 0) -> None:
    """Empty the private engine's build cache, or only one kind of record of it (BuildKit's ``type``).

    ``settle``: seconds to wait then, so that what comes next is measured on a file system that has forgotten what was
    deleted. A user's own engine holds the cache of other work too: it is left as it is, and ``--no-cache`` must do.
    """
    if not chosen.private:
        return
    argv, env = engine.buildx(chosen, settings)
    proc.run([*argv, "prune", "--all", "--force", *(["--filter", f"type={kind}"] if kind else [])], env=env)
    for note in (settings.store / "built").glob("*.json"):
        assemble.forget_base(note)
    if settle:
        with step(f"wait {settle} s, until the file system has forgotten what was deleted"):
            os.sync()
            time.sleep(settle)


def cold(settings: Settings, chosen: Engine, target: str) -> tuple[Measure, Mapping[str, Any]]:
    """Everything from what is fetched: the build cache is not used, the root file system is there. And its JSON."""
    before = engine_cpu(settings, chosen)
    with step(f"a cold build of {target}"):
        start = time.monotonic()
        made = build(settings, target, settings.repo, "--no-cache")
        seconds = time.monotonic() - start
    measure = Measure(
        name="cold build",
        times=(seconds,),
        engine_cpu=engine_cpu(settings, chosen) - before,
        new_bytes=sum(size for _, size in made["layers"]),
        peak_bytes=resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024,
    )
    return measure, made


def no_op(settings: Settings, target: str) -> tuple[float, float]:
    """``./nox -s build`` with nothing to do: seconds of its steps alone, and of all, nox and Python included."""
    argv: list[proc.Arg] = [sys.executable, settings.repo / "nox", "-s", "build", "--", "--target", target, "--json"]
    start = time.monotonic()
    done = proc.run(argv, cwd=settings.repo, env=environment(settings))
    seconds = time.monotonic() - start
    told = json.loads(done.stdout)
    if told["built"]:
        raise UsageError(
            f"{target} was built anew while a build with nothing to do was measured",
            why="another run changed what the engine holds",
            todo="measure while nobody else builds with this store",
        )
    return float(told["seconds"]), seconds


@dataclass(frozen=True, kw_only=True)
class Changes:
    """A copy of the repository in which one more line is added to one patch, again and again."""

    job: steps.Job
    repo: Path
    known: frozenset[str]
    found: list[tuple[float, int, int]] = field(default_factory=list)

    def one_line(self, token: str) -> float:
        """Add a line, lock it, and measure the build alone; its seconds. ``token`` makes the line unlike any other."""
        settings, job = self.job.settings, self.job
        ref = job.series.of(job.series.patches[0].ref.component)[-1].ref
        add_line(self.repo / "patches", ref, COMMENT.format(token))
        lock = [sys.executable, "-m", "build", "lock", "--target", job.name, "--offline"]
        proc.run(lock, cwd=self.repo, env=environment(settings))
        start = time.monotonic()
        made = build(settings, job.name, self.repo)
        seconds = time.monotonic() - start
        new = [(digest, size) for digest, size in made["layers"] if digest not in self.known]
        content = private.places(settings.store).content
        records = sum(recordshare.record_bytes(content / digest.replace(":", "/")) for digest, _ in new)
        self.found.append((seconds, sum(size for _, size in new), records))
        return seconds

    def measure(self) -> Measure:
        """What the changes came to."""
        times, sizes, records = zip(*self.found, strict=True)
        return Measure(
            name="one-line change of a patch",
            times=times,
            new_bytes=int(statistics.median(sizes)),
            record_bytes=int(statistics.median(records)),
        )


@contextmanager
def changes(job: steps.Job, first: Layers) -> Iterator[Changes]:
    """The place to change lines in. ``first``: layers of the unchanged image, which is built again afterwards."""
    settings = job.settings
    with store.scratch(settings.store, "bench") as folder:
        clone.copy(settings.repo, folder)
        try:
            yield Changes(job=job, repo=folder, known=frozenset(digest for digest, _ in first))
        finally:
            build(settings, job.name, settings.repo)


def add_line(patches: Path, ref: PatchRef, line: str) -> None:
    """Add a line to the first hunk of a patch, its line count made right."""
    path = patches / ref.series / ref.component / ref.file
    lines = path.read_text(encoding="utf-8").split("\n")
    at = next(number for number, text in enumerate(lines) if text.startswith("@@ "))
    added = next(number for number in range(at + 1, len(lines)) if lines[number].startswith("+"))
    head, new, rest = lines[at].partition("+")
    start, _, tail = rest.partition(" ")
    first, _, count = start.partition(",")
    lines[at] = f"{head}{new}{first},{int(count or 1) + 1} {tail}"
    lines.insert(added, f"+{line}")
    path.write_text("\n".join(lines), encoding="utf-8")
    udiffparse.parse(ref.file, path.read_bytes())
