"""Build a target's image for linux/arm64: fetch what is missing, apply the series, make the root file system, render
the Dockerfile, run BuildKit. What is there already is not made again; nothing changed means nothing done.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict, replace

from build import assemble, buildx, engine, making, nativebuild, nativeplan, nativereport, recipe, results, steps, store
from build.console import human_bytes, say, step, warn
from build.errors import LockError, NewerLockError, ReproduceError, UsageError
from build.models import Built, Engine, Settings
from build.settings import add_target_argument


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_target_argument(parser)
    parser.add_argument("--builder", metavar="NAME", help="a buildx builder to use instead of the engine's own")
    parser.add_argument(
        "--output", metavar="SPEC", help="where the image goes, as buildx --output (default: the engine's store)"
    )
    parser.add_argument("--record", action="store_true", help="note what it gave in lock/results/, to compare with")
    parser.add_argument("--expect", action="store_true", help="fail unless it is the image that lock/results/ holds")
    parser.add_argument(
        "--no-cache", action="store_true", help="let BuildKit reuse nothing (the compile cache: --cold)"
    )
    source = parser.add_argument_group("targets of the source lane")
    source.add_argument(
        "--jobs",
        type=int,
        default=0,
        metavar="N",
        help="compilers at once (default: as many as memory and cores allow)",
    )
    source.add_argument(
        "--cold", action="store_true", help="compile everything: neither cache counts, as for a release"
    )


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Build one target."""
    start = time.monotonic()
    if args.builder and not args.output:
        raise UsageError(
            "--builder needs --output",
            why="a builder of its own has no image store that we could look into",
            todo="say where the image goes, as buildx does: --output type=oci,dest=image.tar, or type=registry,name=…",
        )
    if (args.record or args.expect) and args.output:
        raise UsageError(
            "--record and --expect need the image in the engine, and --output sends it elsewhere",
            todo="build it once without --output",
        )
    if args.record and args.expect:
        raise UsageError("--expect compares with what --record would write over", todo="give one of the two")
    job = steps.load(settings, args.target)
    require_source_lane(args, job)
    chain = recipe.chain_id(job)
    with store.locked(settings.store, f"build-{job.name}"):
        chosen = engine.of_builder() if args.builder else engine.find(settings)
        known = assemble.read_built(settings.store, job.name)
        anew = args.output or args.no_cache or args.cold
        if known and not anew and assemble.is_there(engine.client(chosen), chosen, known, chain):
            settle(args, job, chosen, known, fresh=False)
            return tell(settings, known, start, fresh=False)
        contexts = making.prepare(job, chain, known)
        request = replace(assemble.request(job, contexts, chain, output=args.output), no_cache=args.no_cache)
        argv, env = engine.buildx(chosen, settings)
        if job.target.native is not None and not args.builder:
            say(f"compiling, where it has to be: {nativebuild.by_whom(job)}")
        with step(f"build {job.name} ({chain[:12]})"), nativebuild.asked(job, jobs=args.jobs, cold=args.cold) as asked:
            metadata = making.image(job, argv, env, asked(request))
        native = tell_compiled(job, request)
        if args.output:
            return 0
        built = assemble.record(job, chosen, engine.client(chosen), chain, metadata)
        settle(args, job, chosen, built, fresh=True)
    return tell(settings, built, start, fresh=True, native=native)


def require_source_lane(args: argparse.Namespace, job: steps.Job) -> None:
    """``UsageError`` where an option is for compilers and the target has nothing to compile."""
    if args.jobs < 0:
        raise UsageError(f"--jobs {args.jobs} is no number of compilers", todo="name one, or leave it out")
    if (args.jobs or args.cold) and job.target.native is None:
        raise UsageError(
            f"--jobs and --cold are for compilers, and nothing of {job.name} is compiled",
            todo="leave them out, or name a target of the lane 'source'",
        )


