"""Whose a Debian file is, and whether its bytes are its package's: by what dpkg keeps in the image itself.

Formats: deb(5), dpkg(1), ``var/lib/dpkg/status`` (deb-control(5), with ``Status`` and ``Conffiles``),
``info/*.list`` (a path a line) and ``info/*.md5sums`` (digest, two spaces, path). dpkg keeps neither modes nor where
links lead; what its lists do not cover is for :mod:`build.debrules`.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from build.canonical import digest
from build.claims import DEB, Finding, Verdict
from build.debrules import Facts, Rules
from build.debrules import is_kept as is_of_rules
from build.imageview import FOLDER, SYMLINK, Seen, View

INFO = "var/lib/dpkg/info/"
STATUS = "var/lib/dpkg/status"
LIST = re.compile(rf"{INFO}([a-z0-9][a-z0-9+.-]*)(?::([a-z0-9]+))?\.(list|md5sums)")
HEX = re.compile(r"[0-9a-f]{32}")
INSTALLED = "install ok installed"
ARCHITECTURES = ("arm64", "all")
# Listed and not in the image: what the root file system is made without (rootfs.EXCLUDED), and what its hook removes.
ABSENT = re.compile(
    r"usr/share/(?:doc/(?!.*/copyright$)|info/|lintian/|locale/|man/|bug/).+"
    r"|usr/share/(?:info|lintian|locale|man|bug)"
    r"|etc/apt(?:/.*)?"  # its sources are those of the build; one file of debconf's is below it
    r"|var/cache/.+"  # what can be made again
)


@dataclass(frozen=True, kw_only=True)
class Package:
    """An installed package, as dpkg's status has it; ``conffiles``: path → MD5, less those that are its no more."""

    name: str
    version: str
    arch: str
    status: str
    conffiles: Mapping[str, str]


def is_kept(path: str) -> bool:
    """Whether the contents there are needed: the lists, and what the rules look at."""
    return path == STATUS or LIST.fullmatch(path) is not None or is_of_rules(path)


def wants_md5(path: str) -> bool:
    """Whether Debian may have listed a digest of the file there."""
    return not path.startswith("opt/")


def digest_of(paths: Iterable[str], md5: Mapping[str, str]) -> str:
    """A digest of what a package's lists say: its paths, and the MD5 of each file, its conffiles' too.

    >>> digest_of(["/.", "/usr", "/usr/a"], {"usr/a": "0"}) == digest_of(["usr/a", "usr"], {"usr/a": "0"})
    True
    """
    listed = sorted({path.strip("/") for path in paths} - {"", "."})
    return digest({"paths": listed, "md5": {path.strip("/"): md5[path] for path in md5}})


