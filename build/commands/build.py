"""Build a target's image for linux/arm64: fetch what is missing, apply the series, make the root file system, render
the Dockerfile, run BuildKit. What is there already is not made again; nothing changed means nothing done.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, replace
from pathlib import Path

from build import (
    assemble,
    builders,
    buildspecs,
    buildx,
    compilecache,
    dockerlogin,
    engine,
    expecting,
    making,
    nativebuild,
    nativeplan,
    nativereport,
    recipe,
    results,
    steps,
    store,
)
from build.console import human_bytes, say, step
from build.errors import UsageError
from build.models import Built, Engine, Settings
from build.settings import add_target_argument


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_target_argument(parser)
    parser.add_argument(
        "--output", metavar="SPEC", help="where the image goes, as buildx --output (default: the engine's store)"
    )
    parser.add_argument("--record", action="store_true", help="note what it gave in lock/results/, to compare with")
    parser.add_argument("--expect", action="store_true", help="fail unless it is the image that lock/results/ holds")
    parser.add_argument(
        "--no-cache", action="store_true", help="let BuildKit reuse nothing; it empties the compile cache too"
    )
    shared = parser.add_argument_group("more than one machine (docs/teams.md)")
    shared.add_argument(
        "--builder", metavar="NAME", help="a buildx builder or Docker context to use instead of the engine's own"
    )
    shared.add_argument(
        "--machine", choices=builders.MACHINES, help="whose programs the builder's steps run (default: its own)"
    )
    shared.add_argument(
        "--cache-to", metavar="SPEC", action="append", default=[],
        help="also send the build cache there: HOST/NAME[:TAG] of a registry, or as buildx --cache-to",
    )  # fmt: skip
    shared.add_argument(
        "--cache-from", metavar="SPEC", action="append", default=[], help="take from a cache there what fits, likewise"
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
        "--cold", action="store_true",
        help="compile everything, as for a release: neither cache counts, and the compile cache is emptied",
    )  # fmt: skip
    source.add_argument(
        "--ccache", metavar="DIR", type=Path,
        help="carry the compile cache in this folder: taken from it before, where the engine's is empty or older, and "
        "kept in it afterwards, as one file",
    )  # fmt: skip


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Build one target."""
    start = time.monotonic()
    require_sense(args)
    job = steps.load(settings, args.target)
    require_source_lane(args, job)
    chain = recipe.chain_id(job)
    cache_to = tuple(buildspecs.cache_to(word, job.name) for word in args.cache_to)
    cache_from = tuple(buildspecs.cache_from(word, job.name) for word in args.cache_from)
    with store.locked(settings.store, f"build-{job.name}"), store.scratch(settings.store, "build") as folder:
        chosen = engine.of_builder() if args.builder else engine.find(settings)
        known = assemble.read_built(settings.store, job.name)
        anew = args.output or args.no_cache or args.cold or cache_to or args.ccache
        if known and not anew and assemble.is_there(engine.client(chosen), chosen, known, chain):
            settle(args, job, chosen, known, fresh=False)
            return tell(settings, known, start, fresh=False)
        argv, env = engine.buildx(chosen, settings)
        machine = builders.machine(argv, env, args.builder, folder, wanted=args.machine) if args.builder else ""
        contexts = making.prepare(job, chain, known, machine=machine)
        request = replace(
            assemble.request(job, contexts, chain, output=args.output),
            no_cache=args.no_cache, cache_to=cache_to, cache_from=cache_from,
        )  # fmt: skip
        spoken_to = buildspecs.hosts((*cache_to, *cache_from, request.output if args.output else ""))
        env = {**env, **dockerlogin.environment(spoken_to, engine.docker_config(), folder)}
        if job.target.native is not None and not args.builder:
            say(f"compiling, where it has to be: {nativebuild.by_whom(job)}")
        with (
            carried(args, job, contexts, argv, env),
            step(f"build {job.name} ({chain[:12]})"),
            nativebuild.asked(job, jobs=args.jobs, cold=args.cold) as asked,
        ):
            metadata = making.image(job, argv, env, asked(request))
        native = tell_compiled(job, request)
        if args.output:
            if args.expect:
                buildkit = engine.buildkit_version(chosen, settings)
                expecting.demand_sent(job, chain, args.output, metadata, buildkit=buildkit)
            return tell_sent(args, job, chain, metadata, start)
        built = assemble.record(job, chosen, engine.client(chosen), chain, metadata)
        settle(args, job, chosen, built, fresh=True)
    return tell(settings, built, start, fresh=True, native=native)


