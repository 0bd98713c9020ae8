"""Any number of experts is routed as DeepSeek-V4 means it, through the functions that every caller passes.

``fused_topk_bias`` and ``topk_hash_softplus_sqrt`` are asked on the CPU, and their answers compared with
``router_reference``. Needs torch and NumPy.
"""

from __future__ import annotations

import types
from typing import Any
from unittest import mock

import numpy as np
import torch

from ..cases import Absent, Wrong, fixes, keeps
from ..fused_counts import instantiated
from ..router_ask import (
    COUNTS,
    REAL,
    STAND_INS,
    any_count,
    ask_router,
    check,
    has_images,
    has_padding,
    operators,
    question,
    tensor,
)
from ..router_reference import Routing, judge, picks

__all__ = ["CASES", "REAL", "STAND_INS"]

WAITING = {"_local_scalar_dense", "nonzero", "masked_select", "_unique2", "unique_dim", "is_nonzero", "equal"}


@fixes
def random_rows() -> str:
    asked = 0
    for experts in COUNTS:
        for rows in (0, 1, 7):
            for renormalize in (True, False):
                check(question(experts, rows, renormalize=renormalize), f"E={experts} M={rows}")
                asked += rows
    check(question(144, 8192), "E=144 M=8192")
    check(question(160, 8192, renormalize=False, bias=None), "E=160 M=8192, no bias")
    return f"{asked + 2 * 8192} rows at 144 and 160 experts"


@fixes
def any_number_of_experts() -> str:
    counts = (6, 7, 17, 100, 144, 160, 256, 384, 576, 600)
    for experts in counts:
        ask = question(experts, 7)
        weights, ids = torch.empty(7, 6), torch.empty(7, 6, dtype=torch.int32)
        any_count().topk_softplus_sqrt(weights, ids, tensor(ask.logits), True, 1.5, tensor(ask.bias))
        fault = judge(ask, weights.numpy(), ids.numpy())
        if fault:
            raise Wrong(f"E={experts}: {fault}")
    return f"experts: {', '.join(map(str, counts))}"


@fixes
def half_precision_logits_are_scored_in_float32() -> str:
    for dtype in (torch.bfloat16, torch.float16):
        ask = question(144, 64)
        half = tensor(ask.logits).to(dtype)
        ask.logits = half.float().numpy()
        check(ask, str(dtype), logits=half)
    return "bfloat16, float16"


@fixes
def picks_and_scales() -> str:
    for k in (1, 4, 6, 8):
        for scale in (1.0, 1.5, 2.5):
            check(question(160, 7, k=k, scale=scale), f"k={k} scale={scale}")
    return "k 1 4 6 8; scale 1 1.5 2.5"


@fixes
def id_types() -> str:
    for asked, given in (
        (None, torch.int32), (torch.int32, torch.int32), (torch.int64, torch.int64), (torch.uint32, torch.uint32)
    ):  # fmt: skip
        ask = question(144, 7)
        _, ids = ask_router(ask, dtype=asked)
        if ids.dtype != given:
            raise Wrong(f"{asked} gives {ids.dtype}")
        check(ask, str(asked), dtype=asked)
    return "none, int32, int64, uint32"


@fixes
def bias_chooses_and_is_no_weight() -> str:
    ask = question(160, 64)
    ask.bias[-6:] += 50
    check(ask)
    _, ids = ask_router(ask)
    if int(ids.min()) < 154:
        raise Wrong(f"expert {int(ids.min())} was chosen against a bias of +50")
    return "+50 on six experts: only they are chosen, with unbiased weights"


@fixes
def ties_go_to_the_lower_id() -> str:
    rng = np.random.default_rng(6)
    zeros = question(144, 7)
    zeros.logits, zeros.bias = np.zeros((7, 144), np.float32), np.zeros(144, np.float32)
    check(zeros, "zeros", exact=True)
    for experts in COUNTS:
        ask = question(experts, 256)
        ask.logits = rng.integers(-2, 3, (256, experts)).astype(np.float32)
        ask.bias = rng.choice([0.0, 0.5], experts).astype(np.float32)
        check(ask, f"integers, E={experts}", exact=True)
    return "519 rows full of ties, every id exact"


