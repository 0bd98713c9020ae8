"""The router on a GPU: fused kernel against fallback, CUDA graphs, and microseconds a call of each path.

Each answer is compared with ``router_reference`` too, so that two paths that are wrong alike do not pass.
"""

from __future__ import annotations

import contextlib
import itertools
import statistics
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import numpy as np
import torch

from ..cases import Case, Wrong, fixes
from ..router_ask import COUNTS, REAL, any_count, has_padding, module, operators, question, tensor, ties
from ..router_ask import STAND_INS as ROUTER_STAND_INS
from ..router_reference import Routing, judge

__all__ = ["CASES", "REAL", "STAND_INS"]


def _real_triton() -> dict[str, Any]:
    return {"HAS_TRITON": True, "triton": module("triton"), "tl": module("triton.language")}


STAND_INS = {**ROUTER_STAND_INS, "vllm.triton_utils": _real_triton}
KERNEL = "vllm._topk_softplus_sqrt_triton"
FUSED = (128, 256)  # of the counts that the operator has a kernel for
ROWS = (1, 7, 64, 8192)
TIMED_ROWS = (1, 8, 64, 8192)
REPEATS, CALLS = 20, 50  # medians of 20 replays of a graph of 50 calls
PICKS = 6

Call = Callable[[Any, Any, Any], None]  # weights, ids, logits


@contextlib.contextmanager
def path(name: str) -> Iterator[None]:
    """Within it the fallback takes its Triton kernel, and has to, or plain torch."""
    kernel = module(KERNEL)
    if name == "torch":
        with mock.patch.object(kernel, "can_route", return_value=False):
            yield
        return
    with mock.patch.object(kernel, "route", side_effect=kernel.route) as route:
        yield
    if name == "triton" and not route.called:
        raise Wrong("the Triton kernel is never taken")


def on_device(ask: Routing) -> dict[str, Any]:
    names = ("bias", "tokens", "table", "padding", "image_bias")
    return {name: None if getattr(ask, name) is None else tensor(getattr(ask, name)).cuda() for name in names}


def fallback(ask: Routing) -> Call:
    given = on_device(ask)

    def call(weights: Any, ids: Any, logits: Any) -> None:
        any_count().topk_softplus_sqrt(weights, ids, logits, ask.renormalize, ask.scale, *given.values(), ask.sentinel)

    return call


def fused(ask: Routing) -> Call:
    """The operator as vLLM's callers reach it, at a count that it has a kernel for."""
    given = on_device(ask)
    more = {"is_padding": given["padding"]} if has_padding() else {}

    def call(weights: Any, ids: Any, logits: Any) -> None:
        operators().topk_hash_softplus_sqrt(
            weights, ids, torch.empty_like(ids), logits, ask.renormalize, ask.scale,
            given["bias"], given["tokens"], given["table"], **more,
        )  # fmt: skip

    return call


def outputs(rows: int, dtype: torch.dtype = torch.int32) -> tuple[Any, Any]:
    return torch.empty(rows, PICKS, device="cuda"), torch.empty(rows, PICKS, dtype=dtype, device="cuda")


def demand(ask: Routing, weights: Any, ids: Any, what: str, *, exact: bool = False) -> None:
    ids = ids.view(torch.int32) if ids.dtype == torch.uint32 else ids  # where -1 is 2**32 - 1
    fault = judge(ask, weights.cpu().numpy(), ids.cpu().numpy(), exact=exact)
    if fault:
        raise Wrong(f"{what}: {fault}")


@fixes
def fused_and_fallback_agree() -> str:
    different = 0
    for experts, rows in itertools.product(FUSED, ROWS):
        ask = question(experts, rows)
        logits, answers = tensor(ask.logits).cuda(), []
        for name, call in (("fused", fused(ask)), ("triton", fallback(ask)), ("torch", fallback(ask))):
            weights, ids = outputs(rows)
            with path(name):
                call(weights, ids, logits)
            demand(ask, weights, ids, f"{name}, E={experts} M={rows}")
            answers.append(ids.sort(dim=1).values)
        different += sum(int((answers[0] != other).any(dim=1).sum()) for other in answers[1:])
    return f"{', '.join(map(str, FUSED))} experts, M={ROWS}: {different} rows choose another set of experts"


def hashed_question(experts: int, rows: int) -> Routing:
    rng = np.random.default_rng(experts + rows)
    tokens = rng.integers(0, 512, rows).astype(np.int32)
    return question(experts, rows, table=rng.integers(0, experts, (512, PICKS)).astype(np.int32), tokens=tokens)


