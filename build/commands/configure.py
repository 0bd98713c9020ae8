"""Let CMake configure the whole of a target's native project, offline, and compare what it would compile with the
stored list: a new file or architecture of an update is seen in minutes, and nothing is compiled.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, replace

from build import (
    assemble,
    compilecommands,
    console,
    costs,
    engine,
    jobs,
    making,
    nativebuild,
    recipe,
    steps,
    store,
    units,
)
from build.console import say, step
from build.errors import InconsistentLockError, LockError, NewerLockError, UsageError
from build.models import Settings
from build.settings import add_target_argument
from build.units import Units

STAGE = "units"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_target_argument(parser)
    parser.add_argument("--record", action="store_true", help="write the list to lock/units/, to compare with")
    parser.add_argument("--list", action="store_true", help="print every file, not only how many")


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Configure one target."""
    job = steps.load(settings, args.target)
    if job.target.native is None:
        raise UsageError(
            f"nothing of {job.name} is compiled, so there is nothing to configure",
            todo=f"name a target of the lane 'source': {', '.join(_source_lane(job)) or 'there is none'}",
        )
    found = configured(job)
    stored = stored_list(settings, job.name, rewrite=args.record)
    changes = units.compare(stored, found) if stored else []
    tell(args, settings, found, changes)
    require_heavy(job, found)
    if args.record:
        if units.write(settings.repo, found):
            say(f"noted in {units.path_of(settings.repo, job.name).relative_to(settings.repo)}")
        return 0
    require_same(job.name, stored, changes)
    return 0


def _source_lane(job: steps.Job) -> list[str]:
    return [name for name, target in job.intent.targets.items() if target.native is not None]


def configured(job: steps.Job) -> Units:
    """What CMake would compile of the project as locked and patched."""
    settings, chain = job.settings, recipe.chain_id(job)
    with store.locked(settings.store, f"build-{job.name}"), store.scratch(settings.store, "units") as folder:
        chosen = engine.find(settings)
        contexts = making.prepare(job, chain, assemble.read_built(settings.store, job.name), whole=False)
        request = assemble.request(job, contexts, chain, output=f"type=local,dest={folder}")
        argv, env = engine.buildx(chosen, settings)
        with step(f"configure {job.name}"), nativebuild.asked(job, jobs=1, cold=False) as asked:
            making.image(job, argv, env, replace(asked(request), stage=STAGE))
        commands = json.loads((folder / "compile_commands.json").read_text(encoding="utf-8"))
    native, _ = nativebuild.parts(job)
    absent = {name: f"substitute: {item.reason}" for name, item in native.substitutes.items()}
    absent |= {name: f"stub: {item.reason}" for name, item in native.stubs.items()}
    return Units(
        target=job.name,
        complete=native.complete,
        absent=tuple(sorted(absent.items())),
        units=compilecommands.parse(commands),
    )


def stored_list(settings: Settings, target: str, *, rewrite: bool) -> Units | None:
    """The stored list; None where there is none, or it is to be written over and cannot be read."""
    try:
        return units.read(settings.repo, target)
    except LockError as error:
        if rewrite and not isinstance(error, NewerLockError):
            return None
        raise


def tell(args: argparse.Namespace, settings: Settings, found: Units, changes: Sequence[str]) -> None:
    """Print the list, or how many files it has, and what is not as stored."""
    if settings.json:
        rows = [asdict(unit) for unit in found.units]
        told = {"target": found.target, "complete": found.complete, "units": rows, "changes": [*changes]}
        print(json.dumps(told, indent=1))
        return
    whole = "" if found.complete else " (not complete: something stood in for sources that are not here)"
    console.table(f"{found.target}: what its project compiles{whole}", list(units.COLUMNS), units.rows(found))
    for name, reason in found.absent:
        print(f"absent  {name}: {reason}")
    if args.list:
        for unit in found.units:
            print(f"{unit.target}  {unit.source}  {' '.join(unit.architectures)}")
    for line in changes:
        print(line)


def require_heavy(job: steps.Job, found: Units) -> None:
    """``InconsistentLockError`` where a target with files that take much memory is not said to be heavy."""
    native, _ = nativebuild.parts(job)
    heavy = costs.heavy_targets(unit for unit in found.units if unit.target in native.targets)
    most = f"{jobs.ORDINARY / jobs.GIB} GiB"
    if lacking := sorted(set(heavy) - set(native.heavy)):
        raise InconsistentLockError(
            f"{job.name} would compile too many large files at once",
            why=f"files of {', '.join(lacking)} take more than {most} each, and it is not in native.heavy",
            todo="add it to `native.heavy` of the target in lock/targets.toml",
        )


def require_same(target: str, stored: Units | None, changes: Sequence[str]) -> None:
    """``InconsistentLockError`` where the list is not the stored one."""
    record = f"`nox -s configure -- --record --target {target}`, and commit the result"
    if stored is None:
        raise InconsistentLockError(f"no list is stored for {target}", todo=record)
    if changes:
        raise InconsistentLockError(
            f"{target} would compile something else than what is stored",
            why="the changes are listed above",
            todo=f"if that is meant: {record}",
        )
    say("as stored in lock/units/")
