"""``lock -- --check``: every lock against itself, the others, and what uses them. Offline; reads no store.

Composes; each finding is a sentence that begins with its place.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from build import actions, consistency, deblock, recipe, requirements, requireslock, steps
from build.intent import Intent, TargetIntent
from build.models import Lock, Settings

IN = "lock/python.in"
TXT = "lock/python.txt"

_PINNED = re.compile(r"^(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)==(?P<version>[^\s;]+)")
_FROM = re.compile(r"^FROM (?:--platform=\S+ )?(?P<image>\S+)(?: AS (?P<stage>\S+))?$", re.MULTILINE)
_MOUNTED = re.compile(r"(?:^COPY --from=|--mount=[^ ]*\bfrom=)(?P<name>[^,\s]+)", re.MULTILINE)
_ADDRESS = re.compile(r"\b(?:https?|git|ssh)://\S+|\bgit@\S+|^# *syntax=.*$", re.MULTILINE)


def findings(settings: Settings, job: steps.Job) -> Iterator[str]:
    """What contradicts what in one target's locks and its rendered Dockerfile; nothing where all is well.

    ``LockError`` where a lock is missing, stale or edited.
    """
    requires = requireslock.read(settings.repo, job.name, job.lock.wheels)
    found = [
        *lock_findings(job.lock, requires, job.target),
        *consistency.unsuitable_rootfs(job.lock, job.rootfs),
        *_uv(job),
        *template_faults(recipe.dockerfile(job, chain=""), [plan.name for plan in recipe.grouped(job)]),
    ]
    yield from (f"{job.name}: {text}" for text in found)


def lock_findings(lock: Lock, requires: requireslock.Requires, target: TargetIntent) -> Iterator[str]:
    """What contradicts what in a lock, its wheels' requirements, and what the target asks for itself."""
    versions = {wheel.name: wheel.version for wheel in lock.wheels}
    bound = [text for text in target.constraints if requirements.name_of(text) in versions]
    asked = {**requires, "lock/targets.toml": [*target.requirements, *bound]}
    yield from consistency.incomplete(lock)
    yield from consistency.misnamed(lock)
    yield from consistency.mixed_cuda(lock)
    yield from requirements.unsatisfied(asked, versions, [item.requirement for item in lock.overrides])
    yield from consistency.overruled_torch(lock, requires)
    yield from consistency.idle_overrides(lock, requires)


def _uv(job: steps.Job) -> Iterator[str]:
    for wheel in job.lock.tools:
        if wheel.name == "uv" and wheel.version != job.intent.tools.uv:
            yield f"tools.uv is {job.intent.tools.uv}, locked is {wheel.file}"


def template_faults(dockerfile: str, layers: list[str]) -> Iterator[str]:
    """What a rendered Dockerfile takes in that no lock names: images, addresses, contexts that we do not make."""
    known = {"scratch", *(f"layer-{name}" for name in layers)}
    for match in _FROM.finditer(dockerfile):
        if match["image"] not in known:
            yield f"the Dockerfile is based on {match['image']}, which no lock names"
        known.add(match["stage"] or "")
    for match in _MOUNTED.finditer(dockerfile):
        if match["name"] not in known:
            yield f"the Dockerfile copies from {match['name']}, which is neither a stage nor a locked layer"
    for match in _ADDRESS.finditer(dockerfile):
        yield f"the Dockerfile has an address in it: {match[0]}"
    mounted = {match["name"] for match in _MOUNTED.finditer(dockerfile)}
    for name in layers:
        if f"layer-{name}" not in mounted:
            yield f"no step of the Dockerfile installs the layer '{name}'"


def shared_findings(settings: Settings, intent: Intent) -> Iterator[str]:
    """The same for what all targets share: .debs, our Python tools, GitHub Actions."""
    wanted = {name: table.packages for name, table in intent.rootfs.items()}
    wanted |= {name: table.packages for name, table in intent.root.items()}
    for (root, arch), debset in steps.deb_sets(settings.repo).items():
        there = {deb.name for deb in debset.debs}
        lacking = [f"{name} is not in it" for name in wanted[root] if name not in there]
        place = deblock.path_of(settings.repo, root, arch).relative_to(settings.repo)
        yield from (f"{place}: {text}" for text in (*consistency.incomplete_debs(debset), *lacking))
    texts = {name: (settings.repo / name).read_text(encoding="utf-8") for name in (IN, TXT)}
    yield from python_faults(texts[IN], texts[TXT])
    pinned = dict(_pins(texts[TXT]))
    if pinned.get("uv") != intent.tools.uv:
        yield f"tools.uv of lock/targets.toml is {intent.tools.uv}, {TXT} has {pinned.get('uv', 'none')}"
    yield from actions.faults(settings.repo, intent.actions)


def python_faults(wanted: str, locked: str) -> Iterator[str]:
    """Where the tools' requirements (``lock/python.in``) and their lock (``lock/python.txt``) disagree."""
    pinned = dict(_pins(locked))
    for line in wanted.splitlines():
        text = line.split("#", 1)[0].strip()
        if not text:
            continue
        requirement = Requirement(text)
        version = pinned.get(canonicalize_name(requirement.name))
        if version is None:
            yield f"{TXT} is stale: it has no {requirement.name}, which {IN} names (./nox -s tools)"
        elif not requirement.specifier.contains(version, prereleases=True):
            asked = f"{IN} wants {requirement.specifier} (./nox -s tools)"
            yield f"{TXT} is stale: {requirement.name} is {version}, {asked}"
    entries = re.split(r"\n(?=[A-Za-z0-9])", "\n" + locked)
    for entry in entries[1:]:
        if "--hash=sha256:" not in entry:
            yield f"{TXT}: {entry.split()[0]} has no hash"


def _pins(locked: str) -> Iterator[tuple[str, str]]:
    for line in locked.splitlines():
        if match := _PINNED.match(line):
            yield canonicalize_name(match["name"]), match["version"]
