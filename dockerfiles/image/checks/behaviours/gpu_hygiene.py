"""What torch's allocator keeps after each layer's conversion on a GPU, with the release and without.

vLLM's own loader and MXFP4 method over layers as large as DeepSeek-V4-Flash's at 160 experts; the conversion does what
Marlin's does to memory (expert by expert, then joined). On a GPU with memory of its own the platform is told that it
is integrated, since only there anything is released.
"""

from __future__ import annotations

import importlib
import os
import types
from unittest import mock

import torch

from ..cases import Absent, Case, Wrong, fixes, keeps
from .hygiene import HIDDEN, INTERMEDIATE, LOADER, MXFP4, REAL, STAND_INS, method

__all__ = ["CASES", "REAL", "STAND_INS"]

EXPERTS = 160
LAYERS = int(os.environ.get("SPARK_GPU_LAYERS", "4"))
GIB = 1 << 30
LAYER_BYTES = EXPERTS * 3 * INTERMEDIATE * HIDDEN // 2 * 17 // 16  # MXFP4 with a scale for each 32 values
BOUND = 0.5  # GiB that may stay in the allocator


class Layer(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.quant_method = method()
        with torch.device("cuda"):
            self.quant_method.create_weights(
                self, EXPERTS, HIDDEN, INTERMEDIATE, torch.bfloat16, weight_loader=lambda *_, **__: None
            )


def convert(**given: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
    """Each expert repacked by itself, then all joined: one more copy of a weight at its peak."""
    made = []
    for name in ("w13_weight", "w2_weight", "w13_weight_scale", "w2_weight_scale"):
        parts = [expert.t().contiguous() for expert in given[name]]
        made.append(torch.stack(parts))
    return (*made, None, None)


def kept(*, integrated: bool) -> list[float]:
    """GiB in torch's allocator beyond what is allocated, after each layer."""
    needed = (LAYERS + 4) * LAYER_BYTES
    if (free := torch.cuda.mem_get_info()[0]) < needed:
        raise Absent(f"{LAYERS} layers need {needed / GIB:.0f} GiB, {free / GIB:.0f} GiB are free")
    loader, module = importlib.import_module(LOADER), importlib.import_module(MXFP4)
    platform = importlib.import_module("vllm.utils.mem_utils").current_platform
    model = torch.nn.Sequential(*(Layer() for _ in range(LAYERS)))
    torch.cuda.empty_cache()
    after: list[float] = []

    def begin(**more: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        note()
        return convert(**{name: value for name, value in more.items() if isinstance(value, torch.Tensor)})

    def note() -> None:
        after.append(round((torch.cuda.memory_reserved() - torch.cuda.memory_allocated()) / GIB, 2))

    config = types.SimpleNamespace(quantization=None, dtype=torch.bfloat16)
    with (
        mock.patch.object(platform, "is_integrated_gpu", return_value=integrated),
        mock.patch.object(module, "convert_weight_to_mxfp4_moe_kernel_format", begin),
    ):
        loader.process_weights_after_loading(model, config, torch.device("cuda", torch.cuda.current_device()))
    note()
    del model
    torch.cuda.empty_cache()
    return after[1:]  # the first was noted before any layer


@fixes
def little_is_kept_after_each_layer() -> str:
    after = kept(integrated=True)
    if max(after) > BOUND:
        raise Wrong(f"{max(after)} GiB stay in the allocator: {after}")
    return f"{torch.cuda.get_device_name(0)}, {LAYERS} layers of {LAYER_BYTES / GIB:.1f} GiB: {after} GiB"


@keeps
def what_is_kept_without_a_release() -> str:
    after = kept(integrated=False)
    return f"{torch.cuda.get_device_name(0)}, {LAYERS} layers of {LAYER_BYTES / GIB:.1f} GiB: {after} GiB"


CASES: tuple[Case, ...] = (little_is_kept_after_each_layer, what_is_kept_without_a_release)
