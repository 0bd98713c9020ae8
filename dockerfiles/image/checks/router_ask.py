"""Ask the installed router a question of ``router_reference`` and judge its answer, on the CPU."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import inspect
import types
from collections.abc import Iterator
from typing import Any
from unittest import mock

import numpy as np
import torch

from .cases import Wrong
from .fused_counts import instantiated
from .router_reference import Routing, judge, picks
from .router_reference import weights as weights_of

ROUTER = "vllm.model_executor.layers.fused_moe.router"
COUNTS = (144, 160)

# For a stage (cases.declared): what must be real, and what the rest must have.
REAL = (
    "vllm._custom_ops", "vllm._topk_softplus_sqrt", "vllm._topk_softplus_sqrt_triton",
    f"{ROUTER}.fused_topk_bias_router", f"{ROUTER}.dsv4_topk",
)  # fmt: skip
STAND_INS = {
    "vllm.platforms": lambda: {
        "current_platform": mock.Mock(**{f"is_{n}.return_value": False for n in ("cuda", "xpu", "rocm", "cpu")})
    },
    "vllm.envs": lambda: {"VLLM_MOE_SKIP_PADDING": True, "VLLM_BATCH_INVARIANT": False},
    "vllm._aiter_ops": lambda: {"rocm_aiter_ops": mock.Mock(**{"is_fused_moe_enabled.return_value": False})},
}


def module(name: str) -> Any:
    return importlib.import_module(name)


def router() -> Any:
    return module(f"{ROUTER}.fused_topk_bias_router")


def operators() -> Any:
    return module("vllm._custom_ops")


def any_count() -> Any:
    """What routes the counts that the operator has no kernel for."""
    return module("vllm._topk_softplus_sqrt")


def has_padding() -> bool:
    return "is_padding" in inspect.signature(operators().topk_hash_softplus_sqrt).parameters


def has_images() -> bool:
    return "bias_vl" in inspect.signature(router().fused_topk_bias).parameters


def tensor(value: Any, dtype: torch.dtype | None = None) -> Any:
    if value is None:
        return None
    found = value if isinstance(value, torch.Tensor) else torch.from_numpy(np.ascontiguousarray(value))
    return found if dtype is None else found.to(dtype)


@contextlib.contextmanager
def no_kernel_of_its_own() -> Iterator[None]:
    """vLLM 0.32's Triton kernel asks the platform, not the tensors, and these are on the CPU whatever it says."""
    if importlib.util.find_spec(f"{ROUTER}.dsv4_topk") is None:
        yield
        return
    kernel = module(f"{ROUTER}.dsv4_topk")
    with mock.patch.object(kernel, "current_platform", types.SimpleNamespace(is_cuda=lambda: False)):
        yield


def operator(
    weights: Any, ids: Any, _: Any, logits: Any, renormalize: Any, scale: Any, bias: Any, tokens: Any, table: Any,
    padding: Any = None, image_bias: Any = None, sentinel: int = 0,
) -> None:  # fmt: skip
    """In the compiled operator's place, which has no code for a CPU: right for its counts, and an error for others."""
    if logits.shape[-1] not in instantiated()[1]:
        raise RuntimeError(f"Unsupported expert number: {logits.shape[-1]}")
    given = {"bias": bias, "tokens": tokens, "table": table, "padding": padding, "image_bias": image_bias}
    arrays = {name: None if value is None else value.numpy() for name, value in given.items()}
    ask = Routing(logits=logits.float().numpy(), k=ids.shape[-1], renormalize=renormalize, scale=scale, **arrays)
    ask.sentinel = sentinel
    chosen = picks(ask)
    weights.copy_(torch.from_numpy(weights_of(ask, chosen)))
    ids.copy_(torch.from_numpy(chosen))


@contextlib.contextmanager
def compiled() -> Iterator[None]:
    """Within it the operator can be called with tensors of the CPU."""
    namespace = types.SimpleNamespace(topk_softplus_sqrt=operator)
    with mock.patch.object(torch.ops, "_moe_C", namespace, create=True):
        yield


@contextlib.contextmanager
def forward_pass(padding: Any) -> Iterator[None]:
    """A forward pass whose context holds this padding mask."""
    context = types.SimpleNamespace(is_padding=tensor(padding))
    with contextlib.ExitStack() as stack:
        if has_padding():
            available = padding is not None
            stack.enter_context(mock.patch.object(router(), "is_forward_context_available", return_value=available))
            stack.enter_context(mock.patch.object(router(), "get_forward_context", return_value=context))
        yield


def ask_router(ask: Routing, *, logits: Any = None, dtype: torch.dtype | None = None) -> tuple[Any, Any]:
    """Weights and ids of ``fused_topk_bias``, as tensors."""
    given = tensor(ask.logits if logits is None else logits)
    extra = {"bias_vl": tensor(ask.image_bias), "image_sentinel_lo": ask.sentinel} if has_images() else {}
    with compiled(), no_kernel_of_its_own(), forward_pass(ask.padding):
        weights, ids = router().fused_topk_bias(
            hidden_states=torch.empty(given.shape[0], 1, device=given.device), gating_output=given,
            scoring_func="sqrtsoftplus", e_score_correction_bias=tensor(ask.bias), topk=ask.k,
            renormalize=ask.renormalize, indices_type=dtype, input_tokens=tensor(ask.tokens),
            hash_indices_table=tensor(ask.table), routed_scaling_factor=ask.scale, **extra,
        )  # fmt: skip
    return weights, ids


def ask_operator(ask: Routing, logits: Any, weights: Any, ids: Any) -> None:
    """The same of ``topk_hash_softplus_sqrt``, which writes into what it is given."""
    more = {"is_padding": tensor(ask.padding)} if has_padding() else {}
    with compiled():
        operators().topk_hash_softplus_sqrt(
            weights, ids, torch.empty_like(ids), logits, ask.renormalize, ask.scale, tensor(ask.bias),
            tensor(ask.tokens), tensor(ask.table), **more,
        )  # fmt: skip


def check(ask: Routing, what: str = "", *, exact: bool = False, **more: Any) -> None:
    weights, ids = ask_router(ask, **more)
    if weights.dtype != torch.float32:
        raise Wrong(f"{what}: weights are {weights.dtype}")
    fault = judge(ask, weights.numpy(), ids.to(torch.int64).numpy(), exact=exact)
    if fault:
        raise Wrong(f"{what or f'{np.shape(ask.logits)}'}: {fault}")


def ties(experts: int, rows: int = 256) -> Routing:
    """Rows full of equal choices; choices that differ do so by more than float32 can confuse."""
    rng = np.random.default_rng(experts)
    logits = rng.integers(-2, 3, (rows, experts)).astype(np.float32)
    return question(experts, rows, logits=logits, bias=rng.choice([0.0, 0.5], experts).astype(np.float32))


def question(experts: int, rows: int, **more: Any) -> Routing:
    """Logits of N(0, 2), a bias like DeepSeek-V4's (8.08 + 0.05 N), always the same."""
    rng = np.random.default_rng(1000 * experts + 10 * rows)
    logits = rng.normal(0, 2, (rows, experts)).astype(np.float32)
    bias = (8.08 + 0.05 * rng.normal(size=experts)).astype(np.float32)
    return Routing(**{"logits": logits, "k": 6, "bias": bias, **more})
