"""What vLLM itself selects for each DeepSeek-V4 operation on capability 12.1, asked of its own functions.

Where the machine has no GB10 the capability is faked (by the stub of NVML, or in vLLM's platform object when another
GPU is there) and the evidence says so. Nothing is computed: this shows which kernels would be taken, not that
they work. Where vLLM finds nothing, or finds something that refuses the device, that is a finding.
"""

from __future__ import annotations

import contextlib
import glob
import importlib
import importlib.util
import os
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

from .events import Context, Outcome
from .vllm_imports import driver_note

# The shape of DeepSeek-V4-Flash: what its layers hand to the selecting functions.
HIDDEN, INTERMEDIATE, EXPERTS_PER_TOKEN = 4096, 2048, 6
HEADS, HEAD_SIZE, WINDOW, INDEX_TOPK = 64, 512, 128, 512
EXPERT_COUNTS = (144, 160, 256)  # two pruned checkpoints and the original
GB10 = (12, 1)


@contextlib.contextmanager
def gb10(context: Context) -> Iterator[str]:
    """Within it vLLM's platform says capability 12.1; yields how that came to be."""
    from vllm.platforms import current_platform  # noqa: PLC0415
    from vllm.platforms.interface import DeviceCapability  # noqa: PLC0415

    real = current_platform.get_device_capability()
    if real is not None and tuple(real) == GB10:
        yield driver_note(context) if context.stub_nvml else "the real device"
        return
    platform = type(current_platform)
    saved = platform.__dict__.get("get_device_capability")
    platform.get_device_capability = classmethod(lambda cls, device_id=0: DeviceCapability(*GB10))  # noqa: ARG005
    try:
        yield f"vLLM's platform object, patched: the real device is {real}"
    finally:
        if saved is None:
            del platform.get_device_capability
        else:
            platform.get_device_capability = saved


def check_sparse_mla(context: Context) -> Outcome:
    """The attention class of a DeepSeek-V4 layer, and whether its backend takes the device."""
    import torch  # noqa: PLC0415
    from vllm.platforms import current_platform  # noqa: PLC0415

    with gb10(context) as how:
        name, backend = _attention_backend()
        capability = current_platform.get_device_capability()
        refusals = backend.validate_configuration(
            head_size=HEAD_SIZE, dtype=torch.bfloat16, kv_cache_dtype="fp8_ds_mla", block_size=256, use_mla=True,
            has_sink=False, use_sparse=True, use_mm_prefix=False, use_per_head_quant_scales=False,
            device_capability=capability, attn_type="decoder",
        )  # fmt: skip
        specialised = _flashinfer_specialisation()
    evidence = {
        "capability 12.1 by": how, "layer": name, "backend": backend.get_name(), "refuses because": refusals,
        "FlashInfer kernel for heads and window": specialised,
    }  # fmt: skip
    findings = [f"sparse MLA: {backend.get_name()} refuses capability 12.1: {'; '.join(refusals)}"] if refusals else []
    if backend.get_name().startswith("FLASHINFER") and not any(specialised.values()):
        findings.append(f"sparse MLA: FlashInfer has no kernel for {HEADS} heads and a window of {WINDOW}")
    return Outcome(evidence, findings)


def _attention_backend() -> tuple[str, Any]:
    """The layer's attention class and its backend: vLLM 0.32 chooses per device, 0.22 has one for CUDA."""
    model = importlib.import_module("vllm.models.deepseek_v4.nvidia.model")
    if select := getattr(model, "_select_dsv4_attn_cls", None):
        chosen = select(SimpleNamespace(attention_config=SimpleNamespace(backend=None)))
        return chosen.__name__, chosen.backend_cls
    attention = importlib.import_module("vllm.models.deepseek_v4.attention")
    chosen = attention._select_v4_sparse_impl()  # noqa: SLF001
    return chosen.__name__, chosen.backend_cls