def tell_compiled(job: steps.Job, request: buildx.Request) -> nativereport.Figures | None:
    """Say what compiling took, or that nothing was to be compiled; the figures, where it ran."""
    if job.target.native is None:
        return None
    found = nativereport.figures(buildx.facts(request.log))
    if found is None:
        ran = "jobs" in buildx.facts(request.log)
        say(
            f"the step that compiles told no figures: {request.log}"
            if ran
            else "nothing was to be compiled: BuildKit has the libraries of these sources"
        )
        return None
    for line in (found.line, *nativeplan.compared(job, found)):
        say(line)
    return found


def settle(args: argparse.Namespace, job: steps.Job, chosen: Engine, built: Built, *, fresh: bool) -> None:
    """Record what was built, demand that it is what was recorded, or say how a fresh build compares."""
    if not (args.record or args.expect or fresh):
        return
    if args.record and not chosen.private:
        raise UsageError(
            "only a build by the private engine can be recorded",
            why=f"the engine at {chosen.url} does not show the bytes that it holds",
            todo="run it where no other engine answers (`nox -s engine -- up`, with DOCKER_HOST unset)",
        )
    named = replace(chosen, buildkit=engine.buildkit_version(chosen, job.settings))
    found = assemble.result(job, named, engine.client(chosen), built)
    recorded = recorded_before(job, rewrite=args.record)
    if recorded is not None and recorded.chain_id == found.chain_id:
        compare(recorded, found, expected=args.expect)
    elif args.expect:
        raise nothing_to_expect(job.name, recorded, found)
    if args.record and results.write(job.settings.repo, found):
        say(f"noted in {results.path_of(job.settings.repo, job.name).relative_to(job.settings.repo)}")


def recorded_before(job: steps.Job, *, rewrite: bool) -> results.Result | None:
    """The recorded result. One that an older version wrote, or a hand, may be written over."""
    try:
        return results.read(job.settings.repo, job.name)
    except LockError as error:
        if rewrite and not isinstance(error, NewerLockError):
            return None
        raise


def compare(recorded: results.Result, found: results.Result, *, expected: bool) -> None:
    """Say how far a build is what was recorded of the same inputs; what it is not is an error where that was asked."""
    faults = results.differences(recorded, found)
    if not faults:
        say(f"as recorded in lock/results/: {results.held(recorded, found)}")
    elif expected:
        raise ReproduceError(
            f"{found.target} is not what was recorded of the same inputs",
            why="\n       ".join(faults),
            todo=f"nox -s reproduce -- --target {found.target} builds it from nothing: which of the two is it?",
        )
    for text in faults:
        warn(f"{found.target} is not what was recorded of the same inputs: {text}")


def nothing_to_expect(target: str, recorded: results.Result | None, found: results.Result) -> ReproduceError:
    """The error where nothing was recorded of these inputs."""
    was = f"chain id {recorded.chain_id[:12]} is recorded, and this" if recorded else "nothing is recorded, and this"
    return ReproduceError(
        f"lock/results/ does not say what {target} should be",
        why=f"{was} is {found.chain_id[:12]}",
        todo=f"what enters the image was changed: `nox -s build -- --record --target {target}`, and commit the result",
    )


def tell(
    settings: Settings, built: Built, start: float, *, fresh: bool, native: nativereport.Figures | None = None
) -> int:
    """Print what was built (or was there)."""
    seconds = round(time.monotonic() - start, 2)
    if settings.json:
        told = {**asdict(built), "size": built.size, "built": fresh, "seconds": seconds}
        if native is not None:
            told["native"] = {key: value for key, value in asdict(native).items() if key != "log"}
        print(json.dumps(told, indent=1))
        return 0
    if not fresh:
        say("nothing changed since the last build")
    print(f"{built.image}  {built.digest}")
    size = f"{human_bytes(built.size)} compressed in {len(built.layers)} layers, " if built.layers else ""
    print(f"  chain id {built.chain_id[:12]}, {size}{seconds} s")
    return 0
