"""Resolve the intent of lock/targets.toml to hashes. The only step that may look up new versions: what is locked
already stays as it is unless --upgrade is given or the intent no longer allows it.
"""

from __future__ import annotations

import argparse
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from build import deblock, debmirror, debs, host, index, lockfile, patched, steps, unpack
from build import series as serieses
from build.console import human_bytes, say, step, warn
from build.errors import LockError, NewerLockError, OfflineError, ResolveError
from build.intent import FILE, ComponentIntent, Intent, TargetIntent, read_intent, target_checksum
from build.models import Component, Lock, Settings, SourceArchive, Wheel
from build.settings import add_target_argument
from build.store import blob


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_target_argument(parser)
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions that the intent allows")
    parser.add_argument("--check", action="store_true", help="write nothing: say whether every lock is fresh")
    parser.add_argument("--dry-run", action="store_true", help="say what would change, write nothing")


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Lock one target, or all of them, and the .debs of every root."""
    intent = read_intent(settings.repo)
    names = [intent.target(args.target)[0]] if args.target else list(intent.targets)
    if args.check:
        return check(settings, names)
    changed = lock_debs(settings, upgrade=args.upgrade, dry_run=args.dry_run)
    for name in names:
        changed |= lock_target(settings, intent, name, upgrade=args.upgrade, dry_run=args.dry_run)
    if not changed:
        say("nothing changed")
    return 0


def check(settings: Settings, names: Sequence[str]) -> int:
    """Every lock is there, unedited, and made from today's intent and series."""
    for name in names:
        steps.load(settings, name)
    print(f"fresh: {', '.join(names)}")
    return 0


def lock_debs(settings: Settings, *, upgrade: bool, dry_run: bool) -> bool:
    """Lock the .debs of each root whose intent changed (or of all, to upgrade)."""
    tables = tomllib.loads((settings.repo / FILE).read_text(encoding="utf-8"))
    changed = False
    for request in debs.requests(tables):
        path = deblock.path_of(settings.repo, request.root, request.arch)
        before = _read_debs(path)
        if before is not None and before.intent == request.intent and not upgrade:
            continue
        _require_network(settings, f"the packages of {request.root} are to be resolved")
        with step(f"resolve the .debs of {request.root} for {request.arch}"):
            mirrors = debmirror.mirrors(settings.store)
            found = debs.resolve(request, mirrors, settings.store / "apt")
        host.fetch_debs(settings, found)
        times = [unpack.build_time(blob(settings.store, deb.sha256)) for deb in found.debs]
        after = deblock.LockedDebs(intent=request.intent, debset=debs.with_epoch(found, times))
        if before == after:
            continue
        old = [(deb.name, deb.version, deb.size) for deb in before.debset.debs] if before else []
        new = [(deb.name, deb.version, deb.size) for deb in after.debset.debs]
        report(f"{request.root} {request.arch}", old, new)
        changed = True
        if not dry_run:
            deblock.write(path, after)
    return changed


def _read_debs(path: Path) -> deblock.LockedDebs | None:
    try:
        return deblock.read(path)
    except LockError:
        return None


def lock_target(settings: Settings, intent: Intent, name: str, *, upgrade: bool, dry_run: bool) -> bool:
    """Lock one target: its wheels and source archives (resolved anew only if its intent changed), then its series."""
    before = _read(settings, name)
    series = serieses.read(settings.repo, intent.targets[name].series, tuple(intent.targets[name].components))
    fresh = before is not None and before.intent == target_checksum(intent, name)
    if before is not None and fresh and not upgrade:
        draft = before
    else:
        draft = resolve_target(settings, intent, name, upgrade=upgrade)
    _, files = patched.apply(settings, draft, series, obtain=lambda item: _obtain(settings, draft, item))
    components = tuple(replace(item, files=files.get(item.name, ())) for item in draft.components)
    return finish(settings, before, replace(draft, patches=series.refs, components=components), dry_run=dry_run)


