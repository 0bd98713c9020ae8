"""Whose a path of an image is: a Python package's by its RECORD, a Debian package's by dpkg's lists, or ours.

Formats: RECORD (the recording of installed projects, PEP 376 and 427), ``var/lib/dpkg/info/*.list`` and ``status``.
What lists say is shown and never followed.
"""

from __future__ import annotations

import csv
import posixpath
import re
from collections.abc import Iterable, Mapping

NOBODY = "no package"
SEVERAL = "several packages"
OURS = "ours"
OUR_FOLDER = "opt/spark"
RELEASED = re.compile(rf"{OUR_FOLDER}/released/([^/]+)/RECORD")  # dist-info that a later layer brings, patched
RECORD = re.compile(r"(.*site-packages|.*dist-packages)/([^/-]+)-([^/]+)\.dist-info/RECORD")
LIST = re.compile(r"var/lib/dpkg/info/([^/:]+)(?::[^/]+)?\.list")
STATUS = re.compile(r"var/lib/dpkg/status(?:\.d/[^/]+)?")


def is_list(path: str) -> bool:
    """Whether the file there tells of owners."""
    return any(form.fullmatch(path) for form in (RELEASED, RECORD, LIST, STATUS))


class Owners:
    """Path → package, as the lists of an image say; of a folder, the package that all that is listed below is of."""

    def __init__(self) -> None:
        self._of: dict[str, str] = {}
        self.versions: dict[str, str] = {}

    def add(self, kept: Mapping[str, bytes], sites: Iterable[str] = ()) -> None:
        """Take in the lists of a layer. ``sites``: the site-packages folders that it has, for `released/`."""
        for path, data in kept.items():
            text = data.decode("utf-8", "replace")
            if found := RECORD.fullmatch(path):
                site, name, version = found.groups()
                self._record(site, normalised(name), text)
                self.versions[normalised(name)] = version
            elif found := RELEASED.fullmatch(path):
                for site in sites:
                    self._record(site, normalised(found[1]), text)
            elif found := LIST.fullmatch(path):
                for line in text.splitlines():
                    self._claim(line.strip("/"), found[1])
            else:
                self._status(text)

    def of(self, path: str) -> str:
        """The package's name; :data:`OURS`, :data:`SEVERAL` or :data:`NOBODY` where it is not one's."""
        if path == OUR_FOLDER or path.startswith(f"{OUR_FOLDER}/"):
            return OURS
        return self._of.get(path, NOBODY)

    def _record(self, site: str, name: str, text: str) -> None:
        for row in csv.reader(text.splitlines()):
            if row:
                path = posixpath.normpath(posixpath.join(site, row[0]))
                self._claim(path, name)
                while (path := posixpath.dirname(path)).startswith(f"{site}/"):
                    self._claim(path, name)

    def _claim(self, path: str, name: str) -> None:
        if self._of.setdefault(path, name) != name:
            self._of[path] = SEVERAL

    def _status(self, text: str) -> None:
        for block in text.split("\n\n"):
            told = dict(re.findall(r"(?m)^(Package|Version): (.*)$", block))
            if len(told) == 2:
                self.versions[told["Package"]] = told["Version"]


def sites(paths: Iterable[str]) -> set[str]:
    """The site-packages folders that paths are in."""
    return {path[: path.index("/site-packages") + len("/site-packages")] for path in paths if "/site-packages" in path}


def normalised(name: str) -> str:
    """A distribution's name as PEP 503 compares it.

    >>> normalised("Typing_Extensions")
    'typing-extensions'
    """
    return re.sub(r"[-_.]+", "-", name).lower()
