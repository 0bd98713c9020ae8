"""What is installed is what the manifest says: versions, patched files, and metadata that fits together."""

from __future__ import annotations

import base64
import csv
import hashlib
import os
import re
import subprocess
import sys
import sysconfig
from importlib import import_module, metadata
from pathlib import Path

from .events import Context, Failed, Outcome, Skipped, listed
from .records import read_records

RELEASED = Path("/opt/spark/released")  # dist-info of patched distributions, as their wheels have it


def normal(name: str) -> str:
    """A distribution's name as PEP 503 writes it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def check_versions(context: Context) -> Outcome:
    """Exactly the manifest's distributions in exactly its versions."""
    wanted = {normal(item["name"]): item["version"] for item in context.manifest.get("wheels", [])}
    found = {normal(dist.metadata["Name"]): dist.version for dist in _distributions()}
    faults = [f"{name} {version} is missing" for name, version in wanted.items() if name not in found]
    faults += [f"{name} {version} is not in the manifest" for name, version in found.items() if name not in wanted]
    faults += [
        f"{name} is {found[name]}, the manifest says {version}"
        for name, version in wanted.items()
        if name in found and found[name] != version
    ]
    evidence = {"distributions": len(found), "faults": listed(faults)}
    if faults:
        raise Failed("; ".join(faults[:3]), evidence)
    return Outcome(evidence)


def _distributions() -> list[metadata.Distribution]:
    return list(metadata.distributions(path=[sysconfig.get_path("purelib")]))


def check_patches(context: Context) -> Outcome:
    """Each patched file is the one that the series makes of the released one, and the distribution's version says so.

    The released one is in a layer below, out of reach; its hash is in the RECORD that came with the wheel.
    """
    site = sysconfig.get_path("purelib")
    faults: list[str] = []
    files: dict[str, str] = {}
    for entry in context.manifest.get("patched", []):
        path = os.path.join(site, entry["installed"])
        files[entry["installed"]] = actual = _sha256(path)
        if actual != entry["after"]:
            state = "as released" if actual == entry["before"] else "neither as released nor as patched"
            faults.append(f"{entry['installed']} is {state if actual else 'not there'}")
        if (released := _released(entry["distribution"], entry["installed"])) != entry["before"]:
            faults.append(f"{entry['installed']} was released as {released or 'nothing'}, not as {entry['before']}")
    faults += _unlabelled(site, files)
    evidence = {"files": files, "patches": context.manifest.get("patches", []), "faults": listed(faults)}
    if faults:
        raise Failed("; ".join(faults[:3]), evidence)
    if not files:
        raise Skipped("the target has no patched file")
    return Outcome(evidence)


def _released(distribution: str, path: str) -> str:
    """The hex sha256 of a file as its wheel brought it, from the wheel's own RECORD (PEP 376); empty for none."""
    record = RELEASED / distribution / "RECORD"
    with open(record, encoding="utf-8", newline="") as stream:
        rows = {row[0]: row[1] for row in csv.reader(stream) if len(row) > 1}
    encoded = rows.get(path, "").removeprefix("sha256=")
    return base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).hex()


def _unlabelled(site: str, files: dict[str, str]) -> list[str]:
    """Patched files whose distribution claims the upstream version."""
    claims = read_records(site) if files else {}
    owners = {name for path in files for name, _ in claims.get(os.path.normpath(os.path.join(site, path)), [])}
    versions = {owner: owner[: -len(".dist-info")].partition("-")[2] for owner in sorted(owners)}
    return [
        f"{owner} is patched but its version is {version}" for owner, version in versions.items() if "+" not in version
    ]


def _sha256(path: str) -> str:
    """Hex digest; empty for a file that is not there, as in the manifest."""
    try:
        with open(path, "rb") as stream:
            return hashlib.sha256(stream.read()).hexdigest()
    except FileNotFoundError:
        return ""


def check_metadata(context: Context) -> Outcome:
    """``uv pip check``: what each distribution requires is there. Findings need a reason in the target."""
    if context.uv is None:
        raise Skipped("no uv was mounted into the container")
    environment = {**os.environ, "UV_CACHE_DIR": str(context.scratch / "uv"), "UV_NO_CONFIG": "1"}
    done = subprocess.run(
        [context.uv, "pip", "check", "--offline", "--python", sys.executable],
        env=environment, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    findings = [line for line in lines if line.startswith("The package")]
    if done.returncode not in (0, 1) or (done.returncode == 1 and not findings):
        raise Failed("uv pip check did not run", {"output": lines})
    return Outcome({"output": lines}, findings)


def check_imports_tiny(context: Context) -> Outcome:  # noqa: ARG001 - all checks are called alike
    """The small wheels import and do their work; one of them has compiled code."""
    escaped = str(import_module("markupsafe").escape("<a>"))
    rendered = import_module("jinja2").Template("{{ a + 1 }}").render(a=1)
    speedups = import_module("markupsafe._speedups").__file__
    if escaped != "&lt;a&gt;" or rendered != "2":
        raise Failed("the wheels import but do not work", {"escaped": escaped, "rendered": rendered})
    return Outcome({"rendered": rendered, "compiled module": speedups})
