"""Install one layer's wheels for aarch64 without running any of their code; leave /out, a tree ready to be a layer.

Usage: install.py PLAN_FOLDER PYTHON PLATFORM. PLAN_FOLDER holds ``plan.json`` and the wheels. The dist-info of a
distribution that a series patches goes to /meta instead: it ships with the patched files.
"""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, os.path.dirname(__file__))

from layer import VENV, normalise, site_packages

CACHE = Path("/cache")
OUT = Path("/out")
META = Path("/meta")


def main(folder: Path, python: str, platform: str) -> None:
    plan = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
    uv("venv", "--python", "/usr/bin/python3", VENV)
    before = files(VENV)
    for step in plan["steps"]:
        install(step, folder, python, platform)
    site = site_packages(python)
    tidy(site)
    for path in plan["drop"]:
        (site / path).unlink()
    for name, paths in plan["disown"].items():
        disown(dist_info(site, name), set(paths))
    for name in plan["defer"]:
        META.mkdir(exist_ok=True)
        shutil.move(dist_info(site, name), META / name)
    publish(before)


def uv(*arguments: Any) -> None:
    """uv without any configuration, network or interpreter but ours."""
    subprocess.run(
        ["uv", "--no-config", "--offline", "--no-python-downloads", "--cache-dir", CACHE, "--quiet", *arguments],
        check=True,
        env={"PATH": "/usr/local/bin:/usr/bin", "HOME": "/tmp", "TZ": "UTC", "LC_ALL": "C"},  # noqa: S108
    )


def install(step: list[dict[str, str]], folder: Path, python: str, platform: str) -> None:
    """One ``uv pip install`` of exact, hashed wheels from the folder."""
    requirements = Path("/requirements.txt")
    requirements.write_text(
        "".join(f"{w['name']}=={w['version']} --hash=sha256:{w['sha256']}\n" for w in step), encoding="utf-8"
    )
    uv(
        "pip", "install", "--python", VENV / "bin" / "python", "--python-version", python,
        "--python-platform", platform, "--no-index", "--find-links", folder, "--no-deps", "--require-hashes",
        "--link-mode", "hardlink", "--requirements", requirements,
    )  # fmt: skip
    requirements.unlink()


def files(root: Path) -> set[Path]:
    return {Path(folder) / name for folder, folders, names in os.walk(root) for name in [*names, *folders]}


def tidy(site: Path) -> None:
    """Drop what uv leaves for itself: its lock, and notes of its own cache."""
    (VENV / ".lock").unlink(missing_ok=True)
    for note in site.glob("*.dist-info/uv_cache.json"):
        note.unlink()
        disown(note.parent, {f"{note.parent.name}/{note.name}"})


def dist_info(site: Path, name: str) -> Path:
    """The dist-info folder of a distribution (names compared as in PEP 503)."""
    for folder in site.glob("*.dist-info"):
        if folder.name.split("-")[0].replace("_", "-").replace(".", "-").lower() == name:
            return folder
    raise SystemExit(f"{name} was not installed")


def disown(info: Path, paths: set[str]) -> None:
    """Take paths out of a RECORD: another distribution's bytes are there."""
    record = info / "RECORD"
    rows = [row for row in csv.reader(io.StringIO(record.read_text(encoding="utf-8"))) if row[0] not in paths]
    with open(record, "w", encoding="utf-8", newline="") as stream:
        csv.writer(stream, lineterminator="\n").writerows(rows)


def publish(before: set[Path]) -> None:
    """Move what was installed to /out and normalise it; the venv's own files belong to another layer."""
    shutil.rmtree(CACHE)
    kept = {VENV, *(parent for path in files(VENV) - before for parent in path.parents)}
    for path in sorted(before - kept, reverse=True):
        if path.is_dir() and not path.is_symlink():
            if not any(path.iterdir()):
                path.rmdir()
        else:
            path.unlink()
    target = OUT / VENV.relative_to("/")
    target.parent.mkdir(parents=True)
    VENV.rename(target)
    normalise(OUT)
    if META.exists():
        normalise(META)


if __name__ == "__main__":
    os.umask(0o022)
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
