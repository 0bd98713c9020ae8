"""Measure a patched source tree on this machine's GPU: ``python3 gpubench.py TREE [--layers N]``, lines of text.

Needs torch, NumPy and Triton in the interpreter that runs it, and nvcc for the fused operator, which is compiled alone
from the tree (``csrc/moe/topk_softplus_sqrt_kernels.cu``): no vLLM is built or installed. What it asks are the
behaviours that `smoke -- --require-gpu` asks inside an image.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
CHECKS = HERE.parent / "dockerfiles" / "image" / "checks"
OPERATOR = Path("csrc/moe/topk_softplus_sqrt_kernels.cu")
BEHAVIOURS = ("gpu-router", "gpu-hygiene")

# The operator as vLLM 0.22 declares it; the release's own bindings hold a hundred others.
BINDING = """
#include <torch/library.h>
#include "moe/moe_ops.h"
TORCH_LIBRARY(_moe_C, m) {
  m.def("topk_softplus_sqrt(Tensor! weights, Tensor! ids, Tensor! token_expert_ids, Tensor logits, bool renormalize, "
        "float scale, Tensor? bias, Tensor? input_ids, Tensor? table) -> ()");
  m.impl("topk_softplus_sqrt", torch::kCUDA, &topk_softplus_sqrt);
}
"""


def compile_operator(tree: Path, folder: Path) -> None:
    """Compile the fused operator for this device, and register it with torch."""
    from torch.utils.cpp_extension import load  # noqa: PLC0415 - of the interpreter that measures

    binding = folder / "binding.cpp"
    binding.write_text(BINDING, encoding="utf-8")
    load(
        name="moe_operator",
        sources=[str(binding), str(tree / OPERATOR)],
        extra_include_paths=[str(tree / "csrc")],
        extra_cuda_cflags=["-O2"],
        build_directory=str(folder),
        is_python_module=False,
        verbose=False,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tree", type=Path, help="vLLM's source tree with the series applied (patch -- --output DIR)")
    parser.add_argument("--layers", type=int, default=24, help="layers of experts to convert, 2 GiB each (default: 24)")
    args = parser.parse_args()
    os.environ["SPARK_GPU_LAYERS"] = str(args.layers)
    sys.path.insert(0, str(HERE))
    import torch  # noqa: PLC0415
    from stage import ask  # type: ignore[import-not-found]  # noqa: PLC0415 - a script beside this one

    print(f"{torch.cuda.get_device_name(0)}; torch {torch.__version__}", flush=True)
    component = {"tree": str(args.tree), "overlay": "", "gone": [], "paths": [["vllm/", "vllm/"]]}
    with tempfile.TemporaryDirectory() as folder:
        compile_operator(args.tree, Path(folder))
        told = ask({"checks": str(CHECKS), "components": [component], "behaviours": list(BEHAVIOURS)})
    failed = False
    for behaviour, cases in told.items():
        for case in cases:
            failed = failed or case["status"] == "failed"
            print(f"{behaviour} {case['name']}: {case['status']} ({case['seconds']} s)")
            print("  " + case["evidence"].replace("; ", "\n  "))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
