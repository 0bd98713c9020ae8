"""Resolve the intent of lock/targets.toml to hashes. The only step that may look up new versions: what is locked
already stays as it is unless --upgrade or --as-of is given or the intent no longer allows it.
"""

from __future__ import annotations

import argparse
import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from build import (
    actions,
    deblock,
    debmirror,
    debs,
    gitsource,
    host,
    lockcheck,
    lockfile,
    lockform,
    locking,
    lockreport,
    requireslock,
    steps,
    store,
    unpack,
)
from build.console import say, step, warn
from build.errors import InconsistentLockError, LockError, NewerLockError, OfflineError, UsageError
from build.intent import FILE, Intent, read_intent, target_checksum
from build.locking import Wish
from build.lockreport import Change
from build.models import Lock, Settings
from build.settings import add_target_argument


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_target_argument(parser)
    parser.add_argument(
        "--upgrade", nargs="*", metavar="PACKAGE",
        help="take the newest versions that the intent allows: of these wheels, or of all and of the Debian packages",
    )  # fmt: skip
    parser.add_argument(
        "--as-of", metavar="DATE", type=instant,
        help="resolve as the index and the Debian archive stood at the end of that day (UTC), or at that time",
    )  # fmt: skip
    parser.add_argument("--check", action="store_true", help="write nothing: is every lock fresh, whole, consistent?")
    parser.add_argument("--dry-run", action="store_true", help="say what would change, write nothing")


def instant(text: str) -> datetime:
    """A date (its end) or a time, in UTC where it names no zone.

    >>> instant("2026-09-01").isoformat(), instant("2026-09-01T12:00").isoformat()
    ('2026-09-02T00:00:00+00:00', '2026-09-01T12:00:00+00:00')
    """
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"'{text}' is no date like 2026-09-01 or 2026-09-01T12:00:00Z") from error
    if len(text) == len("2026-09-01"):
        found += timedelta(days=1)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Lock one target, or all of them, and what they share: the .debs of every root, GitHub Actions."""
    intent = read_intent(settings.repo)
    names = [intent.target(args.target)[0]] if args.target else list(intent.targets)
    if args.check:
        return check(settings, intent, names)
    wish = wish_of(args, settings, names)
    changes = [lock_target(settings, intent, name, wish, dry_run=args.dry_run) for name in names]
    changes += lock_debs(settings, intent, wish, dry_run=args.dry_run)
    pinned = lock_actions(settings, intent, wish, dry_run=args.dry_run)
    lockreport.show(settings, [item for item in changes if item is not None], pinned, written=not args.dry_run)
    return 0


def wish_of(args: argparse.Namespace, settings: Settings, names: Sequence[str]) -> Wish:
    """What was asked for; a package that no target has, or a time to come, cannot be meant."""
    if args.as_of is not None and args.as_of > datetime.now(UTC) + timedelta(days=1):
        raise UsageError(f"--as-of {args.as_of.isoformat()} is yet to come", todo="name a day that has been")
    upgrade = None if args.upgrade is None else tuple(lockreport.normal(name) for name in args.upgrade)
    locked = {wheel.name for name in names for wheel in lockfile.known_wheels(settings.repo, name)}
    lockreport.require_known(upgrade or (), locked)
    return Wish(upgrade=upgrade, as_of=args.as_of)


def check(settings: Settings, intent: Intent, names: Sequence[str]) -> int:
    """Every lock is there, unedited, made from today's intent and series, whole, and without contradiction."""
    jobs = [steps.load(settings, name) for name in names]
    found = [text for job in jobs for text in lockcheck.findings(settings, job)]
    found += lockcheck.shared_findings(settings, intent)
    if settings.json:
        print(json.dumps({"targets": list(names), "findings": found, "unresolved": _left_open(jobs)}, indent=1))
    if found:
        raise InconsistentLockError(
            f"the locks have {'a contradiction' if len(found) == 1 else f'{len(found)} contradictions'}",
            why="\n       ".join(found),
            todo="correct lock/targets.toml or what is named, then `nox -s lock`",
        )
    if not settings.json:
        print(f"fresh, whole and consistent: {', '.join(names)}")
        for text in _left_open(jobs):
            print(f"  left open, and not needed to build: {text}")
    return 0


def _left_open(jobs: Sequence[steps.Job]) -> list[str]:
    return [f"{job.name} {item.what}: {item.wanted} ({item.why})" for job in jobs for item in job.lock.unresolved]


# Targets