@fixes
def infinite_and_large_logits() -> str:
    ask = question(144, 5)
    ask.logits[0] = -np.inf
    ask.logits[1, 5:] = -np.inf
    ask.logits[2], ask.logits[3] = np.linspace(-30, 30, 144), np.linspace(-1e4, 1e4, 144)
    ask.bias = np.zeros(144, np.float32)
    check(ask)
    weights, ids = ask_router(ask)
    if ids[0].tolist() != list(range(6)) or weights[0].any():
        raise Wrong(f"a row of -inf gives {ids[0].tolist()} with {weights[0].tolist()}")
    return "-inf, ±30, ±1e4"


@fixes
def nan_scores_zero() -> str:
    ask = question(160, 3)
    ask.logits[0] = np.nan
    ask.logits[1, ::2] = np.nan
    check(ask)
    weights, ids = ask_router(ask)
    if (ids[1] % 2 == 0).any():
        raise Wrong(f"an expert of NaN was chosen: {ids[1].tolist()}")
    return f"a row of NaN: ids {ids[0].tolist()}, weights {weights[0].tolist()}"


@fixes
def hash_layers() -> str:
    rng = np.random.default_rng(9)
    for experts, kind, rows in ((144, np.int32, 0), (144, np.int32, 7), (160, np.int64, 1), (160, np.int64, 8192)):
        table = rng.integers(0, experts, (128, 6)).astype(kind)
        table[3] = 5  # the same expert six times
        tokens = rng.integers(0, 128, rows).astype(kind)
        tokens[:1] = 3
        check(question(experts, rows, table=table, tokens=tokens), f"table, E={experts} M={rows}")
        check(question(experts, rows, table=table, tokens=tokens, bias=None), f"table without bias, M={rows}")
    mixed = question(144, 7, table=rng.integers(0, 144, (16, 6)).astype(np.int32), tokens=np.arange(7))
    check(mixed, "int64 ids, int32 table")
    try:
        ask_router(question(144, 7, table=mixed.table))
    except Exception as error:  # noqa: BLE001 - any error will do, an answer will not
        return f"int32 and int64; a table without token ids: {type(error).__name__}"
    raise Wrong("a hash table without token ids routes all the same")


@fixes
def inputs_are_unchanged() -> str:
    ask = question(144, 7, table=np.zeros((8, 6), np.int32), tokens=np.arange(7, dtype=np.int32))
    ask.logits[0, 0] = np.nan
    for table in (ask.table, None):
        given = [tensor(value).clone() for value in (ask.logits, ask.bias, ask.table, ask.tokens)]
        logits, bias, _, tokens = given
        before = [value.clone() for value in given]
        ask_router(Routing(logits=logits, k=6, bias=bias, table=table, tokens=tokens))
        if not all(torch.equal(torch.nan_to_num(a), torch.nan_to_num(b)) for a, b in zip(before, given, strict=True)):
            raise Wrong("an input was changed")
    return "logits, bias, table, tokens"


@fixes
def fused_kernel_iff_it_exists() -> str:
    compiled = any_count().FUSED_EXPERT_COUNTS
    called: list[int] = []

    def operator(*arguments: Any, **_: Any) -> None:
        called.append(arguments[3].shape[-1])

    namespace = types.SimpleNamespace(topk_softplus_sqrt=operator)
    with mock.patch.object(torch.ops, "_moe_C", namespace, create=True):
        for experts in range(6, 600):
            ask_router(Routing(logits=torch.zeros(1, experts), k=6))
    want = [count for count in range(6, 600) if count in compiled]
    if called != want:
        raise Wrong(f"the operator is called for {sorted(set(called) ^ set(want))[:8]} wrongly or not")
    return f"6 to 599 experts: the operator for {len(want)} counts, the fallback for {594 - len(want)}"


@fixes
def fused_counts_are_those_of_the_kernel() -> str:
    """The set in the source against the kernels that the shipped library really has, or the source instantiates."""
    where, found = instantiated()
    said = any_count().FUSED_EXPERT_COUNTS
    if found != said:
        raise Wrong(f"{where} has {sorted(found)}, the module says {sorted(said)}")
    return f"{where}: {' '.join(map(str, sorted(found)))}"


