"""RECORD as a value: what a distribution's list of files says, in an image and in a wheel.

Formats: the recording of installed projects (PEP 376, rows of path, ``sha256=`` with URL-safe base64, size), PEP 427.
A distribution that a series patches has the dist-info of its wheel in ``opt/spark/released`` too.
"""

from __future__ import annotations

import base64
import binascii
import csv
import hashlib
import io
import posixpath
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from build.canonical import digest

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


def digest_of(rows: Mapping[str, str]) -> str:
    """A digest of what a wheel's RECORD says of what is installed: path → sha256 in hex.

    Without RECORD itself and what installers add, so that it can be had from the wheel.
    """
    added = {"RECORD", *ADDED}
    return digest({path: value for path, value in rows.items() if not is_of_info(path, added)})


def is_of_info(path: str, names: Iterable[str]) -> bool:
    """Whether a path below site-packages is one of these files of a distribution's dist-info.

    >>> is_of_info("a-1.dist-info/RECORD", ["RECORD"]), is_of_info("a/_vendor/b-1.dist-info/RECORD", ["RECORD"])
    (True, False)
    """
    folder, name = posixpath.split(path)
    return folder.endswith(".dist-info") and "/" not in folder and name in names


def parse(text: str) -> tuple[Rows, list[str]]:
    """The rows of a RECORD, and what is wrong with it."""
    rows: Rows = {}
    faults = []
    try:
        for row in csv.reader(io.StringIO(text, newline=""), strict=True):
            if row:
                if row[0] in rows:
                    faults.append(f"{row[0]} is in it twice")
                rows[row[0]] = hex_of(row[1] if len(row) > 1 else "")
    except csv.Error as error:
        faults.append(f"it is no RECORD: {error}")
    return rows, faults


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
