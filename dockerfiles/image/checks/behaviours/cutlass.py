"""nvidia-cutlass-dsl is 4.5.1: the source asks for it, vLLM's METADATA says so, it is what is installed.

And what is installed has what vLLM's kernels call: two wheels write its files over each other, and only the one for
CUDA 13 has it all.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
from importlib import metadata
from pathlib import Path

from ..cases import Absent, Case, Wrong, fixes, keeps, source

VERSION = "4.5.1"
LIBRARIES = ("nvidia-cutlass-dsl", "nvidia-cutlass-dsl-libs-base", "nvidia-cutlass-dsl-libs-cu13")
FILE = "requirements/cuda.txt"
LINE = re.compile(r"^nvidia-cutlass-dsl(\[[a-z0-9,]+\])?\s*==\s*([0-9.]+)", re.MULTILINE)
KERNELS = "vllm.models.deepseek_v4.nvidia.ops"

REAL: tuple[str, ...] = ()


@fixes
def the_requirement_is_the_sources_own() -> str:
    """In the requirement file of a source tree, in the METADATA of an installed vLLM."""
    text = source(FILE)
    place = FILE if text is not None else "METADATA"
    lines = text.decode() if text is not None else "\n".join(metadata.requires("vllm") or ())
    found = LINE.search(lines)
    if found is None or found[2] != VERSION:
        raise Wrong(f"{place} asks for {found[0] if found else 'no version'}")
    return f"{place}: {found[0]}"


@fixes
def that_version_is_installed() -> str:
    if source(FILE) is not None:
        raise Absent("a source tree installs nothing")
    found = {name: metadata.version(name) for name in LIBRARIES}
    if wrong := {name: version for name, version in found.items() if version != VERSION}:
        raise Wrong(f"installed: {wrong}")
    return f"{', '.join(found)}: {VERSION}"


@keeps
def what_kernels_call_is_there() -> str:
    """``cute.arch.fmin``: in the CUDA 13 wheel of every version, in the other of none."""
    if source(FILE) is not None:
        raise Absent("a source tree installs nothing")
    arch = importlib.import_module("cutlass.cute").arch
    if lacking := [name for name in ("fmin", "fmax") if not hasattr(arch, name)]:
        raise Wrong(f"cutlass.cute.arch has no {', '.join(lacking)}: the wheel for CUDA 13 was written over")
    return "cutlass.cute.arch.fmin, fmax"


@keeps
def kernels_that_use_it_import() -> str:
    if source(FILE) is not None:
        raise Absent("a source tree installs nothing")
    package = importlib.util.find_spec(KERNELS)
    folders = package.submodule_search_locations if package else None
    names = sorted(path.stem for folder in folders or () for path in Path(folder).glob("*_cutedsl.py"))
    if not names:
        raise Absent("this vLLM has none")
    for name in names:
        importlib.import_module(f"{KERNELS}.{name}")
    return ", ".join(names)


CASES: tuple[Case, ...] = (
    the_requirement_is_the_sources_own,
    that_version_is_installed,
    what_kernels_call_is_there,
    kernels_that_use_it_import,
)
