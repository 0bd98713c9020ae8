"""What every step does to a tree before it becomes a layer: one mode, one owner, one time, no foreign leftovers.

The steps run in the image's own root file system, so that what a step adds is the layer itself and nothing is
copied; their programs come from the builder root, mounted at /mnt/builder, and run by its own dynamic loader.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

# Files in layers carry one fixed time, so that a layer's bytes depend on its content alone and not on the target
# that it is built for: 1980-01-01T00:00:00Z, the least time that a zip archive (and so a wheel) can say.
LAYER_TIME = 315532800

ROOT = Path("/opt")  # all that the steps add is below it
VENV = ROOT / "venv"
SPARK = ROOT / "spark"
RELEASED = SPARK / "released"  # dist-info of patched distributions, as their wheels have it

BUILDER = Path("/mnt/builder")
NATIVE = [f"{BUILDER}/ld.so", "--library-path", f"{BUILDER}/lib.native"]


def site_packages(python: str) -> Path:
    """Where the venv of a Python version like ``3.13`` keeps its packages."""
    return VENV / "lib" / f"python{python}" / "site-packages"


def entries(root: Path = ROOT) -> set[str]:
    """Every path below ``root``, to be compared with what is there after a step."""
    return {os.path.join(folder, name) for folder, folders, files in os.walk(root) for name in [*folders, *files]}


def settle(before: set[str]) -> None:
    """Give everything that was added below /opt mode u=rwX,go=rX and the one time, and so the folders around it.

    What was there before is not touched: touching would copy it into this layer. Bytecode is an error.
    """
    added = entries() - before
    if bytecode := sorted(path for path in added if path.endswith(".pyc")):
        raise SystemExit(f"bytecode in a layer: {bytecode[0]}")
    around: set[str] = set()  # plain strings: with Path objects this took half as long as the installing itself
    for path in added:
        folder = os.path.dirname(path)
        while folder not in around and folder.startswith(os.fspath(ROOT)):
            around.add(folder)
            folder = os.path.dirname(folder)
    for path in sorted(added | around, reverse=True):
        mode = os.lstat(path).st_mode
        wanted = 0o755 if stat.S_ISDIR(mode) or mode & 0o100 else 0o644
        if not stat.S_ISLNK(mode) and stat.S_IMODE(mode) != wanted:
            os.chmod(path, wanted)
        os.utime(path, (LAYER_TIME, LAYER_TIME), follow_symlinks=False)
