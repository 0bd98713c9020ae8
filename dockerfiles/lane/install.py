"""Install one layer's wheels for aarch64 into /opt/venv without running any of their code.

Usage: install.py PLAN_FOLDER PYTHON PLATFORM. PLAN_FOLDER holds ``plan.json`` and the wheels. The dist-info of a
distribution that a series patches goes to /opt/spark/released instead: a true one ships with the patched files. What
the plan leaves out is deleted again, and listed in /opt/spark/left-out/LAYER.json: its size, the device code in it.
"""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, os.path.dirname(__file__))

from fatbin import device_code
from layer import (
    BUILDER,
    LEFT_OUT,
    NATIVE,
    RELEASED,
    VENV,
    begin,
    cache_of,
    compile_all,
    entries,
    settle,
    site_packages,
)

CACHE = VENV / ".uv"  # on the venv's own file system: uv links from it

# uv asks an interpreter where things go. This is the builder's, posing as the venv's: the image's own would need
# emulation on a foreign machine. A script, as the kernel cannot start a program whose loader is elsewhere.
INTERPRETER = f"""#!{NATIVE[0]} {BUILDER}/usr/bin/python3
import os, sys
os.execv({NATIVE[0]!r}, [*{NATIVE!r}, "--argv0", "{VENV}/bin/python", "{BUILDER}/usr/bin/python3", *sys.argv[1:]])
"""


def main(folder: Path, python: str, platform: str, env: Mapping[str, str]) -> None:
    plan = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
    before = entries()
    own = pose(python)
    for step in plan["steps"]:
        install(step, folder, python, platform, env)
    site = site_packages(python)
    for path in [*own, VENV / ".lock"]:
        path.unlink(missing_ok=True)
    for path in site.glob("*.dist-info/uv_cache.json"):  # times of files of this build
        path.unlink()
        disown(path.parent, {f"{path.parent.name}/{path.name}"})
    shutil.rmtree(CACHE)
    for name, paths in plan["disown"].items():
        disown(dist_info(site, name), set(paths))
    if plan["left_out"]:
        gone = leave_out(site, plan["left_out"])
        LEFT_OUT.mkdir(parents=True, exist_ok=True)
        text = ",\n".join(f"{json.dumps(path)}: {json.dumps(said)}" for path, said in sorted(gone.items()))
        (LEFT_OUT / f"{plan['name']}.json").write_text(f"{{{text}}}\n", encoding="utf-8")
    sources = [os.fspath(site / path) for path in plan["bytecode"]]
    if sources:
        compile_all(sources)
    for name in plan["defer"]:
        RELEASED.mkdir(parents=True, exist_ok=True)
        dist_info(site, name).rename(RELEASED / name)
    settle(entries() - before, {cache_of(source) for source in sources})


def pose(python: str) -> list[Path]:
    """Make /opt/venv look like a venv of the builder's Python (PEP 405); the files that are to go again."""
    interpreter = VENV / "bin" / "python"
    config = VENV / "pyvenv.cfg"
    interpreter.parent.mkdir(parents=True, exist_ok=True)
    site_packages(python).mkdir(parents=True, exist_ok=True)
    interpreter.write_text(INTERPRETER, encoding="utf-8")
    interpreter.chmod(0o755)
    config.write_text(f"home = {BUILDER}/usr/bin\ninclude-system-site-packages = false\n", encoding="utf-8")
    return [interpreter, config]


def install(step: list[dict[str, str]], folder: Path, python: str, platform: str, env: Mapping[str, str]) -> None:
    """One ``uv pip install`` of exact, hashed wheels from the folder."""
    requirements = "".join(f"{w['name']}=={w['version']} --hash=sha256:{w['sha256']}\n" for w in step)
    command: list[Any] = [
        *NATIVE, BUILDER / "usr/local/bin/uv", "--no-config", "--offline", "--no-python-downloads", "--quiet",
        "--cache-dir", CACHE, "pip", "install", "--python", VENV / "bin" / "python", "--python-version", python,
        "--python-platform", platform, "--no-index", "--find-links", folder, "--no-deps", "--require-hashes",
        "--link-mode", "hardlink", "--requirements", "-",
    ]  # fmt: skip
    env = {**env, "HOME": "/mnt", "LD_LIBRARY_PATH": NATIVE[2]}
    subprocess.run(command, check=True, env=env, input=requirements.encode())


def dist_info(site: Path, name: str) -> Path:
    """The dist-info folder of a distribution (names compared as in PEP 503)."""
    for folder in site.glob("*.dist-info"):
        if folder.name.split("-")[0].replace("_", "-").replace(".", "-").lower() == name:
            return folder
    raise SystemExit(f"{name} was not installed")


def disown(info: Path, paths: set[str]) -> None:
    """Take paths out of a RECORD: they are gone, or another distribution's bytes are there."""
    record = info / "RECORD"
    rows = [row for row in csv.reader(io.StringIO(record.read_text(encoding="utf-8"))) if row[0] not in paths]
    with open(record, "w", encoding="utf-8", newline="") as stream:
        csv.writer(stream, lineterminator="\n").writerows(rows)


def leave_out(site: Path, chosen: dict[str, list[str]]) -> dict[str, dict[str, Any]]:
    """Delete files of distributions, their rows in RECORD, and folders that are empty then; what each file was."""
    gone = {}
    for path in sorted({path for paths in chosen.values() for path in paths}):
        code = [str(code) for code in device_code(os.fspath(site / path))]
        gone[path] = {"bytes": (site / path).stat().st_size, **({"code": code} if code else {})}
        (site / path).unlink()
        for folder in (site / path).parents:
            if folder == site or any(folder.iterdir()):
                break
            folder.rmdir()
    for name, paths in chosen.items():
        disown(dist_info(site, name), set(paths))
    return gone


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], begin())
