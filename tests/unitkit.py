"""What vLLM 0.22.0 compiles for a GB10: files by its CMake files, counts and architectures as a real configure had them.

FlashAttention's files have names of that kind; their number is the real one.
"""

from build.compilecommands import Roots
from build.units import Unit

ROOTS = Roots()
SM80 = ("compute_80", "sm_80")
words = str.split
MARLIN = [
    *(f"bfloat16_{weight}_bfloat16" for weight in ("fe2m1f", "fe4m3fn", "u4", "u4b8", "u8b128")),
    *(f"float16_{weight}_float16" for weight in ("fe2m1f", "fe4m3fn", "u4", "u4b8", "u8b128")),
    *(f"s8_{weight}_{out}" for weight in ("u4", "u4b8") for out in ("bfloat16", "float16")),
]
MARLIN_FP8 = ["fe2m1f_bfloat16", *(f"{weight}_{out}" for weight in ("u4", "u4b8") for out in ("bfloat16", "float16"))]
CORE = words("""
    mamba/mamba_ssm/selective_scan_fwd cache_kernels cache_kernels_fused attention/paged_attention_v1
    attention/paged_attention_v2 attention/merge_attn_states sampler topk cuda_view
    quantization/fused_kernels/fused_silu_mul_block_quant quantization/activation_kernels cuda_utils_kernels
    custom_all_reduce fused_deepseek_v4_qnorm_rope_kv_insert_kernel minimax_reduce_rms_kernel
""")
STABLE = words("""
    activation_kernels quantization/w8a8/int8/scaled_quant quantization/w8a8/fp8/common quantization/gptq/q_gemm
    quantization/gguf/gguf_kernel pos_encoding_kernels fused_qknorm_rope_kernel layernorm_kernels
    layernorm_quant_kernels quantization/fused_kernels/fused_layernorm_dynamic_per_token_quant
    quantization/w8a8/cutlass/scaled_mm_entry quantization/fp4/nvfp4_quant_entry
    quantization/fp4/nvfp4_scaled_mm_entry permute_cols quantization/w8a8/fp8/per_token_group_quant
    quantization/w8a8/int8/per_token_group_quant quantization/awq/gemm_kernels
""")
STABLE_120F = words("""
    quantization/w8a8/cutlass/scaled_mm_c3x_sm120 quantization/w8a8/cutlass/c3x/scaled_mm_sm120_fp8
    quantization/w8a8/cutlass/c3x/scaled_mm_blockwise_sm120_fp8 quantization/w8a8/cutlass/moe/moe_data
    quantization/fp4/nvfp4_quant_kernels quantization/fp4/activation_nvfp4_quant_fusion_kernels
    quantization/fp4/nvfp4_experts_quant quantization/fp4/nvfp4_scaled_mm_sm120_kernels
    quantization/fp4/nvfp4_blockwise_moe_kernel attention/mla/sm100_cutlass_mla_kernel
""")
MOE = words("""
    moe_align_sum_kernels topk_softmax_kernels topk_softplus_sqrt_kernels moe_wna16 grouped_topk_kernels
    permute_unpermute_kernels/moe_permute_unpermute_kernel moe_permute_unpermute_op
""")
QUTLASS = words("gemm gemm_ada fused_quantize_mx fused_quantize_nv fused_quantize_mx_sm100 fused_quantize_nv_sm100")


def group(target, sources, *architectures):
    return [Unit(target=target, source=source, architectures=architectures) for source in sources]


def attention():
    """FlashAttention 2 of the commit that 0.22.0 pins."""
    kinds = [f"{dtype}{causal}" for dtype in ("bf16", "fp16") for causal in ("", "_causal")]
    names = [f"flash_fwd{split}_hdim{n}_{kind}" for split in ("", "_split") for n in (32, 64, 96, 128, 192, 256)
             for kind in kinds]  # fmt: skip
    names += [f"flash_fwd_sparse_hdim128_{kind}" for kind in kinds]
    root = "deps/vllm-flash-attn/csrc/flash_attn"
    host = [f"{root}/flash_api.cpp", f"{root}/flash_api_sparse.cpp", f"{root}/flash_api_torch_lib.cpp"]
    return group("_vllm_fa2_C", [f"{root}/src/{name}_sm80.cu" for name in names], *SM80) + group("_vllm_fa2_C", host)


