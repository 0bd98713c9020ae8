"""Carry a series to another vLLM: for each patch whether it fits exactly, in the same context, is upstream already or
clashes, with the hunks, and whether its behaviour holds on the result. Nothing is guessed: a hunk fits where all of its
lines stand, once. --matrix does so for all series and the versions of lock/rebase.toml. The repository is not changed.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

from build import bases, lockfile, matrix, rebasing, recut, releases, series
from build.behaviours import shortly
from build.console import say, table
from build.errors import LockError, RebaseError, UsageError
from build.intent import Intent, TargetIntent, read_intent
from build.models import Settings
from build.rebasing import Carriage, Home, Result
from build.settings import add_target_argument


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_target_argument(parser)
    parser.add_argument(
        "--onto", metavar="REF|VERSION",
        help="a release (0.27.1), a tree of [rebase] in lock/targets.toml (g27), or a tag, branch or commit of vLLM",
    )  # fmt: skip
    parser.add_argument(
        "--matrix", action="store_true", help="all series, and all releases and trees of lock/rebase.toml"
    )
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help="where a carried series is written (default: out/rebase)"
    )


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Carry one series, or all."""
    if args.matrix == bool(args.onto):
        raise UsageError("either --onto REF|VERSION or --matrix", todo="for example: -- --target v0.22 --onto 0.22.1")
    intent = read_intent(settings.repo)
    return show_matrix(settings, intent) if args.matrix else onto(args, settings, intent)


# One series


def onto(args: argparse.Namespace, settings: Settings, intent: Intent) -> int:
    """Carry a target's series to one tree, and write what became of it."""
    name, target = intent.target(args.target)
    if bases.MAIN not in target.components:
        raise UsageError(f"the target {name} has no component '{bases.MAIN}'", todo="name another --target")
    found = series.read(settings.repo, target.series, tuple(target.components))
    base = bases.of_reference(settings, intent, target, args.onto, _locked(settings))
    carriage = Carriage(series=found, base=base, home=_home(settings, intent, name))
    (result,) = rebasing.run(settings, intent, [carriage])
    written = write((args.output or settings.repo / "out" / "rebase").absolute(), result)
    cells = matrix.cells([result], {found.id: [found.name]}, {})
    if settings.json:
        said = {"series": found.name, "onto": base.label, "versions": dict(base.versions), "green": result.green}
        print(json.dumps({**said, "patches": matrix.as_json(cells), "written": str(written)}, indent=1))
    else:
        versions = ", ".join(f"{component} {version}" for component, version in base.versions.items())
        heads = ("patch", "fits", "hunks moved", "its behaviour, cases that hold", "without it")
        table(f"{found.name} onto {base.label} ({versions})", heads, _rows(result))
        print(f"what fits: {written}")
    if not result.green:
        bad = [row.patch.name for row in result.rows if not row.green]
        raise RebaseError(
            f"{len(bad)} of {len(result.rows)} patches of {found.name} do not carry to {base.label}",
            why="\n       ".join(matrix.reasons(cells)),
            todo=f"change them by hand against that tree; {written} holds those that fit",
        )
    return 0


def _rows(result: Result) -> list[tuple[str, ...]]:
    return [
        (
            row.patch.name,
            matrix.words(row),
            ", ".join(f"{hunk.path.rsplit('/', 1)[-1]} {hunk.moved:+d}" for hunk in row.carried.hunks if hunk.moved),
            f"{row.patch.behaviour} {shortly(row.after)}",
            shortly(row.before),
        )
        for row in result.rows
    ]


def write(folder: Path, result: Result) -> Path:
    """The series as it would be for the other tree: what fits, recut to its lines; what does not is a comment."""
    place = folder / f"{result.carriage.series.name}-onto-{result.carriage.base.label}"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    lines = [f"# {result.carriage.series.name} carried to {result.carriage.base.label} by `nox -s rebase`."]
    state: dict[tuple[str, str], bytes | None] = {}
    for row in result.rows:
        component, carried = row.patch.ref.component, row.carried
        if not carried.content:
            lines.append(f"# {row.patch.name}: {carried.fit.value}{': ' + carried.why if carried.why else ''}")
            continue
        tree = result.carriage.base.trees[component]
        changes = {
            path: (state.get((component, path), rebasing.read(tree, path)), after)
            for path, after in carried.content.items()
        }
        state |= {(component, path): after for path, after in carried.content.items()}
        target = place / row.patch.name
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(recut.recut(row.patch.name, recut.header(row.patch.data), changes))
        lines.append(row.patch.name)
    (place / "series").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return place


