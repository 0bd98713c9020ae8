"""Build a target again from nothing, under other conditions, and compare with what lock/results/ holds of it.

A copy of this clone builds in another place, by a private engine that has never built anything, out of copies of the
locked files, without a network. --vary says what else is different there. What comes out must be the recorded image;
where it is not, it is kept and `nox -s diff` explains the difference.

--machine arm64 builds as an arm64 machine does instead: its Python, uv, git, mmdebstrap, buildx run our code, emulated
here (ten minutes for `tiny`, hours for a whole target); the kernel and the engine stay this machine's.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from dataclasses import asdict
from pathlib import Path

from build import (
    assemble,
    conditions,
    console,
    elsewhere,
    host,
    otherhost,
    proc,
    recipe,
    results,
    rootfs,
    roots,
    steps,
    workplace,
)
from build.conditions import Varied
from build.console import human_bytes, say, step
from build.errors import ReproduceError, UsageError
from build.models import Settings
from build.settings import add_target_argument

ROOTS_BYTES = 2_000_000_000  # the tools root and the builder root, unpacked


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_target_argument(parser)
    names = ",".join(conditions.NAMES)
    parser.add_argument("--vary", metavar="LIST", help=f"some of {names} (default: all)")
    parser.add_argument("--machine", choices=["arm64"], help="build as that machine does, emulated; no --vary")
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help="where an image that differs is kept (default: out/reproduce/TARGET)"
    )


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Reproduce one target. Raises :class:`ReproduceError` with every difference."""
    start = time.monotonic()
    if args.machine and args.vary:
        raise UsageError("--machine varies the machine, and nothing else", todo="leave out --vary, or --machine")
    names = conditions.chosen(args.vary or "all")
    job = steps.load(settings, args.target)
    if args.machine and job.target.native is not None:
        raise UsageError(
            f"--machine cannot be had for {job.name}, which is compiled",
            why="BuildKit would run on this machine and take its compilers; nothing else would be shown",
            todo="leave out --machine, or build it on such a machine and compare with `build -- --expect`",
        )
    recorded = expected(job)
    if args.machine:
        return as_machine(args, job, recorded, start)
    steps.fetch_all(job)
    blobs = tuple(item.sha256 for item in steps.all_files(job))
    size = bytes_needed(job)
    with workplace.opened(settings.store, host.tools(settings), size=size, disk="order" in names) as there:
        plan = elsewhere.Plan(
            target=job.name, vary=names, repo=str(settings.repo), store=str(settings.store), blobs=blobs,
            work=str(there.work), disk=there.disk, point=str(there.point), expected=recorded.manifest,
        )  # fmt: skip
        varied = conditions.compared(names, settings.repo, plan.clone)
        with step(f"build {job.name} from nothing, elsewhere ({', '.join(names)}; up to {human_bytes(size)} of disk)"):
            found = build(plan, there.work / "plan", settings)
        faults = results.differences(recorded, found)
        kept = keep(plan.image, folder(args, job)) if faults else None
    return tell(settings, recorded, found, varied, kept, round(time.monotonic() - start, 1))


def as_machine(args: argparse.Namespace, job: steps.Job, recorded: results.Result, start: float) -> int:
    """Build as another machine does, out of an exported folder, and compare."""
    settings, machine = job.settings, args.machine
    if machine == roots.host_architecture():
        raise UsageError(f"this machine is {machine}: nothing is to be emulated", todo="leave out --machine")
    with otherhost.place(settings) as work:
        argv = ["fetch", "--export", str(work / "exported"), "--machine", machine, "--python", job.lock.python]
        with step(f"export what {machine} machines build {job.name} from"):
            program = [sys.executable, "-m", "build", *argv, "--target", job.name, "--store", str(settings.store)]
            proc.run(program, cwd=settings.repo, env=proc.network_env(), verbose=settings.verbose)
        found = otherhost.build(settings, job.name, machine, work / "there", work / "exported")
        faults = results.differences(recorded, found)
        kept = keep(otherhost.image(work / "there"), folder(args, job)) if faults else None
    varied = Varied(name="machine", here=roots.host_architecture(), there=f"{machine}, but for kernel and engine")
    return tell(settings, recorded, found, (varied,), kept, round(time.monotonic() - start, 1))


def folder(args: argparse.Namespace, job: steps.Job) -> Path:
    """Where an image that differs is kept."""
    return args.output or job.settings.repo / "out" / "reproduce" / job.name


def bytes_needed(job: steps.Job) -> int:
    """Disk that a build takes that finds nothing there but the locked files, and those."""
    files = sum(item.size for item in steps.all_files(job))
    return files + ROOTS_BYTES + rootfs.WORK_BYTES + assemble.disk_needed(job, None)


def expected(job: steps.Job) -> results.Result:
    """What is recorded of these very inputs; else there is nothing to compare with."""
    chain = recipe.chain_id(job)
    recorded = results.read(job.settings.repo, job.name)
    if recorded is None or recorded.chain_id != chain:
        was = f"of chain id {recorded.chain_id[:12]}" if recorded else "of nothing"
        raise ReproduceError(
            f"there is no result of {job.name} to compare with",
            why=f"lock/results/ has one {was}, and this clone's is {chain[:12]}",
            todo=f"nox -s build -- --record --target {job.name}",
        )
    return recorded


def build(plan: elsewhere.Plan, path: Path, settings: Settings) -> results.Result:
    """Let the copy build, and read what it wrote down."""
    plan.write(path)
    argv = [sys.executable, "-B", "-m", "build.elsewhere", str(path)]
    done = proc.run(
        proc.as_root(argv, purpose=workplace.PURPOSE), cwd=settings.repo, capture=False, check=False,
        verbose=settings.verbose,
    )  # fmt: skip
    found = results.read(plan.out, plan.target) if done.returncode == 0 else None
    if found is None:
        raise ReproduceError(
            f"{plan.target} could not be built elsewhere",
            why=f"the build there ended with exit status {done.returncode}; its words are above",
            todo="see whether it builds here: nox -s build -- --no-cache; then --vary fewer conditions",
        )
    return found


def keep(image: Path, target: Path) -> Path | None:
    """Keep the image that came out, an OCI image layout; its folder."""
    if not image.is_dir():
        return None
    if target.exists():
        shutil.rmtree(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(image, target, copy_function=shutil.copyfile)
    return target


def tell(
    settings: Settings,
    recorded: results.Result,
    found: results.Result,
    varied: tuple[Varied, ...],
    kept: Path | None,
    seconds: float,
) -> int:
    """The report: what was varied, and what held."""
    faults = results.differences(recorded, found)
    held = "" if faults else results.held(recorded, found)
    if settings.json:
        told = {
            "target": found.target, "chain_id": found.chain_id, "varied": [asdict(item) for item in varied],
            "equal": not faults, "held": held, "differences": list(faults), "manifest": found.manifest,
            "image": str(kept) if kept else None, "seconds": seconds,
        }  # fmt: skip
        print(json.dumps(told, indent=1))
    else:
        rows = [[item.name, item.here, item.there] for item in varied]
        console.table(f"{found.target}, chain id {found.chain_id[:12]}", ["varied", "here", "there"], rows)
    if faults:
        compare = f"nox -s diff -- {assemble.image_name(found.target)} {kept} explains it" if kept else ""
        raise ReproduceError(
            f"{found.target} is not reproduced: {len(faults)} differences",
            why="\n       ".join(faults),
            todo=f"{compare} (`nox -s build` first, for the image as it is built here)",
        )
    say(f"reproduced in {seconds:.0f} s")
    print(f"{found.target}: {held}")
    return 0
