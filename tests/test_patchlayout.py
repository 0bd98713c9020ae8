"""build/patchlayout.py: `patch -- --output`, whole patched trees in a folder of the user's."""

import json
import os
import stat

import pytest

from build import lockfile, patchlayout, treehash
from build.errors import LockError, UsageError
from tests.patchkit import FILES, ONE_PY, refused, run_killed

pytestmark = pytest.mark.programs("git")


def test_the_whole_patched_trees(bench, tmp_path):
    out = bench.run(output=tmp_path / "all")
    app, lib = tmp_path / "all/app", tmp_path / "all/lib"
    assert (lib / "lib/lib.py").read_bytes() == bench.lib
    changed = {ONE_PY: bench.three, "src/app/new.py": b"x = 1\ny = 2\n"}
    for path, data in {**FILES, **changed}.items():
        assert (app / path).read_bytes() == data
    assert (app / "run.sh").stat().st_mode & stat.S_IXUSR
    assert os.readlink(app / "link.py") == ONE_PY
    locked = lockfile.read_lock(bench.repo, "demo").components[0].patched_tree
    assert treehash.tree_id(app) == locked
    assert f"app: {app}  (git's tree {locked[:12]})" in out
    told = json.loads(bench.run(output=tmp_path / "again", json=True))
    assert told["trees"][0] == {"component": "app", "folder": str(tmp_path / "again/app"), "tree": locked}


def test_an_empty_folder_will_do_and_no_other(bench, tmp_path):
    (tmp_path / "all").mkdir()
    bench.run(output=tmp_path / "all")
    refused(bench, "is not empty", "it holds app, lib", kind=UsageError, output=tmp_path / "all")
    refused(bench, "is no folder", "it is a file", kind=UsageError, output=bench.repo / "lock/targets.toml")
    (tmp_path / "dangling").symlink_to("nowhere")
    refused(bench, "link to nowhere, which is not there", kind=UsageError, output=tmp_path / "dangling")
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to("empty")
    bench.run(output=tmp_path / "link")
    assert (tmp_path / "empty/app").is_dir()


def test_what_is_not_locked_is_not_laid_out(bench, tmp_path):
    tree = next(path for path in (bench.settings.store / "trees").iterdir() if (path / "src").exists())
    (tree / "src/app/two words.py").write_bytes(b"meddled\n")
    refused(bench, "the patched tree of app is not the locked one", kind=LockError, output=tmp_path / "all")
    assert list((tmp_path / "all").iterdir()) == []
    bench.refresh()
    refused(bench, "lock/demo.toml is stale", kind=LockError, output=tmp_path / "all")


@pytest.mark.parametrize("rest", [[], ["mine.txt"]])
def test_what_a_killed_layout_left_is_removed_where_nothing_else_is(bench, tmp_path, rest):
    run_killed(
        bench,
        "from build import lockfile, series\n"
        "patchlayout.treehash.tree_id = killed\n"
        "lock = lockfile.read_lock(settings.repo, 'demo')\n"
        "patches = series.read(settings.repo, 'demo', ('app', 'lib'))\n"
        f"patchlayout.write(settings, lock, patches, pathlib.Path({str(tmp_path / 'all')!r}), git=False)\n",
    )
    (left,) = (tmp_path / "all").iterdir()
    assert left.name.startswith(".app.partial-")
    for name in rest:
        (tmp_path / "all" / name).write_text("mine\n")
    if rest:
        refused(bench, "is not empty", "it holds mine.txt", kind=UsageError, output=tmp_path / "all")
        assert left.is_dir()
    else:
        bench.run(output=tmp_path / "all")
        assert sorted(path.name for path in (tmp_path / "all").iterdir()) == ["app", "lib"]


@pytest.mark.parametrize("name", [f".app.partial-{os.getppid()}", ".app-4194305", ".vscode", ".app.partial-x"])
def test_what_is_not_a_dead_run_s_is_not_ours_to_remove(bench, tmp_path, name):
    (tmp_path / "all" / name).mkdir(parents=True)
    refused(bench, "is not empty", f"it holds {name}", kind=UsageError, output=tmp_path / "all")
    assert (tmp_path / "all" / name).is_dir()


def test_a_layout_that_ends_early_leaves_no_half(bench, tmp_path, monkeypatch):
    monkeypatch.setattr(patchlayout.treehash, "tree_id", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        bench.run(output=tmp_path / "all")
    assert list((tmp_path / "all").iterdir()) == []
