"""build/recut.py: what is written applies to `before` and gives `after`, whatever git is told elsewhere."""

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from build import recut, udiffparse
from build.errors import CommandError, PatchError
from tests import gitkit
from tests.test_udiff import WORDS

pytestmark = pytest.mark.programs("git")

HEAD = b"""From 0000000000000000000000000000000000000000 Mon Sep 17 00:00:00 2001
From: =?UTF-8?q?J=C3=B6rg?= <j@example.invalid>
Date: Tue, 24 Nov 2026 12:00:00 +0100
Subject: [PATCH] Latin \xe9 is kept, and trailing spaces:  \r

Origin: vendor
---
 an/old/diffstat.py | 2 +-

"""
BEFORE = b"def f():\n" + b"".join(b"    line %d\n" % n for n in range(1, 21))
AFTER = BEFORE.replace(b"line 10\n", b"line ten\n")
EXPECTED = (
    HEAD
    + b"""diff --git a/pkg/mod.py b/pkg/mod.py
--- a/pkg/mod.py
+++ b/pkg/mod.py
@@ -8,7 +8,7 @@ def f():
     line 7
     line 8
     line 9
-    line 10
+    line ten
     line 11
     line 12
     line 13
"""
)
CHANGES = {"pkg/mod.py": (BEFORE, AFTER)}


def apply(data, before):
    return udiffparse.parse("p", data).apply(before.get)


def test_the_form_is_git_s_without_index_lines():
    assert recut.recut("p", HEAD, CHANGES) == EXPECTED
    assert recut.recut("p", udiffparse.header(EXPECTED), CHANGES) == EXPECTED


@pytest.mark.parametrize("data", [EXPECTED, EXPECTED.removeprefix(HEAD), HEAD, b"", b"\n\ndiff --git a/f b/f\n"])
def test_a_header_is_all_that_comes_before_the_change(data):
    head = udiffparse.header(data)
    assert data.startswith(head)
    assert data[len(head) :] == b"" or data[len(head) :].startswith(b"diff --git ")


def test_what_is_left_after_the_header_is_made_anew():
    index = EXPECTED.replace(b"\n--- a/pkg", b"\nindex 1234567..89abcde 100644\n--- a/pkg") + b"-- \n2.39.5\n\n"
    assert recut.recut("p", udiffparse.header(index), CHANGES) == EXPECTED


def test_a_header_without_a_last_newline_gets_one():
    assert recut.recut("p", b"Subject: x", CHANGES).startswith(b"Subject: x\ndiff --git ")


def test_files_are_sorted_created_deleted_and_emptied():
    changes = {
        "z.py": (None, b"z\n"), "a b.py": (b"a\n", b"a"), "gone.py": (b"g\n", None), "sub/e.py": (b"e\n", b""),
        "sub.py": (b"", b"s\r\n"), "new/empty": (None, b""), "same.py": (b"s\n", b"s\n"), "was/empty": (b"", None),
    }  # fmt: skip
    made = recut.recut("p", b"", changes)
    patch = udiffparse.parse("p", made)
    assert [change.path for change in patch.files] == sorted(set(changes) - {"same.py"})
    assert {change.path for change in patch.files if change.created} == {"z.py", "new/empty"}
    assert {change.path for change in patch.files if change.deleted} == {"gone.py", "was/empty"}
    assert b"\\ No newline at end of file\n" in made
    before = {path: pair[0] for path, pair in changes.items()}
    assert apply(made, before) == {path: pair[1] for path, pair in changes.items() if path != "same.py"}


def test_a_file_that_becomes_a_folder():
    changes = {"a": (b"1\n", None), "a/b": (None, b"2\n")}
    assert apply(recut.recut("p", b"", changes), {"a": b"1\n"}) == {"a": None, "a/b": b"2\n"}


def test_modes():
    changes = {"run": (b"1\n", b"2\n"), "kept": (b"1\n", b"1\n"), "old": (b"1\n", None), "new": (None, b"1\n")}
    modes = {"run": ("100755", "100644"), "kept": ("100644", "100755"), "old": ("100755", ""), "new": ("", "100755")}
    found = {change.path: change for change in udiffparse.parse("p", recut.recut("p", b"", changes, modes)).files}
    assert {path: change.mode for path, change in found.items()} == {
        "run": "100644", "kept": "100755", "old": None, "new": "100755",
    }  # fmt: skip


def test_nothing_left_is_an_error():
    for changes in ({}, {"a": (b"1", b"1")}, {"a": (None, None)}):
        with pytest.raises(PatchError, match=r"nothing is left of x/p\.patch"):
            recut.recut("x/p.patch", HEAD, changes)


