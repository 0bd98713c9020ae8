"""One Triton kernel routes any number of experts, as ``router_reference`` has it; who is asked for it gets it.

The installed kernel's own source runs in Triton's interpreter on the CPU. ``gpu_router`` asks it on a device.
"""

from __future__ import annotations

import importlib.util
import itertools
import os
import sys
import types
from typing import Any
from unittest import mock

import numpy as np
import torch

from ..cases import Absent, Wrong, fixes
from ..router_ask import REAL, STAND_INS, any_count, module, question, tensor, ties
from ..router_reference import Routing, judge

__all__ = ["CASES", "REAL", "STAND_INS"]

KERNEL = "vllm._topk_softplus_sqrt_triton"
IMAGE_IDS = 5


@fixes
def in_the_interpreter() -> str:
    kernel = interpreted()
    asked = 0
    for experts, hashed, padded, sentinel in itertools.product((144, 160), (False, True), (False, True), (0, 40)):
        asked += _judged(kernel, experts, hashed=hashed, padded=padded, sentinel=sentinel)
    for experts, more in ((6, {"bias": None}), (100, {"k": 8}), (600, {"k": 1}), (160, {"renormalize": False})):
        asked += _judged(kernel, experts, hashed=False, padded=False, sentinel=0, **more)
    return f"{asked} rows, with NaN, -inf, ties, padding, image and hashed tokens among them"


@fixes
def every_type_and_stride() -> str:
    """Each input in the other types that vLLM has for it, as parts of larger tensors, and no rows at all."""
    kernel = interpreted()
    for kind in (torch.float16, torch.bfloat16):
        ask = question(144, 7)
        logits = tensor(ask.logits).to(kind)
        ask.logits = logits.float().numpy()
        _routed(kernel, ask, f"{kind} logits", logits=logits)
    for kind in (torch.int64, torch.uint32):
        _routed(kernel, question(160, 7), f"{kind} ids", ids=torch.empty(7, 6, dtype=kind))
    rng = np.random.default_rng(5)
    hashed = question(144, 7, table=rng.integers(0, 144, (64, 6)), tokens=np.arange(20, 27, dtype=np.int64))
    _routed(kernel, hashed, "int64 table and tokens")
    ask = question(144, 7)
    wide = torch.full((14, 144), 9.0)
    wide[::2] = tensor(ask.logits)
    _routed(kernel, ask, "every second row of the logits", logits=wide[::2])
    for name in ("bias", "tokens", "table"):
        given = tensor(getattr(hashed if name != "bias" else ask, name))
        apart = torch.zeros(*given.shape[:-1], 2 * given.shape[-1], dtype=given.dtype)
        apart[..., ::2] = given
        _routed(kernel, hashed if name != "bias" else ask, f"every second {name}", **{name: apart[..., ::2]})
    for experts in (144, 160):
        _routed(kernel, question(experts, 0), "no rows")
    return "float16 and bfloat16 logits; int64 and uint32 ids; int64 tables and tokens; strided inputs; no rows"


@fixes
def ties_go_to_the_lower_id() -> str:
    kernel = interpreted()
    for experts in (144, 160):
        _routed(kernel, ties(experts, 32), f"ties, E={experts}", exact=True)
    return "64 rows full of ties, every id exact"


def _routed(kernel: Any, ask: Routing, what: str, *, exact: bool = False, **given: Any) -> None:
    rows = len(ask.logits)
    weights, ids = torch.empty(rows, ask.k), given.pop("ids", torch.empty(rows, ask.k, dtype=torch.int32))
    kernel.route(weights, ids, *_arguments(ask, **given), IMAGE_IDS)
    if fault := judge(ask, weights.numpy(), ids.to(torch.int64).numpy(), exact=exact):
        raise Wrong(f"{what}: {fault}")


def _judged(kernel: Any, experts: int, *, hashed: bool, padded: bool, sentinel: int, **more: Any) -> int:
    rng = np.random.default_rng(experts)
    tokens = np.arange(38, 47, dtype=np.int32)  # with a sentinel of 40: image rows 2 to 6
    ask = question(experts, 9, tokens=tokens, sentinel=sentinel, **more)
    ask.logits[0], ask.logits[1, ::2], ask.logits[2], ask.logits[3] = np.nan, np.nan, -np.inf, 0.0
    ask.logits[4], ask.logits[5] = rng.integers(-2, 3, experts), -95.0
    ask.image_bias = rng.normal(size=experts).astype(np.float32)
    ask.table = rng.integers(0, experts, (64, ask.k)).astype(np.int32) if hashed else None
    if padded:
        ask.padding = np.array([False] * 7 + [True] * 2)
        tokens[7:] = 2**31 - 1, -1
    weights, ids = torch.empty(9, ask.k), torch.empty(9, ask.k, dtype=torch.int32)
    kernel.route(weights, ids, *_arguments(ask), IMAGE_IDS)
    fault = judge(ask, weights.numpy(), ids.numpy())
    if fault:
        raise Wrong(f"E={experts}, hashed {hashed}, padding {padded}, sentinel {sentinel}, {more}: {fault}")
    return len(ids)


