"""vLLM finds the CUDA runtime that is loaded, and no stub: ``find_loaded_library``, and what binds its answer."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import Any

from .. import cudart
from ..cases import Absent, Case, Wrong, keeps

SEARCH = "vllm.utils.system_utils"
WRAPPER = "vllm.distributed.device_communicators.cuda_wrapper"
MODULE = "/opt/venv/lib/python3.13/site-packages/vllm/cumem_allocator.abi3.so"

REAL = (SEARCH, WRAPPER)
STAND_INS = {
    "vllm.platforms": lambda: {"current_platform": _Cuda()},
    "vllm.envs": lambda: {"VLLM_CUDART_SO_PATH": None},
}


class _Cuda:
    def __getattr__(self, name: str) -> Any:
        return lambda *_: name == "is_cuda"


def find(name: str) -> str | None:
    found: str | None = importlib.import_module(SEARCH).find_loaded_library(name)
    return found


def bound() -> str:
    wrapper = importlib.import_module(WRAPPER).CudaRTLibrary
    wrapper.path_to_library_cache.clear()
    wrapper.path_to_dict_mapping.clear()
    library = wrapper()
    wrapper.path_to_library_cache.clear()
    wrapper.path_to_dict_mapping.clear()
    return str(library.lib.path)


@keeps
def modules_of_python_are_found() -> str:
    """The other thing that vLLM looks for so."""
    with cudart.process("/usr/lib/libc.so.6", MODULE):
        if find("cumem_allocator") != MODULE:
            raise Wrong(f"{MODULE} is not found")
    return MODULE


@keeps
def the_real_ones_in_this_process() -> str:
    return cudart.really_bound(importlib.import_module(WRAPPER).CudaRTLibrary, installed_stubs())


def installed_stubs() -> list[str]:
    """TileLang's stubs, where it is installed."""
    spec = importlib.util.find_spec("tilelang")
    folders = spec.submodule_search_locations if spec else None
    found = [str(path) for folder in folders or () for path in Path(folder, "lib").glob("*stub*cudart*.so")]
    found += [str(path) for folder in folders or () for path in Path(folder, "lib").glob("libcudart_stub.so")]
    if not found:
        raise Absent("TileLang is not installed here")
    return sorted(set(found))


CASES: tuple[Case, ...] = (
    *cudart.cases(lambda: find, bound),
    modules_of_python_are_found,
    the_real_ones_in_this_process,
)
