"""Whose a file of the venv is, and whether its bytes are its wheel's: by the RECORDs in the image itself.

Formats: :mod:`build.records`; PEP 3147 for the names of bytecode.
"""

from __future__ import annotations

import json
import posixpath
import re

from build import patchclaims, patterns
from build.claims import BYTECODE, COMPILED, PATCH, WHEEL, Finding, Named, Verdict
from build.imageview import FOLDER, Seen, View
from build.layertar import FILE
from build.owners import normalised
from build.records import (
    ADDED,
    COMPILED_LIST,
    INFO,
    RELEASED,
    RELEASED_INFO,
    VENV,
    Distribution,
    Rows,
    digest_of,
    is_of_info,
    parse,
)


def is_kept(path: str) -> bool:
    """Whether the contents there are needed."""
    return path == COMPILED_LIST or bool(INFO.fullmatch(path) or RELEASED_INFO.fullmatch(path))


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
        self._patched()

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

    def _rows(self, record: str) -> Rows:
        rows, faults = parse(self.view.text(record))
        for fault in faults:
            self._find(record, fault)
        return rows

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
            if is_of_info(row, ADDED) and value != ADDED[posixpath.basename(row)]:
                self._find(path, "it is not what uv writes")

    def _metadata(self, path: str, name: str, version: str) -> None:
        head = self.view.text(path).partition("\n\n")[0].splitlines()
        told = dict(line.split(": ", 1) for line in reversed(head) if line.startswith(("Name: ", "Version: ")))
        said = (told.get("Name", "").strip(), told.get("Version", "").strip())
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

    def _patched(self) -> None:
        """What a series changes, against what its wheels had."""
        patches = patchclaims.Patches(self.view, self.named, self.site, self.compiled)
        for item in self.distributions.values():
            for path, reason in patches.of_distribution(item):
                self._find(path, reason)
        for path in self.named.patched:
            place = f"{self.site}/{path}"
            if place not in self.view.paths:
                self.missing.append(Finding(0, place, "a patch changes it or makes it"))
                continue
            owner = self._claims.get(place)
            for reason in patches.of_file(path, owner[0].name if owner else "nobody"):
                self._find(place, reason)

    def _find(self, path: str, reason: str) -> None:
        seen = self.view.paths.get(path)
        self.findings.append(Finding(seen.layer if seen else 0, path, reason))
