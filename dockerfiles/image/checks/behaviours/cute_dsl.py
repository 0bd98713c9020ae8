"""One environment variable makes every DeepSeek-V4 kernel of CuTe DSL give way to its Triton kernel.

Four callers in vLLM 0.22 choose between the two: the indexer's query (FP8 and MXFP4), the gathering of the cache, and
the compressor, which did not ask whether it may. They are called with both kernels stood in for.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import torch

from ..cases import Case, Wrong, fixes, keeps

SWITCH = "SPARK_DISABLE_CUTE_DSL"
IMPORTS = "vllm.utils.import_utils"
MODEL = "vllm.models.deepseek_v4"
QUERY, GATHER = f"{MODEL}.common.ops.fused_indexer_q", f"{MODEL}.common.ops.cache_utils"
COMPRESSOR = f"{MODEL}.compressor"
TRITON, CUTE = "Triton", "CuTe DSL"

REAL = (IMPORTS, QUERY, GATHER, COMPRESSOR)


class _Taken(Exception):  # noqa: N818 - no error: how a kernel tells that it was entered
    pass


class _Kernel:
    """Stands in for a kernel: launched on a grid or called, it says which it is."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __getitem__(self, _: object) -> _Kernel:
        return self

    def __call__(self, *_: object, **__: object) -> None:
        raise _Taken(self.name)


@contextlib.contextmanager
def installed(switch: str | None) -> Iterator[None]:
    """CuTe DSL is there, and the variable has this value."""
    environment = {name: value for name, value in os.environ.items() if name != SWITCH}
    if switch is not None:
        environment[SWITCH] = switch
    with (
        mock.patch.dict(os.environ, environment, clear=True),
        mock.patch.object(importlib.import_module(IMPORTS), "_has_module", lambda name: name == "cutlass"),
    ):
        yield


def has_cutedsl() -> bool:
    return bool(importlib.import_module(IMPORTS).has_cutedsl())


def _taken(call: Callable[[], object]) -> str:
    try:
        call()
    except _Taken as kernel:
        return str(kernel)
    raise Wrong("neither kernel was entered")


def _leaf(name: str, function: str) -> Any:
    """The module of a CuTe DSL kernel, which imports cutlass: stood in for."""
    module = types.ModuleType(name)
    setattr(module, function, _Kernel(CUTE))
    return mock.patch.dict(sys.modules, {name: module})


def query(*, fp4: bool) -> str:
    """Which kernel quantises the indexer's query."""
    module = importlib.import_module(QUERY)
    form = "mxfp4" if fp4 else "fp8"
    kernel = "_fused_indexer_q_rope_mxfp4_kernel" if fp4 else "_fused_indexer_q_rope_quant_kernel"
    weights = torch.zeros(3, 4)
    with (
        _leaf(f"{MODEL}.nvidia.ops.fused_indexer_q_cutedsl", f"fused_indexer_q_rope_quant_{form}_cutedsl"),
        mock.patch.object(module, kernel, _Kernel(TRITON)),
    ):
        return _taken(
            lambda: module.fused_indexer_q_rope_quant(
                torch.zeros(3, dtype=torch.int64), torch.zeros(3, 4, 128), torch.zeros(8, 64), weights, 1.0, 1.0, fp4
            )
        )


def gather() -> str:
    """Which kernel gathers the cache."""
    module = importlib.import_module(GATHER)
    none = torch.zeros(1)
    with (
        _leaf(f"{MODEL}.nvidia.ops.dequant_gather_k_cutedsl", "dequantize_and_gather_k_cache_cutedsl"),
        mock.patch.object(module, "dequantize_and_gather_k_cache_triton", _Kernel(TRITON)),
    ):
        return _taken(lambda: module.dequantize_and_gather_k_cache(none, none, none, None, none, 64, 0))


def compressor(head_dim: int = 512) -> str:
    """Which kernel compresses, on an NVIDIA GPU; 512 is the attention's own, 128 the indexer's."""
    module = importlib.import_module(COMPRESSOR)
    state = types.SimpleNamespace(
        token_to_req_indices=None, slot_mapping=torch.zeros(3), block_table=None, block_size=1
    )
    layer = mock.MagicMock(coff=1, head_dim=head_dim, k_cache_prefix="k")
    layer.state_cache = types.SimpleNamespace(prefix="state", kv_cache=torch.zeros(1, 1, 2))
    context = types.SimpleNamespace(attn_metadata={"state": state, "k": None})
    platform = mock.Mock(**{"is_cuda.return_value": True, "is_rocm.return_value": False, "is_xpu.return_value": False})
    with (
        _leaf(f"{MODEL}.nvidia.ops.sparse_attn_compress_cutedsl", "compress_norm_rope_store_cutedsl"),
        mock.patch.object(module, "compress_norm_rope_store_triton", _Kernel(TRITON)),
        mock.patch.object(module, "save_partial_states", return_value=None),
        mock.patch.object(module, "get_forward_context", return_value=context),
        mock.patch.object(module, "current_platform", platform),
    ):
        score = torch.zeros(3, 2 * head_dim)
        return _taken(lambda: module.DeepseekCompressor.forward(layer, score, torch.zeros(3), mock.MagicMock()))


CALLERS: dict[str, Callable[[], str]] = {
    "the indexer's query in FP8": lambda: query(fp4=False),
    "the indexer's query in MXFP4": lambda: query(fp4=True),
    "the gathering of the cache": gather,
    "the compressor": compressor,
}


def _all_take(kernel: str, callers: tuple[str, ...] = tuple(CALLERS)) -> str:
    taken = {name: CALLERS[name]() for name in callers}
    if wrong := [name for name, found in taken.items() if found != kernel]:
        raise Wrong(f"not {kernel}: {', '.join(wrong)}")
    return f"{kernel}: {', '.join(taken)}"


@fixes
def the_switch_turns_it_off() -> str:
    for value in ("1", "true", "yes"):
        with installed(value):
            if has_cutedsl():
                raise Wrong(f"{SWITCH}={value} leaves it on")
    return f"{SWITCH}=1"


@fixes
def every_gated_caller_takes_triton() -> str:
    with installed("1"):
        return _all_take(TRITON, tuple(CALLERS)[:-1])


@fixes
def the_compressor_takes_triton() -> str:
    with installed("1"):
        return _all_take(TRITON, tuple(CALLERS)[-1:])


@keeps
def without_the_switch_nothing_changes() -> str:
    for value in (None, "", "0", "false"):
        with installed(value):
            if not has_cutedsl():
                raise Wrong(f"{SWITCH}={value} turns it off")
            told = _all_take(CUTE)
            if compressor(head_dim=128) != TRITON:
                raise Wrong("the indexer's compressor takes CuTe DSL")
    return told


CASES: tuple[Case, ...] = (
    the_switch_turns_it_off,
    every_gated_caller_takes_triton,
    the_compressor_takes_triton,
    without_the_switch_nothing_changes,
)
