"""The last layer: what the image says of itself, with the files that are in no RECORD; and the profiles for it.

Usage: manifest.py MANIFEST [PROFILES]. It changes with every patch, and is small: so a profile costs no layer but this.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

sys.path.insert(0, os.path.dirname(__file__))

from layer import SPARK, begin, settle


def main(manifest: Path, profiles: Path | None) -> None:
    said = json.loads(manifest.read_text(encoding="utf-8"))
    said["own"] = json.loads((SPARK / "own.json").read_text(encoding="utf-8"))
    written = SPARK / "manifest.json"
    written.write_text(json.dumps(said, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    added = {os.fspath(written)}
    if profiles is not None:
        (SPARK / "profiles").mkdir()
        added.add(os.fspath(SPARK / "profiles"))
        for path in sorted(profiles.iterdir()):
            added.add(os.fspath(shutil.copyfile(path, SPARK / "profiles" / path.name)))
    settle(added)


if __name__ == "__main__":
    begin()
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None)
