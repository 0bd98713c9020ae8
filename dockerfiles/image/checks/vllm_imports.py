"""torch, vLLM, its native modules and the kernel libraries import; vLLM's server understands its own options."""

from __future__ import annotations

import glob
import importlib
import importlib.util
import os
import time
from typing import Any

from .events import Context, Failed, Outcome

# cutlass is nvidia-cutlass-dsl's module; DeepGEMM is vLLM's own copy.
LIBRARIES = ("torch", "triton", "vllm", "flashinfer", "cutlass")
DEEP_GEMM = "vllm.third_party.deep_gemm"
PARSERS = ("vllm.entrypoints.launchers.cli_args", "vllm.entrypoints.openai.cli_args")  # vLLM 0.32, vLLM 0.22

SERVE_LINE = (
    "deepseek-ai/DeepSeek-V4-Flash", "--max-model-len", "4096", "--kv-cache-dtype", "fp8", "--block-size", "256",
    "--gpu-memory-utilization", "0.8", "--enable-auto-tool-choice", "--tool-call-parser", "deepseek_v4",
)  # fmt: skip


def driver_note(context: Context) -> str:
    """Which parts of the driver were real, for the evidence of every check that needs one."""
    parts = [
        "libcuda.so.1 is the image's link stub" if context.stub_driver else "libcuda.so.1 is the host's",
        "libnvidia-ml.so.1 is a stub of one device of capability 12.1"
        if context.stub_nvml
        else "libnvidia-ml.so.1 is the host's",
    ]
    return "; ".join(parts)


def _timed_import(name: str, into: dict[str, Any], findings: list[str]) -> None:
    start = time.monotonic()
    try:
        module = importlib.import_module(name)
    except Exception as error:  # noqa: BLE001 - any failure of an import is the finding
        findings.append(f"import {name}: {type(error).__name__}: {error}")
        return
    version = getattr(module, "__version__", "")
    into[name] = {"seconds": round(time.monotonic() - start, 1), **({"version": str(version)} if version else {})}


def check_imports(context: Context) -> Outcome:
    """The libraries by name, then every native module that vLLM ships."""
    modules: dict[str, Any] = {}
    findings: list[str] = []
    for name in LIBRARIES:
        _timed_import(name, modules, findings)
    if findings:
        return Outcome({"driver": driver_note(context), "modules": modules}, findings)
    for name in (*native_modules(), *([DEEP_GEMM] if _there(DEEP_GEMM) else [])):
        _timed_import(name, modules, findings)
    return Outcome({"driver": driver_note(context), "modules": modules}, findings)


def native_modules() -> list[str]:
    """vLLM's compiled modules, by the names that Python imports them under."""
    vllm = importlib.import_module("vllm")
    root = os.path.dirname(str(vllm.__file__))
    paths = glob.glob(os.path.join(root, "*.so")) + glob.glob(os.path.join(root, "vllm_flash_attn", "*.so"))
    names = [os.path.relpath(path, root).split(".", 1)[0].replace(os.sep, ".") for path in sorted(paths)]
    if not names:
        raise Failed(f"vLLM at {root} ships no native module")
    return [f"vllm.{name}" for name in names]


def _there(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def check_platform(context: Context) -> Outcome:
    """vLLM's own detection chooses CUDA, and sees the capability."""
    from vllm.platforms import current_platform  # noqa: PLC0415

    capability = current_platform.get_device_capability()
    evidence = {
        "driver": driver_note(context),
        "platform": type(current_platform).__name__,
        "device": current_platform.get_device_name(),
        "capability": str(capability),
    }
    if not current_platform.is_cuda():
        raise Failed("vLLM does not detect the CUDA platform", evidence)
    return Outcome(evidence)


def check_serve_parser(context: Context) -> Outcome:
    """``vllm serve`` builds its parser, renders its help and takes a real command line; nothing is started."""
    from vllm.utils.argparse_utils import FlexibleArgumentParser  # noqa: PLC0415

    place = next((name for name in PARSERS if _there(name)), None)
    if place is None:
        raise Failed("this vLLM has its parser at none of the known places", {"looked at": PARSERS})
    parser = importlib.import_module(place).make_arg_parser(FlexibleArgumentParser(prog="vllm serve"))
    options = [option for action in parser._actions for option in action.option_strings]  # noqa: SLF001
    parsed = parser.parse_args([*SERVE_LINE])
    evidence = {
        "driver": driver_note(context),
        "options": len(options),
        "help bytes": len(parser.format_help()),
        "parsed": {"model": parsed.model_tag, "kv_cache_dtype": parsed.kv_cache_dtype, "port": parsed.port},
    }
    if parsed.kv_cache_dtype != "fp8" or parsed.max_model_len != 4096:
        raise Failed("the parser took other values than it was given", evidence)
    return Outcome(evidence)