def require_sense(args: argparse.Namespace) -> None:
    """``UsageError`` for options that contradict each other."""
    if args.builder and not args.output:
        raise UsageError(
            "--builder needs --output",
            why="a builder of its own has no image store that we could look into",
            todo="say where the image goes, as buildx does: --output type=oci,dest=image.tar, or type=registry,name=…",
        )
    if args.machine and not args.builder:
        raise UsageError("--machine is of a builder", todo="name one by --builder, or leave it out")
    if args.output and (args.record or (args.expect and not args.builder)):
        raise UsageError(
            "--record and --expect need the image in the engine, and --output sends it elsewhere",
            todo="build it once without --output",
        )
    if args.expect and args.output and not expecting.tellable(args.output):
        raise UsageError(
            "--expect cannot see the image there",
            why="BuildKit tells digests of what goes to a file (type=oci,dest=FILE) or to a registry (type=registry)",
            todo="name one of these, or leave --expect out",
        )
    if args.record and args.expect:
        raise UsageError("--expect compares with what --record would write over", todo="give one of the two")
    if args.no_cache and args.cache_from:
        raise UsageError("--no-cache reuses nothing, and --cache-from says what to reuse", todo="give one of the two")
    if args.ccache and (args.no_cache or args.cold):
        raise UsageError(
            f"{'--cold' if args.cold else '--no-cache'} empties the compile cache that --ccache fills",
            todo="give one of the two",
        )


def require_source_lane(args: argparse.Namespace, job: steps.Job) -> None:
    """``UsageError`` where an option is for compilers and the target has nothing to compile."""
    if args.jobs < 0:
        raise UsageError(f"--jobs {args.jobs} is no number of compilers", todo="name one, or leave it out")
    if (args.jobs or args.cold or args.ccache) and job.target.native is None:
        raise UsageError(
            f"--jobs, --cold and --ccache are for compilers, and nothing of {job.name} is compiled",
            todo="leave them out, or name a target of the lane 'source'",
        )


def carried(
    args: argparse.Namespace, job: steps.Job, made: assemble.Contexts, argv: Sequence[str], env: Mapping[str, str]
) -> AbstractContextManager[None]:
    """Bring the compile cache into the engine around a build, and out of it, where that was asked for."""
    page = nativebuild.page(job)
    if args.ccache is None or page is None:
        return nullcontext()
    place = compilecache.Place(
        mount=page.cache,
        folder=args.ccache.absolute(),
        buildx=argv,
        env=env,
        builder=job.settings.builder,
        root=made.main / "builder.tar",
        context=made.main.parent / "ccache",
    )
    return compilecache.carried(place)


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
    recorded = expecting.recorded_before(job, rewrite=args.record)
    if recorded is not None and recorded.chain_id == found.chain_id:
        expecting.compare(recorded, found, expected=args.expect)
    elif args.expect:
        raise expecting.nothing_to_expect(job.name, recorded, found.chain_id)
    if args.record and results.write(job.settings.repo, found):
        say(f"noted in {results.path_of(job.settings.repo, job.name).relative_to(job.settings.repo)}")


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


def tell_sent(
    args: argparse.Namespace, job: steps.Job, chain: str, metadata: Mapping[str, object], start: float
) -> int:
    """Print what was sent elsewhere, where BuildKit told of an image."""
    manifest = str(metadata.get(expecting.MANIFEST, ""))
    seconds = round(time.monotonic() - start, 2)
    if job.settings.json:
        told = {"target": job.name, "digest": manifest, "config": str(metadata.get(expecting.CONFIG, ""))}
        print(json.dumps({**told, "chain_id": chain, "builder": args.builder, "seconds": seconds}, indent=1))
    elif manifest:
        print(f"{args.output}  {manifest}\n  chain id {chain[:12]}, {seconds} s")
    return 0
