"""Lay out what is ours in the image: the venv's own files, the manifest, the checks, links that the wheels lack.

Usage: ours.py IMAGE_FOLDER MANIFEST PYTHON [CUDA_LAYER STUB]. IMAGE_FOLDER is dockerfiles/image; CUDA_LAYER is the
tree of the layer that holds the toolkit; STUB the compiled driver stub. Leaves /out.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from pathlib import Path

sys.path.insert(0, os.path.dirname(__file__))

from layer import VENV, normalise, site_packages

OUT = Path("/out")
HOME = Path("/opt/spark")
TOOLKIT = Path("nvidia/cu13")  # where NVIDIA's CUDA 13 wheels put bin, include, lib and nvvm


def main(image: Path, manifest: Path, python: str, cuda: Path | None, stub: Path | None) -> None:
    venv(python)
    home = OUT / HOME.relative_to("/")
    shutil.copytree(image, home, ignore=shutil.ignore_patterns("__pycache__"))
    own = toolkit(python, cuda, stub) if cuda and stub else []
    said = json.loads(manifest.read_text(encoding="utf-8"))
    said["own"] = sorted(own)
    (home / "manifest.json").write_text(json.dumps(said, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    normalise(OUT)


def venv(python: str) -> None:
    """A venv is a pyvenv.cfg and links to the interpreter (PEP 405)."""
    root = OUT / VENV.relative_to("/")
    (root / "bin").mkdir(parents=True)
    (root / "pyvenv.cfg").write_text(
        f"home = /usr/bin\ninclude-system-site-packages = false\nversion = {python}\n", encoding="utf-8"
    )
    (root / "lib64").symlink_to("lib")
    (root / "bin" / "python").symlink_to(f"/usr/bin/python{python}")
    for name in ("python3", f"python{python}"):
        (root / "bin" / name).symlink_to("python")


def toolkit(python: str, layer: Path, stub: Path) -> list[str]:
    """What a linker looks for and the toolkit's wheels lack: lib64, unversioned names, the driver stub.

    Returns the paths, below site-packages, that no RECORD lists.
    """
    site = site_packages(python).relative_to("/")
    there = layer / site / TOOLKIT
    here = OUT / site / TOOLKIT
    (here / "lib" / "stubs").mkdir(parents=True)
    (here / "lib64").symlink_to("lib")
    shutil.copyfile(stub, here / "lib" / "stubs" / "libcuda.so")
    own = [TOOLKIT / "lib64", TOOLKIT / "lib" / "stubs" / "libcuda.so"]
    for name in sorted(os.listdir(there / "lib")):
        plain = re.sub(r"\.so\.[0-9.]+$", ".so", name)
        link = here / "lib" / plain
        if plain != name and not (there / "lib" / plain).exists() and not link.is_symlink():
            link.symlink_to(name)
            own.append(TOOLKIT / "lib" / plain)
    return [os.fspath(path) for path in own]


if __name__ == "__main__":
    os.umask(0o022)
    rest = [Path(argument) for argument in sys.argv[4:]]
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], *(rest or [None, None]))
