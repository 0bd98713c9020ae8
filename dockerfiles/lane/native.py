"""Configure and compile a component's native code with CMake, offline, at fixed paths; what comes of it is in /out.

Usage: native.py PLAN PYTHON [configure | objects OBJECT…]. PLAN is the folder with ``plan.json`` and ``hook.cmake``;
the sources are at /mnt/source, what CMake would fetch at /mnt/deps, CMake and what the sources' own generators import
at /mnt/tools, the compile root of the machine that builds at /mnt/compile, ccache's folder at /mnt/ccache. With
``configure`` nothing is compiled, and /out gets the list of translation units; with ``objects`` only these are
compiled, by their paths below the build folder. What a machine decides (jobs, a compile cache that is not to be read)
comes as the secret /mnt/asked.json and changes no byte of the result.

Lines that begin with ``LANE`` are for who asked for the build: JSON, one fact each.
"""

from __future__ import annotations

import ast
import contextlib
import json
import os
import re
import resource
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path.insert(0, os.path.dirname(__file__))

import jobs
import ninja
from fatbin import device_code
from layer import begin, site_packages

SOURCE, DEPS, TREE = Path("/mnt/source"), Path("/mnt/deps"), Path("/src")
TOOLS, COMPILE, CCACHE = Path("/mnt/tools"), Path("/mnt/compile"), Path("/mnt/ccache")
CMAKE = TOOLS / "cmake" / "data"  # as its wheel has it
ASKED, STUB, OUT = Path("/mnt/asked.json"), Path("/mnt/libcuda.so"), Path("/out")
CROSS = Path("/usr/libexec/gcc-cross")  # is there where the compilers are those of another machine
BUILD, SHIM = TREE / "build", TREE / "shim"
TOOLKIT = Path("nvidia/cu13")  # where NVIDIA's CUDA 13 wheels put bin, include, lib and nvvm
COMPILER = "/usr/bin/aarch64-linux-gnu-{}-{}"  # Debian's names, the same for a native and for a cross compiler
TAIL = 30  # lines of a failure
AARCH64 = 183  # e_machine (ELF for the Arm 64-bit Architecture)
TRACES = (b"tmpxft_",)  # nvcc's names for temporary files, which hold its process id


