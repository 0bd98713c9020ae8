"""Between two layers' conversions, memory that torch caches goes back to the system on a GPU that shares it.

vLLM's own loader converts three layers of its own MXFP4 method: real code with weights on torch's meta device, the
conversion itself stood in for, and a platform that calls itself integrated. What counts is when the cache is emptied:
after the weights as they were loaded are dead, and before the next layer's conversion. ``gpu_hygiene`` measures it.
"""

from __future__ import annotations

import contextlib
import importlib
import types
import weakref
from collections.abc import Iterator
from typing import Any
from unittest import mock

import torch

from ..cases import Case, Wrong, fixes, keeps

LOADER = "vllm.model_executor.model_loader.utils"
MXFP4 = "vllm.model_executor.layers.quantization.mxfp4"
BASE = "vllm.model_executor.layers.quantization.base_config"
LAYERS, EXPERTS, HIDDEN, INTERMEDIATE = 3, 144, 4096, 2048
GIB = 1 << 30

REAL = (LOADER, MXFP4, BASE, "vllm.utils.mem_utils", "vllm.utils.mem_constants", "vllm.model_executor.utils")
STAND_INS = {
    "vllm.model_executor.layers.fused_moe": lambda: {
        "FusedMoEMethodBase": importlib.import_module(BASE).QuantizeMethodBase
    },
    "vllm.model_executor.layers.fused_moe.activation": lambda: {"MoEActivation": mock.MagicMock()},
    "vllm.model_executor.layers.fused_moe.oracle.mxfp4": lambda: {
        "Mxfp4MoeBackend": mock.MagicMock(),
        "TRITON_BACKENDS": (),
    },
    "vllm.model_executor.layers.attention": lambda: {"is_deferred_attention_layer": lambda _: False},
}


class Watched:
    """What happened while a model was converted: ``events`` in order; a release says which layers' weights lived."""

    def __init__(self) -> None:
        self.events: list[tuple[str, Any]] = []
        self.loaded: list[list[weakref.ref[Any]]] = []

    def convert(self, **given: Any) -> tuple[Any, ...]:
        """What a conversion to a kernel's format does to weights: it returns others."""
        weights = [given[f"{name}_weight{part}"] for part in ("", "_scale") for name in ("w13", "w2")]
        self.loaded.append([weakref.ref(weight) for weight in weights])
        self.events.append(("convert", len(self.loaded) - 1))
        w13, w2, w13_scale, w2_scale = (torch.empty_like(weight) for weight in weights)
        return w13, w2, w13_scale, w2_scale, None, None

    def release(self) -> None:
        alive = [number for number, layer in enumerate(self.loaded) if any(ref() is not None for ref in layer)]
        self.events.append(("release", alive))

    def waits(self, *_: object) -> None:
        self.events.append(("synchronize", None))


def method() -> Any:
    """vLLM's MXFP4 method for experts, without the choice of a kernel."""
    module = importlib.import_module(MXFP4)
    made = object.__new__(module.Mxfp4MoEMethod)
    torch.nn.Module.__init__(made) if isinstance(made, torch.nn.Module) else None
    made.moe = mock.Mock(has_bias=False, w13_num_shards=2, is_act_and_mul=True)
    made.mxfp4_backend = "a kernel's"
    made._cache_permute_indices = {}
    made.experts_cls = made.activation_key = None
    made.is_k3_situ_aiter = made.is_k3_situ_int4_gfx942 = False
    made.get_fused_moe_quant_config = lambda _: None
    return made


class Layer(torch.nn.Module):
    """A layer of experts, its weights as they come out of a checkpoint."""

    def __init__(self) -> None:
        super().__init__()
        self.quant_method = method()
        with torch.device("meta"):
            self.quant_method.create_weights(
                self, EXPERTS, HIDDEN, INTERMEDIATE, torch.bfloat16, weight_loader=lambda *_, **__: None
            )


