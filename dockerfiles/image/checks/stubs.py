"""Stand-ins for the driver's libraries, for machines without a GPU. Every report says where they were used.

The stub libcuda.so.1 is the link stub of the image: each function returns CUDA_ERROR_STUB_LIBRARY (34). The stub
libnvidia-ml.so.1 reports one device of capability 12.1; it is compiled here and never part of an image. With it
vLLM's own detection finds the CUDA platform; nothing can be computed.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from .events import Failed

DEVICE_NAME = "NVIDIA GB10 (stub)"
CAPABILITY = (12, 1)
MEMORY = 128_000_000_000  # bytes, of the stub's one device

# The calls that vLLM's and torch's NVML readers make (nvml.h of CUDA 13 has their types); NVML_SUCCESS is 0.
NVML_SOURCE = r"""
#include <string.h>
#define DEVICE ((void *)0x121)
typedef struct { unsigned long long total, free, used; } memory_v1;
typedef struct { unsigned int version; unsigned long long total, reserved, free, used; } memory_v2;
int nvmlInit(void) { return 0; }
int nvmlInit_v2(void) { return 0; }
int nvmlInitWithFlags(unsigned int flags) { return 0; }
int nvmlShutdown(void) { return 0; }
const char *nvmlErrorString(int code) { return code ? "not in the stub" : "Success"; }
int nvmlSystemGetDriverVersion(char *text, unsigned int size) { strncpy(text, "0.0-stub", size); return 0; }
int nvmlSystemGetNVMLVersion(char *text, unsigned int size) { strncpy(text, "0.0-stub", size); return 0; }
int nvmlDeviceGetCount(unsigned int *count) { *count = 1; return 0; }
int nvmlDeviceGetCount_v2(unsigned int *count) { *count = 1; return 0; }
int nvmlDeviceGetHandleByIndex(unsigned int i, void **device) { *device = DEVICE; return i ? 2 : 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned int i, void **device) { *device = DEVICE; return i ? 2 : 0; }
int nvmlDeviceGetHandleByUUID(const char *uuid, void **device) { *device = DEVICE; return 0; }
int nvmlDeviceGetIndex(void *device, unsigned int *index) { *index = 0; return 0; }
int nvmlDeviceGetName(void *device, char *text, unsigned int size) { strncpy(text, "@NAME@", size); return 0; }
int nvmlDeviceGetUUID(void *device, char *text, unsigned int size) { strncpy(text, "GPU-stub", size); return 0; }
int nvmlDeviceGetMemoryInfo(void *device, memory_v1 *m) { m->total = m->free = @MEMORY@ULL; m->used = 0; return 0; }
int nvmlDeviceGetMemoryInfo_v2(void *device, memory_v2 *m) {
  m->total = m->free = @MEMORY@ULL; m->used = m->reserved = 0; return 0; }
int nvmlDeviceGetCudaComputeCapability(void *device, int *major, int *minor) {
  *major = @MAJOR@; *minor = @MINOR@; return 0; }
"""


@dataclass(frozen=True)
class Stubs:
    """What had to be stood in for, and the folder to put on LD_LIBRARY_PATH (None where nothing had to)."""

    folder: str | None
    driver: bool
    nvml: bool


def loads(library: str) -> bool:
    """Whether the loader finds a library by name."""
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def prepare(scratch: Path) -> Stubs:
    """Make what the container lacks of the driver's libraries. Raises :class:`Failed` where that cannot be done."""
    driver, nvml = not loads("libcuda.so.1"), not loads("libnvidia-ml.so.1")
    if not driver and not nvml:
        return Stubs(None, driver=False, nvml=False)
    folder = scratch / "stubs"
    folder.mkdir(exist_ok=True)
    if driver:
        _link_driver(folder)
    if nvml:
        _compile_nvml(folder)
    return Stubs(str(folder), driver=driver, nvml=nvml)


def _link_driver(folder: Path) -> None:
    shipped = Path(os.environ.get("CUDA_HOME", "/usr/local/cuda"), "lib", "stubs", "libcuda.so")
    if not shipped.exists():
        raise Failed(f"there is no driver here and the image has no link stub at {shipped}")
    (folder / "libcuda.so.1").symlink_to(shipped)


def _compile_nvml(folder: Path) -> None:
    text = NVML_SOURCE.replace("@NAME@", DEVICE_NAME).replace("@MEMORY@", str(MEMORY))
    text = text.replace("@MAJOR@", str(CAPABILITY[0])).replace("@MINOR@", str(CAPABILITY[1]))
    source = folder / "nvml.c"
    source.write_text(text)
    done = subprocess.run(
        ["gcc", "-shared", "-fPIC", "-w", "-Wl,-soname,libnvidia-ml.so.1", "-o", str(folder / "libnvidia-ml.so.1"),
         str(source)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise Failed("the stub of NVML does not compile", {"output": done.stderr})
