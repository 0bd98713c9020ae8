"""`nox -s patch -- --check`: a series proven on its sources, for real, with behaviours that need no torch."""

import json

import pytest

from build import lockfile, patched, series, sourcetree
from build.errors import BehaviourError, PatchError
from tests import rebasekit
from tests.rebasekit import ANSWER, FLASHINFER_PATCH, VLLM_PATCH


@pytest.fixture
def demo(tmp_path, monkeypatch, capsys):
    with rebasekit.world(tmp_path, monkeypatch, capsys) as made:
        yield made


def series_of(demo):
    return series.read(demo.repo, "demo", ("vllm", "flashinfer"))


def with_patch(demo, text):
    demo.series({"vllm/0001.patch": text, "flashinfer/0001.patch": FLASHINFER_PATCH})
    demo.lock()


def test_a_series_that_does_what_it_is_for(demo):
    status, out, _ = demo.check()
    assert status == 0
    rows = [line.split() for line in out.splitlines() if "proven" in line]
    assert rows == [
        ["answer", "vllm/0001.patch", "1/2", "2/2", "proven"],
        ["finger", "flashinfer/0001.patch", "0/1", "1/1", "proven"],
    ]


def test_as_data_each_case_has_its_answers(demo):
    status, out, _ = demo.check(as_json=True)
    found = json.loads(out)
    assert status == 0
    answer = found["behaviours"][0]
    assert (answer["behaviour"], answer["verdict"], answer["faults"]) == ("answer", "proven", [])
    assert [(case["name"], case["kind"], case["status"]) for case in answer["without"]] == [
        ("it-is-42", "fixes", "failed"),
        ("the-rest-is-as-it-was", "keeps", "passed"),
    ]
    assert [case["status"] for case in answer["with"]] == ["passed", "passed"]


def test_a_patch_that_applies_and_does_nothing_useful(demo):
    with_patch(demo, VLLM_PATCH.replace("+    return 42", "+    return 43"))
    status, out, said = demo.check()
    assert status == BehaviourError.exit_code
    assert "the series demo applies, and does not do what it is for" in said
    assert "answer: it-is-42: Wrong: it is 43" in said
    assert [line.split()[-1] for line in out.splitlines() if ".patch" in line] == ["wrong", "proven"]


def test_a_patch_that_breaks_what_was_right(demo):
    spoilt = "+    global after\n+    after = str\n+    return 42"
    with_patch(demo, VLLM_PATCH.replace("+    return 42", spoilt).replace("-6,7 +6,7", "-6,7 +6,9"))
    status, _, said = demo.check()
    assert status == BehaviourError.exit_code
    assert "answer: the-rest-is-as-it-was: Wrong: after" in said


def test_a_patch_that_is_not_needed(demo):
    """Upstream has it, or its questions ask nothing: the behaviour holds without, and the patch only costs."""
    behaviour = demo.repo / "dockerfiles/image/checks/behaviours/answer.py"
    behaviour.write_text(behaviour.read_text().replace("answer() != 42", "answer() < 41"))
    status, _, said = demo.check()
    assert status == BehaviourError.exit_code
    assert "answer: it holds without vllm/0001.patch too: upstream may have it" in said


IDLE = (
    rebasekit.HEADER.format("answer")
    + """\
diff --git a/vllm/idle.py b/vllm/idle.py
new file mode 100644
--- /dev/null
+++ b/vllm/idle.py
@@ -0,0 +1 @@
+idle = True
"""
)


@pytest.mark.parametrize(("order", "idle"), [(("0001", "0002"), "0002"), (("0002", "0001"), "")])
def test_a_patch_that_rides_along(demo, order, idle):
    """It shares the behaviour of one that does it all. Before that one it might still be a part of what is needed."""
    both = dict(zip(("0001", "0002"), (VLLM_PATCH, IDLE), strict=True))
    files = {f"vllm/{name}.patch": both[name] for name in order}
    demo.series({**files, "flashinfer/0001.patch": FLASHINFER_PATCH})
    demo.lock()
    status, _, said = demo.check()
    assert status == (BehaviourError.exit_code if idle else 0)
    assert ("answer: it holds without vllm/0002.patch, with the patches before it" in said) == bool(idle)


def test_a_behaviour_that_is_not_there(demo):
    (demo.repo / "dockerfiles/image/checks/behaviours/answer.py").unlink()
    status, _, said = demo.check()
    assert status == BehaviourError.exit_code
    assert "there is no behaviour 'answer'" in said
    assert "dockerfiles/image/checks/behaviours/answer.py is not there" in said


def test_a_patch_that_ends_the_interpreter(demo):
    with_patch(demo, VLLM_PATCH.replace("+    return 42", "+    import os; os._exit(3)"))
    status, _, said = demo.check()
    assert status == BehaviourError.exit_code
    assert "nothing could be asked of the sources with" in said
    assert "its process ended with 3" in said


def test_questions_without_an_answer_prove_nothing(demo):
    """A behaviour of which nothing could be asked holds neither without nor with the series."""
    behaviour = demo.repo / "dockerfiles/image/checks/behaviours/answer.py"
    behaviour.write_text(
        "from ..cases import Absent, fixes\nREAL = ('vllm.answer',)\n\n"
        "@fixes\ndef anything():\n    raise Absent('not here')\n\nCASES = (anything,)\n"
    )
    status, _, said = demo.check()
    assert status == BehaviourError.exit_code
    assert "answer: nothing that a patch is for could be asked" in said


def test_a_behaviour_that_cannot_be_loaded_is_no_answer(demo):
    behaviour = demo.repo / "dockerfiles/image/checks/behaviours/answer.py"
    behaviour.write_text("import nothing_of_that_name\n")
    status, _, said = demo.check()
    assert status == BehaviourError.exit_code
    assert "nothing_of_that_name" in said


def test_it_applies_first_and_exactly(demo):
    """Nothing is asked of a tree that is not the locked one."""
    lock = lockfile.read_lock(demo.repo, "demo")
    component = next(item for item in lock.components if item.name == "vllm")
    path = sourcetree.ensure(demo.settings, component) / "vllm/answer.py"
    path.chmod(0o644)
    path.write_bytes(b"# moved\n" + ANSWER)
    assert patched.is_kept(demo.settings, lock, series_of(demo))  # nothing has to be made anew, and yet
    status, out, said = demo.check()
    assert status == PatchError.exit_code
    assert "vllm/0001.patch: vllm/answer.py is not the file that this series was locked for" in said
    assert out == ""
