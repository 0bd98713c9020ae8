"""The last layer: what the image says of itself, with the files that are in no RECORD.

Usage: manifest.py MANIFEST. It changes with every patch, and is small.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

sys.path.insert(0, os.path.dirname(__file__))

from layer import SPARK, begin, settle


def main(manifest: Path) -> None:
    said = json.loads(manifest.read_text(encoding="utf-8"))
    said["own"] = json.loads((SPARK / "own.json").read_text(encoding="utf-8"))
    written = SPARK / "manifest.json"
    written.write_text(json.dumps(said, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    settle({os.fspath(written)})


if __name__ == "__main__":
    begin()
    main(Path(sys.argv[1]))
