"""Add what is ours to the image and does not follow a patch: the venv's own files, the entry point and
the checks, links of the toolkit.

Usage: ours.py IMAGE_FOLDER PYTHON [STUB]. IMAGE_FOLDER is dockerfiles/image; STUB the compiled stub of the CUDA
driver, given where the image has a CUDA toolkit. Leaves the list of links in /opt/spark/own.json.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from pathlib import Path

sys.path.insert(0, os.path.dirname(__file__))

from layer import SPARK, VENV, begin, entries, settle, site_packages

CACHE = Path("/cache")
TOOLKIT = Path("nvidia/cu13")  # where NVIDIA's CUDA 13 wheels put bin, include, lib and nvvm


def main(image: Path, python: str, stub: Path | None) -> None:
    before = entries()
    venv(python)
    shutil.copytree(image, SPARK, dirs_exist_ok=True)
    cache()
    own = toolkit(site_packages(python), stub) if stub else []
    (SPARK / "own.json").write_text(json.dumps(own, indent=1) + "\n", encoding="utf-8")
    settle(entries() - before)


def venv(python: str) -> None:
    """A venv is a pyvenv.cfg and links to the interpreter (PEP 405)."""
    (VENV / "bin").mkdir(parents=True, exist_ok=True)
    (VENV / "pyvenv.cfg").write_text(
        f"home = /usr/bin\ninclude-system-site-packages = false\nversion = {python}\n", encoding="utf-8"
    )
    (VENV / "lib64").symlink_to("lib")
    (VENV / "bin" / "python").symlink_to(f"/usr/bin/python{python}")
    for name in ("python3", f"python{python}"):
        (VENV / "bin" / name).symlink_to("python")


def cache() -> None:
    """A place for a volume of what is compiled at run time. A new volume takes over the mode of the folder below it."""
    CACHE.mkdir()
    CACHE.chmod(0o1777)
    moment = int(os.environ["LAYER_TIME"])
    for path in (CACHE, CACHE.parent):
        os.utime(path, (moment, moment))


def toolkit(site: Path, stub: Path) -> list[str]:
    """What a linker looks for and the toolkit's wheels lack: lib64, unversioned names, the driver stub.

    Returns the paths, below site-packages, that no RECORD lists.
    """
    home = site / TOOLKIT
    stubs = home / "lib" / "stubs"
    stubs.mkdir()
    shutil.copyfile(stub, stubs / "libcuda.so")
    (home / "lib64").symlink_to("lib")
    own = [TOOLKIT / "lib64", TOOLKIT / "lib" / "stubs" / "libcuda.so"]
    for name in sorted(os.listdir(home / "lib")):
        plain = re.sub(r"\.so\.[0-9.]+$", ".so", name)
        if plain != name and not os.path.lexists(home / "lib" / plain):
            (home / "lib" / plain).symlink_to(name)
            own.append(TOOLKIT / "lib" / plain)
    return sorted(os.fspath(path) for path in own)


if __name__ == "__main__":
    begin()
    main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]) if len(sys.argv) > 3 else None)
