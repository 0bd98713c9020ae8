"""What in an image is ours: ``opt/spark``, the venv's own files, links that the CUDA toolkit's wheels lack.

Made by the steps in ``dockerfiles/lane``: `install.py` (left-out, released), `compiled.py`, `ours.py`, `manifest.py`.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Callable, Mapping
from typing import Any

from build.claims import OURS, Finding, Named, Verdict
from build.imageview import SYMLINK, Seen, View
from build.layertar import FILE
from build.records import COMPILED_LIST, RELEASED, VENV, Rows

SPARK = "opt/spark"
MANIFEST, OWN = f"{SPARK}/manifest.json", f"{SPARK}/own.json"
LEFT_OUT = re.compile(rf"{SPARK}/left-out/[a-z0-9-]+\.json")
# Where nobody says which files they are.
PROGRAMS = re.compile(rf"{SPARK}/((checks|serve)/[a-z0-9_/]+\.py|profiles/[a-z0-9.-]+\.toml)")
TOOLKIT = "nvidia/cu13"
STUB = f"{TOOLKIT}/lib/stubs/libcuda.so"
STUB_BYTES = 1 << 20  # it has names of functions, and no code to speak of


def is_kept(path: str) -> bool:
    """Whether the contents there are needed."""
    return path in (MANIFEST, OWN, f"{VENV}/pyvenv.cfg") or LEFT_OUT.fullmatch(path) is not None


class Ours:
    """What is ours in one image. ``released``: distribution → the rows of its wheel's RECORD, of those patched.

    ``is_wheels``: whether a path is a wheel's. ``findings``, ``missing``: what is wrong beside single paths.
    """

    def __init__(
        self, view: View, named: Named, site: str, released: Mapping[str, Rows], is_wheels: Callable[[str], bool]
    ) -> None:
        self.view = view
        self.named = named
        self.site = site
        self.released = {
            f"{RELEASED}/{name}/{found[1]}": value
            for name, rows in released.items() for path, value in rows.items()
            if (found := re.fullmatch(r"[^/]+\.dist-info/(.+)", path))
        }  # fmt: skip
        self.is_wheels = is_wheels
        self.findings: list[Finding] = []
        self.missing: list[Finding] = []
        self.python = site.split("/")[-2]
        self.links = {
            f"{VENV}/lib64": "lib",
            f"{VENV}/bin/python": f"/usr/bin/{self.python}",
            f"{VENV}/bin/python3": "python",
            f"{VENV}/bin/{self.python}": "python",
        }
        self.own = self._own()
        self._present()

    def of(self, seen: Seen) -> Verdict | None:
        """Whether it is ours; None where not."""
        path = seen.path
        if path in self.links:
            good = seen.kind == SYMLINK and seen.link == self.links[path]
            return Verdict(OURS, compared=True, fault="" if good else f"it should be a link to {self.links[path]}")
        if path in self.own:
            return Verdict(OURS, fault=self._toolkit_fault(seen))
        if seen.kind != FILE:
            return None
        if path == f"{VENV}/pyvenv.cfg":
            good = self.view.text(path) == _config(self.python)
            return Verdict(OURS, compared=True, fault="" if good else "it does not say what ours does")
        return self._of_spark(seen) if path.startswith(f"{SPARK}/") else None

    def _of_spark(self, seen: Seen) -> Verdict | None:
        path = seen.path
        if self.named.own is not None and path in self.named.own:
            good = seen.sha256 == self.named.own[path]
            return Verdict(OURS, compared=True, fault="" if good else "its bytes are not those of this clone's file")
        if self.named.own is None and PROGRAMS.fullmatch(path):
            return Verdict(OURS)
        if path == OWN:
            return Verdict(OURS, fault=self._own_fault())
        if path == MANIFEST:
            return Verdict(OURS, compared=self.named.manifest is not None, fault=self._manifest_fault())
        if path == COMPILED_LIST:
            return Verdict(OURS)
        if LEFT_OUT.fullmatch(path):
            return Verdict(OURS, fault=self._left_out_fault(path))
        if path not in self.released:
            return None
        if posixpath.basename(path) == "RECORD":
            return Verdict(OURS)
        fault = "" if seen.sha256 == self.released[path] else "its bytes are not those in its RECORD"
        return Verdict(OURS, compared=True, fault=fault)

    # What the image tells of itself

    def _own(self) -> frozenset[str]:
        told = _json(self.view.kept.get(OWN))
        if not isinstance(told, list):
            return frozenset()
        return frozenset(f"{self.site}/{path}" for path in told)

    def _own_fault(self) -> str:
        told = _json(self.view.kept.get(MANIFEST))
        good = isinstance(told, dict) and told.get("own") == _json(self.view.kept.get(OWN))
        return "" if good else "own.json and manifest.json do not list the same files"

    def _manifest_fault(self) -> str:
        told = _json(self.view.kept.get(MANIFEST))
        if not isinstance(told, dict):
            return "it is no manifest"
        rest = {key: value for key, value in told.items() if key != "own"}
        if self.named.manifest is not None and rest != self.named.manifest:
            return "it does not say what the lock's image says of itself"
        return ""

    def _toolkit_fault(self, seen: Seen) -> str:
        """``lib64``, an unversioned name of a library beside it, or the stub of the driver; nothing else."""
        path = posixpath.relpath(seen.path, self.site)
        if path == f"{TOOLKIT}/lib64":
            return "" if seen.kind == SYMLINK and seen.link == "lib" else "it should be a link to lib"
        if path == STUB:  # compiled when the image is made: no list has its digest
            return "" if seen.kind == FILE and 0 < seen.size < STUB_BYTES else "it should be a small library"
        target = posixpath.join(posixpath.dirname(seen.path), seen.link)
        good = (
            posixpath.dirname(path) == f"{TOOLKIT}/lib"
            and seen.kind == SYMLINK
            and re.fullmatch(rf"{re.escape(posixpath.basename(path))}\.[0-9.]+", seen.link) is not None
            and path.endswith(".so")
            and self.is_wheels(target)
        )
        return "" if good else "it should be a link to the library beside it with a version in its name"

    def _left_out_fault(self, path: str) -> str:
        told = _json(self.view.kept.get(path))
        if not isinstance(told, dict):
            return "it is no list of files"
        there = [name for name in told if f"{self.site}/{name}" in self.view.paths]
        return f"{min(there)} is said to be left out, and is there" if there else ""

    def _present(self) -> None:
        """What every image of ours has."""
        wanted = {MANIFEST, OWN, f"{VENV}/pyvenv.cfg", *self.links, *self.own, *self.released, *(self.named.own or ())}
        self.missing += [Finding(0, path, "it is ours") for path in sorted(wanted - self.view.paths.keys())]


def _config(python: str) -> str:
    """``pyvenv.cfg`` (PEP 405) as ``dockerfiles/lane/ours.py`` writes it."""
    version = python.removeprefix("python")
    return f"home = /usr/bin\ninclude-system-site-packages = false\nversion = {version}\n"


def _json(data: bytes | None) -> Any:
    try:
        return json.loads(data or b"")
    except (ValueError, RecursionError):
        return None
