"""build/relocate.py: a change follows its lines, all of them, to the one place where they stand; or it is refused."""

import difflib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from build import udiffparse
from build.errors import AlreadyAppliedError, PatchError
from build.relocate import relocate
from build.udiff import split_lines
from tests.test_udiff import AFTER, BEFORE, CREATE, DELETE, PATCH

ABOVE = b"one more\nand another\n"


def change_of(data):
    return udiffparse.parse("p.patch", data).files[0]


def cut(before, after):
    """The change between two contents, with full context, by another program than ours."""
    a, b = ([line.decode("latin-1") for line in split_lines(data)] for data in (before, after))
    text = "".join(
        line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"
        for line in difflib.unified_diff(a, b, "a/f", "b/f")
    )
    return change_of(b"diff --git a/f b/f\n" + text.encode("latin-1"))


def refused(change, before, *parts, was=None, same_ends=True):
    with pytest.raises(PatchError) as caught:
        relocate("p.patch", change, before, was=was, same_ends=same_ends)
    assert not isinstance(caught.value, AlreadyAppliedError)
    for part in ("p.patch", change.path, *parts):
        assert part in str(caught.value)
    return caught.value


CHANGE = change_of(PATCH)


def test_where_it_was_cut_for_it_does_not_move():
    for was in (None, BEFORE):
        found = relocate("p.patch", CHANGE, BEFORE, was=was, same_ends=True)
        assert (found.after, found.moves) == (AFTER, (0,))


def test_it_follows_its_lines():
    for was in (None, BEFORE):
        found = relocate("p.patch", CHANGE, ABOVE + BEFORE, was=was, same_ends=True)
        assert (found.after, found.moves) == (ABOVE + AFTER, (2,))
        found = relocate("p.patch", CHANGE, BEFORE.removeprefix(b"line 1\n"), was=was, same_ends=True)
        assert (found.after, found.moves) == (AFTER.removeprefix(b"line 1\n"), (-1,))


def test_each_hunk_moves_by_itself():
    change = cut(BEFORE, BEFORE.replace(b"line 4\n", b"four\n").replace(b"line 16\n", b"sixteen\n"))
    now = BEFORE.replace(b"line 10\n", b"line 10\n" + ABOVE)
    found = relocate("p.patch", change, now)
    assert found.moves == (0, 2)
    assert found.after == now.replace(b"line 4\n", b"four\n").replace(b"line 16\n", b"sixteen\n")


def test_a_conflict_names_hunk_expected_and_found():
    now = ABOVE + BEFORE.replace(b"line 9\n", b"LINE 9\n")
    error = refused(CHANGE, now, "hunk 1, line 11", "expected 'line 9'", "found 'LINE 9'")
    assert error.what == "p.patch does not fit pkg/mod.py"
    refused(CHANGE, BEFORE.split(b"line 12")[0], "expected 'line 12'", "found the end of the file")
    refused(CHANGE, b"", "expected 'line 7'", "found the end of the file")
    assert refused(CHANGE, None).why == "there is no such file"


def test_a_newline_that_is_missing_is_a_difference():
    change = cut(b"a\nb\nc", b"a\nB\nc")
    refused(change, b"a\nb\nc\n", "expected 'c' without a newline", "found 'c'")
    losing = cut(b"a\nb\nc\n", b"a\nb\nc")
    refused(losing, b"a\nb\nc\nd\n", "fewer than 3 lines of context after it")


def test_the_change_is_there_already():
    for now in (AFTER, ABOVE + AFTER):
        with pytest.raises(AlreadyAppliedError, match=r"p\.patch is already in pkg/mod\.py"):
            relocate("p.patch", CHANGE, now)


def test_half_of_it_is_no_whole():
    after = BEFORE.replace(b"line 4\n", b"four\n").replace(b"line 16\n", b"sixteen\n")
    change = cut(BEFORE, after)
    refused(change, BEFORE.replace(b"line 4\n", b"four\n"), "hunk 1, line 4")
    with pytest.raises(AlreadyAppliedError):
        relocate("p.patch", change, after)


