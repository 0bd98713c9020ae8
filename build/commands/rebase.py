"""Carry a series to another vLLM: for each patch whether it fits exactly, in the same context, is upstream already or
clashes, with the hunks, and whether its behaviour holds on the result. Nothing is guessed: a hunk fits where all of its
lines stand, once. --matrix does so for all series and the versions of lock/rebase.toml. The repository is not changed.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from build import bases, homes, matrix, onto, rebased, rebasing, releases, store
from build import series as serieses
from build.behaviours import shortly
from build.console import say, table, warn
from build.errors import LockError, RebaseError, UsageError
from build.homes import Owner
from build.intent import Intent, read_intent
from build.matrix import Cell
from build.models import Settings
from build.rebasing import Carriage, Result
from build.releases import Releases
from build.settings import add_target_argument


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_target_argument(parser)
    parser.add_argument(
        "--onto", metavar="REF|VERSION",
        help="a release (0.27.1), a tree of [rebase] in lock/targets.toml (g27), or a tag, a branch or (40 digits) a "
        "commit of vLLM",
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
    if args.matrix and (args.target or args.output):
        raise UsageError(
            "--matrix is of every series, and writes none", todo="leave out --target and --output, or name --onto"
        )
    store.hold(settings.store)  # what is laid out on the way is named by no lock
    intent = read_intent(settings.repo)
    if args.matrix:
        return carry_all(settings, intent)
    return carry_one(
        settings, intent, args.target, args.onto, (args.output or settings.repo / "out" / "rebase").absolute()
    )


# One series


def carry_one(settings: Settings, intent: Intent, target: str | None, named: str, folder: Path) -> int:
    """Carry a target's series to one tree, and write what became of it."""
    owner = homes.of_target(settings, intent, target)
    base = onto.find(settings, intent, intent.targets[owner.name], named, _locked(settings))
    carriage = Carriage(owner=owner, base=base)
    written = rebased.place(folder, carriage)
    rebased.require_unchanged(written)
    (result,) = rebasing.run(settings, intent, [carriage])
    rebased.write(written, result)
    cells = matrix.carried(result)
    if settings.json:
        told = {"series": owner.series.name, "onto": base.label, "versions": dict(base.versions), "green": result.green,
                "patches": matrix.as_json(cells), "written": str(written)}  # fmt: skip
        print(json.dumps(told, indent=1))
    else:
        versions = ", ".join(f"{component} {version}" for component, version in base.versions.items())
        heads = ("patch", "fits", "hunks moved", "its behaviour, cases that hold", "without it")
        table(f"{owner.series.name} onto {base.label} ({versions})", heads, _rows(result, cells))
        print(f"what fits: {written}")
    if not result.green:
        raise RebaseError(
            f"the series {owner.series.name} does not carry to {base.label} as a whole",
            why="\n       ".join(matrix.reasons(cells)),
            todo=f"{written} holds what fits; carry the rest there by hand, it is not written over then",
        )
    return 0


def _rows(result: Result, cells: Sequence[Cell]) -> list[tuple[str, ...]]:
    return [
        (
            row.patch.name,
            cell.text,
            ", ".join(f"{hunk.path.rsplit('/', 1)[-1]} {hunk.moved:+d}" for hunk in row.carried.hunks if hunk.moved),
            f"{row.patch.behaviour} {shortly(row.after)}",
            shortly(row.before),
        )
        for row, cell in zip(result.rows, cells, strict=True)
    ]


def _locked(settings: Settings) -> Releases:
    """What is locked for rebase, fresh or not; nothing where that cannot be read, which is told."""
    try:
        return releases.read(settings.repo)
    except LockError as error:
        reason = f"{error.what} ({error.why})" if error.why else error.what
        (warn if (settings.repo / releases.FILE).exists() else say)(f"{reason}: what --onto names is looked up")
        return releases.NOTHING


# The matrix


def carry_all(settings: Settings, intent: Intent) -> int:
    """Every series on every release and tree that is locked; an error where one is not exact and green at home."""
    if intent.rebase is None:
        raise UsageError(
            "nothing says what to carry the series to", todo="name releases in a table [rebase] of lock/targets.toml"
        )
    locked = releases.read(settings.repo, intent=bases.checksum(intent))
    there = bases.of_locked(settings, intent, locked)
    owners = homes.every(settings, intent, there)
    results = rebasing.run(settings, intent, [Carriage(owner=owner, base=base) for owner in owners for base in there])
    unread = [item.name for item in locked.trees if item.source is None]
    cells = matrix.cells(results, unread)
    labels = [*(base.label for base in there), *unread]
    if settings.json:
        print(json.dumps({"bases": labels, "unverified": unread, "cells": matrix.as_json(cells)}, indent=1))
    else:
        table("patches and versions", ("series", "patch", *labels), matrix.table(cells, labels))
        print(matrix.LEGEND)
        for text in matrix.reasons(cells):
            print(f"  {text}")
        for owner in owners:
            print(f"{owner.name}: {_at_home(owner, cells)}")
    if bad := [cell for cell in cells if cell.home and cell.verified and not cell.green]:
        raise RebaseError(
            f"{'a patch does' if len(bad) == 1 else f'{len(bad)} patches do'} not hold on what the series is for",
            why="\n       ".join(matrix.reasons(bad)),
            todo="; ".join(dict.fromkeys(_advice(cell.owner) for cell in bad)),
        )
    return 0


def _at_home(owner: Owner, cells: Sequence[Cell]) -> str:
    """How a series does on what it is for."""
    if owner.unread:
        return "unverified: its tree was never read; `nox -s lock` where its remote can be reached"
    known = [cell for cell in cells if cell.owner == owner and cell.home]
    return f"{sum(cell.green for cell in known)} of {len(known)} exact and green on {owner.home}"


def _advice(owner: Owner) -> str:
    """What to do about a series that does not hold on what it is for."""
    if owner.name != owner.like:
        return (
            f"`nox -s rebase -- --target {owner.like} --onto {owner.name}` writes what fits: take it as "
            f"{serieses.FOLDER / owner.series.name}, and change the rest by hand"
        )
    return (
        f"`nox -s patch -- --target {owner.name} --check` says more; where lines moved, "
        f"`nox -s rebase -- --target {owner.name} --onto {owner.home}` writes them anew"
    )
