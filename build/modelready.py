"""A profile's model on this machine: where it is, whether it is whole, and whether it is what the profile says.

Composes. For the commands that have a profile: `model` makes a folder whole, `serve` wants it so.
"""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import dataclass
from pathlib import Path

from build import intent, modelconfig, modelfolder, modelweights, profiles, series
from build.console import human_bytes
from build.errors import ModelError
from build.modelconfig import Config, Wanted
from build.modelfolder import Model, State
from build.models import Settings
from build.modelweights import Weights
from build.profiles import Profile

ROUTER = "router"  # the behaviour of the patches that route any number of experts


@dataclass(frozen=True, kw_only=True)
class Place:
    """A profile's model: which, what it must be, and where it is or will be."""

    model: Model
    wanted: Wanted
    folder: Path
    profile: str


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What a model's files say of themselves."""

    config: Config
    weights: Weights


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """``--profile`` and ``--models``."""
    parser.add_argument(
        "--profile", required=True, metavar="P", help="a name in lock/profiles/, or a file (with a slash)"
    )
    parser.add_argument(
        "--models", type=Path, metavar="DIR",
        help=f"where models are kept, a folder for each (${modelfolder.VARIABLE}; default: models/ in the store)",
    )  # fmt: skip


def chosen(settings: Settings, text: str) -> Profile:
    """The profile that ``--profile`` names: one of ours, or a user's own file. Raises ``ProfileError``."""
    if os.sep in text:
        return profiles.read_file(Path(text))
    return profiles.named(profiles.read_all(settings.repo, intent.read_intent(settings.repo).targets), text)


def place(settings: Settings, profile: Profile, models: Path | None) -> Place:
    """Where a profile's model belongs. ``models``: of ``--models``, None where that was not given."""
    table = profile.model
    model = Model(repo=table.repo, revision=table.revision)
    speculation = json.loads(profile.serve.speculative or "{}")
    wanted = Wanted(
        type=table.type, routed_experts=table.routed_experts, bytes=table.bytes, context=profile.serve.context,
        layers=table.layers, hash_layers=table.hash_layers, experts_per_token=table.experts_per_token,
        mtp="mtp" in str(speculation.get("method", "")),
    )  # fmt: skip
    folder = modelfolder.root(settings.store, models) / model.name
    return Place(model=model, wanted=wanted, folder=folder, profile=profile.name)


def require_routable(settings: Settings, profile: Profile, target: str | None = None) -> None:
    """That images of a target (None: each of the profile's) route so many experts. Raises :class:`ModelError`."""
    known = intent.read_intent(settings.repo)
    findings = []
    for name in (target,) if target else profile.targets:
        chosen_name, table = known.target(name)
        found = series.read(settings.repo, table.series, tuple(table.components))
        fault = modelconfig.unroutable(profile.model.routed_experts, any_count=ROUTER in found.behaviours)
        findings += [f"{chosen_name}: {fault}"] if fault else []
    if findings:
        raise ModelError(
            f"{profile.model.repo} cannot be run by {'this image' if target else 'each target of its profile'}",
            why="\n       ".join(findings),
            todo="serve it with an image of a target whose series has the router patches (docs/patches.md)",
        )


def require_whole(where: Place) -> State:
    """What is known of the whole model. At once: sizes are compared, no byte is read. Raises :class:`ModelError`."""
    state = modelfolder.read(where.folder, where.model)
    todo = f"get it: `nox -s model -- --profile {where.profile}`, with the same --models"
    if state is None:
        raise ModelError(f"{where.model} is not here", why=f"nothing of it is in {where.folder}", todo=todo)
    lacking = modelfolder.lacking(where.folder, state)
    if lacking or not state.whole:
        gone = f"; {lacking[0].path} is not there with its size" if lacking else ""
        missing = f"{len(lacking)} of {len(state.files)} files, {human_bytes(sum(item.size for item in lacking))}"
        raise ModelError(f"{where.model} is not whole", why=f"missing in {where.folder}: {missing}{gone}", todo=todo)
    return state


def check(where: Place) -> Seen:
    """What the files say, compared with the profile: config.json, each header, each routing table.

    A second for 94 GB. Raises :class:`ModelError` with all findings.
    """
    config = modelconfig.check_config(where.folder, where.wanted)
    return Seen(config=config, weights=modelweights.check_weights(where.folder, config, where.wanted))


def require(settings: Settings, profile: Profile, models: Path | None, target: str) -> Path:
    """The folder of a model that may be served by an image of ``target``: whole, as its profile says, and routable.

    Raises :class:`ModelError`. It reads, and changes nothing.
    """
    where = place(settings, profile, models)
    require_whole(where)
    require_routable(settings, profile, target)
    check(where)
    return where.folder