def test_new_lines_that_stand_twice_are_no_proof():
    change = cut(b"a\nb\nc\n", b"a\nc\n")
    refused(change, b"a\nc\na\nc\n", "hunk 1")


FUNCTION = b"def f():\n" + b"".join(b"    %c = 4\n" % name for name in b"abcdefg") + b"    return a\n"


def alike(count):
    """So many functions of nine lines that are alike, between a first and a last line."""
    return b"first\n" + FUNCTION * count + b"last\n"


def marked(count):
    """The same, with a change in the middle of the second function."""
    return b"first\n" + FUNCTION + FUNCTION.replace(b"d = 4", b"d = FOUR") + FUNCTION * (count - 2) + b"last\n"


def second_of(count):
    """That change; its context does not tell which function is meant."""
    return cut(alike(count), marked(count))


def test_lines_that_stand_more_than_once_are_refused_with_their_places():
    refused(second_of(2), ABOVE + alike(2), "hunk 1: its lines stand more than once: line 5, line 14")


def test_as_it_stands_it_may_stand_more_than_once():
    assert relocate("p.patch", second_of(3), alike(3), was=alike(3)).after == marked(3)


def test_where_it_states_is_no_proof_when_nobody_knows_what_was_there():
    refused(second_of(3), alike(3), "hunk 1: its lines stand more than once: line 3, line 12, line 21")
    overload = alike(1) + b"between\n" + marked(2)  # something like it came before it, at its very line
    refused(second_of(2), overload.replace(b"FOUR", b"4"), "more than once")


def test_with_what_was_before_the_right_one_is_known():
    for count in (2, 3):
        found = relocate("p.patch", second_of(count), ABOVE + alike(count), was=alike(count), same_ends=True)
        assert found.moves == (2,)
        assert found.after == ABOVE + marked(count)


def test_the_stated_line_does_not_overrule_what_was_before():
    """Nine lines above move the first function to the very line where the second was."""
    above = b"x\n" * 9
    found = relocate("p.patch", second_of(2), above + alike(2), was=alike(2), same_ends=True)
    assert (found.after, found.moves) == (above + marked(2), (9,))


def test_in_another_version_of_the_file_the_ends_tell_nothing():
    """Nobody edited the one to get the other: the second of the alike may be the copy."""
    refused(second_of(2), ABOVE + alike(2), "more than once", was=alike(2), same_ends=False)
    assert relocate("p.patch", second_of(2), alike(2), was=alike(2)).after == marked(2)


def test_one_more_of_the_alike_beside_it_is_for_a_person_to_tell():
    refused(second_of(2), alike(3), "more than once", was=alike(2))


def test_the_one_that_was_meant_is_gone():
    """The lines stand once now, at the other place: not where the change belongs."""
    now = marked(2).replace(b"FOUR", b"5")
    assert relocate("p.patch", second_of(2), now).moves == (-9,)  # nothing tells
    error = refused(second_of(2), now, "stood more than once before", was=alike(2))
    assert error.why == "hunk 1: its lines stand at line 3, and stood more than once before (line 3, line 12)"


def test_one_of_several_hunks_at_its_line_is_no_proof():
    before = BEFORE + alike(2)
    change = cut(before, BEFORE.replace(b"line 10\n", b"ten\n") + marked(2))
    assert relocate("p.patch", change, before, was=before).moves == (0, 0)
    refused(change, b"x\n" * 9 + before, "hunk 2: its lines stand more than once: line 32, line 41")


def test_less_context_stands_at_the_file_s_edge_only():
    first, last = cut(b"a\nb\nc\nd\ne\n", b"A\nb\nc\nd\ne\n"), cut(b"a\nb\nc\nd\ne\n", b"a\nb\nc\nd\nE\n")
    assert relocate("p.patch", first, b"a\nb\nc\nd\nnew\n").after == b"A\nb\nc\nd\nnew\n"
    assert relocate("p.patch", last, b"new\nb\nc\nd\ne\n").moves == (0,)
    refused(first, b"new\na\nb\nc\nd\ne\n", "before it, and line 2 is not at the file's start")
    refused(last, b"a\nb\nc\nd\ne\nnew\n", "after it, and line 2 is not at the file's end")


