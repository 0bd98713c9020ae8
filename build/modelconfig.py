"""What a model's ``config.json`` says, what a profile says of it, and what an image can run.

What counts is what vLLM reads (vllm/models/deepseek_v4/nvidia/model.py at 0.22.0 and 0.32.0).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from build.console import human_bytes
from build.errors import ModelError

HASHED_TYPE = "deepseek_v4"  # the model_type whose first layers choose experts by a table over the vocabulary
# The counts of experts that vLLM's fused router is compiled for (topk_softplus_sqrt_kernels.cu, 0.21.0 to 0.32.0).
FUSED_COUNTS = frozenset((1, 2, 4, 8, 16, 32, 64, 128, 192, 256, 320, 384, 448, 512, 576))
MOST_ROUTED = 2048  # by the series' own kernel (patches/v0.22/vllm/0003)
SIZE_TOLERANCE = 0.10  # cards round, and say GB for GiB: 7.4 %
SHOWN = 10  # findings in a message; the rest are counted


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a profile says of its model; None where it says nothing. ``mtp``: it speculates with the model's own layers.

    ``bytes``: of all files, roughly. ``context``: tokens.
    """

    type: str
    routed_experts: int
    bytes: int
    context: int
    layers: int | None = None
    hash_layers: int | None = None
    experts_per_token: int | None = None
    mtp: bool = False


@dataclass(frozen=True, kw_only=True)
class Config:
    """What ``config.json`` says."""

    type: str
    routed_experts: int
    hash_layers: int
    layers: int
    experts_per_token: int
    vocabulary: int


def size_fault(total: int, wanted: Wanted) -> str:
    """What is wrong with a revision of so many bytes; empty where nothing is."""
    if abs(total - wanted.bytes) <= SIZE_TOLERANCE * wanted.bytes:
        return ""
    return f"its files have {human_bytes(total)}, and the profile says {human_bytes(wanted.bytes)}"


def unroutable(experts: int, *, any_count: bool) -> str:
    """Why an image cannot route so many experts; empty where it can. ``any_count``: its series has the router patch."""
    if experts in FUSED_COUNTS or (any_count and experts <= MOST_ROUTED):
        return ""
    if any_count:
        return f"{experts} experts are more than its router takes, {MOST_ROUTED}"
    return f"vLLM's fused router has no code for {experts} experts, and its series has no patch that routes any number"


def check_config(folder: Path, wanted: Wanted) -> Config:
    """What the model's ``config.json`` says. Raises :class:`ModelError` with all that is not as the profile says.

    The image's own program asks the same of it again, before it serves (``dockerfiles/image/serve``).
    """
    said = _read_config(folder)
    findings = []
    if said.get("model_type") != wanted.type:
        findings.append(f"model_type is {said.get('model_type')!r}, and the profile says {wanted.type!r}")
    numbers = {
        "n_routed_experts": wanted.routed_experts, "num_hidden_layers": wanted.layers,
        "num_experts_per_tok": wanted.experts_per_token, "num_hash_layers": wanted.hash_layers, "vocab_size": None,
    }  # fmt: skip
    if wanted.type != HASHED_TYPE:
        said.setdefault("num_hash_layers", 0)
    for name, value in numbers.items():
        found = said.get(name)
        if type(found) is not int or found < 0:
            findings.append(f"{name} is {'missing' if name not in said else repr(found)}; a number is needed")
        elif value is not None and found != value:
            findings.append(f"{name} is {found}, and the profile says {value}")
    require_none(folder / "config.json", "is not of the model that the profile describes", findings)
    config = Config(
        type=said["model_type"], routed_experts=said["n_routed_experts"], hash_layers=said["num_hash_layers"],
        layers=said["num_hidden_layers"], experts_per_token=said["num_experts_per_tok"], vocabulary=said["vocab_size"],
    )  # fmt: skip
    require_none(folder / "config.json", "contradicts itself, or the profile", _contradictions(config, said, wanted))
    return config


def _contradictions(config: Config, said: Mapping[str, Any], wanted: Wanted) -> list[str]:
    findings = []
    if config.hash_layers > config.layers:
        findings.append(f"num_hash_layers is {config.hash_layers}, of {config.layers} layers")
    if config.experts_per_token > config.routed_experts:
        findings.append(f"num_experts_per_tok is {config.experts_per_token}, of {config.routed_experts} experts")
    longest = said.get("max_position_embeddings")
    if type(longest) is int and longest < wanted.context:
        findings.append(f"max_position_embeddings is {longest}, and the profile's context {wanted.context}")
    return findings


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    try:
        said = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise ModelError(f"{path} is not there", why="every model has one", todo="name another model") from error
    except ValueError as error:
        raise ModelError(f"{path} is not JSON", why=str(error), todo="look with `nox -s model -- --verify`") from error
    if not isinstance(said, dict):
        raise ModelError(f"{path} is not an object", todo="look with `nox -s model -- --verify`")
    return said


def require_none(place: Path, what: str, findings: Sequence[str]) -> None:
    """Raise :class:`ModelError` for the findings, where there are any."""
    if not findings:
        return
    more = len(findings) - SHOWN
    raise ModelError(
        f"{place} {what}",
        why="\n       ".join(findings[:SHOWN]) + (f"\n       and {more} more" if more > 0 else ""),
        todo="name the profile's own model, or write a profile for this one; nothing was loaded",
    )
