"""Which checks an image gets, and which share a process.

A group is one process: what costs an import of torch and vLLM (45 s each under emulation) is together and pays once.
Besides those of its set an image gets a check for each behaviour that its patches name (``behaviour``).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from . import behaviour

# name of the check → (group, module, function)
CHECKS: dict[str, tuple[str, str, str]] = {
    "elf": ("files", "elf", "check_elf"),
    "versions": ("files", "installed", "check_versions"),
    "patches": ("files", "installed", "check_patches"),
    "libraries": ("files", "libraries", "check_libraries"),
    "left-out": ("files", "left_out", "check_left_out"),
    "bytecode": ("files", "bytecode", "check_bytecode"),
    "record": ("files", "records", "check_record"),
    "metadata": ("tools", "installed", "check_metadata"),
    "imports-tiny": ("tools", "installed", "check_imports_tiny"),
    "gcc": ("tools", "toolchain", "check_gcc"),
    "nvcc": ("tools", "toolchain", "check_nvcc"),
    "gpu-driver": ("tools", "gpu", "check_driver"),
    "gpu-kernel": ("tools", "gpu", "check_kernel"),
    "native": ("vllm", "native", "check_native"),  # before anything loads vLLM's libraries
    "imports": ("vllm", "vllm_imports", "check_imports"),
    "platform": ("vllm", "vllm_imports", "check_platform"),
    "serve-parser": ("vllm", "vllm_imports", "check_serve_parser"),
    "serve-profile": ("vllm", "serve_profile", "check_serve_profile"),
    "select-sparse-mla": ("vllm", "vllm_selection", "check_sparse_mla"),
    "select-indexer": ("vllm", "vllm_selection", "check_indexer"),
    "select-mxfp4-moe": ("vllm", "vllm_selection", "check_mxfp4_moe"),
    "select-router": ("vllm", "vllm_router", "check_router"),
    "gpu-torch": ("vllm", "gpu", "check_torch"),
    "gpu-router": ("vllm", "behaviour", "check_gpu_router"),
    "gpu-hygiene": ("vllm", "behaviour", "check_gpu_hygiene"),
    "works": ("self-test", "self_test", "check_works"),
    "prints": ("self-test", "self_test", "check_prints"),
    "dies": ("self-test", "self_test", "check_dies"),
    "after": ("self-test", "self_test", "check_after"),
}

SETS: dict[str, tuple[str, ...]] = {
    "vllm": tuple(name for name, (group, _, _) in CHECKS.items() if name != "imports-tiny" and group != "self-test"),
    "tiny": ("elf", "versions", "patches", "left-out", "bytecode", "record", "metadata", "imports-tiny", "gpu-driver"),
    "canary": (
        "elf",
        "versions",
        "patches",
        "libraries",
        "left-out",
        "bytecode",
        "record",
        "metadata",
        "gcc",
        "nvcc",
        "native",
        "gpu-driver",
        "gpu-kernel",
    ),
    "foreign": ("elf", "gpu-driver"),
    "self-test": ("works", "prints", "dies", "after"),
}

GROUPS = ("vllm", "files", "tools", "self-test")  # the longest first
NEED_DRIVER = ("vllm",)  # groups that get stand-ins for the driver where there is none


# Where a set's behaviours run: in the process that has the packages they ask imported already.
BEHAVIOURS = {"vllm": "vllm", "tiny": "tools"}


def planned(chosen: str, manifest: dict[str, Any]) -> list[str]:
    """All checks of a set for an image."""
    return [*SETS[chosen], *(behaviour.names(manifest) if chosen in BEHAVIOURS else ())]


def checks_of(chosen: str, group: str, manifest: dict[str, Any]) -> list[str]:
    """The checks that run in one group, in order."""
    return [name for name in planned(chosen, manifest) if _group(chosen, name) == group]


def _group(chosen: str, name: str) -> str:
    return CHECKS[name][0] if name in CHECKS else BEHAVIOURS[chosen]


def function(name: str) -> Callable[..., object]:
    """The function of a check; its module is imported now, in the group's own process."""
    import importlib  # noqa: PLC0415

    if name not in CHECKS:
        return functools.partial(behaviour.check, name)
    _, module, attribute = CHECKS[name]
    found: Callable[..., object] = getattr(importlib.import_module(f".{module}", __package__), attribute)
    return found
