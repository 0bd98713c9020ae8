"""Each patch does what it is for: its behaviour fails on the released tree, passes on the patched one, and sees defects.

Needs the environment for behaviours and the releases' archives; the same cases run inside every image.
"""

import pytest

from build.behaviours import ABSENT, FAILED, FIXES, PASSED
from build.errors import BehaviourError
from tests.patches import releases

RELEASED, PATCHED = "as released", "patched"


@pytest.mark.parametrize("target", releases.TARGETS)
def test_a_released_tree_fails_what_patches_fix_and_a_patched_one_nothing(target, trees, ask):
    names = tuple(dict.fromkeys(patch.behaviour for patch in releases.patches(target)))
    answers = ask(target, {RELEASED: {}, PATCHED: releases.patched(target, trees(target))}, names)
    for name in names:
        released, patched = answers[RELEASED][name], answers[PATCHED][name]
        kinds = {case.name: (case.kind, case.status) for case in released.cases if case.status != ABSENT}
        wrong = {case for case, (kind, status) in kinds.items() if status != (FAILED if kind == FIXES else PASSED)}
        assert wrong == set(), f"{name} on the released tree: {released.cases}"
        assert FIXES in {kind for kind, _ in kinds.values()}
        assert patched.holds, [case for case in patched.cases if case.status == FAILED]
        assert {case.name for case in patched.asked} == set(kinds)


# A patch cannot be left out without those that change what it makes.
NEEDS = {"0003-router-triton-kernel.patch": "0002-router-any-expert-count.patch"}


@pytest.mark.parametrize("target", ["v0.32", "v0.22"])
def test_every_patch_is_needed(target, trees, ask):
    """A patch that is left out fails its behaviour: none is there for show."""
    whole = releases.patched(target, trees(target))
    variants, expected = {}, {}
    for patch in releases.patches(target):
        left_out = {patch.file, *(later for later, earlier in NEEDS.items() if earlier == patch.file)}
        rest = releases.patched(target, trees(target), without=left_out)
        name = f"without {patch.component}/{patch.file}"
        variants[name] = {**whole, patch.component: rest[patch.component]}
        expected[name] = patch.behaviour
    answers = ask(target, variants, tuple(dict.fromkeys(expected.values())))
    assert [name for name, behaviour in expected.items() if answers[name][behaviour].holds] == []


@pytest.mark.parametrize("target", releases.TARGETS)
def test_what_a_patch_touches_is_never_stood_in_for(target):
    found = releases.patches(target)
    real = releases.declared_real(tuple(dict.fromkeys(patch.behaviour for patch in found)))
    known = releases.components(target)
    for patch in found:
        for change in patch.change.files:
            for source, installed in known[patch.component].paths:
                if change.path.startswith(source) and change.path.endswith(".py"):
                    path = installed + change.path.removeprefix(source)
                    module = path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
                    assert module in real[patch.behaviour], f"{patch.file}: {module}"


# --- defects that a plausible patch has: a case must see each ------------------------------------------------------

ROUTER, KERNEL = "vllm/_topk_softplus_sqrt.py", "vllm/_topk_softplus_sqrt_triton.py"
OPS, LOADER, MEMORY = "vllm/_custom_ops.py", "vllm/model_executor/model_loader/utils.py", "vllm/utils/mem_utils.py"
METHOD = "vllm/model_executor/layers/quantization/mxfp4.py"
SEARCH, IMPORTS = "vllm/utils/system_utils.py", "vllm/utils/import_utils.py"
COMPRESSOR = "vllm/models/deepseek_v4/compressor.py"
IPC = "flashinfer/comm/cuda_ipc.py"
STABLE = b"order = choice.sort(dim=-1, descending=True, stable=True).indices"
RELEASE = b"released = release_cache_of_integrated_gpu(target_device)"

