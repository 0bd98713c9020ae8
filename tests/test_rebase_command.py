"""`nox -s rebase`: a series on other releases, for real, with behaviours that need no torch."""

import os
import re
from pathlib import Path

import pytest

from build import series, store, udiffparse
from build.errors import BusyError
from tests import rebasekit
from tests.rebasekit import ANSWER

pytestmark = pytest.mark.programs("git")  # what fits is recut


@pytest.fixture
def demo(tmp_path, monkeypatch, capsys):
    with rebasekit.world(tmp_path, monkeypatch, capsys) as made:
        yield made


def patches(found):
    return {item["patch"]: (item["fit"], item["green"]) for item in found["patches"]}


def test_at_home_all_is_exact(demo):
    status, found = demo.rebase_json(onto="1.0")
    assert status == 0
    assert patches(found) == {"vllm/0001.patch": ("exact", True), "flashinfer/0001.patch": ("exact", True)}
    assert found["versions"] == {"vllm": "1.0", "flashinfer": "0.1"}
    assert found["patches"][0]["without"] == {"it-is-42": "failed", "the-rest-is-as-it-was": "passed"}
    assert found["patches"][0]["with"] == {"it-is-42": "passed", "the-rest-is-as-it-was": "passed"}


def test_same_context_at_other_lines_is_written_with_true_lines(demo):
    status, found = demo.rebase_json(onto="v1.1")
    assert status == 0
    assert patches(found) == {"vllm/0001.patch": ("same context", True), "flashinfer/0001.patch": ("upstream", True)}
    assert [hunk["moved"] for hunk in found["patches"][0]["hunks"]] == [1]
    place = Path(found["written"])
    assert (place / "series").read_text().splitlines()[2:] == ["vllm/0001.patch", "# flashinfer/0001.patch: upstream"]
    data = (place / "vllm/0001.patch").read_bytes()
    before = b"# one line more\n" + ANSWER
    assert udiffparse.parse("p", data).apply({"vllm/answer.py": before}.get)["vllm/answer.py"] == before.replace(
        b"41", b"42"
    )
    original = series.read(demo.repo, "demo", ("vllm", "flashinfer")).patches[0].data
    assert data.split(b"diff --git")[0] == original.split(b"diff --git")[0]


def test_what_upstream_has_in_other_words_is_not_applied_twice(demo):
    """The lines that the patch wants stand there still, and it would fit: its behaviour knows better."""
    demo.release("1.2", ANSWER + b"\n\nanswer = lambda: 42\n", "0.1")
    status, found = demo.rebase_json(onto="1.2")
    assert status == 0
    assert patches(found)["vllm/0001.patch"] == ("upstream", True)


def test_a_patch_that_fits_and_does_nothing_is_not_green(demo):
    demo.release("1.2", ANSWER + b"\n\nanswer = lambda: 7\n", "0.1")
    status, out, said = demo.rebase(onto="1.2")
    assert status == 34
    assert "context ✗ 1/2" in out
    assert "it fits, but it-is-42: Wrong: it is 7" in said


def test_a_conflict_names_the_hunk_and_both_lines(demo):
    demo.release("1.2", ANSWER.replace(b"return 41", b"return 40"), "0.1")
    status, out, said = demo.rebase(onto="1.2")
    assert status == 34
    assert "conflict ✗ 1/2" in out
    assert "vllm/0001.patch (demo on v1.2): vllm/answer.py: hunk 1" in said
    assert "expected '    return 41', found '    return 40'" in said
    (written,) = (demo.repo / "out/rebase").iterdir()
    lines = (written / "series").read_text().splitlines()
    assert lines[2].startswith("# vllm/0001.patch: conflict: ")
    assert lines[3] == "flashinfer/0001.patch"
    assert not (written / "vllm").exists()


def test_lines_that_stand_twice_are_a_conflict(demo):
    """Two functions alike: which is meant nobody can tell from the lines, and fuzz would have taken the first."""
    body = ANSWER.split(b"\n\n\n")
    demo.release("1.2", b"\n\n\n".join([body[0], b"x = 1", *body[1:], *body[1:]]), "0.1")
    status, _, said = demo.rebase(onto="1.2")
    assert status == 34
    assert re.search(r"hunk 1: its lines stand more than once: line \d+, line \d+", said)


def test_two_runs_give_the_same_bytes_and_the_repository_is_left_alone(demo):
    demo.rebase(onto="1.1")
    before = demo.files()
    demo.rebase(onto="1.1")
    assert demo.files() == before
    assert {name for name in before if name.startswith("out/")} == {
        "out/rebase/demo-onto-v1.1/series", "out/rebase/demo-onto-v1.1/vllm/0001.patch",
    }  # fmt: skip


def test_a_component_that_the_release_does_not_pin(demo):
    demo.publish("vllm", "1.2", {"vllm/answer.py": ANSWER}, {"requirements/cuda.txt": b"flashinfer-python>=1\n"})
    status, _, said = demo.rebase(onto="1.2")
    assert status == 34
    assert "v1.2 does not say which flashinfer it wants" in said


