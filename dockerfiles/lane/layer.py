"""What every step does to a tree before it becomes a layer: one mode, one owner, one time, no foreign leftovers.

The steps run in the image's own root file system, so that what a step adds is the layer itself and nothing is
copied; their programs come from the builder root, mounted at /mnt/builder, and run by its own dynamic loader.
"""

from __future__ import annotations

import importlib.util
import os
import stat
import subprocess
from collections.abc import Collection
from pathlib import Path

# The constants of every build, as the Dockerfile's ARG sets them (build/determinism.py): none has a default here.
CONSTANTS = ("LANG", "LC_ALL", "PYTHONDONTWRITEBYTECODE", "PYTHONHASHSEED", "TZ")

ROOT = Path("/opt")  # all that the steps add is below it, but for /cache (ours.py)
VENV = ROOT / "venv"
SPARK = ROOT / "spark"
RELEASED = SPARK / "released"  # dist-info of patched distributions, as their wheels have it
COMPILED = SPARK / "compiled.json"  # the files that a native build made, below site-packages
LEFT_OUT = SPARK / "left-out"  # what of each layer's wheels is not in the image

BUILDER = Path("/mnt/builder")
NATIVE = [f"{BUILDER}/ld.so", "--library-path", f"{BUILDER}/lib.native"]


def begin() -> dict[str, str]:
    """Take on the umask of every build; the environment for programs that a step runs. An error without constants."""
    os.umask(int(os.environ["UMASK"], 8))
    return {name: os.environ[name] for name in CONSTANTS}


def site_packages(python: str) -> Path:
    """Where the venv of a Python version like ``3.13`` keeps its packages."""
    return VENV / "lib" / f"python{python}" / "site-packages"


def entries(root: Path = ROOT) -> set[str]:
    """Every path below ``root``, to be compared with what is there after a step."""
    return {os.path.join(folder, name) for folder, folders, files in os.walk(root) for name in [*folders, *files]}


def cache_of(source: str) -> str:
    """Where Python looks for the bytecode of a source (PEP 3147); the builder's Python is of the image's version."""
    return importlib.util.cache_from_source(source, optimization="")


def compile_all(sources: list[str]) -> None:
    """Compile sources in a process with nothing else in it (``bytecompile.py`` says why), by the builder's Python."""
    program = os.path.join(os.path.dirname(__file__), "bytecompile.py")
    command = [*NATIVE, f"{BUILDER}/usr/bin/python3", "-I", "-S", "-B", program]
    subprocess.run(command, check=True, input="\n".join(sources).encode())


def settle(added: Collection[str], bytecode: Collection[str] = ()) -> None:
    """Give everything that a step added below /opt mode u=rwX,go=rX and the one time, and so the folders around it.

    What was there before is not touched: touching would copy it into this layer. A step that installs says what it
    added by :func:`entries` before and after; one that writes a few files names them, since walking over an image's
    100,000 files twice took most of its second. Bytecode is an error, but that which the step was to make.
    """
    if strays := sorted(path for path in added if path.endswith(".pyc") and path not in bytecode):
        raise SystemExit(f"bytecode in a layer: {strays[0]}")
    moment = int(os.environ["LAYER_TIME"])
    around: set[str] = set()  # plain strings: with Path objects this took half as long as the installing itself
    for path in added:
        folder = os.path.dirname(path)
        while folder not in around and folder.startswith(os.fspath(ROOT)):
            around.add(folder)
            folder = os.path.dirname(folder)
    for path in sorted({*added, *around}, reverse=True):
        mode = os.lstat(path).st_mode
        wanted = 0o755 if stat.S_ISDIR(mode) or mode & 0o100 else 0o644
        if not stat.S_ISLNK(mode) and stat.S_IMODE(mode) != wanted:
            os.chmod(path, wanted)
        os.utime(path, (moment, moment), follow_symlinks=False)
