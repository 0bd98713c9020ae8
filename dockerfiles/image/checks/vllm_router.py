"""Which code routes tokens to experts on capability 12.1, for each count of experts."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
from collections.abc import Iterator
from typing import Any

from .events import Context, Outcome
from .fused_counts import instantiated
from .vllm_selection import EXPERT_COUNTS, EXPERTS_PER_TOKEN, gb10

FUSED, TRITON, OURS, PLAIN = "the fused kernel", "vLLM's Triton kernel", "the series' Triton kernel", "plain torch"
SERIES_KERNEL = "vllm._topk_softplus_sqrt_triton"


def check_router(context: Context) -> Outcome:
    """Which code routes for each count of experts: the call is made, and caught where it would enter a kernel."""
    import torch  # noqa: PLC0415

    router = importlib.import_module("vllm.model_executor.layers.fused_moe.router.fused_topk_bias_router")
    taken: dict[str, dict[str, str]] = {}
    findings: list[str] = []
    _, compiled = instantiated()
    with gb10(context) as how:
        for count in EXPERT_COUNTS:
            for hashed in (False, True):
                kernel = _routed_by(torch, router, count, hashed=hashed)
                taken.setdefault(str(count), {})["hash layers" if hashed else "other layers"] = kernel
                if kernel == FUSED and count not in compiled:
                    findings.append(f"router: {count} experts go to the fused kernel, which has no code for them")
    evidence = {"capability 12.1 by": how, "experts": taken, "counts compiled into the fused kernel": sorted(compiled)}
    return Outcome(evidence, findings)


class _Reached(Exception):  # noqa: N818 - no error: how a caught call is told
    pass


def _routed_by(torch: Any, router: Any, count: int, *, hashed: bool) -> str:
    """Call the router on CPU tensors, its kernels replaced by a raise and taken for able to run."""

    def reach(name: str) -> Any:
        def entered(*_: Any, **__: Any) -> None:
            raise _Reached(name)

        return entered

    tokens = 3
    ids = torch.zeros(tokens, dtype=torch.int32)
    table = torch.arange(EXPERTS_PER_TOKEN, dtype=torch.int32).repeat(4, 1)
    with contextlib.ExitStack() as stack:
        stack.enter_context(_replaced(torch.ops._moe_C, "topk_softplus_sqrt", reach(FUSED)))  # noqa: SLF001
        if hasattr(router, "dsv4_topk"):
            stack.enter_context(_replaced(router, "dsv4_topk", reach(TRITON)))
        if importlib.util.find_spec(SERIES_KERNEL) is not None:
            kernel = importlib.import_module(SERIES_KERNEL)
            stack.enter_context(_replaced(kernel, "can_route", lambda *_: True))
            stack.enter_context(_replaced(kernel, "route", reach(OURS)))
        try:
            router.fused_topk_bias(
                torch.zeros(tokens, 8), torch.zeros(tokens, count), "sqrtsoftplus", torch.zeros(count),
                EXPERTS_PER_TOKEN, renormalize=True, input_tokens=ids if hashed else None,
                hash_indices_table=table if hashed else None,
            )  # fmt: skip
        except _Reached as reached:
            return str(reached)
    return PLAIN


@contextlib.contextmanager
def _replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    saved = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, saved)
