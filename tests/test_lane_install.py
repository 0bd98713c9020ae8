"""dockerfiles/lane/install.py: what is left out is gone, its RECORD stays true, and what it was is written down."""

import csv

import pytest

from build.settings import REPO


@pytest.fixture
def lane(monkeypatch):
    monkeypatch.syspath_prepend(str(REPO / "dockerfiles" / "lane"))
    monkeypatch.syspath_prepend(str(REPO / "dockerfiles" / "image" / "checks"))
    import install

    yield install
    for name in ("install", "layer", "fatbin"):
        monkeypatch.delitem(__import__("sys").modules, name)


@pytest.fixture
def site(tmp_path):
    """Two distributions; the second brings nothing but what may go, and shares a file with the first."""
    files = {"one/a.py": b"a", "one/deep/er/k.so": (REPO / "tests/data/two.fatbin").read_bytes(), "two/c/b.c": b"text"}
    for path, content in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(content)
    for name, paths in {"One_x": ["one/a.py", "one/deep/er/k.so"], "two": ["one/deep/er/k.so", "two/c/b.c"]}.items():
        info = tmp_path / f"{name}-1.dist-info"
        info.mkdir()
        rows = [[path, "sha256=x", "1"] for path in paths]
        with open(info / "RECORD", "w", newline="") as stream:
            csv.writer(stream).writerows([*rows, [f"{info.name}/RECORD", "", ""]])
    return tmp_path


def test_files_folders_and_rows_go_and_the_rest_stays(lane, site):
    gone = lane.leave_out(site, {"one-x": ["one/deep/er/k.so"], "two": ["one/deep/er/k.so", "two/c/b.c"]})
    assert gone["two/c/b.c"] == {"bytes": 4}
    assert gone["one/deep/er/k.so"]["bytes"] == 4872
    assert {"sm_121a", "compute_120f"} < set(gone["one/deep/er/k.so"]["code"])
    there = sorted(str(path.relative_to(site)) for path in site.rglob("*") if path.is_file())
    assert there == ["One_x-1.dist-info/RECORD", "one/a.py", "two-1.dist-info/RECORD"]
    assert not (site / "one" / "deep").exists()
    assert not (site / "two").exists()
    assert "k.so" not in (site / "One_x-1.dist-info/RECORD").read_text()
    assert (site / "One_x-1.dist-info/RECORD").read_text().startswith("one/a.py,sha256=x,1\n")
    assert (site / "two-1.dist-info/RECORD").read_text() == "two-1.dist-info/RECORD,,\n"


def test_a_file_that_no_wheel_installed_ends_it(lane, site):
    with pytest.raises(FileNotFoundError, match=r"one/z\.so"):
        lane.leave_out(site, {"one-x": ["one/z.so"]})