def lock_target(settings: Settings, intent: Intent, name: str, wish: Wish, *, dry_run: bool) -> Change | None:
    """Lock one target: wheels and source archives (resolved anew only if its intent changed), series, git sources.

    A lock that would contradict itself is not written.
    """
    before = _read(settings, name)
    known = lockfile.known_wheels(settings.repo, name)
    fresh = before if before is not None and before.intent == target_checksum(intent, name) else None
    made = locking.make(settings, intent, name, wish, fresh)
    _refuse(name, [*lockcheck.lock_findings(made.lock, made.requires)])
    for text in made.differences:
        say(f"  {name}: {text}")
    files = {
        lockfile.lock_path(settings.repo, name): lockfile.lock_text(made.lock),
        requireslock.path_of(settings.repo, name): requireslock.text(name, made.lock.wheels, made.requires),
    }
    if not _write(files, dry_run=dry_run):
        return None
    return lockreport.of_target(intent, known, before, made.lock)


def _write(files: Mapping[Path, str], *, dry_run: bool) -> bool:
    """Write what differs from what is there; whether anything does."""
    differing = {path: text for path, text in files.items() if not path.exists() or path.read_text("utf-8") != text}
    for path, text in differing.items():
        if not dry_run:
            lockform.write(path, text)
    return bool(differing)


def _read(settings: Settings, name: str) -> Lock | None:
    if not lockfile.lock_path(settings.repo, name).exists():
        return None
    try:
        return lockfile.read_lock(settings.repo, name)
    except NewerLockError:
        raise
    except LockError as error:
        kept = "its versions are kept where the intent allows it"
        held = kept if lockfile.known_wheels(settings.repo, name) else "it holds no versions to keep"
        warn(f"{error.what}: {name} is resolved anew; {held}")
        return None


def _refuse(name: str, found: Sequence[str]) -> None:
    if found:
        raise InconsistentLockError(
            f"the new lock of {name} would contradict itself, and was not written",
            why="\n       ".join(found),
            todo="correct its table in lock/targets.toml: `constraints` hold versions, `overrides` overrule wheels",
        )


# What the targets share


def lock_debs(settings: Settings, intent: Intent, wish: Wish, *, dry_run: bool) -> list[Change]:
    """Lock the .debs of each root whose intent changed (or of all, to upgrade)."""
    tables = tomllib.loads((settings.repo / FILE).read_text(encoding="utf-8"))
    held = {request: _read_debs(settings, request) for request in debs.requests(tables)}
    stale = [
        request
        for request, before in held.items()
        if before is None or before.intent != request.intent or wish.debs_anew
    ]
    changes = []
    for request, after in _resolve_debs(settings, {request: held[request] for request in stale}, wish):
        path = deblock.path_of(settings.repo, request.root, request.arch)
        if _write({path: deblock.render(after)}, dry_run=dry_run):
            before = held[request]
            title = str(path.relative_to(settings.repo))
            in_image = request.root in intent.rootfs
            changes.append(
                lockreport.of_debs(before.debset if before else None, after.debset, title, in_image=in_image)
            )
    return changes


def _resolve_debs(
    settings: Settings, wanted: Mapping[debs.Request, deblock.LockedDebs | None], wish: Wish
) -> Iterator[tuple[debs.Request, deblock.LockedDebs]]:
    """What apt resolves each root to. Its state is of this run alone: apt trusts what lies there."""
    if not wanted:
        return
    if settings.offline:
        raise OfflineError(
            "lock must look things up, and --offline was asked for",
            why=f"the packages of {', '.join(sorted({item.root for item in wanted}))} are to be resolved anew",
            todo="run it where there is a network",
        )
    mirrors = debmirror.mirrors(settings.store)
    with store.scratch(settings.store, "apt") as state:
        for request, locked in wanted.items():
            before = locked.debset if locked is not None else None
            with step(f"resolve the .debs of {request.root} for {request.arch}"):
                found = debs.resolve(
                    request,
                    mirrors,
                    state,
                    before=before,
                    as_of=int(wish.as_of.timestamp()) if wish.as_of is not None else None,
                    snapshot=debmirror.snapshot(),
                )
            if found is not before:
                host.fetch_debs(settings, found)
                times = [unpack.build_time(store.blob(settings.store, deb.sha256)) for deb in found.debs]
                found = debs.with_epoch(found, times)
            yield request, deblock.LockedDebs(intent=request.intent, debset=found)


def _read_debs(settings: Settings, request: debs.Request) -> deblock.LockedDebs | None:
    try:
        return deblock.read(deblock.path_of(settings.repo, request.root, request.arch))
    except NewerLockError:
        raise
    except LockError:
        return None


def lock_actions(settings: Settings, intent: Intent, wish: Wish, *, dry_run: bool) -> list[str]:
    """Lock the commits of the GitHub Actions that [actions] names."""
    path = settings.repo / actions.FILE
    if not intent.actions and not path.exists():
        return []
    if not wish.debs_anew and actions.is_fresh(settings.repo, intent.actions):
        return []
    found = actions.resolve(intent.actions, lambda url, tag: gitsource.lookup(url, (), tag))
    written = _write({path: actions.text(intent.actions, found)}, dry_run=dry_run)
    return [f"{action.name} {action.tag}: {action.commit}" for action in found] if written else []
