"""FlashInfer finds the CUDA runtime that is loaded, and no stub: ``flashinfer.comm.cuda_ipc``."""

from __future__ import annotations

import importlib
import importlib.util
import types
from pathlib import Path

from .. import cudart
from ..cases import Case, Wrong, keeps
from .loaded_library import installed_stubs

MODULE = "flashinfer.comm.cuda_ipc"
REAL = (MODULE,)


def anew() -> types.ModuleType:
    """A second copy of the module: what it binds may be bound when it is imported."""
    package = importlib.util.find_spec("flashinfer")
    folders = list(package.submodule_search_locations or ()) if package else []
    for folder in folders:
        file = Path(folder, "comm", "cuda_ipc.py")
        if file.is_file():
            spec = importlib.util.spec_from_file_location("another_cuda_ipc", file)
            assert spec is not None
            assert spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            return module
    raise Wrong(f"there is no comm/cuda_ipc.py in {folders}")


def find(name: str) -> str | None:
    """Asked of a copy that was imported where the runtime is mapped: importing must not be what fails."""
    with cudart.process(cudart.REAL):
        module = anew()
    found: str | None = module.find_loaded_library(name)
    return found


def bound() -> str:
    return str(anew().CudaRTLibrary().lib.path)


@keeps
def the_real_ones_in_this_process() -> str:
    stubs = installed_stubs()
    return cudart.really_bound(importlib.import_module(MODULE).CudaRTLibrary, stubs)


CASES: tuple[Case, ...] = (*cudart.cases(lambda: find, bound), the_real_ones_in_this_process)
