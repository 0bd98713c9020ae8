"""Say what a build would do and why, and do nothing: steps, ids, downloads, disk at its peak, time."""

from __future__ import annotations

import argparse
import json
import shutil
from dataclasses import asdict, dataclass

from build import assemble, console, nativebuild, nativeplan, private, recipe, rootfs, roots, sourcetree, steps
from build.canonical import digest
from build.console import human_bytes
from build.jobs import NoRoomError
from build.models import DebSet, Settings
from build.settings import add_target_argument

# Seconds on two cores of an x86-64 machine, quiet; a plan says the order of magnitude, not a promise.
ROOTFS_SECONDS = 150.0
UNPACK_BYTES_PER_SECOND = 40e6
BUILD_BYTES_PER_SECOND = 40e6
PATCH_SECONDS = 2.0


@dataclass(frozen=True, kw_only=True)
class Step:
    """A step of a build: what it makes (by id), whether it is to be done, why, and what it costs."""

    name: str
    id: str
    todo: bool
    why: str
    seconds: float = 0.0
    download: int = 0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_target_argument(parser)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Plan the build of one target."""
    job = steps.load(settings, args.target)
    steps.require_resolved(job)
    chain = recipe.chain_id(job)
    found = [
        fetch_step(job),
        root_step(job, "tools root", job.tools),
        root_step(job, "builder root", job.builder),
        *([root_step(job, "compile root", job.compiler)] if job.compilers else []),
        rootfs_step(job),
        *(checkout_step(job, component.name) for component in job.lock.components),
        patch_step(job),
        *compile_steps(job, chain),
        image_step(job, chain),
    ]
    if settings.json:
        print(json.dumps({"target": job.name, "chain_id": chain, "steps": [asdict(item) for item in found]}, indent=1))
        return 0
    show(job, chain, found)
    return 0


def fetch_step(job: steps.Job) -> Step:
    """The files that the store lacks."""
    items = steps.all_files(job)
    lacking = steps.missing_files(job)
    total = sum(item.size for item in lacking)
    why = (
        f"{len(lacking)} of {len(items)} files are not in the store" if lacking else f"all {len(items)} files are there"
    )
    return Step(name="fetch", id=job.lock.intent, todo=bool(lacking), why=why, download=total)


def root_step(job: steps.Job, name: str, debset: DebSet) -> Step:
    """A root of this machine's architecture."""
    there = roots.place(job.settings.store, debset).is_dir()
    seconds = 0.0 if there else sum(deb.size for deb in debset.debs) / UNPACK_BYTES_PER_SECOND
    why = "unpacked" if there else f"{len(debset.debs)} packages are not unpacked yet"
    return Step(name=name, id=roots.root_id(debset), todo=not there, why=why, seconds=seconds)


def rootfs_step(job: steps.Job) -> Step:
    """The image's root file system."""
    name = rootfs.rootfs_id(job.rootfs)
    there = rootfs.place(job.settings.store, job.rootfs).is_file()
    why = "made" if there else f"{len(job.rootfs.debs)} packages are not installed into a root yet"
    return Step(name="rootfs", id=name, todo=not there, why=why, seconds=0.0 if there else ROOTFS_SECONDS)


def checkout_step(job: steps.Job, component: str) -> Step:
    """A component's pristine tree."""
    item = next(c for c in job.lock.components if c.name == component)
    name = sourcetree.tree_id(item, git=item.archive is None)
    there = (job.settings.store / "trees" / name).is_dir()
    source = item.archive.file if item.archive else f"commit {item.git.commit[:12]}" if item.git else "nothing"
    return Step(name=f"checkout {component}", id=name, todo=not there, why=f"from {source}", seconds=0 if there else 5)


def patch_step(job: steps.Job) -> Step:
    """The series over the trees."""
    there = steps.has_patched_files(job)
    count = len(job.series.patches)
    why = f"patches applied: {count}" if there else f"patches of {job.target.series} to apply: {count}"
    return Step(name="patch", id=job.series.id, todo=not there, why=why, seconds=0.0 if there else PATCH_SECONDS)


def compile_steps(job: steps.Job, chain: str) -> list[Step]:
    """Compiling, in the source lane, with the time predicted for this machine from the stored list of its files."""
    if job.target.native is None:
        return []
    known = assemble.read_built(job.settings.store, job.name)
    name = digest(nativebuild.inputs(job))
    if known and known.chain_id == chain:
        return [Step(name="compile", id=name, todo=False, why="done for the image that was built")]
    listed = nativeplan.compiled(job)
    if not listed:
        why = f"how long is not known: `nox -s configure -- --record --target {job.name}` lists the files"
        return [Step(name="compile", id=name, todo=True, why=why)]
    try:
        expected = nativeplan.here(listed)
    except NoRoomError as error:
        return [Step(name="compile", id=name, todo=True, why=f"it cannot, here: {error}")]
    why = f"by {nativebuild.by_whom(job)}, unless a cache has it; {expected.basis}"
    return [Step(name="compile", id=name, todo=True, why=why, seconds=expected.seconds)]


def image_step(job: steps.Job, chain: str) -> Step:
    """The image: built before from the same chain id, or not."""
    known = assemble.read_built(job.settings.store, job.name)
    ours = private.status(job.settings.store).running
    if known and known.chain_id == chain:
        return Step(name="image", id=chain, todo=False, why=f"built as {known.digest[:19]}… (if the engine keeps it)")
    why = f"the last build had chain id {known.chain_id[:12]}" if known else "never built here"
    seconds = sum(wheel.size for wheel in job.lock.wheels) / BUILD_BYTES_PER_SECOND
    engine = "the private engine runs" if ours else "an engine is looked for, or the private one started"
    return Step(name="image", id=chain, todo=True, why=f"{why}; {engine}", seconds=seconds)


def show(job: steps.Job, chain: str, found: list[Step]) -> None:
    """The plan as a table."""
    rows = [[item.name, item.id[:12], "to do" if item.todo else "there", item.why, _cost(item)] for item in found]
    console.table(f"{job.name}: {job.target.summary}", ["step", "id", "state", "why", "cost"], rows)
    print(f"on a GB10  {job.target.gb10}{f' ({job.target.gb10_seen})' if job.target.gb10_seen else ''}")
    todo = [item for item in found if item.todo]
    if not todo:
        print("Nothing to do.")
        return
    free = shutil.disk_usage(_existing(job)).free
    total = sum(item.download for item in todo)
    print(f"chain id   {chain}")
    print(f"download   {human_bytes(total)}")
    peak = total + assemble.disk_needed(job, assemble.read_built(job.settings.store, job.name))
    print(f"disk       {human_bytes(peak)} at the peak, {human_bytes(free)} free")
    for line in nativeplan.elsewhere(job):
        print(line)
    print(f"time       about {_minutes(sum(item.seconds for item in todo))} on two cores, downloads aside")


def _existing(job: steps.Job) -> str:
    there = job.settings.store
    while not there.exists():
        there = there.parent
    return str(there)


def _cost(item: Step) -> str:
    if not item.todo:
        return ""
    parts = [human_bytes(item.download)] if item.download else []
    parts += [f"~{item.seconds:.0f} s"] if item.seconds else []
    return ", ".join(parts)


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