def attention3():
    root = "deps/vllm-flash-attn/hopper"
    return group("_vllm_fa3_C", [f"{root}/instantiations/{n}_sm90.cu" for n in range(192)], "default") + group(
        "_vllm_fa3_C", [f"{root}/flash_api.cpp", f"{root}/flash_api_torch_lib.cpp"]
    )


def core():
    marlin = "csrc/quantization/marlin"
    bf16 = [f"{marlin}/sm80_kernel_{name}.cu" for name in MARLIN if name.endswith("_bfloat16")]
    fp16 = [f"{marlin}/sm80_kernel_{name}.cu" for name in MARLIN if name.endswith("_float16")]
    others = ("marlin", "marlin_int4_fp8_preprocess", "gptq_marlin_repack", "awq_marlin_repack")
    host = ["csrc/torch_bindings.cpp", "csrc/cutlass_extensions/common.cpp", "deps/qutlass/qutlass/csrc/bindings.cpp"]
    family = [*(f"deps/qutlass/qutlass/csrc/{name}.cu" for name in QUTLASS), "csrc/nvfp4_kv_cache_kernels.cu"]
    return [
        *group("_C", [f"csrc/{name}.cu" for name in CORE], "sm_120"),
        *group("_C", [f"{marlin}/sm89_kernel_fe4m3fn_{name}.cu" for name in MARLIN_FP8], "sm_120"),
        *group("_C", bf16, "compute_90", "sm_90"),
        *group("_C", [*fp16, *(f"{marlin}/{name}.cu" for name in others)], *SM80),
        *group("_C", family, "sm_120f"),
        *group("_C", host),
    ]


def stable():
    root, target = "csrc/libtorch_stable", "_C_stable_libtorch"
    return [
        *group(target, ["csrc/cuda_utils_kernels.cu", *(f"{root}/{name}.cu" for name in STABLE)], "sm_120"),
        *group(target, [f"{root}/{name}.cu" for name in STABLE_120F], "sm_120f"),
        *group(target, [f"{root}/quantization/w8a8/cutlass/scaled_mm_c2x.cu"], "compute_89", "sm_89"),
        *group(
            target, [f"{root}/quantization/hadamard/hadacore/hadamard_transform_cuda.cu"], "compute_90", "sm_90"
        ),
        *group(target, [f"{root}/torch_bindings.cpp", "csrc/cutlass_extensions/common.cpp"]),
    ]  # fmt: skip


def moe_without_marlin():
    cuda = group("_moe_C", [f"csrc/moe/{name}.cu" for name in MOE], "sm_120")
    return cuda + group("_moe_C", ["csrc/moe/torch_bindings.cpp"])


def moe():
    root = "csrc/moe/marlin_moe_wna16"
    sm80 = [*(f"{root}/sm80_kernel_{name}.cu" for name in MARLIN), f"{root}/ops.cu"]
    sm89 = [f"{root}/sm89_kernel_fe4m3fn_{name}.cu" for name in MARLIN_FP8]
    return moe_without_marlin() + group("_moe_C", sm80, *SM80) + group("_moe_C", sm89, "sm_120")


def small():
    return group("cumem_allocator", ["csrc/cumem_allocator.cpp"]) + group("spinloop", ["csrc/spinloop.cpp"])


def release(*, fa3=False):
    """All units of 0.22.0; ``fa3``: with those that no 12.x runs."""
    return tuple(sorted([*core(), *stable(), *moe(), *attention(), *small(), *(attention3() if fa3 else [])]))


def canary():
    """The subset that was compiled and measured as a whole."""
    return tuple(sorted([*moe_without_marlin(), *small()]))


def object_of(unit, roots=ROOTS):
    """The output of a unit as CMake names it: below the folder of its own project, or by its whole path."""
    if unit.source.startswith("deps/vllm-flash-attn/"):
        below = unit.source.removeprefix("deps/vllm-flash-attn/")
        return f"vllm-flash-attn/CMakeFiles/{unit.target}.dir/{below}.o"
    parts = unit.source.split("/")
    outside = f"{roots.deps[1:]}/{parts[1]}-src/{'/'.join(parts[2:])}"
    inside = unit.source.removeprefix("build/")
    return f"CMakeFiles/{unit.target}.dir/{outside if parts[0] == 'deps' else inside}.o"


def path_of(unit, roots=ROOTS):
    """Where a unit's file lies."""
    kind, _, rest = unit.source.partition("/")
    if kind == "deps":
        name, _, rest = rest.partition("/")
        return f"{roots.deps}/{name}-src/{rest}"
    return f"{roots.build}/{rest}" if kind == "build" else f"{roots.source}/{unit.source}"
