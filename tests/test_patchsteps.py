"""build/patchsteps.py: what an edit leaves of the patches after it, as values; git only writes the patches down."""

import itertools

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from build import recut
from build.errors import AlreadyAppliedError, PatchError
from build.models import PatchRef
from build.overlay import File, Overlay
from build.patchsteps import as_written, cut, walk
from build.series import SeriesPatch
from tests.patchkit import ONE, edit
from tests.test_relocate import alike, marked

pytestmark = pytest.mark.programs("git")


def patch(number, data):
    ref = PatchRef(series="s", component="app", file=f"{number:04}.patch", sha256=str(number))
    return SeriesPatch(ref=ref, data=data, fields={})


def series(*contents, path="one.py"):
    """A patch from each content to the next."""
    pairs = itertools.pairwise(contents)
    return [patch(n, recut.recut(str(n), b"", {path: pair})) for n, pair in enumerate(pairs, start=1)]


@pytest.fixture
def tree(tmp_path):
    (tmp_path / "one.py").write_bytes(ONE)
    (tmp_path / "run.sh").write_bytes(b"#!/bin/sh\n")
    (tmp_path / "run.sh").chmod(0o755)
    return tmp_path


def as_edited(path, before, after):
    return lambda _: {path: (File(data=before), File(data=after))}


TEN, TWENTY, THIRTY = ((b"line %d0\n" % n, b"LINE %d0\n" % n) for n in (1, 2, 3))


def test_without_an_edit_everything_is_as_it_was(tree):
    patches = series(ONE, edit(ONE, TEN), edit(ONE, TEN, TWENTY))
    steps = list(walk(tree, patches, {}))
    assert [step.recut() for step in steps] == [item.data for item in patches]
    assert all(step.was == step.before and step.edits == step.old and not step.faults for step in steps)


def test_what_is_after_an_edit_moves_with_it(tree):
    patches = series(ONE, edit(ONE, TEN), edit(ONE, TEN, TWENTY), edit(ONE, TEN, TWENTY, THIRTY))
    more = edit(ONE, (TEN[0], b"one\nmore\n" + TEN[1]))
    steps = list(walk(tree, patches, {"app/0001.patch": as_edited("one.py", ONE, more)}))
    assert not any(step.faults for step in steps)
    assert b"@@ -19,7 +19,7 @@" in steps[1].recut()
    final = steps[-1].before.after(steps[-1].edits)
    assert final.read("one.py").data == edit(more, TWENTY, THIRTY)
    assert b"@@ -17,7 +17,7 @@" in patches[1].data


def test_an_edit_that_takes_what_a_later_one_needs(tree):
    patches = series(ONE, edit(ONE, TEN), edit(ONE, TEN, TWENTY), edit(ONE, TEN, TWENTY, THIRTY))
    other = edit(ONE, TEN, (b"line 21\n", b"mine\n"))
    steps = list(walk(tree, patches, {"app/0001.patch": as_edited("one.py", ONE, other)}))
    assert len(steps) == 2
    (fault,) = steps[-1].faults.values()
    for part in ("app/0002.patch", "one.py", "hunk 1, line 21", "expected 'line 21'", "found 'mine'"):
        assert part in str(fault)
    same = edit(ONE, TEN, TWENTY)
    *_, last = walk(tree, patches, {"app/0001.patch": as_edited("one.py", ONE, same)})
    assert isinstance(last.faults["one.py"], AlreadyAppliedError)


def test_of_lines_that_repeat_the_ones_that_were_meant(tree):
    (tree / "one.py").write_bytes(alike(2))
    patches = series(alike(2), b"0\n" + alike(2), b"0\n" + marked(2))
    more = b"x\n" * 10 + alike(2)  # the first of the two stands where the second did
    steps = list(walk(tree, patches, {"app/0001.patch": as_edited("one.py", alike(2), more)}))
    assert steps[-1].before.after(steps[-1].edits).read("one.py").data == b"x\n" * 10 + marked(2)


def test_a_series_that_does_not_apply_is_no_edit_s_fault(tree):
    patches = series(ONE, edit(ONE, TEN), edit(ONE, TEN, (b"line 12\n", b"twelve\n")))
    with pytest.raises(PatchError, match=r"app/0002\.patch does not apply exactly"):
        list(walk(tree, patches[1:], {}))


