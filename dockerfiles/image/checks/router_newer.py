"""The cases for what newer versions have: padding and image rows, and the Triton kernel of the unhashed layers.

A case returns its evidence, raises where the router is wrong, and returns None where the installed version has no
such thing.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import types
from typing import Any
from unittest import mock

import numpy as np
import torch

from .router_ask import (
    COUNTS,
    ROUTER,
    Wrong,
    ask_router,
    check,
    has_padding,
    has_triton_kernel,
    module,
    question,
    router,
    tensor,
)
from .router_reference import Routing, judge, picks


def image_question(table: Any) -> Routing:
    """Padding, image and text rows, and token ids at both edges of the image's block."""
    ask = question(144, 12, tokens=np.array([39, 40, 41, 42, 43, 44, 45, 0, 40, 1, 63, 2], np.int32), sentinel=40)
    rng = np.random.default_rng(13)
    ask.image_bias = (8.08 + rng.normal(size=144)).astype(np.float32)
    ask.padding = np.array([False] * 8 + [True] * 2 + [False] * 2)
    ask.table = table
    return ask


def padding_rows() -> str | None:
    if not has_padding():
        return None
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


def image_rows_use_their_own_bias() -> str | None:
    if not has_padding():
        return None
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


def triton_kernel_is_admitted() -> str | None:
    """The gate of the Triton kernel, and that the router hands it the padding mask."""
    if not has_triton_kernel():
        return None
    handed: list[dict[str, Any]] = []

    def kernel(logits: Any, *_: Any, **named: Any) -> Any:
        handed.append(named)
        return torch.empty(logits.shape[0], 6), torch.empty(logits.shape[0], 6, dtype=torch.int32)

    def asks(**more: Any) -> bool:
        ask, dtype = question(more.pop("experts", 144), 7), more.pop("dtype", None)
        count = len(handed)
        with mock.patch.object(router(), "dsv4_topk", kernel):
            ask_router(Routing(**{**vars(ask), **more}), dtype=dtype, cuda=True)
        return len(handed) > count

    table, tokens = np.zeros((8, 6), np.int32), np.arange(7, dtype=np.int32)
    for experts in COUNTS:
        if not asks(experts=experts):
            raise Wrong(f"{experts} experts do not reach it")
    for refused in (
        {"experts": 100}, {"k": 4}, {"renormalize": False}, {"bias": None}, {"table": table, "tokens": tokens},
        {"dtype": torch.uint32}, {"logits": tensor(question(144, 7).logits).to(torch.bfloat16)},
    ):  # fmt: skip
        if asks(**refused):
            raise Wrong(f"it is admitted for {sorted(refused)}")
    asks(padding=np.ones(7, bool))
    if handed[-1].get("is_padding") is None:
        raise Wrong("the padding mask does not reach it")
    return "144 and 160, with the padding mask; not for other k, dtypes, no bias, hash layers"


def triton_kernel_in_the_interpreter() -> str | None:
    """The installed kernel's own source, run by Triton's interpreter on the CPU."""
    if not has_triton_kernel():
        return None
    kernel = _interpreted()
    asked = 0
    mask, tokens = np.array([False] * 7 + [True] * 2), np.arange(38, 47, dtype=np.int32)  # sentinel 40: rows 2 to 6
    for experts, padding, sentinel in ((144, None, 0), (144, mask, 0), (160, None, 40)):
        ask = question(experts, 9, padding=padding, tokens=tokens, sentinel=sentinel)
        ask.logits[0], ask.logits[1, ::2], ask.logits[2], ask.logits[3] = np.nan, np.nan, -np.inf, 0.0
        ask.image_bias = ask.bias[::-1].copy()
        weights, ids = kernel.dsv4_topk(
            tensor(ask.logits), tensor(ask.bias), torch.int32, ask.scale, is_padding=tensor(padding),
            input_ids=tensor(tokens), bias_vl=tensor(ask.image_bias), image_sentinel_lo=sentinel,
        )  # fmt: skip
        fault = judge(ask, weights.numpy(), ids.numpy())
        if fault:
            raise Wrong(f"E={experts}, padding {padding is not None}, sentinel {sentinel}: {fault}")
        asked += len(ids)
    return f"{asked} rows, with NaN, -inf, padding and image tokens among them"


def _interpreted() -> Any:
    """A second copy of the installed module, its kernel made for the interpreter.

    Triton decides when it is imported whether its own functions are interpreted: hence a second copy of it, too.
    """
    kept = {name: found for name, found in sys.modules.items() if not _is_triton(name)}
    cpu = types.SimpleNamespace(is_cuda=lambda: True, is_arch_support_pdl=lambda: False)
    spec = importlib.util.find_spec(f"{ROUTER}.dsv4_topk")
    assert spec is not None
    assert spec.origin is not None
    copy_spec = importlib.util.spec_from_file_location("interpreted_dsv4_topk", spec.origin)
    assert copy_spec is not None
    assert copy_spec.loader is not None
    copy = importlib.util.module_from_spec(copy_spec)
    with mock.patch.dict(os.environ, {"TRITON_INTERPRET": "1"}), mock.patch.dict(sys.modules, kept, clear=True):
        parts = types.SimpleNamespace(triton=module("triton"), tl=module("triton.language"))
        sys.modules["vllm.platforms"] = types.SimpleNamespace(current_platform=cpu)  # type: ignore[assignment]
        sys.modules["vllm.triton_utils"] = parts  # type: ignore[assignment]
        copy_spec.loader.exec_module(copy)
    return copy


def _is_triton(name: str) -> bool:
    return name.split(".", maxsplit=1)[0] == "triton" and not name.startswith("triton._C")


CASES = (
    padding_rows,
    image_rows_use_their_own_bias,
    triton_kernel_is_admitted,
    triton_kernel_in_the_interpreter,
)
