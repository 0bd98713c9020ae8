r"""What a patch's header says of a commit: author, date, subject and message, as `git am` would take them.

A header is a mail's, as `git format-patch` writes it (git-format-patch(1), RFC 5322 and 2047), or DEP-3 fields alone.
"""

from __future__ import annotations

import email
import email.header
import email.utils
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

NOBODY = ("unknown", "unknown@spark-runtime.invalid")

_PREFIX = re.compile(r"^(?:\[PATCH[^\]]*\]\s*)+")
_DIFFSTAT = re.compile(r"^---$", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Commit:
    """A commit without its tree. ``date``: ``@<seconds> <zone>``, as git reads it in any version."""

    name: str
    email: str
    date: str
    message: str


def commit_of(head: bytes, fields: Mapping[str, str]) -> Commit:
    """The commit that a patch's header describes. ``fields``: what ``build.series.provenance`` found in it."""
    mail = email.message_from_bytes(head)
    name, address = _author(_decoded(mail["From"]) or fields.get("author", ""))
    text = head.decode("utf-8", "replace").replace("\0", "")
    subject = _PREFIX.sub("", _decoded(mail["Subject"]))
    if subject:  # a mail: what comes after its first empty line is the message
        text = text.partition("\n\n")[2]
    body = _DIFFSTAT.split(text, maxsplit=1)[0].strip()
    subject = subject or fields.get("description", "").split("\n", 1)[0] or "no subject"
    return Commit(
        name=name,
        email=address,
        date=_date(_decoded(mail["Date"]), fields.get("last-update", "")),
        message=f"{subject}\n\n{body}\n" if body else f"{subject}\n",
    )


def _decoded(value: object) -> str:
    """A header's text: unfolded, encoded words (RFC 2047) read."""
    if value is None:
        return ""
    raw = re.sub(r"\s*\r?\n\s+", " ", str(value)).strip()
    try:
        return str(email.header.make_header(email.header.decode_header(raw)))
    except (LookupError, ValueError, email.errors.HeaderParseError):  # an encoding that is none
        return raw


def _author(text: str) -> tuple[str, str]:
    """Name and address; git takes no name without a letter or digit, and no brackets in either.

    >>> _author("A Person <a@example.invalid>"), _author("just a name"), _author("...")[0]
    (('A Person', 'a@example.invalid'), ('just a name', 'unknown@spark-runtime.invalid'), 'unknown')
    """
    found = re.match(r"^(.*?)\s*<([^<>]*)>\s*$", text)
    name, address = (found[1].strip(' "'), found[2].strip()) if found else (text.strip(), "")
    name, address = (re.sub(r"[<>\x00-\x1f]", "", part) for part in (name, address))
    return name if re.search(r"\w", name) else NOBODY[0], address if re.search(r"\w", address) else NOBODY[1]


def _date(said: str, last_update: str) -> str:
    """The mail's date with its zone, else the day of the last update.

    >>> _date("Tue, 24 Nov 2026 12:00:00 +0100", ""), _date("yesterday", "2026-11-24"), _date("", "")
    ('@1795518000 +0100', '@1795478400 +0000', '@0 +0000')
    """
    for text, read in ((said, email.utils.parsedate_to_datetime), (last_update, datetime.fromisoformat)):
        try:
            found = read(text)
            found = found if found.tzinfo else found.replace(tzinfo=UTC)
            return f"@{max(0, int(found.timestamp()))} {found:%z}"
        except (TypeError, ValueError, OverflowError, IndexError):
            continue
    return "@0 +0000"
