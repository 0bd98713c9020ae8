"""build/matrix.py: every series on every locked version, by `nox -s rebase -- --matrix`."""

import pytest

from tests import gitkit, rebasekit
from tests.rebasekit import ANSWER, FIXED

pytestmark = pytest.mark.programs("git")


@pytest.fixture
def demo(tmp_path, monkeypatch, capsys):
    with rebasekit.world(tmp_path, monkeypatch, capsys) as made:
        yield made


def test_the_matrix_says_each_cell_and_is_green_at_home(demo):
    status, out, said = demo.rebase(matrix=True)
    assert status == 0, said
    rows = [line.split() for line in out.splitlines()]
    assert ["series", "patch", "v1.0", "v1.1"] in rows
    assert ["demo", "vllm/0001", "exact", "✓", "moved", "✓"] in rows
    assert ["flashinfer/0001", "exact", "✓", "upstream", "✓"] in rows
    assert "demo: 2 of 2 exact and green on v1.0" in out


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
    assert "a patch does not hold on what the series is for" in said
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
    return demo, lambda: gitkit.Remote((tmp_path / "srv/away").rename(place))


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


# --- at home -------------------------------------------------------------------------------------------------------


def test_at_home_a_patch_with_other_line_numbers_is_not_green(demo):
    """`lock` and `build` take it only as it is; carried to its own release it is written with the true ones."""
    demo.series({"vllm/0001.patch": rebasekit.VLLM_PATCH.replace("@@ -6,7 +6,7 @@", "@@ -7,7 +7,7 @@")})
    status, out, said = demo.rebase(matrix=True)
    assert status == 34
    assert ["demo", "vllm/0001", "moved", "✗", "2/2", "context", "✓"] in [line.split() for line in out.splitlines()]
    assert "vllm/0001.patch (demo on v1.0): vllm/answer.py: hunk 1 moved by -1" in said
    assert "`nox -s rebase -- --target demo --onto v1.0` writes them anew" in said
    status, found = demo.rebase_json(onto="1.0")
    assert (status, found["green"]) == (0, True)
    _, files = demo.written("demo-onto-v1.0")
    assert b"@@ -6,7 +6,7 @@" in files["vllm/0001.patch"]


def test_at_home_a_patch_that_is_not_needed_is_not_green(demo):
    demo.series({"vllm/0001.patch": rebasekit.VLLM_PATCH, "flashinfer/0001.patch": rebasekit.FLASHINFER_PATCH})
    path = demo.repo / "dockerfiles/image/checks/behaviours/finger.py"
    path.write_text(path.read_text().replace("finger != 5", "finger < 4"))
    status, _, said = demo.rebase(matrix=True)
    assert status == 34
    assert "flashinfer/0001.patch (demo on v1.0): it is not needed there" in said


def test_a_named_tree_is_the_home_of_its_series(forked):
    """Its patches are another series'; where lines moved they have to be carried, and then listed as its own."""
    demo, reach = forked
    remote = reach()
    before = remote.head
    remote.commit({"vllm/answer.py": b"#\n" + ANSWER})
    demo.edit(before, remote.head)
    demo.lock()
    status, _, said = demo.rebase(matrix=True)
    assert status == 34
    assert "vllm/0001.patch (fork on fork): vllm/answer.py: hunk 1 moved by +1" in said
    assert "`nox -s rebase -- --target demo --onto fork` writes what fits: take it as patches/fork" in said
    assert "patch -- --" not in said


def test_causes_that_are_alike_are_told_once(demo):
    for version in ("1.1", "1.2"):
        demo.release(version, ANSWER + b"\n\nanswer = lambda: __file__\n", "0.1")
    demo.edit('releases = ["1.0", "1.1"]', 'releases = ["1.0", "1.1", "1.2"]')
    (demo.repo / "lock/rebase.toml").unlink()
    demo.lock()
    runs = [demo.rebase(matrix=True)[1] for _ in range(2)]
    assert "vllm/0001.patch (demo on v1.1, demo on v1.2): it fits, but it-is-42: Wrong: it is vllm/answer.py" in runs[0]
    assert runs[0] == runs[1]


def test_nothing_to_carry_to_is_told(demo):
    text = demo.intent.read_text()
    before, _, rest = text.partition("[rebase]")
    demo.intent.write_text(before + rest[rest.index("[targets.demo]") :])
    status, _, said = demo.rebase(matrix=True)
    assert status == 2
    assert "name releases in a table [rebase]" in said
