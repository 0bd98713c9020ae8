"""Whose a file of the venv is, and whether its bytes are its wheel's: by the RECORDs in the image itself.

Formats: the recording of installed projects (PEP 376; rows of path, ``sha256=`` with URL-safe base64, size), PEP 427,
PEP 3147 for the names of bytecode. A distribution that a series patches has the dist-info of its wheel in
``opt/spark/released`` too: the two RECORDs may differ in what is patched or compiled, and in METADATA.
"""

from __future__ import annotations

import base64
import binascii
import csv
import hashlib
import json
import posixpath
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from build import patterns
from build.canonical import digest
from build.claims import BYTECODE, COMPILED, PATCH, WHEEL, Finding, Named, Patch, Verdict
from build.imageview import FOLDER, SYMLINK, Seen, View
from build.layertar import FILE
from build.owners import normalised

VENV = "opt/venv"
RELEASED = "opt/spark/released"
COMPILED_LIST = "opt/spark/compiled.json"
SITE = re.compile(rf"{VENV}/lib/python3\.\d+/site-packages")
INFO = re.compile(rf"({SITE.pattern})/([^/-]+)-([^/-]+)\.dist-info/(RECORD|METADATA)")
RELEASED_INFO = re.compile(rf"{RELEASED}/([^/]+)/(RECORD|METADATA)")
# What every installer adds to a RECORD, and uv writes into it: no wheel has them.
ADDED = {name: hashlib.sha256(data).hexdigest() for name, data in (("INSTALLER", b"uv"), ("REQUESTED", b""))}

Rows = dict[str, str]  # path below site-packages, as RECORD has it → sha256 in hex; empty where it says none


@dataclass(frozen=True, kw_only=True)
class Distribution:
    """An installed distribution. ``rows``: its RECORD's; ``released``: those of its wheel's, where it is patched."""

    name: str
    version: str
    info: str
    rows: Rows
    released: Rows | None = None


def is_kept(path: str) -> bool:
    """Whether the contents there are needed."""
    return path == COMPILED_LIST or bool(INFO.fullmatch(path) or RELEASED_INFO.fullmatch(path))


def digest_of(rows: Mapping[str, str]) -> str:
    """A digest of what a wheel's RECORD says of what is installed: path → sha256 in hex.

    Without RECORD itself and what installers add, so that it can be had from the wheel.
    """
    added = {"RECORD", *ADDED}
    return digest({path: value for path, value in rows.items() if not _is_of_info(path, added)})


def _is_of_info(path: str, names: Iterable[str]) -> bool:
    folder, name = posixpath.split(path)
    return folder.endswith(".dist-info") and "/" not in folder and name in names


