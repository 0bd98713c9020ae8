"""What every stage does to a tree before it becomes a layer: one mode, one owner, one time, no foreign leftovers.

Runs in the builder root (Debian's Python 3.13, no other packages).
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

# Files in layers carry one fixed time, so that a layer's bytes depend on its content alone and not on the target
# that it is built for: 1980-01-01T00:00:00Z, the least time that a zip archive (and so a wheel) can say.
LAYER_TIME = 315532800

VENV = Path("/opt/venv")


def site_packages(python: str) -> Path:
    """Where the venv of a Python version like ``3.13`` keeps its packages."""
    return VENV / "lib" / f"python{python}" / "site-packages"


def normalise(root: Path) -> None:
    """Give everything below ``root``, and ``root``, mode u=rwX,go=rX and the one time. Bytecode is an error."""
    for folder, folders, files in os.walk(root, topdown=False):
        for name in files + folders:
            path = os.path.join(folder, name)
            if name.endswith(".pyc"):
                raise SystemExit(f"bytecode in a layer: {path}")
            _settle(path)
    _settle(os.fspath(root))


def _settle(path: str) -> None:
    mode = os.lstat(path).st_mode
    if not stat.S_ISLNK(mode):
        executable = stat.S_ISDIR(mode) or mode & 0o100
        os.chmod(path, 0o755 if executable else 0o644)
    os.utime(path, (LAYER_TIME, LAYER_TIME), follow_symlinks=False)
