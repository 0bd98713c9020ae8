"""A layer over an installed distribution: its patched files, and a dist-info that is true of it.

Usage: patched.py PATCHED_FOLDER DISTRIBUTION PYTHON LOCAL_VERSION. PATCHED_FOLDER holds ``files/`` at their installed
paths and ``patched.json``: the patched ``paths``, and ``requires``, the requirements that the series changes as
[as METADATA has it, to write instead] (an empty one is no line), and whether it is the one that was ``compiled``: its
libraries enter its RECORD too. The dist-info comes from /opt/spark/released.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import os
import re
import shutil
import sys
from pathlib import Path

sys.path.insert(0, os.path.dirname(__file__))

from layer import COMPILED, RELEASED, begin, entries, settle, site_packages

REQUIRES = "Requires-Dist: "


def main(folder: Path, name: str, python: str, local: str) -> None:
    site = site_packages(python)
    patched = json.loads((folder / "patched.json").read_text(encoding="utf-8"))
    for path in patched["paths"]:
        (site / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / "files" / path, site / path)
    made = sorted(json.loads(COMPILED.read_text(encoding="utf-8"))) if patched["compiled"] else []
    info = relabel(site, RELEASED / name, [*patched["paths"], *made], patched["requires"], local)
    settle({os.fspath(info), *entries(info), *(os.fspath(site / path) for path in patched["paths"])})


def relabel(site: Path, source: Path, paths: list[str], requires: list[list[str]], local: str) -> Path:
    """Ship a distribution's dist-info under its patched version and requirements, its RECORD true; the folder."""
    metadata = required((source / "METADATA").read_text(encoding="utf-8"), requires)
    name = field(metadata, "Name")
    version = field(metadata, "Version")
    patched = f"{version}{'.' if '+' in version else '+'}{local}"
    old, new = (f"{re.sub('[-_.]+', '_', name).lower()}-{v}.dist-info" for v in (version, patched))
    info = site / new
    shutil.copytree(source, info)
    (info / "METADATA").write_text(
        re.sub(r"(?m)^Version: .*$", f"Version: {patched}", metadata, count=1), encoding="utf-8"
    )
    rows = {row[0]: row for row in csv.reader(io.StringIO((source / "RECORD").read_text(encoding="utf-8")))}
    moved = {path.replace(f"{old}/", f"{new}/", 1): row[1:] for path, row in rows.items()}
    if not any(path.startswith(f"{new}/") for path in moved):
        raise SystemExit(f"{old} is not the dist-info that RECORD names")
    for path in [*paths, f"{new}/METADATA"]:
        content = (site / path).read_bytes()
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        moved[path] = [f"sha256={digest}", str(len(content))]
    with open(info / "RECORD", "w", encoding="utf-8", newline="") as stream:
        csv.writer(stream, lineterminator="\n").writerows([path, *rest] for path, rest in sorted(moved.items()))
    return info


def required(metadata: str, changes: list[list[str]]) -> str:
    """METADATA with other requirements. Each line that changes is there exactly once, or it is an error."""
    if not changes:
        return metadata
    head, blank, body = metadata.partition("\n\n")
    lines = head.split("\n")
    instead: dict[int, str] = {}
    for old, new in changes:
        found = [n for n, line in enumerate(lines) if line.startswith(REQUIRES) and " ".join(line.split()[1:]) == old]
        if old and len(found) != 1:
            raise SystemExit(f"METADATA has {len(found)} lines '{REQUIRES}{old}' and not one")
        instead |= dict.fromkeys(found, new)
    lines = [REQUIRES + instead[n] if instead.get(n) else line for n, line in enumerate(lines) if instead.get(n) != ""]
    added = [REQUIRES + new for old, new in changes if not old]
    return "\n".join([*lines, *added]) + blank + body


def field(metadata: str, name: str) -> str:
    """A single-line header of METADATA (core metadata specification)."""
    found = re.search(rf"(?m)^{name}: (.*)$", metadata)
    if found is None:
        raise SystemExit(f"METADATA has no {name}")
    return found.group(1).strip()


if __name__ == "__main__":
    begin()
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4])
