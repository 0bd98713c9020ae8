"""build/patchcommit.py: author, date, subject and message of a patch, whatever its header looks like."""

import pytest

from build.patchcommit import NOBODY, commit_of
from build.series import provenance

MAIL = b"""From 0000000000000000000000000000000000000000 Mon Sep 17 00:00:00 2001
From: =?UTF-8?q?J=C3=B6rg?= Person <j@example.invalid>
Date: Tue, 24 Nov 2026 12:00:00 +0100
Subject: [PATCH v2 1/9] [PATCH] A title that is
 folded, =?utf-8?B?w7w=?=
Content-Type: text/plain; charset=UTF-8

A reason.

From: somebody in the text
Behaviour-Test: constant
---
 a.py | 2 +-
"""


def of(head):
    return commit_of(head, provenance(head.decode("utf-8", "replace")))


def test_a_mail_s_header():
    found = of(MAIL)
    assert (found.name, found.email, found.date) == ("Jörg Person", "j@example.invalid", "@1795518000 +0100")
    assert found.message == (
        "A title that is folded, ü\n\nA reason.\n\nFrom: somebody in the text\nBehaviour-Test: constant\n"
    )


def test_fields_alone():
    head = b"Description: Mend it\n in two lines\nAuthor: A B <a@b.invalid>\nLast-Update: 2026-11-24\n\n"
    found = of(head)
    assert (found.name, found.email, found.date) == ("A B", "a@b.invalid", "@1795478400 +0000")
    assert found.message.split("\n\n") == ["Mend it", head.decode().strip() + "\n"]


@pytest.mark.parametrize(
    "head",
    [
        b"", b"\n", b"no field at all\n", b"From: ...\nDate: 99 Foo\nSubject: \n\n", b"From: <>\nSubject:\xff\n\n\xfe",
        b"From: =?no-such?q?x?= <a@b>\nDate: Tue, 24 Nov 99999 12:00:00 +9999\n\n", b"From: a\x00b <c\x01d>\n\n\x00",
        b"Date: Thu, 01 Jan 1950 00:00:00 +0000\nFrom: =?utf-8?b?%%%?=\n\n",
    ],
)  # fmt: skip
def test_what_says_nothing_is_a_commit_too(head):
    found = of(head)
    assert all((found.name, found.email, found.message.strip()))
    assert found.date.startswith("@")
    assert not found.date.startswith("@-")
    assert "\0" not in found.name + found.email + found.message
    if b"From" not in head:
        assert (found.name, found.email) == NOBODY
