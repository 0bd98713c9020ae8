"""How a target's lock is made: resolve, fetch what the series touches, apply the series, follow what it changes.

Composes. Nothing here is written to the repository: :mod:`build.commands.lock` does that, with what comes back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from build import (
    index,
    lockfile,
    locksources,
    madewheel,
    metadata,
    nativelock,
    patched,
    requirementfiles,
    requirements,
    requireslock,
    series,
    sourcetree,
    steps,
    store,
)
from build.console import step
from build.errors import LockError, NewerLockError, OfflineError, ResolveError
from build.intent import Intent, target_checksum
from build.models import Component, Lock, Override, RequirementChange, Settings, Wheel
from build.tables import ComponentIntent, TargetIntent

Changes = Mapping[str, tuple[RequirementChange, ...]]  # by component


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What a run of ``lock`` was asked for. ``upgrade``: nothing, all (an empty tuple), or these distributions.

    ``as_of``: resolve as index and archive stood at that instant.
    """

    upgrade: tuple[str, ...] | None = None
    as_of: datetime | None = None

    @property
    def anew(self) -> bool:
        """Whether a lock is resolved again though its intent did not change."""
        return self.upgrade is not None or self.as_of is not None

    @property
    def debs_anew(self) -> bool:
        """The same for Debian packages, which are upgraded all together or not at all."""
        return self.anew and not self.upgrade

    def kept(self, wheels: Sequence[Wheel]) -> list[Wheel]:
        """Which of the locked wheels are held on to."""
        if self.anew and not self.upgrade:
            return []
        return [wheel for wheel in wheels if wheel.name not in (self.upgrade or ())]


@dataclass(frozen=True, kw_only=True)
class Made:
    """A new lock, what its wheels require, and where the source's requirement files and METADATA differ."""

    lock: Lock
    requires: requireslock.Requires
    differences: tuple[str, ...] = ()


def make(settings: Settings, intent: Intent, name: str, wish: Wish, before: Lock | None) -> Made:
    """The lock of one target. What ``before`` (a fresh lock) holds stays, unless something else is wished for.

    Raises what resolving, fetching and applying raise; :class:`OfflineError` where something must be looked up.
    """
    target = intent.targets[name]
    patches = series.read(settings.repo, target.series, tuple(target.components))
    known = lockfile.requirement_changes(settings.repo, name)
    held = lockfile.known_sources(settings.repo, name)

    draft = before if before is not None and not wish.anew else resolve(settings, intent, name, wish, known)
    draft = nativelock.pinned(settings, target, draft, held, anew=wish.anew)
    applied = follow(settings, target, draft, patches)
    if requirement_changes(applied) != requirement_changes(draft):
        other = resolve(settings, intent, name, wish, requirement_changes(applied))
        applied = follow(settings, target, nativelock.with_sources_of(draft, other), patches)
    lock = replace(applied, patches=patches.refs)
    if target.native is None or target.native.origin == "archive":
        lock = locksources.pin(settings, target, lock, held, anew=wish.anew)
    lock = nativelock.account(settings, target, lock, patches)
    return _known(settings, target, lock, before) or measure(settings, target, lock)


def _known(settings: Settings, target: TargetIntent, lock: Lock, before: Lock | None) -> Made | None:
    """The lock with the requirements that are there already, where they are of these wheels and these changes.

    Not where every wheel is in the store: those are read again, since what was read off an index was never verified.
    """
    if not _lacking(settings, lock) or before is None:
        return None
    if (before.wheels, requirement_changes(before)) != (lock.wheels, requirement_changes(lock)):
        return None
    try:
        return Made(lock=lock, requires=requireslock.read(settings.repo, lock, nativelock.asked(target, lock)))
    except NewerLockError:
        raise
    except LockError:
        return None


def requirement_changes(lock: Lock) -> Changes:
    """What the series of a lock changes in requirements, by component."""
    return {item.name: item.requires for item in lock.components if item.requires}


def resolve(settings: Settings, intent: Intent, name: str, wish: Wish, changes: Changes) -> Lock:
    """The lock of a target without its series: what the index gives for its intent and for the changed pins."""
    if settings.offline:
        raise OfflineError(
            "lock must look things up, and --offline was asked for",
            why=f"{name} is to be resolved anew: its intent or a pin of a patch changed, or you asked for it",
            todo="run it where there is a network",
        )
    target = intent.targets[name]
    environment = index.Environment(platform=target.platform, python=target.python)
    kept = wish.kept(lockfile.known_wheels(settings.repo, name))
    followed = [change for group in changes.values() for change in group]
    with step(f"resolve {name}: {', '.join(target.requirements)}"):
        stated = nativelock.stated(settings, target, environment)
        found = index.resolve(
            [*target.requirements, *stated, *requirements.additions_for(followed, environment)],
            target.constraints,
            environment,
            prefer=[(wheel.name, wheel.version) for wheel in kept],
            hold=[wheel.sha256 for wheel in kept],
            overrides=[
                *(item.requirement for item in target.overrides),
                *requirements.overrides_for(followed, environment),
            ],
            verbose=settings.verbose,
            as_of=wish.as_of.isoformat() if wish.as_of else None,
        )
        tools = _tools(intent, target)
        archives = _archives(target, found, environment)
        held = wish.kept(lockfile.known_native(settings.repo, name))
        native = nativelock.draft(settings, target, stated, held, as_of=wish.as_of)
    components = tuple(
        _component(key, table, archives.get(table.distribution), changes.get(key, ()))
        for key, table in target.components.items()
    )
    return Lock(
        target=name,
        intent=target_checksum(intent, name),
        epoch=max([item.uploaded for item in archives.values()] or [item.uploaded for item in found]),
        python=target.python,
        platform=target.platform,
        tools=tools,
        wheels=tuple(item.wheel for item in found),
        overrides=tuple(Override(requirement=item.requirement, reason=item.reason) for item in target.overrides),
        patches=(),
        components=components,
        native=native,
    )