# The matrix


def show_matrix(settings: Settings, intent: Intent) -> int:
    """Every series on every release and tree that is locked; an error where a series is not green at home."""
    locked = releases.read(settings.repo, intent=bases.checksum(intent))
    every = _every_series(settings, intent)
    names: dict[str, list[str]] = {}
    for found, _ in every.values():
        names.setdefault(found.id, []).append(found.name)
    unique = {found.id: (found, home) for found, home in every.values()}
    there = [bases.of_release(settings, intent, item) for item in locked.releases]
    there += [
        bases.of_source(settings, intent, item.name, item.source) for item in locked.trees if item.source is not None
    ]
    results = rebasing.run(
        settings,
        intent,
        [Carriage(series=found, base=base, home=home) for found, home in unique.values() for base in there],
    )
    unread = {item.name: _meant_for(intent, item.name) for item in locked.trees if item.source is None}
    cells = matrix.cells(results, names, unread)
    labels = [*(base.label for base in there), *unread]
    at_home = {
        name: [cell for cell in cells if cell.series == found.name and cell.base == home_of(intent, name)]
        for name, (found, _) in every.items()
    }
    if settings.json:
        print(json.dumps({"bases": labels, "unverified": list(unread), "cells": matrix.as_json(cells)}, indent=1))
    else:
        table("patches and versions", ("series", "patch", *labels), matrix.table(cells, labels))
        print(matrix.LEGEND)
        for text in matrix.reasons(cells):
            print(f"  {text}")
        for name, known in at_home.items():
            counted = f"{sum(cell.green for cell in known)} of {len(known)} patches hold on {home_of(intent, name)}"
            never = "unverified: its tree was never read; `nox -s lock` where its remote can be reached"
            print(f"{name}: {never if name in unread else counted}")
    if bad := [cell for name, known in at_home.items() for cell in known if not cell.green and name not in unread]:
        raise RebaseError(
            f"{len(bad)} patches do not hold on the release that they are for",
            why="\n       ".join(matrix.reasons(bad)),
            todo="`nox -s patch -- --check` says more",
        )
    return 0


def home_of(intent: Intent, name: str) -> str:
    """The base that a target's series (or a named tree's) is made for, as bases are called."""
    return f"v{intent.targets[name].version}" if name in intent.targets else name


def _meant_for(intent: Intent, tree: str) -> str:
    return intent.rebase.trees[tree].series if intent.rebase else ""


def _every_series(settings: Settings, intent: Intent) -> dict[str, tuple[series.Series, Home]]:
    """Target (or tree) → its series, and the files that it was locked with."""
    found: dict[str, tuple[series.Series, Home]] = {}
    for name, target in intent.targets.items():
        if bases.MAIN in target.components:
            found[name] = (_series(settings, target.series, target), _home(settings, intent, name))
    for name, tree in (intent.rebase.trees if intent.rebase else {}).items():
        found[name] = (_series(settings, tree.series, intent.targets[tree.like]), _home(settings, intent, tree.like))
    return found


def _series(settings: Settings, name: str, target: TargetIntent) -> series.Series:
    return series.read(settings.repo, name, tuple(target.components))


def _home(settings: Settings, intent: Intent, target: str) -> Home:
    """The files that a target's series was locked with; nothing where the lock is not there."""
    try:
        lock = lockfile.read_lock(settings.repo, target)
    except LockError:
        return Home(files={}, trees={})
    return Home(
        files={item.name: {file.source: file.before for file in item.files} for item in lock.components},
        trees={
            item.name: bases.ensure(settings, intent, item.name, item.archive)
            for item in lock.components
            if item.archive is not None
        },
    )


def _locked(settings: Settings) -> releases.Releases | None:
    """What is locked for rebase, fresh or not: a version in it is the same version; None where nothing is."""
    try:
        return releases.read(settings.repo)
    except LockError:
        say(f"{releases.FILE} cannot be read: what --onto names is looked up")
        return None
