"""Resolve the intent of lock/targets.toml to hashes. The only step that may look up new versions: what is locked
already stays as it is unless --upgrade or --as-of is given or the intent no longer allows it.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from build import lockcheck, lockfile, lockform, lockreport, releases, steps, store
from build.errors import InconsistentLockError, UsageError
from build.intent import Intent, read_intent
from build.locking import Wish
from build.models import Settings

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}(T|$)")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--target", metavar="NAME", help="a table of lock/targets.toml (default: all of them)")
    parser.add_argument(
        "--upgrade", nargs="*", metavar="PACKAGE",
        help="take the newest versions that the intent allows: of the named wheels; without a name, of all wheels and "
        "all Debian packages",
    )  # fmt: skip
    parser.add_argument(
        "--as-of", metavar="DATE", type=instant,
        help="resolve as the index and the Debian archive stood at the end of that day (UTC), or at that time; "
        "with --upgrade PACKAGE, those wheels alone",
    )  # fmt: skip
    parser.add_argument("--check", action="store_true", help="write nothing: is every lock fresh, whole, consistent?")
    parser.add_argument("--dry-run", action="store_true", help="say what would change, write nothing")


def instant(text: str) -> datetime:
    """A date (its end) or a time, in UTC where it names no zone.

    >>> instant("2026-09-01").isoformat(), instant("2026-09-01T12:00").isoformat()
    ('2026-09-02T00:00:00+00:00', '2026-09-01T12:00:00+00:00')
    """
    try:
        found = datetime.fromisoformat(text if _DATE.match(text) else "")
        if len(text) == len("2026-09-01"):
            found += timedelta(days=1)
    except (ValueError, OverflowError) as error:
        raise argparse.ArgumentTypeError(f"'{text}' is no date like 2026-09-01 or 2026-09-01T12:00:00Z") from error
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Lock one target, or all of them, and what they share: .debs, releases to carry series to, GitHub Actions."""
    intent = read_intent(settings.repo)
    names = [intent.target(args.target)[0]] if args.target else list(intent.targets)
    if args.check:
        if args.upgrade is not None or args.as_of is not None:
            raise UsageError("--check looks nothing up", todo="leave out --upgrade and --as-of")
        return check(settings, intent, names)
    from build import drafts  # noqa: PLC0415 - apt, git and HTTP: 100 ms that --check does not spend

    store.hold(settings.store)  # what is fetched on the way is named by no lock yet
    wish = wish_of(args, settings, names)
    drawn = [drafts.of_target(settings, intent, name, wish) for name in names]
    drawn += drafts.of_debs(settings, intent, wish)
    drawn += drafts.of_rebase(settings, intent)
    drawn += drafts.of_actions(settings, intent, wish)
    changed = [draft for draft in drawn if draft.differs]
    if not args.dry_run:
        for draft in changed:
            for path, text in draft.files.items():
                lockform.write(path, text)
    lockreport.show(settings, [draft.change for draft in changed], written=not args.dry_run)
    return 0


def wish_of(args: argparse.Namespace, settings: Settings, names: Sequence[str]) -> Wish:
    """What was asked for; a package that no target has, or a time to come, cannot be meant."""
    if args.as_of is not None and args.as_of > datetime.now(UTC) + timedelta(days=1):
        raise UsageError(f"--as-of {args.as_of.isoformat()} is yet to come", todo="name a day that has been")
    upgrade = None if args.upgrade is None else tuple(lockreport.normal(name) for name in args.upgrade)
    known = (lockfile.known_wheels, lockfile.known_native)
    locked = {wheel.name for name in names for those in known for wheel in those(settings.repo, name)}
    lockreport.require_known(upgrade or (), locked)
    return Wish(upgrade=upgrade, as_of=args.as_of)


def check(settings: Settings, intent: Intent, names: Sequence[str]) -> int:
    """Every lock is there, unedited, made from today's intent and series, whole, and without contradiction."""
    jobs = [steps.load(settings, name) for name in names]
    found = [text for job in jobs for text in lockcheck.findings(settings, job)]
    found += lockcheck.shared_findings(settings, intent)
    if settings.json:
        told = {"targets": list(names), "findings": found, "unresolved": _left_open(settings, jobs)}
        print(json.dumps(told, indent=1))
    if found:
        raise InconsistentLockError(
            f"the locks have {'a contradiction' if len(found) == 1 else f'{len(found)} contradictions'}",
            why="\n       ".join(found),
            todo="correct lock/targets.toml or what is named, then `nox -s lock`",
        )
    if not settings.json:
        print(f"fresh, whole and consistent: {', '.join(names)}")
        for text in _left_open(settings, jobs):
            print(f"  {text}")
        for job in jobs:
            if steps.open_and_needed(job):
                print(
                    f"{job.name} cannot be built until `nox -s lock -- --target {job.name}` ran where those are reached"
                )
    return 0


def _left_open(settings: Settings, jobs: Sequence[steps.Job]) -> list[str]:
    found = [(job.name, item, item in steps.open_and_needed(job)) for job in jobs for item in job.lock.unresolved]
    if (settings.repo / releases.FILE).exists():
        found += [("rebase", item, False) for item in releases.read(settings.repo).unresolved]
    states = {True: "left open, and NEEDED to build", False: "left open, and not needed to build"}
    return [f"{states[needed]}: {place} {item.what}: {item.wanted} ({item.why})" for place, item, needed in found]