class Python:
    """The distributions of an image's venv. ``findings``, ``missing``: what is wrong with the lists by themselves."""

    def __init__(self, view: View, named: Named) -> None:
        self.view = view
        self.named = named
        self.findings: list[Finding] = []
        self.missing: list[Finding] = []
        self.compared = 0
        self.site = self._site()
        tag = f"cpython-{self.site.split('/')[-2].removeprefix('python').replace('.', '')}"
        self._compiled_name = re.compile(rf"(.+/)__pycache__/([^/]+)\.{tag}\.pyc")
        self._sources = None if named.bytecode is None else [patterns.expression(item) for item in named.bytecode]
        self.compiled = self._compiled()
        self.distributions: dict[str, Distribution] = {}
        self._claims: dict[str, tuple[Distribution, str]] = {}
        for path in sorted(view.kept):
            if (found := INFO.fullmatch(path)) and found[4] == "RECORD":
                self._take_in(path, found)
        folders = {posixpath.dirname(path) for path in self._claims if path.startswith(f"{self.site}/")}
        self._folders = folders - {self.site}
        self._both_ways()
        self._patches()

    def of(self, seen: Seen) -> Verdict | None:
        """Whose it is; None where no RECORD lists it and it is no bytecode of what one lists."""
        if seen.path not in self._claims:
            return Verdict(WHEEL) if self._may_be_empty(seen) else self._bytecode(seen)
        owner, wanted = self._claims[seen.path]
        path = seen.path.removeprefix(f"{self.site}/")
        kind = PATCH if path in self.named.patched else COMPILED if path in self.compiled else WHEEL
        if seen.kind != FILE:
            return Verdict(kind, fault=f"{owner.name} has a file there, and it is a {seen.kind}")
        if path == f"{owner.info}/RECORD":
            return Verdict(kind)
        if not wanted:
            return Verdict(kind, fault=f"the RECORD of {owner.name} gives no sha256 of it")
        if seen.sha256 == wanted:
            return Verdict(kind, compared=True)
        return self._contradicted(seen, path, owner, kind)

    def _may_be_empty(self, seen: Seen) -> bool:
        """A folder among a wheel's: its archive may hold one that is empty, which no RECORD can list."""
        return seen.kind == FOLDER and posixpath.dirname(seen.path) in self._folders

    def is_listed(self, path: str) -> bool:
        """Whether a RECORD lists the path."""
        return path in self._claims

    def _contradicted(self, seen: Seen, path: str, owner: Distribution, kind: str) -> Verdict:
        """A file that is not as in its RECORD: its wheel may be known for that."""
        known = self.named.contradicted.get(owner.name)
        if known is not None and seen.sha256 == known.get(path, seen.sha256) and (path in known or not known):
            fault = f"the published RECORD of {owner.name} does not fit it"
            return Verdict(kind, compared=path in known, fault=fault, excused=True)
        return Verdict(kind, compared=True, fault=f"its bytes are not those in the RECORD of {owner.name}")

    def _bytecode(self, seen: Seen) -> Verdict | None:
        found = self._compiled_name.fullmatch(seen.path)
        source = f"{found[1]}{found[2]}.py" if found else ""
        if seen.kind != FILE or source not in self._claims:
            return None
        path = source.removeprefix(f"{self.site}/")
        if self._sources is not None and not any(item.fullmatch(path) for item in self._sources):
            return Verdict(BYTECODE, fault=f"{path} is not among the sources that are compiled")
        return Verdict(BYTECODE)

    # The lists

    def _site(self) -> str:
        """The folder of the venv's packages; of several the first, and what lies in the others is nobody's."""
        sites = {found[1] for path in self.view.kept if (found := INFO.fullmatch(path))}
        return min(sites, default=f"{VENV}/lib/python3/site-packages")

    def _compiled(self) -> frozenset[str]:
        told = self.view.kept.get(COMPILED_LIST)
        if told is None:
            return frozenset()
        try:
            paths = frozenset(map(str, json.loads(told)))
        except (ValueError, TypeError, RecursionError):
            self._find(COMPILED_LIST, "it is no list of libraries")
            return frozenset()
        if not self.named.native:
            self._find(COMPILED_LIST, "nothing of this image was compiled by us")
        for path in paths:
            if not path.endswith(".so"):
                self._find(COMPILED_LIST, f"{path} is no library")
        return paths

    def _take_in(self, record: str, found: re.Match[str]) -> None:
        name, version = normalised(found[2]), found[3]
        info = f"{found[2]}-{found[3]}.dist-info"
        if found[1] != self.site:
            self._find(record, f"packages are in {self.site} too")
            return
        if name in self.distributions:
            self._find(record, f"{name} is installed twice")
            return
        rows = self._rows(record)
        self._metadata(f"{self.site}/{info}/METADATA", name, version)
        released = f"{RELEASED}/{name}/RECORD"
        taken = Distribution(
            name=name,
            version=version,
            info=info,
            rows=rows,
            released=self._rows(released) if released in self.view.kept else None,
        )
        self.distributions[name] = taken
        self._claim(taken, record)
        if expected := self.named.lists.get(f"wheel {name}"):
            self.compared += 1
            if digest_of(taken.rows if taken.released is None else taken.released) != expected:
                self._find(record if taken.released is None else released, "it does not say what the locked wheel says")
        if taken.released is not None:
            self._compare_released(taken, record)

    def _rows(self, record: str) -> Rows:
        found: Rows = {}
        try:
            for row in csv.reader(self.view.text(record).splitlines(), strict=True):
                if row:
                    if row[0] in found:
                        self._find(record, f"{row[0]} is in it twice")
                    found[row[0]] = hex_of(row[1] if len(row) > 1 else "")
        except csv.Error as error:
            self._find(record, f"it is no RECORD: {error}")
        return found

    def _claim(self, owner: Distribution, record: str) -> None:
        for row, value in owner.rows.items():
            path = posixpath.normpath(posixpath.join(self.site, row))
            if not path.startswith(f"{VENV}/"):
                self._find(record, f"it lists {row}, which is not in the venv")
                continue
            if path in self._claims:
                self._find(path, f"{self._claims[path][0].name} and {owner.name} both list it")
            self._claims[path] = (owner, value)
            if path not in self.view.paths:
                self.missing.append(Finding(0, path, f"{owner.name} lists it"))
            if _is_of_info(row, ADDED) and value != ADDED[posixpath.basename(row)]:
                self._find(path, "it is not what uv writes")

    def _metadata(self, path: str, name: str, version: str) -> None:
        text = self.view.text(path)
        told = [re.search(rf"(?m)^{key}: *(.*?)\s*$", text) for key in ("Name", "Version")]
        said = tuple(found[1] if found else "" for found in told)
        if (normalised(said[0]), said[1].replace("-", "_")) != (name, version):
            self._find(path, f"it is of {said[0]} {said[1]}, and its folder of {name} {version}")

    def _both_ways(self) -> None:
        named = self.named.wheels
        for item in self.distributions.values():
            record = f"{self.site}/{item.info}/RECORD"
            if item.name not in named:
                self._find(record, f"{item.name} {item.version} is not in the lock")
            elif item.version != named[item.name].replace("-", "_"):
                self._find(record, f"{item.name} is {item.version}, and the lock has {named[item.name]}")
        for name in sorted(named.keys() - self.distributions.keys()):
            self.missing.append(Finding(0, f"wheel {name} {named[name]}", "the lock has it, and no RECORD is its"))

    # What a series changes

    def _compare_released(self, item: Distribution, record: str) -> None:
        """A patched RECORD is its wheel's, but for what is patched or compiled and for METADATA."""
        assert item.released is not None
        wheels = {posixpath.dirname(path) for path in item.released if _is_of_info(path, ("RECORD",))}
        was = wheels.pop() if len(wheels) == 1 else ""
        version = was.removesuffix(".dist-info").rpartition("-")[2]
        if not version or not item.version.startswith((f"{version}+", f"{version}.")):
            self._find(record, f"{item.version} is no patched version of what {RELEASED}/{item.name} is of")
            return
        moved = {
            f"{item.info}/{posixpath.relpath(path, was)}" if path.startswith(f"{was}/") else path: value
            for path, value in item.released.items()
        }
        free = {f"{item.info}/METADATA", *self.compiled}
        free |= {path for path, patch in self.named.patched.items() if patch.distribution == item.name}
        for path in sorted(moved.keys() | item.rows.keys()):
            if path not in free and moved.get(path) != item.rows.get(path):
                self._find(record, f"it tells of {path} otherwise than the wheel's RECORD, and no patch changes it")
        if item.name != self.named.native and (strays := self.compiled & item.rows.keys()):
            self._find(record, f"{min(strays)} was compiled, and is not of a distribution that is")
        for path, patch in self.named.patched.items():
            if patch.distribution == item.name and moved.get(path, "") != patch.before:
                self._find(f"{RELEASED}/{item.name}/RECORD", f"it has another {path} than the one that is patched")
        self._compare_metadata(item, f"{RELEASED}/{item.name}/METADATA")

    def _compare_metadata(self, item: Distribution, released: str) -> None:
        """METADATA of a patched distribution has another version, maybe other requirements, and nothing else."""
        path = f"{self.site}/{item.info}/METADATA"
        free = re.compile(r"Version: |Requires-Dist: ")
        was, now = (
            [line for line in self.view.text(text).split("\n") if not free.match(line)] for text in (released, path)
        )
        if was != now:
            self._find(path, "it differs from the wheel's in more than version and requirements")

    def _patches(self) -> None:
        for path, patch in self.named.patched.items():
            place = f"{self.site}/{path}"
            seen, below = self.view.paths.get(place), self.view.under.get(place)
            owner = self._claims.get(place)
            if seen is None:
                self.missing.append(Finding(0, place, "a patch changes it or makes it"))
                continue
            for fault in _patch_faults(patch, seen, below, owner[0].name if owner else "nobody"):
                self._find(place, fault)

    def _find(self, path: str, reason: str) -> None:
        seen = self.view.paths.get(path)
        self.findings.append(Finding(seen.layer if seen else 0, path, reason))


def _patch_faults(patch: Patch, seen: Seen, below: Seen | None, owner: str) -> Iterable[str]:
    if seen.sha256 != patch.after:
        yield "its bytes are not those that the patches of the lock make"
    if owner != patch.distribution:
        yield f"it is a patched file of {patch.distribution}, and {owner} lists it"
    if below is None and patch.before:
        yield "it is patched, and the released file is in no layer below"
    if below is not None and (below.kind == SYMLINK or below.sha256 != patch.before):
        yield f"layer {below.layer} has another file there than the one that is patched"


def hex_of(value: str) -> str:
    """RECORD's form of a sha256 in hex; empty for any other.

    >>> hex_of("sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU")[:8], hex_of("md5=x"), hex_of("sha256=AA")
    ('e3b0c442', '', '')
    """
    algorithm, _, text = value.partition("=")
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return ""
    return data.hex() if algorithm == "sha256" and len(data) == 32 else ""
