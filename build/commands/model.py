"""Get the model of a profile, at its pinned revision, into a folder that a server mounts; then look whether it is what
the profile says: config.json, the headers of the weights, the routing tables.

Downloads go on where they were cut, within a file too. Disk is checked first, every byte is compared with what the
revision lists, and what is there already is not fetched again. Of a model that is whole nothing is asked anywhere.

A token is taken from HF_TOKEN and from nowhere else: it is neither an option, nor stored, nor shown. HF_ENDPOINT names
another hub. The hub is asked by plain https.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from dataclasses import asdict, replace
from typing import Any

from build import modelbytes, modelconfig, modelfetch, modelfolder, modelhub, modelready, store
from build.console import human_bytes, say, step, transfer
from build.errors import ModelError, OfflineError, UsageError
from build.modelfolder import Item, State
from build.modelready import Place, Seen
from build.models import Settings

ROOM = "free some space, or keep models elsewhere (--models DIR)"
FIRST = ("config.json",)  # looked at before gigabytes are fetched


def add_arguments(parser: argparse.ArgumentParser) -> None:
    modelready.add_arguments(parser)
    parser.add_argument(
        "--verify", action="store_true", help="read every file again; damaged ones are removed and named"
    )
    parser.add_argument("--dry-run", action="store_true", help="only say what would be fetched, and the disk it takes")


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Make the folder of a profile's model whole, and look at what is in it."""
    if args.verify and args.dry_run:
        raise UsageError("--verify reads what is there, --dry-run tells what is not", todo="leave one of them out")
    start = time.monotonic()
    profile = modelready.chosen(settings, args.profile)
    where = modelready.place(settings, profile, args.models)
    modelready.require_routable(settings, profile)
    if args.dry_run:
        return foresee(settings, where)
    if args.verify:
        verify(settings, where)
        came = 0
    else:
        came = make_whole(settings, where)
    with step(f"look at {where.model.name}: config.json, headers, routing tables"):
        seen = modelready.check(where)
    return tell(settings, where, seen, came, time.monotonic() - start)


def make_whole(settings: Settings, where: Place) -> int:
    """Fetch what the folder lacks; the number of bytes that came in."""
    state = modelfolder.read(where.folder, where.model)
    if state is not None and state.whole and not modelfolder.lacking(where.folder, state):
        return 0
    if settings.offline:
        raise offline(where, state)
    hub = modelhub.find(settings.store / "scratch")
    with modelfolder.locked(where.folder):
        with step(f"ask the hub for the files of {where.model}"):
            state = listed(where, modelhub.files(hub, where.model))
        require_size(where, state)
        missing = pending(where, state)
        store.require_space(where.folder, modelfetch.left(where.folder, missing), where.model.name, todo=ROOM)
        modelfolder.write(where.folder, state)
        size = sum(item.size for item in missing)
        title = f"fetch {len(missing)} of {len(state.files)} files"
        with step(f"{title} ({human_bytes(size)}) into {where.folder}"), transfer(title, size) as progress:
            first = [item for item in missing if item.path in FIRST]
            state, early = modelfetch.bring(where.folder, hub, state, first, progress)
            modelconfig.check_config(where.folder, where.wanted)
            rest = [item for item in missing if item.path not in FIRST]
            state, late = modelfetch.bring(where.folder, hub, state, rest, progress)
        modelfolder.finish(where.folder, state)
    return early + late


def listed(where: Place, files: tuple[Item, ...]) -> State:
    """The folder's state with the hub's list; an error where it was begun with another list of the same commit."""
    state = modelfolder.read(where.folder, where.model) or State(model=where.model, files=files)
    if state.files != files:
        odd = sorted({item.path for item in set(state.files) ^ set(files)})
        raise ModelError(
            f"the hub lists other files of {where.model} than when this folder was begun",
            why=f"a commit cannot change, and these differ: {', '.join(odd[:5])}{' …' if len(odd) > 5 else ''}",
            todo="tell who keeps the hub (or the mirror); to begin anew, remove the folder",
        )
    return modelfolder.reopened(where.folder, state)


def require_size(where: Place, state: State) -> None:
    """That the revision's size is what the profile says, before any of it is fetched."""
    if fault := modelconfig.size_fault(state.bytes, where.wanted):
        raise ModelError(
            f"{where.model} is not of the size that the profile {where.profile} says", why=fault,
            todo="correct the profile (model.bytes), if the model is the one that you mean",
        )  # fmt: skip


def pending(where: Place, state: State) -> tuple[Item, ...]:
    return tuple(item for item in state.files if not modelfolder.compared(where.folder, state, item))


