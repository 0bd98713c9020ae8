"""build/carry.py: how a patch fits files that it was not made for, hunk by hunk."""

from pathlib import Path

import pytest

from build.carry import Fit, carry
from build.overlay import PLAIN, PROGRAM, File, Overlay, content
from build.udiffparse import parse

LINES = [b"line %d\n" % number for number in range(1, 31)]
FILE = b"".join(LINES)


def hunk(first, old, new):
    """A hunk of one changed line with its context, at the place that it has in FILE."""
    start = first - 3
    body = b"".join(b" " + line for line in LINES[start - 1 : first - 1])
    body += b"-%s\n+%s\n" % (old, new)
    body += b"".join(b" " + line for line in LINES[first : first + 3])
    return b"@@ -%d,7 +%d,7 @@\n" % (start, start) + body


def patch(*hunks, path=b"a.py"):
    head = b"diff --git a/%s b/%s\n--- a/%s\n+++ b/%s\n" % ((path,) * 4)
    return parse("pkg/1.patch", b"Subject: x\n\n" + head + b"".join(hunks))


TWO = patch(hunk(5, b"line 5", b"LINE 5"), hunk(20, b"line 20", b"LINE 20"))
DONE = FILE.replace(b"line 5\n", b"LINE 5\n").replace(b"line 20\n", b"LINE 20\n")


def over(files):
    """A tree that has these files."""
    made = {path: data if isinstance(data, File) else File(data=data) for path, data in files.items()}
    return Overlay(tree=Path("/nowhere"), changed=made)


def fitted(files, change=TWO, home=None):
    found = carry(change, over(files), None if home is None else over(home))
    return found, [(item.fit, item.moved) for item in found.hunks]


def made(found):
    return {path: content(after) for path, (_, after) in found.edits.items()}


def test_at_home():
    found, hunks = fitted({"a.py": FILE}, home={"a.py": FILE})
    assert (found.fit, found.moved, found.why, hunks) == (Fit.EXACT, False, "", [(Fit.CONTEXT, 0), (Fit.CONTEXT, 0)])
    assert made(found) == {"a.py": DONE}


def test_the_same_lines_in_another_version():
    found, _ = fitted({"a.py": FILE + b"more\n"})
    assert (found.fit, found.moved) == (Fit.CONTEXT, False)
    assert made(found) == {"a.py": DONE + b"more\n"}


def test_each_hunk_moves_by_its_own():
    between = FILE.replace(b"line 12\n", b"line 12\nnew\nnew\n")
    found, hunks = fitted({"a.py": b"top\n" + between})
    assert (found.fit, found.moved, hunks) == (Fit.CONTEXT, True, [(Fit.CONTEXT, 1), (Fit.CONTEXT, 3)])


def test_upstream_is_all_of_it():
    found, hunks = fitted({"a.py": DONE})
    assert (found.fit, found.edits, found.why) == (Fit.UPSTREAM, {}, "")
    assert {fit for fit, _ in hunks} == {Fit.UPSTREAM}


def test_half_of_it_upstream_is_a_conflict_that_says_so():
    half = FILE.replace(b"line 5\n", b"LINE 5\n")
    found, hunks = fitted({"a.py": half})
    assert found.fit is Fit.CONFLICT
    assert [fit for fit, _ in hunks] == [Fit.UPSTREAM, Fit.CONTEXT]
    assert found.why == "a.py: hunk 1 is there already"
    assert found.edits == {}


def test_one_hunk_that_clashes_is_named_and_nothing_comes_of_the_others():
    found, hunks = fitted({"a.py": FILE.replace(b"line 21\n", b"line twenty-one\n")})
    assert found.fit is Fit.CONFLICT
    assert [fit for fit, _ in hunks] == [Fit.CONTEXT, Fit.CONFLICT]
    assert found.why == "a.py: hunk 2, line 21: expected 'line 21', found 'line twenty-one'"
    assert found.edits == {}