def _arguments(ask: Routing, **given: Any) -> tuple[Any, ...]:
    """As ``topk_softplus_sqrt`` takes them, after the two that it writes to; ``given`` in place of its own."""
    names = ("logits", "bias", "tokens", "table", "padding", "image_bias")
    logits, *rest = (given.get(name, tensor(getattr(ask, name))) for name in names)
    return (logits, ask.renormalize, ask.scale, *rest, ask.sentinel)


@fixes
def every_argument_reaches_it() -> str:
    kernel, ask = module(KERNEL), question(144, 7, tokens=np.arange(7), sentinel=3)
    ask.table, ask.padding, ask.image_bias = np.zeros((8, 6), np.int32), np.zeros(7, bool), ask.bias
    handed: list[tuple[Any, ...]] = []
    weights, ids = torch.empty(7, 6), torch.empty(7, 6, dtype=torch.int32)
    given = _arguments(ask)
    with (
        mock.patch.object(kernel, "can_route", return_value=True),
        mock.patch.object(kernel, "route", lambda *arguments: handed.append(arguments)),
    ):
        any_count().topk_softplus_sqrt(weights, ids, *given)
    wanted = (weights, ids, *given, IMAGE_IDS)
    if len(handed) != 1 or len(handed[0]) != len(wanted):
        raise Wrong(f"it is called with {[len(arguments) for arguments in handed]} arguments, not {len(wanted)}")
    lost = [number for number, pair in enumerate(zip(handed[0], wanted, strict=True)) if pair[0] is not pair[1]]
    if lost:
        raise Wrong(f"arguments {lost} are others")
    return f"{len(wanted)} arguments"


@fixes
def torch_takes_what_it_cannot() -> str:
    kernel = module(KERNEL)
    weights, ids = torch.empty(7, 6), torch.empty(7, 6, dtype=torch.int32)
    if kernel.can_route(torch.empty(7, 144), weights, ids):
        raise Wrong("it would take tensors of the CPU")
    device = {"is_cuda": True, "ndim": 2, "shape": (7, 144), "stride": lambda _: 1}
    with mock.patch.object(kernel, "HAS_TRITON", True):
        if not kernel.can_route(types.SimpleNamespace(**device), weights, ids):
            raise Wrong("it refuses 144 experts on a device")
        for what in ({"is_cuda": False}, {"shape": (7, 4096)}, {"stride": lambda _: 2}, {"ndim": 1}):
            if kernel.can_route(types.SimpleNamespace(**{**device, **what}), weights, ids):
                raise Wrong(f"it takes {what}")
        for left, right in ((weights[:, ::2], ids), (weights, ids[:, ::2]), (torch.empty(7, 64), ids)):
            if kernel.can_route(types.SimpleNamespace(**device), left, right):
                raise Wrong(f"it takes outputs of {tuple(left.shape)} and {tuple(right.shape)}")
    return "the CPU, more than 2048 experts or 32 picks, tensors that are not dense"


def interpreted() -> Any:
    """A second copy of the installed module, its kernel made for the interpreter.

    Triton decides when it is imported whether its own functions are interpreted: hence a second copy of it, too.
    """
    if importlib.util.find_spec("triton") is None:
        raise Absent("triton is not installed here")
    module("triton")  # its compiled parts are loaded once and kept
    kept = {name: found for name, found in sys.modules.items() if not _is_triton(name)}
    spec = importlib.util.find_spec(KERNEL)
    if spec is None or spec.origin is None:
        raise Wrong(f"there is no {KERNEL}")
    copy_spec = importlib.util.spec_from_file_location("interpreted_router", spec.origin)
    assert copy_spec is not None
    assert copy_spec.loader is not None
    copy = importlib.util.module_from_spec(copy_spec)
    with mock.patch.dict(os.environ, {"TRITON_INTERPRET": "1"}), mock.patch.dict(sys.modules, kept, clear=True):
        parts = types.SimpleNamespace(HAS_TRITON=True, triton=module("triton"), tl=module("triton.language"))
        sys.modules["vllm.triton_utils"] = parts  # type: ignore[assignment]
        copy_spec.loader.exec_module(copy)
    return copy


def _is_triton(name: str) -> bool:
    return name.split(".", maxsplit=1)[0] == "triton" and not name.startswith("triton._C")


CASES = (
    in_the_interpreter,
    every_type_and_stride,
    ties_go_to_the_lower_id,
    every_argument_reaches_it,
    torch_takes_what_it_cannot,
)