def main(folder: Path, python: str, what: str, objects: Sequence[str]) -> None:
    plan = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
    asked = json.loads(ASKED.read_text(encoding="utf-8")) if ASKED.exists() else {}
    require_no_network()
    site = site_packages(python)
    chosen = count(plan, asked) if what != "configure" else jobs.Jobs(ordinary=1, heavy=1, reason="nothing is compiled")
    cross_links()
    lay_out(plan, site)
    env = environment(plan, site, asked)
    timed("configure", lambda: configure(plan, chosen, env))
    OUT.mkdir()
    if what == "configure":
        shutil.copyfile(BUILD / "compile_commands.json", OUT / "compile_commands.json")
        return
    timed("compile", lambda: compile_all(objects or plan["targets"], chosen, env))
    if what == "objects":
        for path in objects:
            (OUT / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(BUILD / path, OUT / path)
        return
    tell("cache", {"hits": 0, "misses": 0, "off": True} if asked.get("cold") else cache_figures(env))
    tell("ninja-log", (BUILD / ".ninja_log").read_text(encoding="utf-8"))
    for target in plan["targets"]:
        before = files_below(OUT / "files")
        run([CMAKE / "bin" / "cmake", "--install", BUILD, "--prefix", OUT / "files", "--component", target], env)
        if files_below(OUT / "files") == before:
            raise SystemExit(f"{target} installs nothing: it has no component of that name")
    figures = {path: examine(OUT / "files" / path) for path in files_below(OUT / "files")}
    tell("libraries", figures)
    (OUT / "native.json").write_text(json.dumps(figures, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def tell(what: str, said: Any) -> None:
    print(f"LANE {json.dumps({what: said}, sort_keys=True)}", flush=True)


def timed(what: str, work: Any) -> None:
    """Do one part and tell what it took, in seconds of the clock and of processors."""
    clock, before = time.monotonic(), processor_seconds()
    work()
    tell(what, {"seconds": round(time.monotonic() - clock, 1), "cpu": round(processor_seconds() - before, 1)})


def processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def require_no_network() -> None:
    """End where a packet could leave this step: it is to fetch nothing, and that is no matter of what CMake is told."""
    for family, address in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):  # RFC 5737, RFC 3849
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((address, 9))  # looks for a route, and sends nothing
            raise SystemExit("this step has a network, and must not have one")
    tell("network", "none")


def count(plan: Mapping[str, Any], asked: Mapping[str, Any]) -> jobs.Jobs:
    """How many compilers may run here. Ends with the numbers where not even one may."""
    cores = len(os.sched_getaffinity(0))
    try:
        chosen = jobs.plan(jobs.memory(), cores, heavy=bool(plan["heavy"]), wished=asked.get("jobs", 0))
    except jobs.NoRoomError as error:
        tell("no-room", str(error))
        raise SystemExit(f"there is not enough memory to compile: {error}") from error
    tell("jobs", asdict(chosen))
    return chosen


# Sources


def lay_out(plan: Mapping[str, Any], site: Path) -> None:
    """Bring everything to its fixed place: nvcc names anonymous namespaces by the path of their source."""
    shutil.copytree(SOURCE, TREE / plan["component"], symlinks=True)
    for name in plan["externals"]:
        if not any((DEPS / name).iterdir()):
            raise SystemExit(f"the external source {name} is empty")
        shutil.copytree(DEPS / name, dependency(name), symlinks=True)
    for name, files in plan["stubs"].items():
        for path, text in files.items():
            target = dependency(name) / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
    shutil.copyfile(Path(sys.argv[1]) / "hook.cmake", TREE / "hook.cmake")
    toolkit(site / TOOLKIT)
    shim(site)


def cross_links() -> None:
    """Where a cross compiler looks for headers, start files and libraries, the image's own: those of a native one."""
    if not CROSS.is_dir():
        return
    version = max(os.listdir("/usr/include/c++"))
    links = {
        Path("/usr/lib/gcc-cross/aarch64-linux-gnu"): "/usr/lib/gcc/aarch64-linux-gnu",
        Path("/usr/aarch64-linux-gnu/lib"): "/usr/lib/aarch64-linux-gnu",
        Path("/usr/aarch64-linux-gnu/include/c++"): "/usr/include/c++",
        Path(f"/usr/include/c++/{version}/aarch64-linux-gnu"): f"/usr/include/aarch64-linux-gnu/c++/{version}",
    }
    for link, to in links.items():
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(to)


def dependency(name: str) -> Path:
    """Where FetchContent looks for a source that is there already (FETCHCONTENT_BASE_DIR)."""
    return TREE / "deps" / f"{name}-src"


def toolkit(home: Path) -> None:
    """Names that a linker looks for and the toolkit's wheels lack, as in the image (``ours.py``)."""
    (home / "lib64").symlink_to("lib")
    (home / "lib" / "stubs").mkdir()
    shutil.copyfile(STUB, home / "lib" / "stubs" / "libcuda.so")
    for name in sorted(os.listdir(home / "lib")):
        plain = re.sub(r"\.so\.[0-9.]+$", ".so", name)
        if plain != name and not os.path.lexists(home / "lib" / plain):
            (home / "lib" / plain).symlink_to(name)


def shim(site: Path) -> None:
    """A torch that answers what a configure asks of it: importing the real one takes minutes under emulation.

    Both answers are read off the installed torch, and an error where they are not there to be read.
    """
    prefix = site / "torch" / "share" / "cmake"
    if not (prefix / "Torch" / "TorchConfig.cmake").is_file():
        raise SystemExit(f"torch has no {prefix}/Torch/TorchConfig.cmake")
    parsed = ast.parse((site / "torch" / "utils" / "cpp_extension.py").read_text(encoding="utf-8"))
    flags = [
        ast.literal_eval(node.value)
        for node in parsed.body
        if isinstance(node, ast.Assign) and [getattr(t, "id", "") for t in node.targets] == ["COMMON_NVCC_FLAGS"]
    ]
    if len(flags) != 1:
        raise SystemExit("torch/utils/cpp_extension.py does not state COMMON_NVCC_FLAGS once")
    package = SHIM / "torch"
    (package / "utils").mkdir(parents=True)
    (package / "__init__.py").write_text("from . import utils\n", encoding="utf-8")
    (package / "utils" / "__init__.py").write_text(f"cmake_prefix_path = {os.fspath(prefix)!r}\n", encoding="utf-8")
    (package / "utils" / "cpp_extension.py").write_text(f"COMMON_NVCC_FLAGS = {flags[0]!r}\n", encoding="utf-8")


# CMake


def environment(plan: Mapping[str, Any], site: Path, asked: Mapping[str, Any]) -> dict[str, str]:
    """What CMake and the compilers find: nothing of the machine but its speed."""
    home = os.fspath(site / TOOLKIT)
    return {
        **begin(),
        "PATH": f"{home}/bin:{CMAKE}/bin:/usr/bin:/bin",
        "HOME": "/mnt",
        "PYTHONPATH": f"{SHIM}:{TOOLS}",
        "CUDA_HOME": home,
        "CUDACXX": f"{home}/bin/nvcc",
        "CC": COMPILER.format("gcc", plan["gcc"]),
        "CXX": COMPILER.format("g++", plan["gcc"]),
        "CUDAHOSTCXX": COMPILER.format("g++", plan["gcc"]),
        "CXXFLAGS": f"-ffile-prefix-map={TREE}=.",
        "SOURCE_DATE_EPOCH": os.environ["LAYER_TIME"],  # what GCC takes for the date of a build
        "NVCC_APPEND_FLAGS": "-objtemp",  # names of temporary files after the object, not after a process id
        "TORCH_CUDA_ARCH_LIST": plan["architectures"],
        "VLLM_TARGET_DEVICE": "cuda",
        "CCACHE_DIR": os.fspath(CCACHE),
        "CCACHE_CONFIGPATH": os.fspath(TREE / "ccache.conf"),  # is not there: nothing but what is said here counts
        "CCACHE_COMPILERCHECK": "content",
        "CCACHE_MAXSIZE": "10G",
        "CCACHE_STATSLOG": os.fspath(TREE / "ccache.log"),
        **({"CCACHE_DISABLE": "1"} if asked.get("cold") else {}),  # it reads each file's headers once more, to name it
    }


def configure(plan: Mapping[str, Any], chosen: jobs.Jobs, env: Mapping[str, str]) -> None:
    """CMake's configure of the whole project, which may fetch nothing."""
    launcher = [f"{COMPILE}/ld.so", "--library-path", f"{COMPILE}/lib.native", f"{COMPILE}/usr/bin/ccache"]
    defined = {
        "CMAKE_BUILD_TYPE": "Release",
        "CMAKE_EXPORT_COMPILE_COMMANDS": "ON",
        "CMAKE_MAKE_PROGRAM": "/usr/bin/ninja",
        f"CMAKE_PROJECT_{plan['project']}_INCLUDE": os.fspath(TREE / "hook.cmake"),
        **{f"CMAKE_{language}_COMPILER_LAUNCHER": ";".join(launcher) for language in ("CXX", "CUDA")},
        "FETCHCONTENT_BASE_DIR": os.fspath(TREE / "deps"),
        "FETCHCONTENT_FULLY_DISCONNECTED": "ON",
        "VLLM_PYTHON_EXECUTABLE": os.path.realpath("/usr/bin/python3"),
        "NVCC_THREADS": "1",
        "LANE_DROP_SOURCES": ";".join(f"{rule['target']}={rule['sources']}" for rule in plan["drop"]),
        "LANE_EMPTY_TARGETS": ";".join(plan["empty"]),
        "LANE_HEAVY_TARGETS": ";".join(plan["heavy"]),
        "LANE_JOBS": chosen.ordinary,
        "LANE_HEAVY_JOBS": max(1, chosen.heavy),
        **plan["define"],
    }
    command = [
        CMAKE / "bin" / "cmake", "-S", TREE / plan["component"], "-B", BUILD, "-G", "Ninja",
        *(f"-D{name}={value}" for name, value in defined.items()),
    ]  # fmt: skip
    said = []
    with subprocess.Popen(
        [os.fspath(part) for part in command], env=env, cwd=TREE, text=True, errors="replace",
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            said.append(line.rstrip())
    if process.returncode:
        first = next((number for number, line in enumerate(said) if line.startswith("CMake Error")), len(said) - TAIL)
        tell("unconfigured", said[max(0, first) :][:TAIL])
        raise SystemExit(f"cmake ended with {process.returncode}")
    if not (BUILD / "lane_applied").exists():
        why = f"no project() is called {plan['project']} (native.project), so that no rule was applied"
        tell("unconfigured", [why])
        raise SystemExit(why)


def compile_all(wanted: Sequence[str], chosen: jobs.Jobs, env: Mapping[str, str]) -> None:
    """Compile and link the targets; a failure ends with the one file that failed, and how to try it again."""
    command = ["/usr/bin/ninja", "-C", os.fspath(BUILD), "-j", str(chosen.ordinary), *wanted]
    fault = ninja.run(command, BUILD, env, say=lambda text: tell("says", text), every=30.0)
    if fault is not None:
        tell("fault", asdict(fault))
        raise SystemExit(ninja.explain(fault, chosen.ordinary))


def run(command: Sequence[Any], env: Mapping[str, str]) -> None:
    done = subprocess.run([os.fspath(part) for part in command], check=False, env=env, cwd=TREE)
    if done.returncode:
        raise SystemExit(f"{Path(os.fspath(command[0])).name} ended with {done.returncode}")


def cache_figures(env: Mapping[str, str]) -> dict[str, int]:
    """Hits and misses of ccache in this step, from its own log of results (CCACHE_STATSLOG)."""
    lines = Path(env["CCACHE_STATSLOG"])
    said = lines.read_text(encoding="utf-8").splitlines() if lines.exists() else []
    return {
        "hits": sum(line in ("direct_cache_hit", "preprocessed_cache_hit") for line in said),
        "misses": said.count("cache_miss"),
    }


# What was made


def files_below(root: Path) -> list[str]:
    return sorted(
        os.path.relpath(os.path.join(folder, name), root) for folder, _, names in os.walk(root) for name in names
    )


def examine(path: Path) -> dict[str, Any]:
    """What a library is; an error where it is none for aarch64, or tells where or by which process it was made."""
    data = path.read_bytes()
    if path.suffix != ".so":
        return {"bytes": len(data)}
    if data[:4] != b"\x7fELF" or int.from_bytes(data[18:20], "little") != AARCH64:
        raise SystemExit(f"{path} is no library for aarch64")
    for trace in TRACES:
        if trace in data:
            raise SystemExit(f"{path} holds the name of a temporary file: {trace.decode()}")
    return {"bytes": len(data), "code": sorted({str(code) for code in device_code(os.fspath(path))})}


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], "".join(sys.argv[3:4]), sys.argv[4:])
