"""Any number of experts is routed as DeepSeek-V4 means it, through the functions that every caller passes.

``fused_topk_bias`` and ``topk_hash_softplus_sqrt`` are asked on the CPU, and their answers compared with
``router_reference``. The compiled operator, which no CPU can run, is stood in for by what is right for its counts and
refuses all others. Needs torch and NumPy.
"""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch

from .. import router_ask
from ..cases import Absent, Wrong, fixes, keeps
from ..fused_counts import instantiated
from ..router_ask import (
    COUNTS,
    REAL,
    STAND_INS,
    ask_operator,
    ask_router,
    check,
    has_images,
    has_padding,
    operators,
    question,
    tensor,
    ties,
)
from ..router_reference import Routing, judge, picks

__all__ = ["CASES", "REAL", "STAND_INS"]

OPERATOR = re.compile(rb"_moe_C\b.{0,40}\btopk_softplus_sqrt\b", re.DOTALL)
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
    counts = (6, 7, 17, 100, 144, 160, 300, 600)
    for experts in counts:
        check(question(experts, 7), f"E={experts}")
    return f"experts: {', '.join(map(str, counts))}"


@keeps
def compiled_counts_are_routed_too() -> str:
    """The same questions at counts that need no patch: that they fail at 144 is due to 144."""
    table = np.random.default_rng(3).integers(0, 256, (8, 6)).astype(np.int32)
    for experts in (128, 256):
        check(question(experts, 7), f"E={experts}")
    check(question(256, 7, table=table, tokens=np.arange(7, dtype=np.int32)), "E=256, hashed")
    return "128 and 256 experts, by what stands in for the compiled operator"


@fixes
def views_and_strides() -> str:
    """Logits, outputs and bias that are parts of larger tensors."""
    for experts in COUNTS:
        ask = question(experts, 7)
        wide = torch.full((7, 2 * experts), 9.0)
        wide[:, ::2] = tensor(ask.logits)
        rows = torch.full((14, experts), 9.0)
        rows[::2] = tensor(ask.logits)
        for logits in (wide[:, ::2], rows[::2]):
            weights, ids = torch.zeros(7, 12), torch.zeros(7, 12, dtype=torch.int64)
            ask_operator(ask, logits, weights[:, ::2], ids[:, ::2])
            fault = judge(ask, weights[:, ::2].numpy(), ids[:, ::2].numpy())
            if fault:
                raise Wrong(f"strides {logits.stride()}: {fault}")
            if weights[:, 1::2].any() or ids[:, 1::2].any():
                raise Wrong("it writes beside its outputs")
    return "every second column or row of the logits, every second column of the outputs"


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
    zeros = question(144, 7)
    zeros.logits, zeros.bias = np.zeros((7, 144), np.float32), np.zeros(144, np.float32)
    check(zeros, "zeros", exact=True)
    for experts in COUNTS:
        check(ties(experts), f"integers, E={experts}", exact=True)
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
    ask.logits = np.repeat(np.array([[-80], [-95], [-100]], np.float32), 144, axis=1)
    check(question(144, 3, logits=ask.logits, bias=ask.bias), "scores that are hardly any")
    return "-inf, ±30, ±1e4; rows of nothing but -80, -95, -100"


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
def the_fused_kernel_routes_what_it_is_compiled_for() -> str:
    """No more and no less: the counts that the shipped library really has, or that the source instantiates."""
    where, found = instantiated()
    called: list[int] = []

    def reach(*arguments: Any, **_: Any) -> None:
        called.append(arguments[3].shape[-1])

    with mock.patch.object(router_ask, "operator", reach):
        for experts in range(1, 601):
            ask_router(Routing(logits=torch.zeros(1, experts), k=1))
    if called != sorted(found):
        raise Wrong(f"{where}: the operator is called wrongly for {sorted(set(called) ^ found)[:8]}, or not")
    return f"of 1 to 600 experts the operator routes those of {where}: {' '.join(map(str, called))}"


@keeps
def nobody_calls_the_operator_but_one() -> str:
    """One place through which every caller passes is enough where it is the only one that has the operator."""
    spec = importlib.util.find_spec("vllm")
    assert spec is not None
    read = 0
    for folder in spec.submodule_search_locations or ():
        for path in Path(folder).rglob("*.py"):
            if path.name != "_custom_ops.py":
                read += 1
                if OPERATOR.search(path.read_bytes()):
                    raise Wrong(f"{path.relative_to(folder)} calls the operator itself")
    if not read:
        raise Wrong("vLLM's files are not there")
    return f"_custom_ops.py, and none of {read} other files"


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
    compiled_counts_are_routed_too,
    views_and_strides,
    half_precision_logits_are_scored_in_float32,
    picks_and_scales,
    id_types,
    bias_chooses_and_is_no_weight,
    ties_go_to_the_lower_id,
    infinite_and_large_logits,
    nan_scores_zero,
    hash_layers,
    inputs_are_unchanged,
    the_fused_kernel_routes_what_it_is_compiled_for,
    nobody_calls_the_operator_but_one,
    no_synchronisation_with_the_host,
    padding_rows,
    image_rows_use_their_own_bias,
    what_a_newer_operator_is_given_is_not_dropped,
)
