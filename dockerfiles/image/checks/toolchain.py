"""The compiler in the image makes code for GB10: what Triton, FlashInfer and DeepGEMM do at run time."""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
from collections import Counter
from pathlib import Path
from typing import Any

from .events import Context, Failed, Outcome, Skipped
from .fatbin import Code, read_fatbins

KERNEL = 'extern "C" __global__ void twice(float *x) { x[threadIdx.x] *= 2.0f; }\n'
TIMEOUT = 600


def check_nvcc(context: Context) -> Outcome:
    """nvcc, with the image's g++, makes a shared library whose only device code is for sm_121."""
    home = os.environ.get("CUDA_HOME", "")
    nvcc = os.path.join(home, "bin", "nvcc")
    if not os.path.exists(nvcc):
        raise Failed(f"CUDA_HOME ({home or 'not set'}) has no bin/nvcc")
    source, library = context.scratch / "twice.cu", context.scratch / "twice.so"
    source.write_text(KERNEL)
    command = [
        nvcc, "-shared", "-Xcompiler", "-fPIC", "-gencode", "arch=compute_121,code=sm_121", "-o", str(library),
        str(source), f"-L{home}/lib64/stubs", "-lcuda",
    ]  # fmt: skip
    environment = {**os.environ, "TMPDIR": str(context.scratch)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT, env=environment)
    evidence: dict[str, Any] = {"command": command, "output": (done.stdout + done.stderr)[-2000:]}
    if done.returncode != 0:
        raise Failed(f"nvcc ended with {done.returncode}", evidence)
    codes = Counter(str(code) for codes in read_fatbins(str(library)) for code in codes)
    evidence |= {"device code": dict(codes), "cuobjdump": _cuobjdump(library), "bytes": library.stat().st_size}
    if set(codes) != {str(Code("sass", 121))}:  # linking adds a fat binary of its own
        raise Failed(f"nvcc made {dict(codes)} instead of sm_121 alone", evidence)
    return Outcome(evidence)


def _cuobjdump(library: Path) -> str:
    """What NVIDIA's own tool says, where a wheel ships it (Triton does): a second opinion on our reader."""
    shipped = Path(sysconfig.get_path("purelib"), "triton/backends/nvidia/bin/cuobjdump")
    tool = shutil.which("cuobjdump") or (str(shipped) if shipped.exists() else "")
    if not tool:
        return "not in the image"
    done = subprocess.run([tool, "-lelf", str(library)], capture_output=True, text=True, check=False, timeout=TIMEOUT)
    return (done.stdout or done.stderr).strip()


def check_gcc(context: Context) -> Outcome:
    """gcc and g++ link a library against Python's headers, as Triton's launcher does."""
    gcc = shutil.which("gcc")
    if gcc is None:
        raise Skipped("the image has no gcc")
    source, library = context.scratch / "launcher.c", context.scratch / "launcher.so"
    source.write_text("#include <Python.h>\nint version(void) { return PY_VERSION_HEX; }\n")
    include = sysconfig.get_path("include")
    done = subprocess.run(
        [gcc, "-O1", "-shared", "-fPIC", f"-I{include}", "-o", str(library), str(source)],
        capture_output=True, text=True, check=False, timeout=TIMEOUT,
    )  # fmt: skip
    if done.returncode != 0:
        raise Failed("gcc does not compile against Python.h", {"output": done.stderr[-2000:]})
    return Outcome({"gcc": gcc, "include": include, "ninja": shutil.which("ninja") or "missing"})
