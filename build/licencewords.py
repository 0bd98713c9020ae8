"""How packages put their licences into words: METADATA, Debian's copyright files, SPDX expressions.

Formats: core metadata (``License-Expression``, before PEP 639 ``License`` and classifiers), DEP-5 (machine-readable
copyright files), SPDX 2.3 annex D (expressions), read by the library license-expression. Words that are an SPDX
expression, or Debian's name that stands plainly for an SPDX identifier, are taken as such; all others are kept as they
are, as a comment. Nothing is concluded from the texts of licences.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from email.parser import HeaderParser
from typing import Any

OTHER = "LicenseRef-Debian-other"  # what a copyright file names in words that are no SPDX identifiers
REFERENCE = re.compile(r"\bLicenseRef-[A-Za-z0-9.-]+")
LONGEST = 60  # characters of a METADATA's License, where some put the whole text

_MACHINE_READABLE = re.compile(r"^Format(?:-Specification)?:", re.MULTILINE | re.IGNORECASE)
_SHORT_NAME = re.compile(r"^License:[ \t]*(.*?)[ \t]*$", re.MULTILINE | re.IGNORECASE)
_GNU = re.compile(r"(A?GPL|LGPL)-(\d)(\.\d)?(\+)?", re.IGNORECASE)
_MANUAL = re.compile(r"GFDL-NIV-(1\.\d)(\+)?", re.IGNORECASE)
_WITH = re.compile(r"(\S+) with (\S+) exception", re.IGNORECASE)
_ADDRESS = re.compile(r"\(?(?:https?://|<?[^\s<>]+@)\S+")
_OTHERWISE = {"expat": "MIT", "mit": ""}  # DEP-5: Expat is what SPDX calls MIT; what Debian calls MIT is one of many


@dataclass(frozen=True, kw_only=True)
class Licence:
    """What a package says. ``expression``: an SPDX one of all that it says, or empty; ``comment``: words beside it."""

    expression: str = ""
    comment: str = ""


def of_metadata(text: str) -> Licence:
    r"""The licence that a wheel's METADATA tells.

    >>> of_metadata("Name: a\nLicense-Expression: mit or Apache-2.0\n\n")
    Licence(expression='MIT OR Apache-2.0', comment='')
    >>> of_metadata("Name: a\nLicense: BSD\nClassifier: License :: OSI Approved :: BSD License\n\n")
    Licence(expression='', comment='BSD; BSD License')
    """
    headers = HeaderParser().parsestr(text)
    stated = [" ".join(str(headers.get(field) or "").split()) for field in ("License-Expression", "License")]
    for words in stated:
        if expression := spdx(words):
            return Licence(expression=expression)
    classifiers = [line.split(" :: ") for line in headers.get_all("Classifier", ()) if line.startswith("License :: ")]
    said = [*map(_shortened, stated), *(parts[-1] for parts in classifiers)]
    return Licence(comment="; ".join(dict.fromkeys(words for words in said if words)))


def _shortened(words: str) -> str:
    """The beginning, without addresses.

    >>> _shortened("BSD-like (https://a.example/LICENSE)"), _shortened("MIT " * 40)
    ('BSD-like', 'MIT MIT MIT MIT MIT MIT MIT MIT MIT MIT MIT MIT MIT MIT MIT…')
    """
    plain = " ".join(_ADDRESS.sub("", words).split())
    return plain if len(plain) <= LONGEST else plain[:LONGEST].rstrip() + "…"


def of_copyright(text: str) -> Licence:
    r"""The licences that a Debian copyright file names: all of them hold, each for a part of the package's source.

    >>> of_copyright("Format: x\n\nFiles: *\nLicense: GPL-2+ or Expat\n\nFiles: b\nLicense: public-domain\n text\n")
    Licence(expression='(GPL-2.0-or-later OR MIT) AND LicenseRef-Debian-other', comment='public-domain')
    >>> of_copyright("This package was debianized by hand.\n")
    Licence(expression='', comment='its copyright file is prose')
    """
    if not text.strip():
        return Licence(comment="it has no copyright file")
    if not _MACHINE_READABLE.search(text.lstrip().split("\n\n", 1)[0]):
        return Licence(comment="its copyright file is prose")
    plain: set[str] = set()
    rest: set[str] = set()
    for words in _SHORT_NAME.findall(text):
        for part in _anded(words):
            found = _alternatives(part)
            (plain if found else rest).add(found or part)
    if not plain:
        return Licence(comment=", ".join(sorted(rest)) or "its copyright file names none")
    if rest:
        plain.add(OTHER)
    parts = [f"({part})" if " OR " in part and len(plain) > 1 else part for part in sorted(plain)]
    return Licence(expression=spdx(" AND ".join(parts)), comment=", ".join(sorted(rest)))


def _anded(words: str) -> list[str]:
    """What all holds of a short name: "and" binds closer than "or", but not with a comma before it (DEP-5).

    >>> _anded("GPL-1+ or Artistic, and Expat and ISC"), _anded("A and B or C"), _anded("")
    (['GPL-1+ or Artistic', 'Expat', 'ISC'], ['A and B or C'], ['without a name'])
    """
    parts = []
    for group in re.split(r",\s+and\s+", words, flags=re.IGNORECASE):
        has_choice = re.search(r"\s+or\s+", group, re.IGNORECASE)
        parts += [group] if has_choice else re.split(r"\s+and\s+", group, flags=re.IGNORECASE)
    return [" ".join(part.split()).strip(" ,") or "without a name" for part in parts]


def _alternatives(words: str) -> str:
    """Names with "or" and "and" between them as an expression; empty where one of them stands for no identifier."""
    choices = []
    for choice in re.split(r",?\s+or\s+", words, flags=re.IGNORECASE):
        found = [identifier(part) for part in re.split(r"\s+and\s+", choice, flags=re.IGNORECASE)]
        if not all(found):
            return ""
        choices.append(" AND ".join(found))
    return " OR ".join(dict.fromkeys(choices))


def identifier(short_name: str) -> str:
    """The SPDX identifier that a short name of DEP-5 plainly stands for; empty where there is none.

    >>> identifier("GPL-2"), identifier("LGPL-2.1+"), identifier("GFDL-NIV-1.3+"), identifier("BSD-3-clause")
    ('GPL-2.0-only', 'LGPL-2.1-or-later', 'GFDL-1.3-no-invariants-or-later', 'BSD-3-Clause')
    >>> identifier("GPL-2 with Linux-syscall-note exception"), identifier("MIT"), identifier("Artistic")
    ('GPL-2.0-only WITH Linux-syscall-note', '', '')
    """
    known, exceptions = _identifiers()
    if parts := _WITH.fullmatch(short_name):
        base, exception = identifier(parts[1]), exceptions.get(parts[2].lower(), "")
        return f"{base} WITH {exception}" if base and exception else ""
    if parts := _GNU.fullmatch(short_name):
        plain = f"{parts[1]}-{parts[2]}{parts[3] or '.0'}-{'or-later' if parts[4] else 'only'}"
    elif parts := _MANUAL.fullmatch(short_name):
        plain = f"GFDL-{parts[1]}-no-invariants-{'or-later' if parts[2] else 'only'}"
    else:
        plain = _OTHERWISE.get(short_name.lower(), short_name)
    return known.get(plain.lower(), "")


def spdx(words: str) -> str:
    """An SPDX licence expression in normal form; empty for what is none.

    >>> spdx("apache-2.0 with llvm-exception and LicenseRef-Own"), spdx("Apache 2.0"), spdx("MIT WITH MIT")
    ('Apache-2.0 WITH LLVM-exception AND LicenseRef-Own', '', '')
    """
    from license_expression import ExpressionError  # noqa: PLC0415 - what is kept needs no grammar

    try:
        parsed = _licensing().parse(words, strict=True)
    except (ExpressionError, AssertionError, AttributeError, IndexError):  # the last three: its parser's own defects
        return ""
    if parsed is None:
        return ""
    known, exceptions = _identifiers()
    own = set(REFERENCE.findall(words))
    found = {str(symbol.key) for symbol in _licensing().license_symbols(parsed)}
    listed = {key for key in found if key.lower() in known or key.lower() in exceptions}
    return str(parsed) if found - listed == own else ""


@functools.cache
def _licensing() -> Any:
    from license_expression import get_spdx_licensing  # noqa: PLC0415

    return get_spdx_licensing()


@functools.cache
def _identifiers() -> tuple[dict[str, str], dict[str, str]]:
    """SPDX's licences and exceptions, by lower-case identifier; without references of other lists."""
    symbols = [item for item in _licensing().known_symbols.values() if not item.key.startswith("LicenseRef-")]
    return (
        {item.key.lower(): item.key for item in symbols if not item.is_exception},
        {item.key.lower(): item.key for item in symbols if item.is_exception},
    )