@fixes
def no_synchronisation_with_the_host() -> str:
    from torch.utils._python_dispatch import TorchDispatchMode  # noqa: PLC0415

    seen: set[str] = set()

    class Recorder(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            seen.add(func.overloadpacket.__name__)
            return func(*args, **(kwargs or {}))

    asks = [question(144, 7), question(160, 7, table=np.zeros((8, 6), np.int32), tokens=np.arange(7, dtype=np.int32))]
    if has_images():
        asks += [image_question(None), image_question(np.zeros((64, 6), np.int32))]
    for ask in asks:
        tensors = {name: tensor(getattr(ask, name)) for name in ("logits", "bias", "table", "tokens", "image_bias")}
        with Recorder():
            ask_router(Routing(**{**vars(ask), **tensors}))
        onto_meta = {name: None if value is None else value.to("meta") for name, value in tensors.items()}
        padding = None if ask.padding is None else tensor(ask.padding).to("meta")
        weights, _ = ask_router(Routing(**{**vars(ask), **onto_meta, "padding": padding}))
        if weights.device.type != "meta":
            raise Wrong(f"meta tensors give {weights.device}")
    if seen & WAITING:
        raise Wrong(f"these wait for the device: {', '.join(sorted(seen & WAITING))}")
    return f"{len(seen)} kinds of operators, none waits for the device; all run on meta tensors"


def image_question(table: Any) -> Routing:
    """Padding, image and text rows, and token ids at both edges of the image's block."""
    ask = question(144, 12, tokens=np.array([39, 40, 41, 42, 43, 44, 45, 0, 40, 1, 63, 2], np.int32), sentinel=40)
    rng = np.random.default_rng(13)
    ask.image_bias = (8.08 + rng.normal(size=144)).astype(np.float32)
    ask.padding = np.array([False] * 8 + [True] * 2 + [False] * 2)
    ask.table = table
    return ask


@fixes
def padding_rows() -> str:
    if not has_padding():
        raise Absent("this vLLM's router knows no padding mask")
    ask = question(160, 7)
    ask.padding = np.array([True, False] * 3 + [True])
    ask.logits[0] = np.nan
    check(ask, "top-k")
    table = np.random.default_rng(1).integers(0, 160, (8, 6)).astype(np.int32)
    far = np.array([2**31 - 1, 1, 2**31 - 1, 3, 2**31 - 1, 5, -1], np.int32)  # what padding rows may hold
    check(question(160, 7, padding=ask.padding, table=table, tokens=far), "hash")
    ask.padding = np.ones(7, bool)
    check(ask, "nothing but padding")
    return "id -1, weight 0, whatever their token id or logits"


@fixes
def image_rows_use_their_own_bias() -> str:
    if not has_images():
        raise Absent("this vLLM's router knows no image tokens")
    table = np.random.default_rng(2).integers(0, 144, (64, 6)).astype(np.int32)
    for given in (None, table):
        ask = image_question(given)
        check(ask, "image rows")
        ask.sentinel = 0
        check(ask, "turned off")
        check(Routing(**{**vars(ask), "sentinel": 40, "bias": None}), "no text bias")
    if (picks(image_question(table)) == picks(image_question(None))).all():
        raise Wrong("the question tells nothing apart")
    return "five ids from the sentinel on, with and without a hash table; sentinel 0 turns it off"


@keeps
def what_a_newer_operator_is_given_is_not_dropped() -> str:
    """An argument that is not known is an error, not a silently different routing."""
    ask = question(144, 7)
    ids = torch.empty(7, 6, dtype=torch.int32)
    try:
        operators().topk_hash_softplus_sqrt(
            torch.empty(7, 6), ids, torch.empty_like(ids), tensor(ask.logits), True, 1.5, tensor(ask.bias), tomorrow=1
        )
    except TypeError as error:
        return str(error)
    raise Wrong("an unknown argument is passed over")


CASES = (
    random_rows,
    any_number_of_experts,
    half_precision_logits_are_scored_in_float32,
    picks_and_scales,
    id_types,
    bias_chooses_and_is_no_weight,
    ties_go_to_the_lower_id,
    infinite_and_large_logits,
    nan_scores_zero,
    hash_layers,
    inputs_are_unchanged,
    fused_kernel_iff_it_exists,
    fused_counts_are_those_of_the_kernel,
    no_synchronisation_with_the_host,
    padding_rows,
    image_rows_use_their_own_bias,
    what_a_newer_operator_is_given_is_not_dropped,
)