def offline(where: Place, state: State | None) -> OfflineError:
    lacking = modelfolder.lacking(where.folder, state) if state else ()
    size = human_bytes(sum(item.size for item in lacking))
    known = f"{len(lacking)} of {len(state.files)} files are missing, {size}" if state else "nothing of it is there"
    return OfflineError(
        f"{where.model} is not whole, and --offline was asked for", why=f"{known} ({where.folder})",
        todo="run it without --offline where there is a network, or copy the folder from another machine",
    )  # fmt: skip


def verify(settings: Settings, where: Place) -> None:
    """Read everything again. Raises :class:`ModelError` naming what was damaged, and is gone."""
    state = modelfolder.read(where.folder, where.model)
    if state is None:
        modelready.require_whole(where)  # raises
        return
    there = replace(state, files=tuple(item for item in state.files if modelfolder.has(where.folder, item)))
    title = f"read {len(there.files)} files again"
    start = time.monotonic()
    with step(f"{title}, {human_bytes(there.bytes)}"), transfer(title, there.bytes) as progress:
        bad = modelbytes.verify(where.folder, there, progress)
    seconds = max(time.monotonic() - start, 1e-6)
    say(f"{human_bytes(there.bytes / seconds)}/s on {os.cpu_count()} cores")
    if bad:
        with modelfolder.locked(where.folder):
            modelfolder.drop(where.folder, state, bad)
        if settings.json:
            print(json.dumps({**named(where, state), "removed": [item.path for item in bad]}, indent=1))
        raise ModelError(
            f"{len(bad)} of {len(there.files)} files of {where.model} were damaged, and are removed",
            why=", ".join(item.path for item in bad),
            todo="run it again without --verify to fetch them; damage that comes again is a disk's or a memory's",
        )
    modelready.require_whole(where)


def foresee(settings: Settings, where: Place) -> int:
    """What would be fetched, and the disk that it takes; nothing is written."""
    state = modelfolder.read(where.folder, where.model)
    if state is None and settings.offline:
        raise offline(where, state)
    if state is None or not (state.whole or settings.offline):
        state = listed(where, modelhub.files(modelhub.find(settings.store / "scratch"), where.model))
    state = modelfolder.reopened(where.folder, state)
    missing = pending(where, state)
    there = [item for item in missing if modelfolder.has(where.folder, item)]  # read, and not fetched if they are right
    size, free = modelfetch.left(where.folder, missing), modelfolder.free(where.folder)
    fault = modelconfig.size_fault(state.bytes, where.wanted)
    if settings.json:
        told = {
            **named(where, state), "to_fetch": [item.path for item in missing if item not in there],
            "to_compare": [item.path for item in there], "bytes_to_fetch": size, "free_bytes": free,
            "size_fault": fault,
        }  # fmt: skip
        print(json.dumps(told, indent=1))
        return 0
    print(f"{where.model}: {len(state.files)} files, {human_bytes(state.bytes)}{f' ({fault})' if fault else ''}")
    print(f"to fetch: {len(missing) - len(there)} files, {human_bytes(size)}, into {where.folder}")
    print(f"free there: {human_bytes(free)}{'' if free >= size else ', which is not enough'}")
    return 0


def named(where: Place, state: State) -> dict[str, Any]:
    """What a JSON result begins with."""
    return {
        "profile": where.profile, "repo": where.model.repo, "revision": where.model.revision,
        "folder": str(where.folder), "files": len(state.files), "bytes": state.bytes,
    }  # fmt: skip


def tell(settings: Settings, where: Place, seen: Seen, came: int, seconds: float) -> int:
    """The result, for a program or for a person."""
    config, weights = seen.config, seen.weights
    if settings.json:
        told = {
            **named(where, modelready.require_whole(where)), "fetched_bytes": came, "seconds": round(seconds, 3),
            "config": asdict(config), "weights": asdict(weights),
        }  # fmt: skip
        print(json.dumps(told, indent=1))
        return 0
    ranges = ", ".join(f"layer {table.layer}: {table.lowest} to {table.highest}" for table in weights.tables)
    print(f"{where.model} is whole, and what the profile {where.profile} says ({human_bytes(came)} fetched)")
    print(f"folder: {where.folder}")
    print(f"config.json: {config.type}, {config.layers} layers of {config.routed_experts} experts")
    print(f"routing tables: {ranges or 'none'}")
    print(f"weights: {weights.tensors} tensors in {weights.files} files, {human_bytes(weights.bytes)}")
    return 0