def resolve_target(settings: Settings, intent: Intent, name: str, *, upgrade: bool) -> Lock:
    """The lock of a target without its series: what the index gives for its intent."""
    _require_network(settings, f"the intent of {name} changed, or an upgrade was asked for")
    target = intent.targets[name]
    environment = index.Environment(platform=target.platform, python=target.python)
    prefer = () if upgrade else lockfile.versions(settings.repo, name)
    with step(f"resolve {name}: {', '.join(target.requirements)}"):
        found = index.resolve(target.requirements, target.constraints, environment, prefer=prefer)
        tools = lock_tools(intent, target)
        releases = {item.name: item for item in found}
        _require_components(target, releases)
        pins = [(item.distribution, releases[item.distribution].version) for item in target.components.values()]
        archives = {item.name: item for item in index.locate(pins, environment).values() if item.sdist}
    wheels = tuple(_wheel(item) for item in found)
    components = tuple(
        _component(key, table, archives.get(table.distribution)) for key, table in target.components.items()
    )
    touched = [w for w in wheels if w.name in {item.distribution for item in components}]
    steps.fetch_python(settings, [*touched, *(i.archive for i in components if i.archive is not None)], [environment])
    return Lock(
        target=name,
        intent=target_checksum(intent, name),
        epoch=max([item.uploaded for item in archives.values()] or [item.uploaded for item in found]),
        python=target.python,
        platform=target.platform,
        tools=tools,
        wheels=wheels,
        patches=(),
        components=components,
    )


def _require_components(target: TargetIntent, releases: Mapping[str, object]) -> None:
    for key, table in target.components.items():
        if table.distribution not in releases:
            raise ResolveError(
                f"nothing brings {table.distribution}, which the component '{key}' patches",
                todo="add it to the target's requirements, or correct the component's `distribution`",
            )


def _obtain(settings: Settings, lock: Lock, archive: SourceArchive) -> None:
    steps.fetch_python(settings, [archive], [index.Environment(platform=lock.platform, python=lock.python)])


def _require_network(settings: Settings, why: str) -> None:
    if settings.offline:
        raise OfflineError(
            "lock must look things up, and --offline was asked for", why=why, todo="run it where there is a network"
        )


def lock_tools(intent: Intent, target: TargetIntent) -> tuple[Wheel, ...]:
    """The wheels that run in the builder root, for each architecture that may build."""
    found: list[index.Found] = []
    for machine in steps.MACHINES.values():
        environment = steps.builder_environment(machine, target.python)
        found += index.resolve([f"uv=={intent.tools.uv}"], (), environment)
    return tuple(_wheel(item) for item in found)


def finish(settings: Settings, before: Lock | None, lock: Lock, *, dry_run: bool) -> bool:
    """Say what changed and write the lock; whether anything changed."""
    if before == lock:
        return False
    old = [(w.name, w.version, w.size) for w in before.wheels] if before else []
    report(lock.target, old, [(w.name, w.version, w.size) for w in lock.wheels])
    if not dry_run:
        lockfile.write_lock(settings.repo, lock)
    return True


def report(title: str, old: Sequence[tuple[str, str, int]], new: Sequence[tuple[str, str, int]]) -> None:
    """What changed: package, from, to, bytes."""
    was = {name: (version, size) for name, version, size in old}
    now = {name: (version, size) for name, version, size in new}
    total = sum(size for _, size in now.values())
    print(f"{title}: {len(now)} packages, {human_bytes(total)}")
    for name in sorted(was.keys() | now.keys()):
        if was.get(name) == now.get(name) or not was:
            continue
        left, right = was.get(name, ("-", 0)), now.get(name, ("-", 0))
        sign = "+" if right[1] >= left[1] else "-"
        print(f"  {name}  {left[0]} → {right[0]}  {sign}{human_bytes(abs(right[1] - left[1]))}")


def _read(settings: Settings, name: str) -> Lock | None:
    if not lockfile.lock_path(settings.repo, name).exists():
        return None
    try:
        return lockfile.read_lock(settings.repo, name)
    except NewerLockError:
        raise
    except LockError as error:
        kept = "its versions are kept where the intent allows it" if lockfile.versions(settings.repo, name) else ""
        warn(f"{error.what}: {name} is resolved anew; {kept or 'it holds no versions to keep'}")
        return None


def _wheel(item: index.Found) -> Wheel:
    return Wheel(name=item.name, version=item.version, file=item.file, sha256=item.sha256, size=item.size)


def _component(name: str, table: ComponentIntent, archive: index.Found | None) -> Component:
    return Component(
        name=name,
        distribution=table.distribution,
        paths=tuple(sorted(table.paths.items())),
        archive=SourceArchive(
            name=archive.name, version=archive.version, file=archive.file, sha256=archive.sha256, size=archive.size
        )
        if archive
        else None,
        git=None,
        files=(),
    )
