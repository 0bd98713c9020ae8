"""Bytecode in the venv is that of the sources beside it, whatever machine compiled it.

That of a patched file is the released one's: it lies in the layer below, Python sees that it is of another source and
compiles the file when it is imported. New bytecode would double what a patch costs to pull.

A .pyc file (PEP 552): 4 bytes magic, 4 bytes flags (3: compared with the source's hash whenever it is imported), 8
bytes of that hash, then the code.
"""

from __future__ import annotations

import importlib.util
import os
import struct
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

from .events import Context, Outcome, Skipped, listed

CHECKED = 3
OTHER = "is of another source"
SAMPLE = 200  # sources that are compiled again, by the image's own Python


def check_bytecode(context: Context) -> Outcome:
    """Findings: bytecode of another source or Python, or none at all where the target has it compiled.

    A sample, the same each time, is compiled again and compared to the byte: what compiled it ran on another machine.
    """
    site = Path(sysconfig.get_path("purelib"))
    found = sorted(path for path in site.rglob("*.pyc") if path.parent.name == "__pycache__")
    strays = sorted(set(site.rglob("*.pyc")) - set(found))
    findings = [f"{path.relative_to(site)} is bytecode without a source" for path in strays]
    patched = {os.fspath(site / entry["installed"]) for entry in context.manifest.get("patched", [])}
    outdated = [path for path in found if _fault(path) == OTHER and os.fspath(_source(path)) in patched]
    faults = {path: fault for path in found if path not in outdated and (fault := _fault(path))}
    findings += [f"{path.relative_to(site)} {fault}" for path, fault in faults.items()]
    declared = context.manifest.get("bytecode", [])
    if declared and not found:
        findings.append("the target has modules compiled, and there is no bytecode")
    if not declared and found:
        findings.append(f"the target has nothing compiled, and there is bytecode: {found[0].relative_to(site)}")
    if not declared and not findings:
        raise Skipped("the target has nothing compiled")
    sample = found[:: max(1, len(found) // SAMPLE)][:SAMPLE]
    for path in _differing([path for path in sample if path not in faults and path not in outdated], context.scratch):
        findings.append(f"{path.relative_to(site)} is not what this Python makes")
    size = sum(path.stat().st_size for path in found)
    evidence = {"files": len(found), "bytes": size, "compiled again": len(sample), "faults": listed(findings)}
    evidence["of released files that are patched, not run"] = [str(path.relative_to(site)) for path in outdated]
    return Outcome(evidence, findings)


def _fault(path: Path) -> str:
    """What is wrong with the head of a bytecode file."""
    source = _source(path)
    if not source.is_file():
        return "has no source"
    head = path.read_bytes()[:16]
    if path.name != os.path.basename(importlib.util.cache_from_source(str(source), optimization="")):
        return "is for another Python"
    if len(head) < 16 or head[:4] != importlib.util.MAGIC_NUMBER:
        return "is for another Python"
    if struct.unpack_from("<I", head, 4)[0] != CHECKED:
        return "would be run without a look at its source"
    return "" if head[8:] == importlib.util.source_hash(source.read_bytes()) else OTHER


def _source(path: Path) -> Path:
    return path.parent.parent / (path.name.split(".", 1)[0] + ".py")


def _differing(sample: list[Path], scratch: Path) -> list[Path]:
    """The files of bytecode that this Python, in a process with nothing else in it, does not make again."""
    folder = Path(tempfile.mkdtemp(dir=scratch))
    program = os.fspath(Path(__file__).with_name("bytecompile.py"))
    command = [sys.executable, "-I", "-S", "-B", program, os.fspath(folder)]
    subprocess.run(command, check=True, input="\n".join(str(_source(path)) for path in sample).encode())
    made = [folder / f"{number}.pyc" for number in range(len(sample))]
    return [
        path
        for path, again in zip(sample, made)  # noqa: B905 - Python 3.9
        if not again.is_file() or again.read_bytes() != path.read_bytes()
    ]