def test_hunks_that_fit_one_by_one_and_changed_places():
    """The second one's lines stand above the first one's: all there, and not the same code any more."""
    swapped = b"".join(LINES[14:25]) + b"".join(LINES[:14])
    found, hunks = fitted({"a.py": swapped})
    assert [fit for fit, _ in hunks][:2] == [Fit.CONTEXT, Fit.CONTEXT]
    assert found.fit is Fit.CONFLICT
    assert "before the end of the hunk before it" in found.why


def test_lines_that_stood_twice_fit_at_home_and_nowhere_else():
    """A hunk states a line; in another version the other of the alike may have got there."""
    twice = FILE + FILE
    for now, fit in ((twice, Fit.EXACT), (b"top\n" + twice, Fit.CONFLICT), (FILE, Fit.CONFLICT)):
        found, _ = fitted({"a.py": now}, home={"a.py": twice})
        assert found.fit is fit, found.why
    assert "stood more than once before (line 2, line 32)" in found.why


def test_lines_that_stand_twice_fit_nowhere_where_nobody_knows_what_was_meant():
    """They stand at the very line that the hunk states; so they would, were a copy put before what was meant."""
    found, _ = fitted({"a.py": FILE + FILE})
    assert found.fit is Fit.CONFLICT
    assert found.why.startswith("a.py: hunk 1: its lines stand more than once: line 2, line 32")
    assert fitted({"a.py": FILE})[0].fit is Fit.CONTEXT


def test_other_lines_before_it_are_not_what_it_was_made_for():
    """Where it stands all is the same; the file is not."""
    found, hunks = fitted({"a.py": FILE + b"more\n"}, home={"a.py": FILE})
    assert (found.fit, hunks) == (Fit.CONTEXT, [(Fit.CONTEXT, 0), (Fit.CONTEXT, 0)])


CREATED = b"Subject: x\n\ndiff --git a/n b/n\nnew file mode 100755\n--- /dev/null\n+++ b/n\n@@ -0,0 +1 @@\n+new\n"


@pytest.mark.parametrize("there", [None, b"other\n"])
def test_a_file_that_is_created(there):
    change = parse("pkg/1.patch", CREATED)
    found, _ = fitted({} if there is None else {"n": there}, change, home={})
    assert found.fit is (Fit.EXACT if there is None else Fit.CONFLICT)
    assert fitted({"n": b"new\n"}, change)[0].fit is Fit.UPSTREAM


def test_modes_are_carried():
    """A file keeps the one that it has; a patch that creates a file or states a mode sets it."""
    (before, after) = fitted({"a.py": File(data=FILE, mode=PROGRAM)})[0].edits["a.py"]
    assert (before.mode, after.mode) == (PROGRAM, PROGRAM)
    assert fitted({}, parse("pkg/1.patch", CREATED))[0].edits["n"] == (None, File(data=b"new\n", mode=PROGRAM))


def test_a_mode_alone():
    change = parse("pkg/1.patch", b"Subject: x\n\ndiff --git a/a.py b/a.py\nold mode 100644\nnew mode 100755\n")
    found, _ = fitted({"a.py": FILE}, change, home={"a.py": FILE})
    assert found.fit is Fit.EXACT
    assert found.edits == {"a.py": (File(data=FILE, mode=PLAIN), File(data=FILE, mode=PROGRAM))}
    assert fitted({"a.py": File(data=FILE, mode=PROGRAM)}, change)[0].fit is Fit.UPSTREAM
    assert fitted({}, change)[0].why == "a.py: there is no such file"


def test_what_is_no_plain_file_is_a_conflict(tmp_path):
    (tmp_path / "real.py").write_bytes(FILE)
    (tmp_path / "a.py").symlink_to("real.py")
    found = carry(TWO, Overlay(tree=tmp_path), None)
    assert found.fit is Fit.CONFLICT
    assert "a.py is not a plain file" in found.why


def test_a_file_that_is_gone_is_told_once():
    found, _ = fitted({})
    assert found.fit is Fit.CONFLICT
    assert found.why == "a.py: there is no such file"