class Debian:
    """The Debian packages of an image. ``findings``, ``missing``: what is wrong with the lists by themselves."""

    def __init__(self, view: View, named: Mapping[str, str], lists: Mapping[str, str]) -> None:
        self.view = view
        self.findings: list[Finding] = []
        self.missing: list[Finding] = []
        self.compared = 0
        self.packages = self._packages()
        self._owner: dict[str, str] = {}
        self._md5: dict[str, str] = {}
        for package in self.packages.values():
            self._take_in(package, lists.get(f"deb {package.name}", ""))
        self._folders = {posixpath.dirname(path) for path in self._owner}
        self.rules = Rules(view, Facts(owner=self._owner, packages=self.packages.keys()))
        self._strays()
        self._both_ways(named)
        self._absent()

    def of(self, seen: Seen) -> Verdict | None:
        """Whose it is; None where it is no Debian package's, as far as lists and rules tell."""
        if seen.path not in self._owner:
            return self.rules.of(seen)
        if seen.kind == FOLDER:
            return Verdict(DEB)
        wanted = self._md5.get(seen.path)
        package = self._owner[seen.path]
        if seen.path in self._folders:
            return Verdict(DEB, fault=f"{package} has a folder there, and it is a {seen.kind}")
        if seen.kind == SYMLINK:
            if wanted:
                return Verdict(DEB, fault=f"{package} has a file there, and it is a link")
            return Verdict(DEB, fault=self.rules.leads_out(seen))
        if not wanted:
            return Verdict(DEB, fault=f"{package} lists it without a digest")
        fault = "" if seen.md5 == wanted else f"its bytes are not those that {package} lists"
        return Verdict(DEB, compared=True, fault=fault)

    # The lists

    def _packages(self) -> dict[str, Package]:
        found: dict[str, Package] = {}
        for stanza in self.view.text(STATUS).split("\n\n"):
            package = parse_status(stanza)
            if package is None:
                continue
            if package.name in found:
                self._find(STATUS, f"{package.name} is in it twice")
            if package.arch not in ARCHITECTURES:
                self._find(STATUS, f"{package.name} is for {package.arch}")
            if package.status != INSTALLED:
                self._find(STATUS, f"{package.name} is not installed but '{package.status}'")
            found[package.name] = package
        return found

    def _take_in(self, package: Package, expected: str) -> None:
        place = f"{INFO}{package.name}"
        if f"{place}.list" not in self.view.kept:
            place = f"{place}:{package.arch}"
        if f"{place}.list" not in self.view.kept:
            self.missing.append(Finding(0, f"{INFO}{package.name}.list", "dpkg's status names the package"))
            return
        listed = self.view.text(f"{place}.list").split("\n")
        md5 = dict(package.conffiles)
        for line in self.view.text(f"{place}.md5sums").splitlines():
            value, _, path = line.partition("  ")
            if not HEX.fullmatch(value) or not path:
                self._find(f"{place}.md5sums", f"no line as dpkg writes it: {line[:80]!r}")
            md5[path] = value
        if expected:
            self.compared += 1
            if digest_of(listed, md5) != expected:
                self._find(f"{place}.list", f"it and {package.name}.md5sums are not those of the locked package")
        self._claim(package.name, place, listed, md5)

    def _claim(self, name: str, place: str, listed: Iterable[str], md5: Mapping[str, str]) -> None:
        own = {self.view.plain(line.strip("/")) for line in listed} - {"", "."}
        for path in own:
            if path.startswith("opt/"):
                self._find(f"{place}.list", f"it lists {path}, where no Debian package has anything")
            other = self._owner.setdefault(path, name)
            seen = self.view.paths.get(path)
            if other != name and seen and seen.kind != FOLDER:
                self._find(path, f"{other} and {name} both list it")
        for path, value in md5.items():
            plain = self.view.plain(path)
            if plain not in own:
                self._find(f"{place}.list", f"it does not have {path}, of which {name} lists a digest")
            self._md5[plain] = value

    def _strays(self) -> None:
        """Lists of packages that dpkg's status does not name, or not of that architecture."""
        for path in self.view.kept:
            if found := LIST.fullmatch(path):
                package = self.packages.get(found[1])
                if package is None or found[2] not in (None, package.arch):
                    self._find(path, "dpkg's status does not name its package")

    def _both_ways(self, named: Mapping[str, str]) -> None:
        for package in self.packages.values():
            if package.name not in named:
                self._find(STATUS, f"{package.name} {package.version} is not in the lock")
            elif package.version != named[package.name]:
                wanted = named[package.name]
                self._find(STATUS, f"{package.name} is {package.version}, and the lock has {wanted}")
        for name in sorted(named.keys() - self.packages.keys()):
            self.missing.append(Finding(0, f"deb {name} {named[name]}", "the lock has it, and dpkg's status does not"))

    def _absent(self) -> None:
        for path in sorted(self._owner.keys() - self.view.paths.keys()):
            if not ABSENT.fullmatch(path):
                self.missing.append(Finding(0, path, f"{self._owner[path]} lists it"))

    def _find(self, path: str, reason: str) -> None:
        seen = self.view.paths.get(path)
        self.findings.append(Finding(seen.layer if seen else 0, path, reason))


def parse_status(stanza: str) -> Package | None:
    r"""A stanza of dpkg's status; None for what has no name.

    >>> parse_status("Package: a\nConffiles:\n /etc/a 0f\n /etc/b 1e obsolete\nVersion: 1").conffiles
    {'etc/a': '0f'}
    """
    told: dict[str, str] = {}
    name = ""
    for line in stanza.splitlines():
        if line[:1] in (" ", "\t"):
            told[name] = f"{told.get(name, '')}\n{line}"
        else:
            name, _, value = line.partition(":")
            told[name] = value.strip()
    if not told.get("Package"):
        return None
    rows = [row.split() for row in told.get("Conffiles", "").splitlines()]
    return Package(
        name=told["Package"],
        version=told.get("Version", ""),
        arch=told.get("Architecture", ""),
        status=told.get("Status", ""),
        conffiles={row[0].strip("/"): row[1] for row in rows if len(row) == 2},
    )
