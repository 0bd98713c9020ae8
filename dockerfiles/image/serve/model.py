"""Whether a folder holds the model that a profile is for, seen before 94 GB of it are loaded."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from .exits import MODEL, Fault

SAID = 5  # missing files that are named

# A profile's key → the key of config.json (vllm/transformers_utils/configs/deepseek_v4.py; card: n_routed_experts).
SAME = {
    "type": "model_type",
    "routed-experts": "n_routed_experts",
    "layers": "num_hidden_layers",
    "hash-layers": "num_hash_layers",
    "experts-per-token": "num_experts_per_tok",
}


def check(folder: str, profile: Mapping[str, Any]) -> None:
    """Raise :class:`Fault` with all that does not fit."""
    wanted, context = profile["model"], profile["serve"]["context"]
    todo = f"this profile is for {wanted['repo']} at {wanted['revision']}: name its folder, or another profile"
    config = _json(os.path.join(folder, "config.json"), folder, todo)
    faults = [
        f"config.json: {key} is {config.get(key)!r}, the profile is for {wanted[name]!r}"
        for name, key in SAME.items()
        if wanted[name] is not None and config.get(key) != wanted[name]
    ]
    faults += _impossible(config, context) or _missing(folder, todo)
    if faults:
        raise Fault(MODEL, f"the model in {folder} is not the profile's", faults, todo)


def _impossible(config: Mapping[str, Any], context: int) -> list[str]:
    """What a config says that cannot be, or cannot be served."""
    faults = []
    layers, hashed = config.get("num_hidden_layers"), config.get("num_hash_layers")
    if isinstance(layers, int) and isinstance(hashed, int) and not 0 <= hashed <= layers:
        faults.append(f"config.json: {hashed} hash layers of {layers} layers")
    experts, taken = config.get("n_routed_experts"), config.get("num_experts_per_tok")
    if isinstance(experts, int) and isinstance(taken, int) and taken > experts:
        faults.append(f"config.json: {taken} experts for a token, of {experts}")
    longest = config.get("max_position_embeddings")
    if isinstance(longest, int) and longest < context:
        faults.append(f"config.json: max_position_embeddings is {longest}, the profile's context {context}")
    return faults


def _missing(folder: str, todo: str) -> list[str]:
    """Weights that the index names and that are not there: a download that was not finished."""
    index = os.path.join(folder, "model.safetensors.index.json")
    if not os.path.exists(index):
        there = any(name.endswith(".safetensors") for name in os.listdir(folder))
        return [] if there else ["there are no weights (*.safetensors)"]
    table = _json(index, folder, todo).get("weight_map")
    if not isinstance(table, dict):
        return ["model.safetensors.index.json has no weight_map"]
    files = sorted({str(name) for name in table.values()})
    lacking = [name for name in files if not _holds(os.path.join(folder, name))]
    more = f" and {len(lacking) - SAID} more" if len(lacking) > SAID else ""
    return [f"{len(lacking)} of {len(files)} files are not there: {', '.join(lacking[:SAID])}{more}"] if lacking else []


def _holds(path: str) -> bool:
    try:
        return os.path.getsize(path) > 0
    except OSError:
        return False


def _json(path: str, folder: str, todo: str) -> dict[str, Any]:
    try:
        with open(path, "rb") as stream:
            value = json.load(stream)
    except (OSError, ValueError) as error:
        raise Fault(MODEL, f"there is no model in {folder}: {os.path.basename(path)}: {error}", [], todo) from error
    if not isinstance(value, dict):
        raise Fault(MODEL, f"there is no model in {folder}: {os.path.basename(path)} is no object", [], todo)
    return value