def test_a_mode_goes_on(tree):
    to_plain = recut.recut(
        "1", b"", {"run.sh": (b"#!/bin/sh\n", b"#!/bin/sh\ntrue\n")}, {"run.sh": ("100755", "100644")}
    )
    content = recut.recut("2", b"", {"run.sh": (b"#!/bin/sh\ntrue\n", b"#!/bin/sh\n")})
    steps = list(walk(tree, [patch(1, to_plain), patch(2, content)], {}))
    assert steps[0].edits["run.sh"] == (File(data=b"#!/bin/sh\n", mode="100755"), File(data=b"#!/bin/sh\ntrue\n"))
    assert [step.recut() for step in steps] == [to_plain, content]


def test_a_link_is_no_file_to_patch(tree):
    (tree / "link.py").symlink_to("one.py")
    (tree / "sub").symlink_to(".")
    for path, before in (("link.py", ONE), ("sub/one.py", ONE), ("sub/new.py", None), ("link.py/new.py", None)):
        with pytest.raises(PatchError, match=f"^app/0001.patch: {path} is not a plain file"):
            list(walk(tree, series(before, edit(ONE, TEN), path=path), {}))


def test_a_header_alone_is_told(tree):
    lonely = patch(1, b"Description: not yet\n")
    with pytest.raises(PatchError, match="has a header and no change") as caught:
        list(walk(tree, [lonely], {}))
    assert "--edit N" in caught.value.todo
    (step,) = walk(tree, [lonely], {lonely.name: as_edited("one.py", ONE, edit(ONE, TEN))})
    assert step.recut().startswith(b"Description: not yet\ndiff --git ")


def test_a_patch_given_as_bytes(tree):
    first, second = series(ONE, edit(ONE, TEN), edit(ONE, TEN, TWENTY))
    other = cut(first, {"one.py": (File(data=ONE), File(data=b"0\n" + edit(ONE, TEN)))})
    steps = list(walk(tree, [first, second], {first.name: as_written(first.name, other)}))
    assert steps[0].recut() == other
    assert steps[1].edits["one.py"][1].data == b"0\n" + edit(ONE, TEN, TWENTY)


LINE = st.sampled_from([b"a\n", b"b\n", b"\n", b"}\n"]) | st.integers(0, 20).map(lambda n: b"%d\n" % n)
REPEATING = st.lists(LINE, min_size=1, max_size=40)


@st.composite
def later(draw, lines):
    """Lines with a few edits."""
    lines = list(lines)
    for _ in range(draw(st.integers(1, 2))):
        at = draw(st.integers(0, len(lines)))
        lines[at : at + draw(st.integers(0, 2))] = draw(st.lists(st.sampled_from([b"a\n", b"x\n"]), max_size=2))
    return lines


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_lines_that_an_edit_adds_change_nothing_else(data, tree):
    """Lines that repeat: later patches do to the edited file what they did to the other, or are refused."""
    first = data.draw(REPEATING)
    contents = [first]
    for _ in range(3):
        contents.append(data.draw(later(contents[-1])))
    contents = [b"".join(lines) for lines in contents]
    if len(set(contents)) < 4:
        return
    (tree / "one.py").write_bytes(contents[0])
    patches = series(*contents)
    lines = contents[1].splitlines(keepends=True)
    for at in sorted(data.draw(st.sets(st.integers(0, len(lines)), min_size=1, max_size=3)), reverse=True):
        lines.insert(at, b"edited %d\n" % at)
    after = b"".join(lines)
    steps = list(walk(tree, patches, {patches[0].name: as_edited("one.py", contents[0], after)}))
    if steps[-1].faults:
        return
    found = steps[-1].before.after(steps[-1].edits).read("one.py").data.splitlines(keepends=True)
    assert b"".join(line for line in found if not line.startswith(b"edited")) == contents[3]
    state = Overlay(tree=tree)
    for step in steps:
        state = state.after(as_written(step.patch.name, step.recut())(state))
    assert state.read("one.py").data == b"".join(found)
