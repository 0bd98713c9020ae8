"""build/rebased.py: a carried series as a folder that a person goes on in."""

import pytest

from build import series
from tests import rebasekit
from tests.rebasekit import ANSWER

pytestmark = pytest.mark.programs("git")


@pytest.fixture
def demo(tmp_path, monkeypatch, capsys):
    with rebasekit.world(tmp_path, monkeypatch, capsys) as made:
        yield made


EXECUTABLE = (
    rebasekit.HEADER.format("answer")
    + """\
diff --git a/vllm/tool.py b/vllm/tool.py
new file mode 100755
--- /dev/null
+++ b/vllm/tool.py
@@ -0,0 +1 @@
+new = 1
"""
)
MODE = (
    rebasekit.HEADER.format("answer")
    + """\
diff --git a/vllm/answer.py b/vllm/answer.py
old mode 100644
new mode 100755
"""
)


def test_while_it_is_as_it_was_written_it_is_written_anew(demo):
    demo.rebase(onto="1.1")
    _, before = demo.written()
    demo.series({"flashinfer/0001.patch": rebasekit.FLASHINFER_PATCH, "vllm/0002.patch": rebasekit.VLLM_PATCH})
    assert demo.rebase(onto="1.1")[0] == 0
    place, after = demo.written()
    assert set(before) == {"series", "vllm/0001.patch"}
    assert set(after) == {"series", "vllm/0002.patch"}
    assert [path.name for path in place.parent.iterdir()] == ["demo-onto-v1.1"]


def edit(place):
    path = place / "vllm/0001.patch"
    path.write_bytes(path.read_bytes() + b"\n")


HANDS = {
    "a patch changed": edit,
    "a patch added": lambda place: (place / "flashinfer").mkdir() or (place / "flashinfer/1.patch").write_text("mine"),
    "a patch taken out": lambda place: (place / "vllm/0001.patch").unlink(),
    "the series changed": lambda place: (place / "series").write_text("vllm/0001.patch\n"),
    "a link": lambda place: (place / "more").symlink_to("/etc"),
}


@pytest.mark.parametrize("hand", HANDS)
def test_what_was_changed_by_hand_is_not_written_over(demo, hand):
    demo.rebase(onto="1.1")
    place, _ = demo.written()
    HANDS[hand](place)
    before = demo.files()
    demo.index.asked.clear()
    status, out, said = demo.rebase(onto="1.1")
    assert status == 2
    assert f"{place} is not as `nox -s rebase` wrote it" in said
    assert "--output DIR" in said
    assert (demo.files(), out) == (before, "")


def test_it_may_be_written_elsewhere_and_into_an_empty_folder(demo, tmp_path):
    (tmp_path / "mine/demo-onto-v1.1").mkdir(parents=True)
    assert demo.rebase(onto="1.1", output=tmp_path / "mine")[0] == 0
    assert (tmp_path / "mine/demo-onto-v1.1/vllm/0001.patch").is_file()


def test_what_is_no_folder_is_told(demo, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "else").mkdir()
    place = tmp_path / "mine/demo-onto-v1.1"
    for make in (lambda: place.symlink_to(tmp_path / "else"), lambda: place.write_text("mine")):
        make()
        status, _, said = demo.rebase(onto="1.1", output=tmp_path / "mine")
        assert status == 2
        assert f"{place} is no folder" in said
        place.unlink()
    assert list((tmp_path / "else").iterdir()) == []
    (tmp_path / "file").write_text("mine")
    status, _, said = demo.rebase(onto="1.1", output=tmp_path / "file")
    assert (status, f"{tmp_path / 'file'} is no folder" in said) == (2, True)


def test_a_branch_makes_one_folder(demo, tmp_path):
    remote = demo.remote(tmp_path / "srv/vllm", {"vllm/answer.py": ANSWER})
    remote.git("branch", "releases/v0.22")
    _, found = demo.rebase_json(onto="releases/v0.22")
    assert found["onto"] == "releases/v0.22"
    assert [path.name for path in (demo.repo / "out/rebase").iterdir()] == ["demo-onto-releases-v0.22"]


def test_what_cannot_be_written_as_a_patch_leaves_nothing_half_written(demo):
    demo.release("1.2", ANSWER + b"# \0\n", "0.1")
    status, _, said = demo.rebase(onto="1.2")
    assert status == 30
    assert "NUL bytes" in said
    assert list((demo.repo / "out").rglob("*")) == []


def test_modes_are_written(demo):
    demo.series({"vllm/0001.patch": rebasekit.VLLM_PATCH, "vllm/2.patch": EXECUTABLE, "vllm/3.patch": MODE})
    status, found = demo.rebase_json(onto="1.1")
    assert status == 0
    assert [item["fit"] for item in found["patches"]] == ["same context", "exact", "same context"]
    _, files = demo.written()
    assert files["vllm/2.patch"] == EXECUTABLE.encode()
    assert files["vllm/3.patch"] == MODE.encode()


def test_a_mode_that_is_there_already(demo, tmp_path):
    remote = demo.remote(tmp_path / "srv/vllm", {"vllm/answer.py": ANSWER})
    (remote.folder / "vllm/answer.py").chmod(0o755)
    remote.commit()
    demo.series({"vllm/0001.patch": rebasekit.VLLM_PATCH, "vllm/3.patch": MODE})
    status, found = demo.rebase_json(onto="main")
    assert status == 0
    assert [item["fit"] for item in found["patches"]] == ["exact", "upstream"]
    _, files = demo.written("demo-onto-main")
    assert b"mode" not in files["vllm/0001.patch"].split(b"diff --git")[1]


def test_it_can_be_taken_as_a_series(demo):
    """What is written is a series as `patches/` has them, the checksum in a comment."""
    demo.rebase(onto="1.1")
    place, _ = demo.written()
    place.rename(demo.repo / "patches/carried")
    assert [patch.name for patch in series.read(demo.repo, "carried", ("vllm", "flashinfer")).patches] == [
        "vllm/0001.patch"
    ]
