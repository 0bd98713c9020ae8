"""Does the installed vLLM route any number of experts as DeepSeek-V4 means it? On the CPU, in seconds.

Asks ``fused_topk_bias`` and ``topk_hash_softplus_sqrt``, through which every caller passes, and compares with
``router_reference``. What an installed version lacks (padding, image bias, the Triton kernel) is not asked of it.
The Triton kernel itself runs in Triton's interpreter. Needs torch, NumPy and vLLM, or stand-ins for the parts of
vLLM around the router.
"""

from __future__ import annotations

import importlib.util
import mmap
import re
import time
import types
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch

from . import router_newer
from .router_ask import COUNTS, Wrong, ask_router, check, fallback, has_padding, question, tensor
from .router_reference import Routing, judge

INSTANCE = re.compile(rb"topkGatingSoftplusSqrtILi\d+ELi(\d+)E")
WAITING = {"_local_scalar_dense", "nonzero", "masked_select", "_unique2", "unique_dim", "is_nonzero", "equal"}


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


def any_count() -> str:
    counts = (6, 7, 17, 100, 144, 160, 256, 384, 576, 600)
    for experts in counts:
        ask = question(experts, 7)
        weights, ids = torch.empty(7, 6), torch.empty(7, 6, dtype=torch.int32)
        fallback().topk_softplus_sqrt_torch(weights, ids, tensor(ask.logits), True, 1.5, tensor(ask.bias))
        fault = judge(ask, weights.numpy(), ids.numpy())
        if fault:
            raise Wrong(f"E={experts}: {fault}")
    return f"experts: {', '.join(map(str, counts))}"


def half_precision_logits_are_scored_in_float32() -> str:
    for dtype in (torch.bfloat16, torch.float16):
        ask = question(144, 64)
        half = tensor(ask.logits).to(dtype)
        ask.logits = half.float().numpy()
        check(ask, str(dtype), logits=half)
    return "bfloat16, float16"


def picks_and_scales() -> str:
    for k in (1, 4, 6, 8):
        for scale in (1.0, 1.5, 2.5):
            check(question(160, 7, k=k, scale=scale), f"k={k} scale={scale}")
    return "k 1 4 6 8; scale 1 1.5 2.5"


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


def bias_chooses_and_is_no_weight() -> str:
    ask = question(160, 64)
    ask.bias[-6:] += 50
    check(ask)
    _, ids = ask_router(ask)
    if int(ids.min()) < 154:
        raise Wrong(f"expert {int(ids.min())} was chosen against a bias of +50")
    return "+50 on six experts: only they are chosen, with unbiased weights"


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


def nan_scores_zero() -> str:
    ask = question(160, 3)
    ask.logits[0] = np.nan
    ask.logits[1, ::2] = np.nan
    check(ask)
    weights, ids = ask_router(ask)
    if (ids[1] % 2 == 0).any():
        raise Wrong(f"an expert of NaN was chosen: {ids[1].tolist()}")
    return f"a row of NaN: ids {ids[0].tolist()}, weights {weights[0].tolist()}"


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


def fused_kernel_iff_it_exists() -> str:
    compiled = fallback().FUSED_EXPERT_COUNTS
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


def fused_counts_are_those_of_the_binary() -> str:
    """The set in the source against the kernels that the shipped library really has."""
    spec = importlib.util.find_spec("vllm")
    folders = list(spec.submodule_search_locations or ()) if spec else []
    libraries = [path for folder in folders for path in sorted(Path(folder).glob("_moe_C*.so"))]
    if not libraries:
        raise Wrong(f"no _moe_C library in {folders}")
    found: set[int] = set()
    for path in libraries:
        with open(path, "rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
            found |= {int(match[1]) for match in INSTANCE.finditer(data)}
    said = fallback().FUSED_EXPERT_COUNTS
    if found != said:
        raise Wrong(f"{libraries[0].name} has {sorted(found)}, the source says {sorted(said)}")
    return f"{libraries[0].name}: {' '.join(map(str, sorted(found)))}"


def no_synchronisation_with_the_host() -> str:
    from torch.utils._python_dispatch import TorchDispatchMode  # noqa: PLC0415

    seen: set[str] = set()

    class Recorder(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            seen.add(func.overloadpacket.__name__)
            return func(*args, **(kwargs or {}))

    asks = [question(144, 7), question(160, 7, table=np.zeros((8, 6), np.int32), tokens=np.arange(7, dtype=np.int32))]
    if has_padding():
        asks += [router_newer.image_question(None), router_newer.image_question(np.zeros((64, 6), np.int32))]
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


CASES = (
    random_rows,
    any_count,
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
    fused_counts_are_those_of_the_binary,
    no_synchronisation_with_the_host,
    *router_newer.CASES,
)


def run() -> list[dict[str, Any]]:
    """Every case that the installed version is asked: name, ok, evidence, seconds."""
    results = []
    for function in CASES:
        start = time.monotonic()
        try:
            evidence, ok = function(), True
        except Exception as error:  # noqa: BLE001 - whatever a router raises is that case's answer
            evidence, ok = f"{type(error).__name__}: {error}"[:300], False
        if evidence is not None:
            seconds = round(time.monotonic() - start, 3)
            results.append(
                {"name": function.__name__.replace("_", "-"), "ok": ok, "evidence": evidence, "seconds": seconds}
            )
    return results
