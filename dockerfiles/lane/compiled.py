"""A layer with compiled libraries, at their places below site-packages.

Usage: compiled.py NATIVE_FOLDER PYTHON. NATIVE_FOLDER is what ``native.py`` made: ``files/`` at their installed paths,
and ``native.json``, which the image keeps: the figures of each file, from which its distribution's RECORD is completed.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

sys.path.insert(0, os.path.dirname(__file__))

from layer import COMPILED, begin, settle, site_packages


def main(folder: Path, python: str) -> None:
    site = site_packages(python)
    added = set()
    for parent, _, names in os.walk(folder / "files"):
        for name in names:
            source = Path(parent, name)
            target = site / source.relative_to(folder / "files")
            if os.path.lexists(target):
                raise SystemExit(f"{target} is there already, from a wheel")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
            added.add(os.fspath(target))
    COMPILED.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(folder / "native.json", COMPILED)
    settle({*added, os.fspath(COMPILED)})


if __name__ == "__main__":
    begin()
    main(Path(sys.argv[1]), sys.argv[2])