def _tools(intent: Intent, target: TargetIntent) -> tuple[Wheel, ...]:
    """The wheels that run in the builder root, for each architecture that may build."""
    found: list[index.Found] = []
    for machine in steps.MACHINES.values():
        environment = steps.builder_environment(machine, target.python)
        found += index.resolve([f"uv=={intent.tools.uv}"], (), environment)
    return tuple(item.wheel for item in found)


def _archives(
    target: TargetIntent, found: Sequence[index.Found], environment: index.Environment
) -> dict[str, index.Found]:
    """Distribution → the source archive of its release, for each component."""
    releases = {item.name: item.version for item in found}
    made = target.components[target.native.component].distribution if target.native is not None else None
    if made is not None and target.native is not None:
        releases.pop(made, None)  # a wheel that requires it brought the published one
        if target.native.origin == "archive":
            releases[made] = target.version
    for key, table in target.components.items():
        if table.distribution not in (*releases, made):
            raise ResolveError(
                f"nothing brings {table.distribution}, which the component '{key}' patches",
                todo="add it to the target's requirements, or correct the component's `distribution`",
            )
    named = (table.distribution for table in target.components.values())
    pins = [(name, releases[name]) for name in named if name in releases]
    return {item.name: item for item in index.locate(pins, environment).values() if item.sdist}


def _component(
    name: str, table: ComponentIntent, archive: index.Found | None, requires: tuple[RequirementChange, ...]
) -> Component:
    return Component(
        name=name,
        distribution=table.distribution,
        paths=tuple(sorted(table.paths.items())),
        requirement_files=table.requirement_files,
        archive=archive.archive if archive else None,
        git=None,
        files=(),
        requires=requires,
    )


# The series


def follow(settings: Settings, target: TargetIntent, lock: Lock, patches: series.Series) -> Lock:
    """The lock with what the series does to its components: files with their hashes, changed requirements.

    In the source lane the wheel of the component's Python files is made first. Where its tree cannot be had the lock
    stays as it is: it leaves that open by name.
    """
    environment = index.Environment(platform=lock.platform, python=lock.python)
    steps.fetch_python(settings, patched.inputs(lock), [environment])
    if target.native is not None:
        if not nativelock.has_tree(lock):
            return lock
        lock = madewheel.add(settings, lock, target.version)
    applied = patched.apply(settings, lock, patches)
    changes = patched.requirement_changes(settings, lock, patches)
    components = []
    for item in lock.components:
        tree, patched_tree = applied.trees.get(item.name, ("", ""))
        components.append(
            replace(
                item,
                files=applied.files.get(item.name, ()),
                requires=changes.get(item.name, ()),
                tree=tree,
                patched_tree=patched_tree,
            )
        )
    return replace(lock, components=tuple(components))


def measure(settings: Settings, target: TargetIntent, lock: Lock) -> Made:
    """The lock with what its wheels require, their METADATA as the series changes it."""
    environment = index.Environment(platform=lock.platform, python=lock.python)
    found = _metadata(settings, lock, environment)
    roots = nativelock.asked(target, lock)
    differing: list[str] = []
    for item in lock.components:
        somewhere = item.archive is not None or item.git is not None
        if not item.requirement_files or not somewhere or item.distribution not in found:
            continue
        stated = requirementfiles.read(sourcetree.ensure(settings, item), item.requirement_files)
        differing += requirements.differences(stated, found[item.distribution].requires, environment)
    requires = requirements.of_lock(lock, found, roots, environment)
    reached = tuple(wheel for wheel in lock.wheels if wheel.name in requires)  # a patch may take a requirement out
    return Made(lock=replace(lock, wheels=reached), requires=requires, differences=tuple(differing))


def _lacking(settings: Settings, lock: Lock) -> list[Wheel]:
    return [wheel for wheel in lock.wheels if not store.has(settings.store, wheel.sha256, wheel.size)]


def _metadata(settings: Settings, lock: Lock, environment: index.Environment) -> Mapping[str, metadata.Metadata]:
    """Each wheel's METADATA: from the store, else the part of the file that holds it, from the index."""
    lacking = _lacking(settings, lock)
    if lacking and settings.offline:
        raise OfflineError(
            "lock must read the METADATA of wheels that are not in the store, and --offline was asked for",
            why=f"missing: {lacking[0].file}" + (f" and {len(lacking) - 1} more" if len(lacking) > 1 else ""),
            todo="run it where there is a network",
        )
    places = index.locate([(wheel.name, wheel.version) for wheel in lacking], environment)
    with step(f"read the METADATA of {len(lock.wheels)} wheels"):
        found = metadata.read_all(settings.store, lock.wheels, {key: item.url for key, item in places.items()})
    if unread := [wheel for wheel in lock.wheels if wheel.name not in found]:
        steps.fetch_python(settings, unread, [environment])  # an index that gives no part of a file
        found |= metadata.read_all(settings.store, unread, {})
    return found
