"""The numbers of experts that the fused router was compiled for: from the library that is installed, or its source."""

from __future__ import annotations

import functools
import importlib.util
import mmap
import re
from pathlib import Path

from .cases import Wrong, source

# A kernel's mangled name (Itanium C++ ABI): topkGatingSoftplusSqrt<values per thread, experts, …>.
INSTANCE = re.compile(rb"topkGatingSoftplusSqrtILi\d+ELi(\d+)E")
LAUNCH = re.compile(rb"case (\d+):\s+LAUNCH_SOFTPLUS_SQRT")
SOURCES = ("csrc/moe/topk_softplus_sqrt_kernels.cu", "csrc/libtorch_stable/moe/topk_softplus_sqrt_kernels.cu")


@functools.cache
def instantiated() -> tuple[str, frozenset[int]]:
    """Where they were found, and the counts. Raises :class:`Wrong` where there is neither library nor source."""
    for path in SOURCES:
        if text := source(path):
            return path, frozenset(int(count) for count in LAUNCH.findall(text))
    spec = importlib.util.find_spec("vllm")
    folders = list(spec.submodule_search_locations or ()) if spec else []
    libraries = [path for folder in folders for path in sorted(Path(folder).glob("_moe_C*.so"))]
    if not libraries:
        raise Wrong(f"no _moe_C library in {folders}")
    found: set[int] = set()
    for path in libraries:
        with open(path, "rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
            found |= {int(match[1]) for match in INSTANCE.finditer(data)}
    return libraries[0].name, frozenset(found)
