"""A tree of real size through git and back: vLLM's own source archive, committed, served, resolved, fetched, packed."""

import os
import tarfile
import time

import pytest

from build import gitsource, lockfile, store, treehash, treetar
from build.models import Settings
from build.settings import REPO, default_store
from tests import gitkit


@pytest.fixture(scope="module")
def archive():
    """The source archive of the default target's vLLM; the test is skipped where the store lacks it."""
    component = next(item for item in lockfile.read_lock(REPO, "v0.32").components if item.name == "vllm")
    if component.archive is None or not store.has(default_store(), component.archive.sha256, component.archive.size):
        pytest.skip("the store lacks vLLM's source archive: run `nox -s fetch`")
    return store.blob(default_store(), component.archive.sha256)


@pytest.fixture
def timed(capsys):
    """Says how long things took; nothing is asserted about it."""

    def measure(title, story):
        start = time.monotonic()
        result = story()
        with capsys.disabled():
            print(f"\n  {title}: {time.monotonic() - start:.2f} s", end="")
        return result

    return measure


@pytest.mark.slow
def test_vllms_own_tree_through_git_and_back(archive, tmp_path, timed):
    release = tmp_path / "release"
    with tarfile.open(archive) as tar:
        timed("unpack the archive", lambda: treetar.unpack(tar, release))
    (top,) = release.iterdir()
    served = tmp_path / "srv" / "vllm"
    served.parent.mkdir()
    os.replace(top, served)
    gitkit.git("init", "--quiet", "--initial-branch=main", ".", cwd=served)
    remote = gitkit.Remote(served).commit().tag("v0.32.0", annotated=True)
    remote.git("config", "uploadpack.allowFilter", "true")  # as public hosts have it
    settings = Settings(repo=REPO, store=tmp_path / "store")
    with gitkit.daemon(tmp_path / "srv") as url:
        source = timed(
            "resolve",
            lambda: gitsource.resolve(
                settings, "vllm", url=f"{url}/vllm", mirrors=(), tag="v0.32.0", commit="", version="", locked=None
            ),
        )
        folder = timed("ensure, from the daemon", lambda: gitsource.ensure(settings, "vllm", source))
    assert source.tree == remote.tree
    assert timed("hash the tree", lambda: treehash.tree_id(folder)) == remote.tree
    timed("pack", lambda: gitsource.pack(settings, source, tmp_path / "exported"))
    elsewhere = Settings(repo=REPO, store=tmp_path / "other", offline=True, exported=(tmp_path / "exported",))
    again = timed("ensure, from the exported folder", lambda: gitsource.ensure(elsewhere, "vllm", source))
    assert treehash.tree_id(again) == remote.tree
