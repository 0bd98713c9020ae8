"""What a native build made can be loaded, and registers its operators with kernels for a GPU."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import json
import os
import sysconfig
from pathlib import Path
from typing import Any

from .elf import DT_RPATH, DT_RUNPATH, dynamic
from .events import Context, Failed, Outcome, Skipped

COMPILED = Path("/opt/spark/compiled.json")
KEYS = ("CUDA", "CompositeExplicitAutograd", "CompositeImplicitAutograd")  # where a call with GPU tensors may end
ROUTER = "_moe_C::topk_softplus_sqrt"  # the operator that DeepSeek-V4's router calls


def check_native(context: Context) -> Outcome:
    """Loads each compiled library, and asks torch which operators it registered and for what.

    An operator without any kernel is a finding; so is a router without one for CUDA.
    """
    native = context.manifest.get("native")
    if native is None:
        raise Skipped("nothing of this image was compiled by its build")
    import torch  # noqa: F401, PLC0415 - the libraries need its own ones, and they are many

    before = _operators()
    left_off = {item.get("target") for item in native["left_off"]}
    made = {os.path.basename(path).split(".", maxsplit=1)[0] for path in _compiled() if path.endswith(".so")}
    loaded = {target: _load(target) for target in native["targets"] if target in made - left_off}
    new = sorted(set(_operators()) - set(before))
    kernels = {name: [key for key in KEYS if _has(name, key)] for name in new}
    bare = [name for name, keys in kernels.items() if not keys]
    findings = [f"{name} is registered without a kernel" for name in bare]
    findings += [f"{path} has a run path, to where it was made" for path in _with_run_path()]
    namespace = ROUTER.split("::", maxsplit=1)[0]
    has_router = namespace in loaded or any(name.startswith(f"{namespace}::") for name in new)
    if has_router and "CUDA" not in kernels.get(ROUTER, ()):
        raise Failed(f"{ROUTER} has no kernel for CUDA", {"loaded": loaded, "operators": kernels})
    return Outcome({"loaded": loaded, "operators": kernels, "complete": native["complete"]}, findings)


def _compiled() -> list[str]:
    """What the build made, below site-packages, by ``compiled.py``; some of CMake's targets are Python files."""
    return list(json.loads(COMPILED.read_text(encoding="utf-8")))


def _with_run_path() -> list[str]:
    """The compiled libraries that name folders to look for others in (DT_RPATH, DT_RUNPATH)."""
    site = sysconfig.get_path("purelib")
    paths = [path for path in _compiled() if path.endswith(".so") and os.path.exists(os.path.join(site, path))]
    return [path for path in paths if {DT_RPATH, DT_RUNPATH} & {tag for tag, _ in dynamic(os.path.join(site, path))}]


def _operators() -> list[str]:
    from torch._C import _dispatch_get_all_op_names  # noqa: PLC0415

    return [str(name) for name in _dispatch_get_all_op_names()]


def _has(name: str, key: str) -> bool:
    from torch._C import _dispatch_has_kernel_for_dispatch_key  # noqa: PLC0415

    return bool(_dispatch_has_kernel_for_dispatch_key(name, key))


def _load(target: str) -> str:
    """Import one extension by its file, without the package around it; its place below site-packages."""
    site = sysconfig.get_path("purelib")
    paths = [
        os.path.join(folder, name)
        for folder, _, names in os.walk(os.path.join(site, "vllm"))
        for name in names
        if name.split(".", maxsplit=1)[0] == target and name.endswith(".so")
    ]
    if len(paths) != 1:
        raise Failed(f"there are {len(paths)} libraries of {target}, and one was compiled", {"found": paths})
    loader = importlib.machinery.ExtensionFileLoader(target, paths[0])
    spec: Any = importlib.util.spec_from_file_location(target, paths[0], loader=loader)
    importlib.util.module_from_spec(spec)
    return os.path.relpath(paths[0], site)
