"""Locks as a run of ``lock`` would write them: all are drawn up before any is written.

Composes: targets by :mod:`build.locking`, Debian packages by apt, GitHub Actions by their tags.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from build import (
    actions,
    bases,
    deblock,
    debmirror,
    debs,
    gitsource,
    host,
    lockcheck,
    lockfile,
    locking,
    lockreport,
    nativelock,
    releaselock,
    releases,
    requireslock,
    store,
    unpack,
)
from build.console import say, step, warn
from build.errors import InconsistentLockError, LockError, NewerLockError, OfflineError
from build.intent import FILE, Intent, target_checksum
from build.locking import Wish
from build.lockreport import Change
from build.models import Lock, Settings


@dataclass(frozen=True, kw_only=True)
class Draft:
    """Locks as they would be: path → text, and what to tell of the change."""

    files: Mapping[Path, str]
    change: Change

    @property
    def differs(self) -> bool:
        """Whether any of it is not what is there."""
        return any(not path.exists() or path.read_bytes() != text.encode("utf-8") for path, text in self.files.items())


# Targets


def of_target(settings: Settings, intent: Intent, name: str, wish: Wish) -> Draft:
    """Lock one target: wheels and source archives (resolved anew only if its intent changed), series, git sources.

    A lock that would contradict itself is an error.
    """
    before = _read(settings, name)
    known = lockfile.known_wheels(settings.repo, name)
    fresh = before if before is not None and before.intent == target_checksum(intent, name) else None
    made = locking.make(settings, intent, name, wish, fresh)
    _refuse(name, [*lockcheck.lock_findings(made.lock, made.requires, intent.targets[name])])
    for text in made.differences:
        say(f"  {name}: {text}")
    return Draft(
        files={
            lockfile.lock_path(settings.repo, name): lockfile.lock_text(made.lock),
            requireslock.path_of(settings.repo, name): requireslock.text(
                made.lock, nativelock.asked(intent.targets[name], made.lock), made.requires
            ),
        },
        change=lockreport.of_target(intent, known, before, made.lock),
    )


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


def of_debs(settings: Settings, intent: Intent, wish: Wish) -> list[Draft]:
    """Lock the .debs of each root whose intent changed (or of all, to upgrade)."""
    tables = tomllib.loads((settings.repo / FILE).read_text(encoding="utf-8"))
    held = {request: _read_debs(settings, request) for request in debs.requests(tables)}
    stale = {
        request: before
        for request, before in held.items()
        if before is None or before.intent != request.intent or wish.debs_anew
    }
    return [
        _deb_draft(settings, request, held[request], after, in_image=request.root in intent.rootfs)
        for request, after in _resolve_debs(settings, stale, wish)
    ]


def _deb_draft(
    settings: Settings,
    request: debs.Request,
    before: deblock.LockedDebs | None,
    after: deblock.LockedDebs,
    *,
    in_image: bool,
) -> Draft:
    path = deblock.path_of(settings.repo, request.root, request.arch)
    title = str(path.relative_to(settings.repo))
    held = before.debset if before is not None else None
    change = lockreport.of_debs(held, after.debset, title, in_image=in_image)
    return Draft(files={path: deblock.render(after)}, change=change)


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


def of_rebase(settings: Settings, intent: Intent) -> list[Draft]:
    """Lock what ``rebase`` carries the series to, where it changed or something of it was left open."""
    path = settings.repo / releases.FILE
    if intent.rebase is None:
        return []
    before = _read_releases(settings)
    if before is not None and before.intent == bases.checksum(intent) and not before.unresolved:
        return []
    found = releaselock.resolve(settings, intent, before)
    change = lockreport.of_releases(
        [item.version for item in found.releases],
        [(item.name, item.source.commit if item.source else "") for item in found.trees],
        str(releases.FILE),
    )
    return [Draft(files={path: releases.text(found)}, change=change)]


def _read_releases(settings: Settings) -> releases.Releases | None:
    try:
        return releases.read(settings.repo)
    except NewerLockError:
        raise
    except LockError:
        return None


def of_actions(settings: Settings, intent: Intent, wish: Wish) -> list[Draft]:
    """Lock the commits of the GitHub Actions that [actions] names: new ones, or all of them anew."""
    path = settings.repo / actions.FILE
    if not intent.actions and not path.exists():
        return []
    if not wish.debs_anew and actions.is_fresh(settings.repo, intent.actions):
        return []

    def lookup(url: str, tag: str) -> str:
        if settings.offline:
            raise OfflineError(f"{url} is to be looked up, and --offline was asked for", todo="run it with a network")
        return gitsource.lookup(url, (), tag)

    known, anew = actions.held(settings.repo), wish.debs_anew and not settings.offline
    found = actions.resolve(intent.actions, lookup, known, anew=anew)
    change = lockreport.of_actions([(item.name, item.tag, item.commit) for item in found], str(actions.FILE))
    return [Draft(files={path: actions.text(intent.actions, found)}, change=change)]
