"""The router patches behave: on the patched files of each vLLM every case passes, without the patch they fail.

Needs torch and NumPy, and the release's archive and wheel in the store; what runs in every image is the same checks.
A mutant is a patched file with one defect that a plausible router has: a case must see it.
"""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from build.settings import REPO
from tests.patches import releases

CHECKS = REPO / "dockerfiles" / "image" / "checks"
ROUTER = "vllm/model_executor/layers/fused_moe/router"
FALLBACK = f"{ROUTER}/topk_softplus_sqrt_torch.py"
OPS = "vllm/_custom_ops.py"
TARGETS = ("v0.32", "v0.22")
TRITON = "triton-kernel-in-the-interpreter"

pytestmark = pytest.mark.skipif(
    not (importlib.util.find_spec("torch") and importlib.util.find_spec("numpy")),
    reason="torch or numpy is not installed here; smoke runs these checks in the image",
)


def release(target: str) -> dict[str, bytes]:
    """The router's files as released, and the library with the fused kernels."""
    return {**releases.sources(target), **router(target), **releases.from_wheel(target, "vllm/_moe_C")}


def patched(target: str) -> dict[str, bytes]:
    return {**release(target), **releases.patched(target)}


def router(target: str) -> dict[str, bytes]:
    """The module that callers call; the series of 0.22 does not touch it, so it is the wheel's."""
    return releases.from_wheel(target, f"{ROUTER}/fused_topk_bias_router.py")


def run(folder: Path, files: dict[str, bytes]) -> dict[str, dict]:
    """Each case's result on these files, in a process of its own."""
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    stage = Path(__file__).with_name("stage.py")
    done = subprocess.run(
        [sys.executable, str(stage), str(folder), str(CHECKS)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    results = {case["name"]: case for case in json.loads(done.stdout.splitlines()[-1])}
    if not importlib.util.find_spec("triton"):
        results.pop(TRITON, None)
    return results


@pytest.mark.parametrize("target", TARGETS)
def test_every_case_passes_on_the_patched_files(target, tmp_path):
    results = run(tmp_path, patched(target))
    assert {name: case["evidence"] for name, case in results.items() if not case["ok"]} == {}
    assert ("padding-rows" in results) == (target == "v0.32")
    assert len(results) >= 14
    assert sum(case["seconds"] for case in results.values()) < 60


@pytest.mark.parametrize("target", TARGETS)
def test_every_case_fails_on_the_released_files(target, tmp_path):
    results = run(tmp_path, release(target))
    assert [name for name, case in results.items() if case["ok"]] == []


STABLE = b"order = choice.sort(dim=-1, descending=True, stable=True).indices"
MUTANTS = {
    "plain top-k: ties": (FALLBACK, STABLE, b"order = choice.topk(topk_weights.shape[-1], dim=-1).indices"),
    "scored in the logits' type": (FALLBACK, b"gating_output.float()", b"gating_output"),
    "biased weights": (FALLBACK, b"weights = scores.gather", b"weights = choice.gather"),
    "NaN kept": (FALLBACK, b".nan_to_num(nan=0.0)", b""),
    "division by zero": (FALLBACK, b"total.clamp_min(torch.finfo(torch.float32).tiny)", b"total"),
    "never renormalised": (FALLBACK, b"    if renormalize:", b"    if False:"),
    "scale forgotten": (FALLBACK, b"torch.mul(weights, routed_scaling_factor,", b"torch.mul(weights, 1.0,"),
    "hash table without tokens": (
        FALLBACK, b'raise ValueError("input_tokens is required for hash MoE")', b"hash_indices_table = None",
    ),
    "waits for the device": (FALLBACK, b"    weights = scores.gather", b"    scores.sum().item()\n    weights = scores.gather"),
    "a count too many": (FALLBACK, b"512, 576)", b"512, 576, 144)"),
    "a count too few": (FALLBACK, b"448, 512, 576)", b"448, 512)"),
    "never called": (OPS, b"if not has_fused_topk_softplus_sqrt(", b"if False and not has_fused_topk_softplus_sqrt("),
}  # fmt: skip
NEWER_MUTANTS = {
    "padding routed": (FALLBACK, b"expert_ids.masked_fill_(is_padding.unsqueeze(-1), -1)", b"pass"),
    "padding read from the table": (FALLBACK, b"for unused in (is_padding, is_image):", b"for unused in (is_image,):"),
    "six image ids": (FALLBACK, b"input_tokens < image_sentinel_lo + 5", b"input_tokens < image_sentinel_lo + 6"),
    "image rows by the table": (FALLBACK, b"if is_image is None\n", b"if True\n"),
    "sentinel 0 on": (FALLBACK, b"image_sentinel_lo > 0:", b"image_sentinel_lo >= 0:"),
    "Triton not admitted": (f"{ROUTER}/dsv4_topk.py", b"(144, 160, 256, 384)", b"(144, 256, 384)"),
    "mask not handed on": (f"{ROUTER}/fused_topk_bias_router.py", b"is_padding=padding_mask,", b""),
    "Triton keeps NaN": (f"{ROUTER}/dsv4_topk.py", b"weights = tl.where(weights == weights, weights, 0.0)", b"pass"),
}


def check_mutant(target, mutant, folder):
    path, old, new = mutant
    files = patched(target)
    assert files[path].count(old) == 1
    files[path] = files[path].replace(old, new)
    results = run(folder, files)
    assert [name for name, case in results.items() if not case["ok"]], "no case saw this defect"


@pytest.mark.slow
@pytest.mark.parametrize("name", MUTANTS)
@pytest.mark.parametrize("target", TARGETS)
def test_a_defect_is_seen(target, name, tmp_path):
    check_mutant(target, MUTANTS[name], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", NEWER_MUTANTS)
def test_a_defect_of_what_is_newer_is_seen(name, tmp_path):
    if name.startswith("Triton keeps") and not importlib.util.find_spec("triton"):
        pytest.skip("triton is not installed here")
    check_mutant("v0.32", NEWER_MUTANTS[name], tmp_path)
