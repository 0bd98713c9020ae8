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

from ..cases import Absent, Case, Wrong, keeps
from ..router_ask import COUNTS, REAL, any_count, module, operators, question, tensor
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
    """Within it the fallback takes its Triton kernel, or plain torch."""
    if name == "triton":
        yield
        return
    with mock.patch.object(module(KERNEL), "can_route", return_value=False):
        yield


def _require_fused() -> None:
    if not hasattr(torch.ops._moe_C, "topk_softplus_sqrt"):  # noqa: SLF001 - that is how operators are reached
        raise Absent("the fused operator is not compiled here")


def on_device(ask: Routing) -> dict[str, Any]:
    names = ("bias", "tokens", "table")
    return {name: None if getattr(ask, name) is None else tensor(getattr(ask, name)).cuda() for name in names}


def fallback(ask: Routing) -> Call:
    given = on_device(ask)

    def call(weights: Any, ids: Any, logits: Any) -> None:
        any_count().topk_softplus_sqrt(
            weights, ids, logits, ask.renormalize, ask.scale, given["bias"], given["tokens"], given["table"]
        )

    return call


def fused(ask: Routing) -> Call:
    """The operator as vLLM's callers reach it, at a count that it has a kernel for."""
    given = on_device(ask)

    def call(weights: Any, ids: Any, logits: Any) -> None:
        operators().topk_hash_softplus_sqrt(
            weights, ids, torch.empty_like(ids), logits, ask.renormalize, ask.scale,
            given["bias"], given["tokens"], given["table"],
        )  # fmt: skip

    return call


def outputs(rows: int) -> tuple[Any, Any]:
    return torch.empty(rows, PICKS, device="cuda"), torch.empty(rows, PICKS, dtype=torch.int32, device="cuda")


def demand(ask: Routing, weights: Any, ids: Any, what: str) -> None:
    fault = judge(ask, weights.cpu().numpy(), ids.cpu().numpy())
    if fault:
        raise Wrong(f"{what}: {fault}")


@keeps
def fused_and_fallback_agree() -> str:
    _require_fused()
    different = 0
    for experts, rows in itertools.product(FUSED, ROWS):
        ask = question(experts, rows)
        logits, answers = tensor(ask.logits).cuda(), []
        for name, call in (("fused", fused(ask)), ("triton", fallback(ask)), ("torch", fallback(ask))):
            weights, ids = outputs(rows)
            with path(name if name != "fused" else "triton"):
                call(weights, ids, logits)
            demand(ask, weights, ids, f"{name}, E={experts} M={rows}")
            answers.append(ids.sort(dim=1).values)
        different += sum(int((answers[0] != other).any(dim=1).sum()) for other in answers[1:])
    return f"{', '.join(map(str, FUSED))} experts, M={ROWS}: {different} rows choose another set of experts"


def hashed_question(experts: int, rows: int) -> Routing:
    rng = np.random.default_rng(experts + rows)
    tokens = rng.integers(0, 512, rows).astype(np.int32)
    return question(experts, rows, table=rng.integers(0, experts, (512, PICKS)).astype(np.int32), tokens=tokens)


@keeps
def captured_in_a_graph() -> str:
    """Captured once, replayed with other logits: what an eager call gives, and nothing waits for the host."""
    for name, experts, rows in itertools.product(("triton", "torch"), COUNTS, ROWS):
        for ask in (question(experts, rows), hashed_question(experts, rows)):
            what = f"{name}, E={experts} M={rows}{', hashed' if ask.table is not None else ''}"
            with path(name):
                _replayed(ask, what)
    return f"{COUNTS} experts, M={ROWS}, top-k and hashed, by Triton and by torch"


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


@keeps
def microseconds_a_call() -> str:
    """M: path and number of experts = microseconds; the paths take turns on the same device."""
    has_fused = hasattr(torch.ops._moe_C, "topk_softplus_sqrt")  # noqa: SLF001
    paths = [("fused", FUSED, fused)] if has_fused else []
    paths += [("triton", (*COUNTS, 256), fallback), ("torch", (*COUNTS, 256), fallback)]
    lines = []
    for rows in TIMED_ROWS:
        told = []
        for name, counts, make in paths:
            for experts in counts:
                with path("torch" if name == "torch" else "triton"):
                    ask = question(experts, rows)
                    told.append(f"{name} {experts}={microseconds(make(ask), ask)}")
        lines.append(f"M={rows}: {' '.join(told)}")
    return f"{torch.cuda.get_device_name(0)}; " + "; ".join(lines)


CASES: tuple[Case, ...] = (fused_and_fallback_agree, captured_in_a_graph, microseconds_a_call)