def load(*, integrated: bool, cached: int, device: str = "cuda:0") -> list[tuple[str, Any]]:
    """Convert a model of three layers; what happened. ``cached``: bytes that torch's allocator keeps to itself."""
    loader, module = importlib.import_module(LOADER), importlib.import_module(MXFP4)
    watched = Watched()
    model = torch.nn.Sequential(*(Layer() for _ in range(LAYERS)))
    config = types.SimpleNamespace(quantization=None, dtype=torch.bfloat16)
    with machine(watched, integrated=integrated, cached=cached), contextlib.ExitStack() as stack:
        replaced = "convert_weight_to_mxfp4_moe_kernel_format"
        stack.enter_context(mock.patch.object(module, replaced, watched.convert))
        if hasattr(loader, "maybe_retie_word_embeddings"):
            stack.enter_context(mock.patch.object(loader, "maybe_retie_word_embeddings", return_value=None))
        loader.process_weights_after_loading(model, config, torch.device(device))
    return watched.events


@contextlib.contextmanager
def machine(watched: Watched, *, integrated: bool, cached: int) -> Iterator[None]:
    """A machine of 128 GiB with 8 GiB left, and torch's allocator with something to give back."""
    memory = importlib.import_module("vllm.utils.mem_utils")
    left = types.SimpleNamespace(total=128 * GIB, available=8 * GIB)
    with contextlib.ExitStack() as stack:
        for owner, name, value in (
            (memory.current_platform, "is_integrated_gpu", lambda *_: integrated),
            (memory.psutil, "virtual_memory", lambda: left),
            (torch.accelerator, "memory_reserved", lambda *_: 100 * GIB),
            (torch.accelerator, "memory_allocated", lambda *_: 100 * GIB - cached),
            (torch.accelerator, "synchronize", watched.waits),
            (torch.accelerator, "empty_cache", watched.release),
            (torch.cuda, "empty_cache", watched.release),
            (torch.cuda, "synchronize", watched.waits),
        ):
            stack.enter_context(mock.patch.object(owner, name, value, create=True))
        yield


@fixes
def released_between_two_conversions() -> str:
    events = [event for event in load(integrated=True, cached=4 * GIB) if event[0] != "synchronize"]
    conversions = [place for place, (kind, _) in enumerate(events) if kind == "convert"]
    if len(conversions) != LAYERS:
        raise Wrong(f"{len(conversions)} of {LAYERS} layers were converted")
    for number, start in enumerate(conversions):
        end = conversions[number + 1] if number + 1 < LAYERS else len(events)
        releases = [alive for kind, alive in events[start:end] if kind == "release"]
        if not releases:
            raise Wrong(f"nothing is released after layer {number}")
        if releases[-1]:
            raise Wrong(f"after layer {number} the loaded weights of layers {releases[-1]} still live at the release")
        if len(releases) > 1:
            raise Wrong(f"released {len(releases)} times after layer {number}")
    return f"{LAYERS} layers of {EXPERTS} experts: once after each, when its loaded weights are dead"


@keeps
def nothing_on_other_gpus() -> str:
    events = load(integrated=False, cached=4 * GIB)
    if [kind for kind, _ in events] != ["convert"] * LAYERS:
        raise Wrong(f"on a GPU with memory of its own: {events}")
    return "no release, no synchronisation"


@keeps
def little_is_left_where_it_is() -> str:
    events = load(integrated=True, cached=100 << 20)
    if [kind for kind, _ in events] != ["convert"] * LAYERS:
        raise Wrong(f"for 100 MiB: {events}")
    return "100 MiB are not released"


@keeps
def nothing_on_the_cpu() -> str:
    events = load(integrated=True, cached=4 * GIB, device="cpu")
    if [kind for kind, _ in events] != ["convert"] * LAYERS:
        raise Wrong(f"on the CPU: {events}")
    return "no release"


CASES: tuple[Case, ...] = (
    released_between_two_conversions,
    nothing_on_other_gpus,
    little_is_left_where_it_is,
    nothing_on_the_cpu,
)