@fixes
def every_kind_of_input() -> str:
    """Padding, image rows, tables and every type that vLLM has for each, with rows of NaN, -inf and ties."""
    asked = 0
    kinds = ((None, np.int32, np.int64), (False, True), (0, 40), (torch.float32, torch.bfloat16))
    for experts, kind, padded, sentinel, dtype in itertools.product((144, 600), *kinds):
        for name, ids_dtype in itertools.product(("triton", "torch"), (torch.int32, torch.int64, torch.uint32)):
            ask = mixed_question(experts, table=kind, padded=padded, sentinel=sentinel)
            logits = tensor(ask.logits).cuda().to(dtype)
            ask.logits = logits.float().cpu().numpy()
            weights, ids = outputs(len(logits), ids_dtype)
            with path(name):
                fallback(ask)(weights, ids, logits)
            demand(ask, weights, ids, f"{name}, E={experts}, {kind}, {padded}, {sentinel}, {dtype}, {ids_dtype}")
            asked += 1
    for experts, name in itertools.product(COUNTS, ("triton", "torch")):
        ask = ties(experts)
        weights, ids = outputs(len(ask.logits))
        with path(name):
            fallback(ask)(weights, ids, tensor(ask.logits).cuda())
        demand(ask, weights, ids, f"{name}, ties, E={experts}", exact=True)
        fallback(ask)(*outputs(0), torch.empty(0, experts, device="cuda"))  # no rows are no error
    return f"{asked} kinds of calls, by Triton and by torch"


def mixed_question(experts: int, *, table: Any, padded: bool, sentinel: int) -> Routing:
    rng = np.random.default_rng(experts)
    tokens = np.arange(38, 49, dtype=table or np.int32)  # with a sentinel of 40: image rows 2 to 6
    ask = question(experts, 11, tokens=tokens, sentinel=sentinel)
    ask.logits[0], ask.logits[1, ::2], ask.logits[2], ask.logits[3] = np.nan, np.nan, -np.inf, 0.0
    ask.logits[4], ask.logits[7], ask.logits[8] = rng.integers(-2, 3, experts), -80.0, -95.0
    ask.image_bias = rng.normal(size=experts).astype(np.float32)
    ask.table = None if table is None else rng.integers(0, experts, (64, PICKS)).astype(table)
    if padded:
        ask.padding = np.array([False] * 9 + [True] * 2)
        tokens[9:] = 2**31 - 1, -1
    return ask


@fixes
def captured_in_a_graph() -> str:
    """Captured once, replayed with other logits: what an eager call gives, and nothing waits for the host."""
    for name, experts, rows in itertools.product(("triton", "torch"), COUNTS, ROWS):
        padded = question(experts, rows, padding=np.arange(rows) % 3 == 1)
        for ask in (question(experts, rows), padded, hashed_question(experts, rows)):
            what = f"{name}, E={experts} M={rows}{', hashed' if ask.table is not None else ''}"
            with path(name):
                _replayed(ask, what)
    return f"{COUNTS} experts, M={ROWS}, top-k, with padding rows and hashed, by Triton and by torch"


def _replayed(ask: Routing, what: str) -> None:
    call, (weights, ids) = fallback(ask), outputs(len(ask.logits))
    logits = tensor(ask.logits).cuda()
    call(weights, ids, logits)  # compiles
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        call(weights, ids, logits)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        call(weights, ids, logits)
    ask.logits = np.ascontiguousarray(ask.logits[::-1] * 0.5)
    logits.copy_(tensor(ask.logits))
    graph.replay()
    demand(ask, weights, ids, f"{what}, replayed")
    eager = outputs(len(ask.logits))
    call(*eager, logits)
    if not (torch.equal(eager[0], weights) and torch.equal(eager[1], ids)):
        raise Wrong(f"{what}: the replay gives otherwise than a call")


def microseconds(call: Call, ask: Routing) -> float:
    """The median time of one call in a captured graph."""
    (weights, ids), logits = outputs(len(ask.logits)), tensor(ask.logits).cuda()
    for _ in range(3):
        call(weights, ids, logits)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(CALLS):
            call(weights, ids, logits)
    times = []
    for _ in range(REPEATS):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        graph.replay()
        end.record()
        torch.cuda.synchronize()
        times.append(start.elapsed_time(end) * 1000 / CALLS)
    return round(statistics.median(times), 1)


@fixes
def microseconds_a_call() -> str:
    """M: path and number of experts = microseconds; the paths take turns on the same device."""
    paths = (("fused", FUSED, fused), ("triton", (*COUNTS, 256), fallback), ("torch", (*COUNTS, 256), fallback))
    lines, slow = [], []
    for rows in TIMED_ROWS:
        times = {}
        for name, counts, make in paths:
            for experts in counts:
                with path(name):
                    ask = question(experts, rows)
                    times[name, experts] = microseconds(make(ask), ask)
        lines.append(f"M={rows}: {' '.join(f'{name} {experts}={time}' for (name, experts), time in times.items())}")
        slow += [f"M={rows} E={count}" for count in COUNTS if times["triton", count] > times["torch", count]]
    told = f"{torch.cuda.get_device_name(0)}; " + "; ".join(lines)
    if slow:
        raise Wrong(f"the Triton kernel is slower than torch at {', '.join(slow)}: {told}")
    return told


CASES: tuple[Case, ...] = (
    fused_and_fallback_agree,
    every_kind_of_input,
    captured_in_a_graph,
    microseconds_a_call,
)