def test_hunks_keep_their_order():
    change = cut(BEFORE, BEFORE.replace(b"line 4\n", b"four\n").replace(b"line 16\n", b"sixteen\n"))
    lines = split_lines(BEFORE)
    swapped = b"".join([*lines[9:], *lines[:9]])
    refused(change, swapped, "hunk 2 stands at line 4, before the end of the hunk before it")


def test_created_and_deleted_files():
    create, delete = change_of(CREATE), change_of(DELETE)
    content = b"x = 1\ny = 2\n"
    assert relocate("p.patch", create, None).after == content
    assert relocate("p.patch", delete, content) == relocate("p.patch", delete, content, was=content, same_ends=True)
    assert relocate("p.patch", delete, content).after is None
    for change, now in ((create, content), (delete, None)):
        with pytest.raises(AlreadyAppliedError):
            relocate("p.patch", change, now)
    refused(create, b"other\n", "there is one of that name")
    refused(delete, content + b"z = 3\n", "a line would be left of it")
    refused(delete, b"x = 2\n", "expected 'x = 1'", "found 'x = 2'")


def test_modes_and_empty_files():
    mode = change_of(b"diff --git a/e b/e\nold mode 100644\nnew mode 100755\n")
    assert relocate("p.patch", mode, b"any\n").after == b"any\n"
    gone = change_of(b"diff --git a/e b/e\ndeleted file mode 100644\n")
    assert relocate("p.patch", gone, b"").after is None
    refused(gone, b"1\n2\n", "2 lines would be left")
    filled = cut(b"", b"1\n")
    assert relocate("p.patch", filled, b"").after == b"1\n"
    refused(filled, b"2\n")


UNIQUE = [b"line %d\n" % number for number in range(30)]


@settings(deadline=None)
@given(data=st.data())
def test_lines_put_in_between_hunks_move_what_is_below_and_nothing_else(data):
    """Distinct lines: wherever something is put that no hunk covers, the change is what it was, beside it."""
    edits = data.draw(st.sets(st.integers(0, 29), min_size=1, max_size=4))
    before = b"".join(UNIQUE)
    after = b"".join(b"new %d\n" % n if n in edits else line for n, line in enumerate(UNIQUE))
    change = cut(before, after)
    covered = {n for hunk in change.hunks for n in range(hunk.old_start, hunk.old_start + len(hunk.old) - 1)}
    edges = {0} if change.hunks[0].leading < 3 else set()
    edges |= {30} if change.hunks[-1].trailing < 3 else set()
    free = sorted(set(range(31)) - covered - edges)
    put = (
        {at: data.draw(st.integers(1, 9)) for at in data.draw(st.sets(st.sampled_from(free), max_size=3))}
        if free
        else {}
    )

    def with_more(lines):
        return b"".join(b"more %d\n" % at * put.get(at, 0) + (lines[at] if at < 30 else b"") for at in range(31))

    changed = [b"new %d\n" % n if n in edits else line for n, line in enumerate(UNIQUE)]
    for was in (None, before):
        found = relocate("p.patch", change, with_more(UNIQUE), was=was, same_ends=True)
        assert found.after == with_more(changed)
        assert found.moves == tuple(
            sum(count for at, count in put.items() if at <= hunk.old_start - 1) for hunk in change.hunks
        )


FEW = st.lists(st.sampled_from([b"a\n", b"b\n", b"\n", b"}\n"]), max_size=30).map(b"".join)


@settings(deadline=None, max_examples=300)
@given(before=FEW, after=FEW, above=FEW)
def test_it_is_the_right_place_or_an_error(before, after, above):
    """Lines that repeat: what is put above moves the change or is refused; it is never made elsewhere."""
    if before == after or not before:
        return
    try:
        found = relocate("p.patch", cut(before, after), above + before, was=before, same_ends=True)
    except AlreadyAppliedError:
        raise AssertionError("its old lines stand there") from None
    except PatchError:
        return
    assert found.after == above + after
