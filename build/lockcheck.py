"""``lock -- --check``: every lock against itself, the others, and what uses them. Offline; reads no store.

Composes; each finding is a sentence that begins with its place.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from build import (
    actions,
    bases,
    behaviours,
    consistency,
    deblock,
    dockerlines,
    nativebuild,
    nativelock,
    recipe,
    releases,
    requirements,
    requireslock,
    results,
    steps,
    toolwheels,
)
from build.intent import Intent
from build.models import Lock, Settings
from build.tables import TargetIntent


def findings(settings: Settings, job: steps.Job) -> Iterator[str]:
    """What contradicts what in one target's locks and its rendered Dockerfile; nothing where all is well.

    ``LockError`` where a lock is missing, stale or edited.
    """
    requires = requireslock.read(settings.repo, job.lock, nativelock.asked(job.target, job.lock))
    found = [
        *lock_findings(job.lock, requires, job.target),
        *consistency.unsuitable_rootfs(job.lock, job.rootfs),
        *(consistency.differing_python(job.lock, job.rootfs, job.builders) if job.target.bytecode else ()),
        *consistency.differing_compilers(job.lock, job.rootfs, job.compilers),
        *_uv(job),
        *_behaviours(job),
        *_dockerfile(job),
    ]
    yield from (f"{job.name}: {text}" for text in found)


def lock_findings(lock: Lock, requires: requireslock.Requires, target: TargetIntent) -> Iterator[str]:
    """What contradicts what in a lock, its wheels' requirements, and what the target asks for itself."""
    versions = {wheel.name: wheel.version for wheel in lock.wheels}
    bound = [text for text in target.constraints if requirements.name_of(text) in versions]
    asked = {**requires, "lock/targets.toml": [*nativelock.asked(target, lock), *bound]}
    yield from consistency.incomplete(lock)
    yield from consistency.misnamed(lock)
    yield from consistency.mixed_cuda(lock)
    yield from requirements.unsatisfied(asked, versions, [item.requirement for item in lock.overrides])
    yield from consistency.overruled_torch(lock, requires)
    yield from consistency.idle_overrides(lock, requires)
    yield from consistency.idle_wheels(lock, asked)


def _dockerfile(job: steps.Job) -> Iterator[str]:
    layers = [plan.name for plan in recipe.grouped(job)]
    yield from dockerlines.faults(recipe.dockerfile(job, chain=""), layers, nativebuild.context_names(job))


def _behaviours(job: steps.Job) -> Iterator[str]:
    """Each patch names a behaviour that there is."""
    for patch in job.series.patches:
        if not behaviours.file_of(job.settings.repo, patch.behaviour).is_file():
            yield f"{patch.path}: its Behaviour-Test {patch.behaviour} is none of {behaviours.CHECKS / 'behaviours'}/"


def _uv(job: steps.Job) -> Iterator[str]:
    """uv of the intent's version, for each machine that may build."""
    for machine in steps.MACHINES.values():
        files = [wheel.file for wheel in job.lock.tools if wheel.name == "uv" and machine in wheel.file]
        if not files:
            yield f"no uv is locked for a {machine} that builds"
    for wheel in job.lock.tools:
        if wheel.name == "uv" and wheel.version != job.intent.tools.uv:
            yield f"tools.uv is {job.intent.tools.uv}, locked is {wheel.file}"


def shared_findings(settings: Settings, intent: Intent) -> Iterator[str]:
    """The same for what all targets share: .debs, our Python tools, GitHub Actions."""
    wanted = {name: table.packages for name, table in intent.rootfs.items()}
    wanted |= {name: table.packages for name, table in intent.root.items()}
    for (root, arch), debset in steps.deb_sets(settings.repo).items():
        there = {deb.name for deb in debset.debs}
        lacking = [f"{name} is not in it" for name in wanted[root] if name not in there]
        place = deblock.path_of(settings.repo, root, arch).relative_to(settings.repo)
        yield from (f"{place}: {text}" for text in (*consistency.incomplete_debs(debset), *lacking))
    for lock in toolwheels.LOCKS:
        asked, locked = ((settings.repo / path).read_text(encoding="utf-8") for path in (lock.with_suffix(".in"), lock))
        yield from python_faults(asked, locked, toolwheels.read(settings.repo, lock), lock)
    pinned = {tool.name: tool.version for tool in toolwheels.read(settings.repo)}
    if pinned.get("uv") != intent.tools.uv:
        yield f"tools.uv of lock/targets.toml is {intent.tools.uv}, {toolwheels.LOCK} has {pinned.get('uv', 'none')}"
    yield from _torch(settings)
    if intent.rebase is not None:
        releases.read(settings.repo, intent=bases.checksum(intent))  # a stale one ends it
    yield from _stray_locks(settings, intent)
    yield from actions.faults(settings.repo, intent.actions)


def python_faults(
    wanted: str, locked: str, tools: Sequence[toolwheels.Tool], lock: Path = toolwheels.LOCK
) -> Iterator[str]:
    """Where tools' requirements (the ``.in`` beside a lock) and their lock disagree.

    ``wanted``, ``locked``: both texts. ``tools``: what the second holds, each with a hash or it could not be read.
    """
    if toolwheels.stamp(wanted, locked) != toolwheels.stated(locked):
        yield f"{lock} is stale, or was edited: run `./nox -s tools`"
    pinned = {tool.name: tool.version for tool in tools}
    for line in wanted.splitlines():
        if text := line.split("#", 1)[0].strip():
            yield from requirements.unsatisfied({str(lock.with_suffix(".in")): [text]}, pinned, ())


def _torch(settings: Settings) -> Iterator[str]:
    """torch's CPU build that behaviours are asked with is of the version of its other build."""
    pinned = {tool.name: tool.version for tool in toolwheels.read(settings.repo, toolwheels.BEHAVIOURS)}
    for tool in toolwheels.read(settings.repo, toolwheels.CPU):
        if tool.version.partition("+")[0] != pinned.get(tool.name):
            yield f"{toolwheels.CPU} has {tool.name} {tool.version}, {toolwheels.BEHAVIOURS} {pinned.get(tool.name)}"


def _stray_locks(settings: Settings, intent: Intent) -> Iterator[str]:
    """Locks of targets and roots that the intent does not name (any more)."""
    shared = {"targets.toml", "actions.toml", releases.FILE.name}
    for folder in ("lock", str(requireslock.FOLDER), str(results.FOLDER)):
        for path in sorted((settings.repo / folder).glob("*.toml")):
            if path.stem not in intent.targets and not (folder == "lock" and path.name in shared):
                yield f"{path.relative_to(settings.repo)} is of no target: delete it"
    asked = {deblock.path_of(settings.repo, root, arch) for root, arch in steps.deb_sets(settings.repo)}
    for path in sorted(set((settings.repo / deblock.FOLDER).glob("*.toml")) - asked):
        yield f"{path.relative_to(settings.repo)} is of no root: delete it"