# name → component, behaviour, path, old, new
BOTH = {
    "plain top-k: ties": ("vllm", "router", ROUTER, STABLE, b"order = choice.topk(topk_weights.shape[-1], dim=-1).indices"),
    "scored in the logits' type": ("vllm", "router", ROUTER, b"gating_output.float()", b"gating_output"),
    "biased weights": ("vllm", "router", ROUTER, b"weights = scores.gather", b"weights = choice.gather"),
    "NaN kept": ("vllm", "router", ROUTER, b".nan_to_num(nan=0.0)", b""),
    "division by zero": ("vllm", "router", ROUTER, b"total.clamp_min(torch.finfo(torch.float32).tiny)", b"total"),
    "never renormalised": ("vllm", "router", ROUTER, b"    if renormalize:", b"    if False:"),
    "scale forgotten": ("vllm", "router", ROUTER, b"torch.mul(weights, routed_scaling_factor,", b"torch.mul(weights, 1.0,"),
    "hash table without tokens": (
        "vllm", "router", ROUTER, b'raise ValueError("input_tokens is required for hash MoE")', b"hash_indices_table = None",
    ),
    "waits for the device": (
        "vllm", "router", ROUTER, b"    weights = scores.gather", b"    scores.sum().item()\n    weights = scores.gather",
    ),
    "writes beside views": (
        "vllm", "router", ROUTER, b"torch.mul(weights, routed_scaling_factor, out=topk_weights)",
        b"topk_weights.as_strided(weights.shape, (weights.shape[1], 1)).copy_(weights * routed_scaling_factor)",
    ),
    "another way to the operator": (
        "vllm", "router", "vllm/version.py", b"try:", b"import torch\nroute = torch.ops._moe_C.topk_softplus_sqrt\ntry:",
    ),
    "a count too many": ("vllm", "router", ROUTER, b"512, 576)", b"512, 576, 144)"),
    "a count too few": ("vllm", "router", ROUTER, b"448, 512, 576)", b"448, 512)"),
    "never called": ("vllm", "router", OPS, b"@for_any_expert_count\n", b""),
    "unknown arguments dropped": ("vllm", "router", ROUTER, b"*args, **kwargs\n            )", b"*args, **{k: v for k, v in kwargs.items() if k != 'tomorrow'}\n            )"),
    "kernel: NaN kept": ("vllm", "router-kernel", KERNEL, b"return tl.where(score == score, score, 0.0)", b"return score"),
    "kernel: ties to the higher id": (
        "vllm", "router-kernel", KERNEL, b"tl.where(real, choice + bias,", b"tl.where(real, choice + bias + experts * 1e-6,",
    ),
    "kernel: rows taken for dense": ("vllm", "router-kernel", KERNEL, b"row * logits_stride", b"row * NUM_EXPERTS"),
    "kernel: scored in the logits' type": ("vllm", "router-kernel", KERNEL, b"x = logits.to(tl.float32)", b"x = logits"),
    "kernel: inputs taken for dense": ("vllm", "router-kernel", KERNEL, b"None if tensor is None else tensor.contiguous()", b"tensor"),
    "kernel: biased weights": (
        "vllm", "router-kernel", KERNEL, b'weights = _score(tl.load(row_logits_ptr + ids, mask=used, other=-float("inf")))',
        b"weights = _score(tl.load(row_logits_ptr + ids, mask=used, other=0.0)) + 8.0",
    ),
    "kernel: padding routed": ("vllm", "router-kernel", KERNEL, b"ids = tl.where(is_padding, -1, ids)", b"pass"),
    "kernel: never taken": ("vllm", "router-kernel", ROUTER, b"if kernel.can_route(", b"if False and kernel.can_route("),
    "kernel: mask not handed on": (
        "vllm", "router-kernel", ROUTER, b"            is_padding,\n            bias_vl,\n            image_sentinel_lo,\n            IMAGE", b"            None,\n            bias_vl,\n            image_sentinel_lo,\n            IMAGE",
    ),
    "FlashInfer: a stub is taken": ("flashinfer", "flashinfer-ipc", IPC, b"(-[0-9a-f]+)?", b"([-_a-z0-9]+)?"),
    "FlashInfer: a folder's name": ("flashinfer", "flashinfer-ipc", IPC, b"name.fullmatch(os.path.basename(path))", b"lib_name in path"),
    "FlashInfer: no hash": ("flashinfer", "flashinfer-ipc", IPC, b"(-[0-9a-f]+)?", b""),
}  # fmt: skip
NEWER = {
    "padding routed": ("vllm", "router", ROUTER, b"expert_ids = expert_ids.masked_fill(is_padding.unsqueeze(-1), -1)", b"pass"),
    "padding read from the table": ("vllm", "router", ROUTER, b"for unused in (is_padding, is_image):", b"for unused in (is_image,):"),
    "six image ids": ("vllm", "router", ROUTER, b"IMAGE_TOKEN_IDS = 5", b"IMAGE_TOKEN_IDS = 6"),
    "image rows by the table": ("vllm", "router", ROUTER, b"            if is_image is None\n", b"            if True\n"),
    "sentinel 0 on": ("vllm", "router", ROUTER, b"image_sentinel_lo > 0:", b"image_sentinel_lo >= 0:"),
}  # fmt: skip
OLDER = {
    "released where the loaded weights live": (
        "vllm", "hygiene", METHOD,
        b"        self._setup_kernel(layer, w13, w2, w13_scale, w2_scale, w13_bias, w2_bias)\n\n    def get_fused",
        b"        self._setup_kernel(layer, w13, w2, w13_scale, w2_scale, w13_bias, w2_bias)\n        torch.accelerator.empty_cache()\n\n    def get_fused",
    ),
    "released on every GPU": ("vllm", "hygiene", MEMORY, b" or not current_platform.is_integrated_gpu(device.index):", b":"),
    "released twice": ("vllm", "hygiene", LOADER, RELEASE, RELEASE + b"\n            " + RELEASE),
    "released on the CPU": ("vllm", "hygiene", MEMORY, b'if device.type != "cuda" or not', b"if not"),
    "released for little": ("vllm", "hygiene", MEMORY, b"512 * MiB_bytes", b"1"),
    "never released": ("vllm", "hygiene", LOADER, RELEASE, b"released = 0"),
    "a stub is taken": ("vllm", "loaded-library", SEARCH, b"(-[0-9a-f]+)?", b"([-_a-z0-9]+)?"),
    "a folder's name": ("vllm", "loaded-library", SEARCH, b"name.fullmatch(os.path.basename(path))", b"lib_name in path"),
    "no module of Python": ("vllm", "loaded-library", SEARCH, rb"(\.abi3|\.cpython-[\w-]+)?", b""),
    "the compressor asks nobody": ("vllm", "cute-dsl", COMPRESSOR, b"if self.head_dim == 512 and has_cutedsl():", b"if self.head_dim == 512:"),
    "the switch is stuck": ("vllm", "cute-dsl", IMPORTS, b'not in ("", "0", "false")', b'!= ""'),
    "another version of cutlass": ("vllm", "cutlass", "requirements/cuda.txt", b"==4.5.1", b"==4.5.2"),
}  # fmt: skip


