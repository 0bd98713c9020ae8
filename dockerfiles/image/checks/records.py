"""What is installed is what the wheels say: each file's hash equals its RECORD's, and no file is nobody's."""

from __future__ import annotations

import base64
import csv
import hashlib
import os
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatch

from .events import Context, Failed, Outcome, listed

CHUNK = 1 << 20

# Files below the venv that no wheel owns, and why. What our build adds beside them the manifest lists as `own`.
ALLOWED = {
    "pyvenv.cfg": "the venv itself",
    ".gitignore": "made with the venv",
    "CACHEDIR.TAG": "made with the venv",
    "lib64": "made with the venv",
    "bin/python*": "the venv's links to the system's Python",
    "bin/activate*": "made with the venv",
    "bin/deactivate*": "made with the venv",
    "bin/pydoc.bat": "made with the venv",
    "lib/python*/site-packages/_virtualenv.*": "made with the venv",
}


def file_digest(path: str, algorithm: str) -> str:
    """A file's digest in the form that RECORD uses: URL-safe base64 without padding."""
    digest = hashlib.new(algorithm)
    with open(path, "rb") as stream:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
    return base64.urlsafe_b64encode(digest.digest()).rstrip(b"=").decode()


def read_records(site: str) -> dict[str, list[tuple[str, str]]]:
    """Each installed path (absolute, normalised) with the distributions that claim it and the hash each gives."""
    claims: dict[str, list[tuple[str, str]]] = {}
    for name in sorted(os.listdir(site)):
        record = os.path.join(site, name, "RECORD")
        if not name.endswith(".dist-info"):
            continue
        if not os.path.exists(record):
            raise Failed(f"{name} has no RECORD")
        with open(record, newline="", encoding="utf-8") as stream:
            for row in csv.reader(stream):
                path = os.path.normpath(os.path.join(site, row[0]))
                claims.setdefault(path, []).append((name, row[1] if len(row) > 1 else ""))
    return claims


def check_record(context: Context) -> Outcome:
    """Hashes every file of every RECORD; a difference, a missing file and a file that is nobody's are findings.

    A wheel may be published with a RECORD that its own files contradict: only then should a target explain one.
    """
    site = sysconfig.get_path("purelib")
    claims = read_records(site)
    with ThreadPoolExecutor(max_workers=2) as pool:  # hashing lets go of the interpreter's lock
        verdicts = list(pool.map(lambda item: _verify(item[0], item[1]), claims.items()))
    faults = [fault for found, _ in verdicts for fault in found]
    own = {os.path.normpath(os.path.join(site, path)) for path in context.manifest.get("own", [])}
    unowned = _unowned({*claims, *own})
    faults += [f"{path} belongs to no distribution" for path in unowned]
    evidence = {
        "distributions": len({name for owners in claims.values() for name, _ in owners}),
        "files": len(claims),
        "bytes hashed": sum(size for _, size in verdicts),
        "owned by several": listed([p for p, owners in claims.items() if len(owners) > 1]),
        "faults": listed(faults),
    }
    return Outcome(evidence, [fault.removeprefix(site + os.sep) for fault in faults])


def _verify(path: str, owners: list[tuple[str, str]]) -> tuple[list[str], int]:
    """What is wrong with one path, and how many bytes were hashed to know it."""
    names = ", ".join(name for name, _ in owners)
    if not os.path.isfile(path):
        return [f"{path} ({names}) is not there"], 0
    expected = {entry for _, entry in owners if entry}
    if not expected:
        if path.endswith((".dist-info/RECORD", ".pyc", ".dist-info/RECORD.jws", ".dist-info/RECORD.p7s")):
            return [], 0
        return [f"{path} ({names}) has no hash in its RECORD"], 0
    actual = {algorithm: file_digest(path, algorithm) for algorithm in {e.split("=", 1)[0] for e in expected}}
    wrong = [e for e in expected if actual[e.split("=", 1)[0]] != e.split("=", 1)[1]]
    return [f"{path} ({names}) is not as in its RECORD"] if wrong else [], os.path.getsize(path)


def _unowned(claims: set[str]) -> list[str]:
    """Files below the venv that nothing claims, less the allowed ones and bytecode of a source that is claimed.

    No installer writes bytecode into a RECORD with a hash: the check `bytecode` looks into it.
    """
    found = []
    for folder, _, files in os.walk(sys.prefix):
        for name in files:
            path = os.path.join(folder, name)
            if path in claims:
                continue
            if name.endswith(".pyc") and _source(path) in claims:
                continue
            if not any(fnmatch(os.path.relpath(path, sys.prefix), pattern) for pattern in ALLOWED):
                found.append(path)
    return sorted(found)


def _source(bytecode: str) -> str:
    folder, name = os.path.split(bytecode)
    return os.path.join(os.path.dirname(folder), name.split(".", 1)[0] + ".py")