@pytest.mark.parametrize(
    ("asked", "said"),
    [({}, "either --onto REF|VERSION or --matrix"), ({"onto": "1.0", "matrix": True}, "either --onto"),
     ({"matrix": True, "target": "demo"}, "--matrix is of every series"),
     ({"matrix": True, "output": Path("x")}, "--matrix is of every series"),
     ({"target": "dem", "onto": "1.0"}, "did you mean --target demo?")],
)  # fmt: skip
def test_what_cannot_be_meant(demo, asked, said):
    status, _, message = demo.rebase(**asked)
    assert status in (2, 11)
    assert said in message


def test_what_it_found_in_the_store_is_not_cleaned_away_meanwhile(demo):
    for place in [place for place in store._HELD if place == demo.settings.store]:  # `lock` held it too
        os.close(store._HELD.pop(place))
    with store.alone(demo.settings.store):
        pass
    assert demo.rebase(onto="1.0")[0] == 0
    with pytest.raises(BusyError), store.alone(demo.settings.store):
        pass


# --- what the series was made for ----------------------------------------------------------------------------------


def spoil(path):
    path.write_text(path.read_text().replace("epoch = ", "epoch = 1"))


@pytest.mark.parametrize("asked", [{"onto": "1.1"}, {"matrix": True}])
@pytest.mark.parametrize(("harm", "said"), [(Path.unlink, "is not there"), (spoil, "was edited by hand")])
def test_without_the_lock_nobody_knows_what_the_series_was_made_for(demo, asked, harm, said):
    harm(demo.repo / "lock/demo.toml")
    status, _, message = demo.rebase(**asked)
    assert status == 13
    assert f"lock/demo.toml {said}" in message


def test_the_lock_of_another_intent_may_name_other_sources(demo):
    demo.edit('summary = "for this test"\nversion = "1.0"', 'summary = "for this test"\nversion = "1.1"')
    status, _, message = demo.rebase(onto="1.1")
    assert status == 13
    assert "lock/demo.toml is stale" in message


def test_a_series_that_changed_since_it_was_locked_was_made_for_the_same_sources(demo):
    demo.series({"vllm/0001.patch": rebasekit.VLLM_PATCH.replace("+    return 42", "+    return 6 * 7")})
    status, found = demo.rebase_json(onto="1.0")
    assert status == 0
    assert patches(found) == {"vllm/0001.patch": ("exact", True)}


MORE = (
    rebasekit.HEADER.format("answer")
    + """\
diff --git a/vllm/answer.py b/vllm/answer.py
--- a/vllm/answer.py
+++ b/vllm/answer.py
@@ -1,4 +1,4 @@
-# the answer
+# the answers
 {blank}
 {blank}
 def before():
diff --git a/vllm/new.py b/vllm/new.py
new file mode 100644
--- /dev/null
+++ b/vllm/new.py
@@ -0,0 +1 @@
+new = 1
""".format(blank="").replace(" \n", " \n")
)


def test_a_copy_of_the_lines_is_not_taken_where_what_was_meant_is_not_known(demo):
    """The patch before it does not fit its own release; on the other its lines stand twice, once where it states."""
    other = MORE.replace("-# the answer\n", "-# the question\n")
    demo.series({"vllm/0000.patch": other, "vllm/0001.patch": rebasekit.VLLM_PATCH})
    body = ANSWER.replace(b"# the answer", b"# the question").split(b"\n\n\n")
    demo.release("1.2", b"\n\n\n".join([*body, *body[1:]]), "0.1")
    status, _, said = demo.rebase(onto="1.2")
    assert status == 34
    assert re.search(r"0001.patch \(demo on v1.2\): .*: hunk 1: its lines stand more than once: line 6, line \d+", said)


def test_exact_is_what_the_patches_before_it_leave(demo):
    """The file is the very same on both; the patch before it is not in it on the other."""
    demo.series({"vllm/0000.patch": MORE, "vllm/0001.patch": rebasekit.VLLM_PATCH})
    _, found = demo.rebase_json(onto="1.0")
    assert patches(found) == {"vllm/0000.patch": ("exact", True), "vllm/0001.patch": ("exact", True)}
    demo.release("1.2", ANSWER, "0.1", **{"vllm/new.py": b"other = 1\n"})
    _, found = demo.rebase_json(onto="1.2")
    assert patches(found) == {"vllm/0000.patch": ("conflict", False), "vllm/0001.patch": ("same context", True)}


# --- messages ------------------------------------------------------------------------------------------------------


def test_evidence_names_files_as_the_repository_does(demo):
    demo.release("1.2", ANSWER + b"\n\nanswer = lambda: __file__\n", "0.1")
    status, out, said = demo.rebase(onto="1.2")
    assert status == 34
    assert "it is vllm/answer.py" in said
    assert str(demo.settings.store) not in out + said


def test_a_lock_of_releases_that_cannot_be_read_is_told_with_its_reason(demo):
    path = demo.repo / "lock/rebase.toml"
    path.write_text(path.read_text().replace("size = ", "size = 1"))
    status, _, said = demo.rebase(onto="1.0")
    assert status == 0
    assert "warning: lock/rebase.toml was edited by hand" in said
    assert "what --onto names is looked up" in said


def test_its_change_is_there_and_does_not_do_it(demo):
    demo.release("1.2", ANSWER.replace(b"41", b"42") + b"\n\nanswer = lambda: 7\n", "0.1")
    status, _, said = demo.rebase(onto="1.2")
    assert status == 34
    assert "its change is there already, but it-is-42: Wrong: it is 7" in said
