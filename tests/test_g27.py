"""The seed's own image: its commit is taken from nobody who lacks it, and its lock holds nothing that nobody saw."""

import shutil
from dataclasses import replace

import pytest

from build import gitsource, locksources, nativelock, treetar
from build.errors import GoneCommitError, LockError, OfflineError
from build.exported import SOURCES
from build.intent import read_intent
from build.lockfile import read_lock
from build.models import GitSource, Settings
from build.settings import REPO
from tests import gitkit
from tests.sourcekit import leftovers

OTHER = {"vllm/__init__.py": b"import evil\n", "CMakeLists.txt": b"project(vllm_extensions)\n"}
NEEDED = [
    "components.flashinfer.git", "components.vllm.git", "externals.cutlass", "externals.deepgemm", "externals.flashmla",
    "externals.qutlass", "externals.triton_kernels", "externals.vllm-flash-attn",
]  # fmt: skip
VLLM = "components.vllm.git"


@pytest.fixture
def settings(tmp_path):
    return Settings(repo=REPO, store=tmp_path / "store")


@pytest.fixture
def named():
    """What the intent says of the component."""
    return read_intent(REPO).targets["g27"].components["vllm"]


@pytest.fixture
def other(tmp_path, named, monkeypatch):
    """Another repository, which a user's git is sent to instead of the one that the intent names."""
    remote = gitkit.repository(tmp_path / "other", OTHER)
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", f"url.{remote.url}.insteadOf")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", named.git)
    return remote


def pinned(named, **more):
    """A lock's row of it. The tree is the one of other content, where no other is named."""
    return GitSource(**{"url": named.git, "tag": "", "commit": named.commit, "tree": "ab" * 20, **more})


def test_the_intent_names_a_whole_commit(named):
    assert (named.git, named.commit) == ("https://github.com/jasl/vllm", "27fd665bdc3ba58afc5c34cbb9034c9fc1a95029")
    assert named.mirrors == ()
    assert not named.tag


# --- another repository in its place -------------------------------------------------------------------------------


@pytest.mark.programs("git")
def test_a_lock_takes_nothing_from_another_repository(settings, named, other):
    intent = read_intent(REPO).targets["g27"]
    only = intent.model_copy(update={"components": {"vllm": named}, "externals": {}})
    with pytest.raises(GoneCommitError, match=f"the commit {named.commit} of {VLLM} is gone") as caught:
        locksources.pin(settings, only, read_lock(REPO, "g27"), {}, anew=True)
    assert caught.value.why.startswith(named.git)
    assert leftovers(settings) == []


@pytest.mark.programs("git")
@pytest.mark.parametrize("own_tree", [False, True])
def test_a_build_takes_nothing_from_it_either(settings, named, other, own_tree):
    """Also where a lock was written to agree with what that repository has."""
    source = pinned(named, **({"tree": other.tree} if own_tree else {}))
    with pytest.raises(GoneCommitError, match=named.commit):
        gitsource.ensure(settings, "vllm", source)
    assert leftovers(settings) == []


@pytest.mark.programs("git")
def test_the_redirection_is_what_git_follows(settings, named, other):
    """What the two tests above would mean little without: by its own commit that repository answers at this URL."""
    folder = gitsource.ensure(settings, "vllm", pinned(named, commit=other.head, tree=other.tree))
    assert (folder / "vllm/__init__.py").read_bytes() == OTHER["vllm/__init__.py"]


@pytest.mark.programs("git")
def test_a_commit_that_is_served_with_another_tree_than_was_locked(settings, named, other):
    with pytest.raises(LockError, match="has another tree than was locked") as caught:
        gitsource.ensure(settings, "vllm", pinned(named, commit=other.head))
    assert other.tree in caught.value.why
    assert "do not trust this remote" in caught.value.todo
    assert leftovers(settings) == []


# --- another tree in an exported folder, or in the store -----------------------------------------------------------


@pytest.fixture
def exported(tmp_path, named):
    """A folder that says of other content that it is the locked tree; and the row of the lock."""
    source = pinned(named)
    tree = tmp_path / "tree"
    for path, data in OTHER.items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_bytes(data)
    packed = tmp_path / "exported" / SOURCES / f"{gitsource.tree_id(source)}.tar"
    packed.parent.mkdir(parents=True)
    treetar.write(tree, packed)
    return tmp_path / "exported", source


def test_an_exported_tree_of_other_content_is_refused(settings, exported, capsys):
    folder, source = exported
    with pytest.raises(OfflineError, match=source.commit[:12]) as caught:
        gitsource.ensure(replace(settings, exported=(folder,), offline=True), "vllm", source)
    assert f"holds another tree (expected {source.tree}" in caught.value.why
    assert "holds another tree" in capsys.readouterr().err
    assert leftovers(settings) == []


@pytest.mark.programs("git")
def test_nor_is_it_taken_where_the_remote_has_nothing_better(settings, exported, other):
    folder, source = exported
    with pytest.raises(GoneCommitError, match=source.commit):
        gitsource.ensure(replace(settings, exported=(folder,)), "vllm", source)
    assert leftovers(settings) == []


def test_a_store_with_other_content_is_not_handed_on(settings, named, tmp_path):
    """`ensure` knows what it keeps by name; whoever uses it compares it again."""
    source = pinned(named)
    kept = settings.store / "trees" / gitsource.tree_id(source)
    kept.mkdir(parents=True)
    (kept / "evil.py").write_bytes(b"import evil\n")
    with pytest.raises(LockError, match="is not what was locked") as caught:
        gitsource.pack(settings, source, tmp_path / "out")
    assert caught.value.why.startswith(f"expected {source.tree}, found ")
    assert not (tmp_path / "out").exists()
    shutil.rmtree(kept)


# --- the lock in the repository ------------------------------------------------------------------------------------


def test_what_the_lock_leaves_open_is_what_is_needed_and_nothing_else():
    intent, lock = read_intent(REPO).targets["g27"], read_lock(REPO, "g27")
    assert [item.what for item in lock.unresolved] == NEEDED
    rows = {f"components.{name}.git": table for name, table in intent.components.items()}
    rows |= {f"externals.{name}": table for name, table in intent.externals.items()}
    assert sorted(rows) == NEEDED, "no source of the intent is missing"
    for item in lock.unresolved:
        assert item.wanted == f"{rows[item.what].git} {rows[item.what].commit or rows[item.what].tag}"
        assert item.why == locksources.UNREACHED


def test_no_hash_of_what_nobody_saw_is_in_it():
    lock = read_lock(REPO, "g27")
    (vllm,) = [item for item in lock.components if item.name == "vllm"]
    assert (vllm.git, vllm.archive) == (None, None)
    assert (vllm.tree, vllm.patched_tree, vllm.files, vllm.requires) == ("", "", (), ())
    (flashinfer,) = [item for item in lock.components if item.name == "flashinfer"]
    assert flashinfer.git is None
    assert (flashinfer.tree, flashinfer.patched_tree, flashinfer.files) == ("", "", ())
    assert lock.externals == ()
    assert (lock.native.fetched, lock.native.substitutes) == ((), ())
    assert not nativelock.has_tree(lock)
    assert not nativelock.is_made(lock)
    assert "vllm" not in {wheel.name for wheel in lock.wheels}, "the published one is another"
