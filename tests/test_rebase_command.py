"""`nox -s rebase`: a series on other releases, for real, with behaviours that need no torch."""

import re
from pathlib import Path

import pytest

from build import series, udiffparse
from tests import gitkit, rebasekit
from tests.rebasekit import ANSWER, FIXED

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
    assert (place / "series").read_text().splitlines()[1:] == ["vllm/0001.patch", "# flashinfer/0001.patch: upstream"]
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
    assert lines[1].startswith("# vllm/0001.patch: conflict: ")
    assert lines[2] == "flashinfer/0001.patch"
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
     ({"onto": "9.9"}, "no version of vllm==9.9"), ({"target": "dem", "onto": "1.0"}, "did you mean --target demo?")],
)  # fmt: skip
def test_what_cannot_be_meant(demo, asked, said):
    status, _, message = demo.rebase(**asked)
    assert status in (2, 11, 14)
    assert said in message


# --- a commit ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["tag", "branch", "commit"])
def test_onto_a_tag_a_branch_or_a_commit(demo, tmp_path, kind):
    files = {"vllm/answer.py": b"#\n#\n" + ANSWER, "requirements/cuda.txt": b"flashinfer-python==0.2\n"}
    place = tmp_path / "srv/vllm"
    remote = gitkit.repository(place, files).tag("preview-a")
    commit = gitkit.git("rev-parse", "HEAD", cwd=place).strip()
    gitkit.git("branch", "side", cwd=place)
    demo.edit('distribution = "vllm"', f'distribution = "vllm"\ngit = "{remote.url}"\ntag = "preview-a"')
    named = {"tag": "preview-a", "branch": "side", "commit": commit}[kind]
    status, found = demo.rebase_json(onto=named)
    assert status == 0
    assert found["patches"][0]["hunks"][0]["moved"] == 2
    assert found["versions"] == {"vllm": commit[:12], "flashinfer": "0.2"}
    assert found["onto"] == (named if kind != "commit" else commit[:12])


def test_a_reference_that_no_remote_has(demo, tmp_path):
    remote = gitkit.repository(tmp_path / "srv/vllm", {"vllm/answer.py": ANSWER})
    demo.edit('distribution = "vllm"', f'distribution = "vllm"\ngit = "{remote.url}"\ntag = "x"')
    status, _, said = demo.rebase(onto="nowhere")
    assert status == 14
    assert "no remote has a tag or branch nowhere" in said


# --- the matrix ----------------------------------------------------------------------------------------------------


def test_the_matrix_says_each_cell_and_is_green_at_home(demo):
    status, out, said = demo.rebase(matrix=True)
    assert status == 0, said
    rows = [line.split() for line in out.splitlines()]
    assert ["series", "patch", "v1.0", "v1.1"] in rows
    assert ["demo", "vllm/0001", "exact", "✓", "moved", "✓"] in rows
    assert ["flashinfer/0001", "exact", "✓", "upstream", "✓"] in rows
    assert "demo: 2 of 2 patches hold on v1.0" in out


def test_the_matrix_tells_why_a_cell_fails_and_ends_well_if_home_holds(demo):
    demo.release("1.1", ANSWER.replace(b"return 41", b"return 40"), "0.2")
    demo.edit('releases = ["1.0", "1.1"]', 'releases = ["1.1", "1.0"]')
    (demo.repo / "lock/rebase.toml").unlink()
    demo.lock()
    status, out, _ = demo.rebase(matrix=True)
    assert status == 0
    assert "vllm/0001.patch (demo on v1.1): vllm/answer.py: hunk 1" in out


def test_a_series_that_does_not_hold_at_home_ends_the_matrix_with_an_error(demo):
    demo.series({"vllm/0001.patch": rebasekit.VLLM_PATCH.replace("+    return 42", "+    return 43")})
    status, _, said = demo.rebase(matrix=True)
    assert status == 34
    assert "1 patches do not hold on the release that they are for" in said
    assert "it-is-42: Wrong: it is 43" in said


def test_a_stale_lock_ends_the_matrix(demo):
    demo.edit('releases = ["1.0", "1.1"]', 'releases = ["1.0"]')
    status, _, said = demo.rebase(matrix=True)
    assert status == 13
    assert "lock/rebase.toml is stale" in said


UNREAD = """
[rebase.trees.fork]
series = "fork"
like = "demo"
git = "{url}"
commit = "{commit}"

[targets.demo]
"""


@pytest.fixture
def forked(demo, tmp_path):
    """A tree that is no release, at a remote that cannot be reached yet; its series is the target's own patches."""
    place = tmp_path / "srv/fork"
    remote = gitkit.repository(place, {"vllm/answer.py": ANSWER, "requirements/cuda.txt": b"flashinfer-python==0.1\n"})
    commit = gitkit.git("rev-parse", "HEAD", cwd=place).strip()
    demo.edit("\n[targets.demo]\n", UNREAD.format(url=remote.url, commit=commit))
    folder = demo.repo / "patches/fork"
    folder.mkdir()
    (folder / "series").write_text("demo/vllm/0001.patch\ndemo/flashinfer/0001.patch\n")
    place.rename(tmp_path / "srv/away")
    demo.lock()
    return demo, lambda: (tmp_path / "srv/away").rename(place)


def test_a_tree_that_was_never_read_is_never_green(forked):
    demo, _ = forked
    status, found = demo.rebase_json(matrix=True)
    assert status == 0
    assert found["unverified"] == ["fork"]
    of_fork = [cell for cell in found["cells"] if cell["series"] == "fork" or cell["base"] == "fork"]
    assert len(of_fork) == 8
    assert not any(cell["green"] for cell in of_fork)
    assert {cell["fit"] for cell in of_fork if cell["base"] == "fork"} == {"unverified"}
    _, out, _ = demo.rebase(matrix=True)
    assert "fork: unverified: its tree was never read" in out
    rows = [line.split() for line in out.splitlines()]
    assert ["fork", "vllm/0001", "exact", "moved", "unverified"] in rows
    assert ["demo", "vllm/0001", "exact", "✓", "moved", "✓", "unverified"] in rows


def test_once_it_was_read_it_counts(forked):
    demo, reach = forked
    reach()
    out = demo.lock().out
    assert "lock/rebase.toml" in out
    status, found = demo.rebase_json(matrix=True)
    assert status == 0
    assert found["unverified"] == []
    home = [cell for cell in found["cells"] if cell["series"] == "fork" and cell["base"] == "fork"]
    assert [cell["green"] for cell in home] == [True, True]
    assert demo.lock().out == "nothing changed\n"


def test_another_tree_under_the_commit_is_refused(forked, tmp_path):
    demo, _ = forked
    gitkit.repository(tmp_path / "srv/fork", {"vllm/answer.py": FIXED})
    status, _, said = demo.rebase(onto="fork")
    assert status == 24
    assert "fork" in said