# What both series have is the same files: asked once.
@pytest.mark.parametrize(("target", "defects"), [("v0.32", {**BOTH, **NEWER}), ("v0.22", OLDER)])
def test_every_defect_is_seen(target, defects, trees, ask):
    made = releases.patched(target, trees(target))
    variants = {}
    for name, (component, _, path, old, new) in defects.items():
        data = made[component].get(path) or releases.read(trees(target)[component], path)
        assert data.count(old) >= 1, name
        variants[name] = {**made, component: {**made[component], path: data.replace(old, new)}}
    by_behaviour = {}
    for name, (_, behaviour, *_) in defects.items():
        by_behaviour.setdefault(behaviour, {})[name] = variants[name]
    unseen = []
    for behaviour, some in by_behaviour.items():
        answers = ask(target, {PATCHED: made, **some}, (behaviour,))
        assert answers[PATCHED][behaviour].failed == (), "without a defect there is nothing to see"
        unseen += [name for name in some if not answers[name][behaviour].failed]
    assert unseen == []


def test_a_kernel_that_reads_padding_rows_from_the_table_is_seen(trees, ask):
    """It reads far beside the table: its process ends, and says so."""
    made = releases.patched("v0.22", trees("v0.22"))
    kernel = made["vllm"][KERNEL].replace(b"hashed = (is_padding | is_image) == 0", b"hashed = is_image == 0")
    assert kernel != made["vllm"][KERNEL]
    with pytest.raises(BehaviourError, match="its process ended by SIG"):
        ask("v0.22", {PATCHED: {**made, "vllm": {**made["vllm"], KERNEL: kernel}}}, ("router-kernel",))