@pytest.mark.parametrize(
    ("path", "after", "why"),
    [
        ("a.bin", b"\x00\x01", "NUL"), ('a"b', b"1\n", "quotes"), ("a\tb", b"1\n", "quotes"), ("a\\b", b"1\n", "quotes"),
        ("a\nb", b"1\n", "quotes"), ("../a", b"1\n", "leaves the tree"), ("/a", b"1\n", "leaves the tree"),
        (".git/config", b"1\n", "leaves the tree"), ("a\ufffd", b"1\n", "quotes"),
    ],
)  # fmt: skip
def test_what_no_patch_can_hold_is_named(path, after, why):
    with pytest.raises(PatchError, match="cannot hold the change of") as caught:
        recut.recut("p", b"", {path: (None, after)})
    assert why in caught.value.why


def test_names_with_spaces_and_umlauts_and_bytes_that_are_no_utf_8():
    changes = {
        "ein Bär/ü.txt": (b"\xff\xfe\n", b"\xff\xfe\r\n\xe9"),
        "-x": (None, b"1\n"),
        "--output=x": (None, b"1\n"),
    }
    made = recut.recut("p", b"", changes)
    assert apply(made, {"ein Bär/ü.txt": b"\xff\xfe\n"}) == {path: pair[1] for path, pair in changes.items()}


def test_a_user_s_git_changes_no_byte(hostile):
    changes = {**CHANGES, "a.py": (b"1\n", b"2\r\n"), ".gitattributes": (None, gitkit.ATTRIBUTES.encode()),
               ".gitignore": (None, b"*\n"), "z.py": (b"$Id$\n", None)}  # fmt: skip
    made = recut.recut("p", HEAD, changes)
    assert EXPECTED.removeprefix(HEAD) in made
    assert apply(made, {path: pair[0] for path, pair in changes.items()}) == {
        path: pair[1] for path, pair in changes.items()
    }
    assert not (hostile / "was-run").exists()
    assert not (hostile / "nowhere").exists()


@pytest.mark.parametrize(
    ("old", "new"),
    [(b"+    line ten", b"+    line 9"), (b"@@ -8,7 +8,7", b"@@ -9,7 +9,7"), (b"line 13\n", b"line 13\n\\ No newline at end of file\n"),
     (b"--- a/pkg", b"old mode 100644\nnew mode 100755\n--- a/pkg")],
)  # fmt: skip
def test_what_would_not_give_the_content_back_is_never_given_out(monkeypatch, old, new):
    assert EXPECTED.count(old) == 1
    monkeypatch.setattr(recut, "_diff", lambda *_: EXPECTED.removeprefix(HEAD).replace(old, new))
    with pytest.raises(PatchError, match=r"^p (could not be written|does not apply)"):
        recut.recut("p", HEAD, CHANGES)


def test_without_git_it_says_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", gitkit.without_git(tmp_path / "bin"))
    with pytest.raises(CommandError, match="git is not there") as caught:
        recut.recut("p", b"", CHANGES)
    assert caught.value.todo == "install git"


LINES = st.lists(st.sampled_from(WORDS), max_size=24)
CONTENT = st.builds(lambda lines, end: b"\n".join(lines) + end, LINES, st.sampled_from([b"", b"\n", b"\r\n"]))


@st.composite
def edited(draw):
    """A file before and after some edits, or without one side."""
    before = draw(CONTENT)
    lines = before.split(b"\n")
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(lines)))
        lines[at : at + draw(st.integers(0, 3))] = draw(st.lists(st.sampled_from(WORDS), max_size=3))
    return draw(st.sampled_from([(before, b"\n".join(lines))] * 4 + [(None, before), (before, None)]))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(changes={"a": (b"a", b"a\n"), "b": (b"\n", b""), "c d": (b"x\r\n", b"x\n")})
@given(changes=st.dictionaries(st.sampled_from(["a", "b", "c d", "sub/e", "sub/f.py"]), edited(), min_size=1))
def test_whatever_is_edited_is_given_back(changes):
    real = {path: pair for path, pair in changes.items() if pair[0] != pair[1]}
    if not real:
        with pytest.raises(PatchError, match="nothing is left"):
            recut.recut("p", HEAD, changes)
        return
    made = recut.recut("p", HEAD, changes)
    assert made.startswith(HEAD)
    assert apply(made, {path: pair[0] for path, pair in changes.items()}) == {p: pair[1] for p, pair in real.items()}
    assert recut.recut("p", udiffparse.header(made), changes) == made