def _flashinfer_specialisation() -> dict[str, bool]:
    """By tensor-parallel size, whether FlashInfer has the kernel for SM120; empty where vLLM never asks."""
    module = importlib.import_module("vllm.utils.flashinfer")
    ask = getattr(module, "has_flashinfer_sparse_mla_sm120_config", None)
    return {f"tp {size}": bool(ask(HEADS // size, WINDOW)) for size in (1, 2, 4)} if ask else {}


def check_indexer(context: Context) -> Outcome:
    """The lightning indexer: DeepGEMM's MQA logits for the device, then a top-k kernel."""
    import torch  # noqa: PLC0415

    deep_gemm = importlib.import_module("vllm.utils.deep_gemm")
    with gb10(context) as how:
        deep_gemm.is_deep_gemm_supported.cache_clear()
        supported = deep_gemm.is_deep_gemm_supported()
        deep_gemm._lazy_init()  # noqa: SLF001
        logits = getattr(deep_gemm, "_fp8_fp4_paged_mqa_logits_impl", None) or getattr(
            deep_gemm, "_fp8_paged_mqa_logits_impl", None
        )
        topk = _indexer_topk(torch.empty((1, 65536), dtype=torch.float32, device="meta"))
    evidence = {
        "capability 12.1 by": how, "DeepGEMM supports the device": supported,
        "paged MQA logits": repr(logits),
        "sources for SM120": _deep_gemm_sources(), "top-k": topk,
    }  # fmt: skip
    findings = []
    if not supported:
        findings.append("indexer: DeepGEMM, the only kernel vLLM has for its logits, does not support capability 12.1")
    if logits is None:
        findings.append("indexer: DeepGEMM offers no paged MQA logits")
    return Outcome(evidence, findings)


def _indexer_topk(logits: Any) -> str:
    """The top-k kernel that the indexer resolves to; vLLM 0.22 has the choice inline: by the top-k alone."""
    try:
        from vllm.model_executor.layers.indexer_topk import SparseIndexerTopk  # noqa: PLC0415
    except ImportError:
        return "persistent_topk" if INDEX_TOPK in (512, 1024, 2048) else "top_k_per_row_decode"
    return str(SparseIndexerTopk("auto").resolve_backend(logits, INDEX_TOPK, 1))


def _deep_gemm_sources() -> list[str]:
    """DeepGEMM compiles its kernels at run time: the sources that it has for SM120."""
    spec = importlib.util.find_spec("vllm.third_party.deep_gemm")
    if spec is None or spec.origin is None:
        return []
    root = os.path.join(os.path.dirname(spec.origin), "include", "deep_gemm", "impls")
    return sorted(os.path.basename(path) for path in glob.glob(os.path.join(root, "*sm120*")))


def check_mxfp4_moe(context: Context) -> Outcome:
    """The experts' kernel, for each count of experts, asked as the quantisation method asks."""
    from vllm.config import VllmConfig, set_current_vllm_config  # noqa: PLC0415

    oracle = importlib.import_module("vllm.model_executor.layers.fused_moe.oracle.mxfp4")
    chosen: dict[str, str] = {}
    findings: list[str] = []
    with gb10(context) as how, set_current_vllm_config(VllmConfig()):
        for count in EXPERT_COUNTS:
            try:
                backend, experts = oracle.select_deepseek_v4_mxfp4_moe_backend(_moe_config(count))
            except (NotImplementedError, ValueError) as error:
                findings.append(f"MXFP4 MoE: nothing for {count} experts: {error}")
                continue
            chosen[str(count)] = f"{backend.value} ({experts.__name__})"
    return Outcome({"capability 12.1 by": how, "experts": chosen}, findings)


def _moe_config(count: int) -> Any:
    """A layer of ``count`` experts on one device, for either version of the dataclass."""
    import dataclasses  # noqa: PLC0415

    import torch  # noqa: PLC0415

    config = importlib.import_module("vllm.model_executor.layers.fused_moe.config")
    activation = importlib.import_module("vllm.model_executor.layers.fused_moe.activation")
    known = {field.name for field in dataclasses.fields(config.FusedMoEConfig)}
    values = {
        "num_experts": count, "experts_per_token": EXPERTS_PER_TOKEN, "hidden_dim": HIDDEN,
        "intermediate_size": INTERMEDIATE, "intermediate_size_per_partition": INTERMEDIATE,
        "num_local_experts": count, "num_logical_experts": count, "activation": activation.MoEActivation.SILU,
        "device": "cuda", "routing_method": config.RoutingMethodType.DeepseekV4, "in_dtype": torch.bfloat16,
        "moe_parallel_config": config.FusedMoEParallelConfig.make_no_parallel(), "router_logits_dtype": torch.float32,
        "swiglu_limit": 10.0,
    }  # fmt: skip
    init = {field.name for field in dataclasses.fields(config.FusedMoEConfig) if field.init}
    skip = {"intermediate_size_per_partition"} if "intermediate_size" in known else set()
    return config.FusedMoEConfig(**{key: value for key, value in values.items() if key in init - skip})
