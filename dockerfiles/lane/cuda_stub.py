"""Write the C source of a link stub of the CUDA driver library, from the toolkit's own cuda.h.

Usage: cuda_stub.py WHEELS STUB_C; WHEELS is the folder of the toolkit's wheels. NVIDIA's toolkits ship such a stub
(lib/stubs/libcuda.so) but its wheels do not; FlashInfer and Triton link with -lcuda at run time. As in NVIDIA's, every
function fails with CUDA_ERROR_STUB_LIBRARY (34, cuda.h), so that the stub can never pass for a driver.
"""

from __future__ import annotations

import re
import sys
import zipfile
from pathlib import Path

STUB_ERROR = 34
SPECIAL = {
    name: f'int {name}(int e, const char **s) {{ (void)e; *s = "{text}"; return 0; }}'
    for name, text in (("cuGetErrorName", "CUDA_ERROR_STUB_LIBRARY"), ("cuGetErrorString", "link stub, no driver"))
}


def functions(header: str) -> list[str]:
    """Every entry point that cuda.h declares, and every versioned name that it maps one to."""
    declared = set(re.findall(r"\bCUresult\s+CUDAAPI\s+(cu[A-Z]\w*)\s*\(", header))
    mapped = set(re.findall(r"(?m)^\s*#\s*define\s+cu[A-Z]\w*\s+(?:__CUDA_API_PT[DS]Z?\(|)(cu[A-Z]\w*)\)?\s*$", header))
    versioned = {name for name in mapped if re.sub(r"_v\d+$", "", name) in declared}
    return sorted(declared | versioned)


def source(names: list[str]) -> str:
    lines = [SPECIAL.get(name, f"int {name}(void) {{ return {STUB_ERROR}; }}") for name in names]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    wheel = next(Path(sys.argv[1]).glob("nvidia_cuda_runtime-*.whl"))
    with zipfile.ZipFile(wheel) as archive:
        header = archive.read("nvidia/cu13/include/cuda.h").decode("utf-8")
    Path(sys.argv[2]).write_text(source(functions(header)), encoding="utf-8")
