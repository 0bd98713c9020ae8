"""build/sourcetree.py: a component's pristine tree, from its archive or its commit, whole or not there."""

import hashlib
import io
import shutil
import subprocess
import sys
import tarfile
from dataclasses import replace

import pytest

from build import sourcetree, store
from build.errors import CommandError, HashMismatchError, LockError, NetworkError, OfflineError
from build.models import Component, GitSource, Settings, SourceArchive

FILES = {"pkg-1/pkg/a.py": b"a = 1\n", "pkg-1/setup.py": b"setup()\n"}


def archive(files, kind="w:gz", link=None):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=kind) as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        if link:
            info = tarfile.TarInfo(link[0])
            info.type, info.linkname = tarfile.SYMTYPE, link[1]
            tar.addfile(info)
    return out.getvalue()


def keep(settings, data):
    """The data as a blob of the store, and as a locked source archive."""
    digest = hashlib.sha256(data).hexdigest()
    path = store.blob(settings.store, digest)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return SourceArchive(name="pkg", version="1", file="pkg-1.tar.gz", sha256=digest, size=len(data))


def component(source=None, git=None):
    return Component(name="pkg", distribution="pkg", paths=(("pkg/", "pkg/"),), archive=source, git=git, files=())


@pytest.fixture
def settings(tmp_path):
    return Settings(repo=tmp_path / "repo", store=tmp_path / "store")


def leftovers(settings):
    return [path for name in ("trees", "scratch") for path in (settings.store / name).glob("*")]


def test_an_archive_is_unpacked_without_its_top_folder(settings):
    found = sourcetree.ensure(settings, component(keep(settings, archive(FILES))))
    assert (found / "pkg/a.py").read_bytes() == b"a = 1\n"
    assert sorted(path.name for path in found.iterdir()) == ["pkg", "setup.py"]
    assert leftovers(settings) == [found]


def test_a_second_time_reads_nothing(settings):
    kept = keep(settings, archive(FILES))
    first = sourcetree.ensure(settings, component(kept))
    store.blob(settings.store, kept.sha256).unlink()
    assert sourcetree.ensure(settings, component(kept)) == first


def test_a_missing_archive_is_fetched_by_who_can(settings):
    data = archive(FILES)
    asked = keep(settings, data)
    store.blob(settings.store, asked.sha256).unlink()
    with pytest.raises(OfflineError, match=r"pkg-1\.tar\.gz is not in the store"):
        sourcetree.ensure(settings, component(asked))
    found = sourcetree.ensure(settings, component(asked), obtain=lambda wanted: keep(settings, data) == wanted)
    assert (found / "setup.py").exists()


def test_a_corrupted_archive_is_removed_and_nothing_is_made(settings):
    kept = keep(settings, archive(FILES))
    path = store.blob(settings.store, kept.sha256)
    path.write_bytes(b"\0" * kept.size)
    with pytest.raises(HashMismatchError, match=r"pkg-1\.tar\.gz"):
        sourcetree.ensure(settings, component(kept))
    assert not path.exists()
    assert leftovers(settings) == []


@pytest.mark.parametrize(
    "data",
    [
        archive({"pkg-1/../../outside": b"x"}), archive({"/outside": b"x"}),
        archive(FILES, link=("pkg-1/out", "../../../outside")), archive(FILES, link=("pkg-1/out", "/etc/passwd")),
    ],
)  # fmt: skip
def test_an_archive_that_leaves_its_folder(settings, data):
    with pytest.raises(LockError, match="cannot be unpacked"):
        sourcetree.ensure(settings, component(keep(settings, data)))
    assert leftovers(settings) == []
    assert not list(settings.store.parent.rglob("outside"))


@pytest.mark.parametrize("files", [{"a/x": b"", "b/y": b""}, {"lonely": b""}, {}])
def test_an_archive_of_another_shape(settings, files):
    with pytest.raises(LockError, match="one top folder"):
        sourcetree.ensure(settings, component(keep(settings, archive(files))))
    assert leftovers(settings) == []


def test_an_archive_that_is_cut(settings):
    data = archive(FILES)[:-40]
    with pytest.raises(LockError, match="cannot be unpacked"):
        sourcetree.ensure(settings, component(keep(settings, data)))
    assert leftovers(settings) == []


def test_nothing_locked(settings):
    with pytest.raises(LockError, match="no commit of the component 'pkg'"):
        sourcetree.ensure(settings, component())


# --- git -----------------------------------------------------------------------------------------------------------


def git(*argv, cwd):
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.invalid", "-c", "commit.gpgsign=false"]
    return subprocess.run(["git", *identity, *argv], cwd=cwd, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def remote(tmp_path):
    """A repository with two commits, the older one pinned."""
    folder = tmp_path / "remote"
    (folder / "pkg").mkdir(parents=True)
    git("init", "-q", ".", cwd=folder)
    git("config", "uploadpack.allowAnySHA1InWant", "true", cwd=folder)
    (folder / "pkg/a.py").write_bytes(b"a = 1\r\nb = 2\n")
    git("add", "-A", cwd=folder)
    git("commit", "-q", "-m", "one", cwd=folder)
    commit, tree = git("rev-parse", "HEAD", "HEAD^{tree}", cwd=folder).split()
    (folder / "pkg/a.py").write_bytes(b"a = 2\n")
    git("commit", "-q", "-a", "-m", "two", cwd=folder)
    return GitSource(url=folder.as_uri(), tag="v1", commit=commit, tree=tree)


@pytest.mark.programs("git")
def test_the_pinned_commit_and_nothing_else(settings, remote):
    found = sourcetree.ensure(settings, component(git=remote))
    assert (found / "pkg/a.py").read_bytes() == b"a = 1\r\nb = 2\n"
    assert [path.name for path in found.iterdir()] == ["pkg"]
    assert leftovers(settings) == [found]


@pytest.mark.programs("git")
def test_git_when_asked_and_the_archive_otherwise(settings, remote):
    both = component(keep(settings, archive(FILES)), remote)
    assert (sourcetree.ensure(settings, both) / "setup.py").exists()
    assert not (sourcetree.ensure(settings, both, git=True) / "setup.py").exists()
    assert sourcetree.tree_id(both, git=True) != sourcetree.tree_id(both, git=False)


@pytest.mark.programs("git")
def test_another_tree_than_was_locked(settings, remote):
    with pytest.raises(LockError, match="has another tree than was locked") as caught:
        sourcetree.ensure(settings, component(git=replace(remote, tree="0" * 40)))
    assert remote.tree in caught.value.why
    assert leftovers(settings) == []


@pytest.mark.programs("git")
def test_a_commit_that_the_remote_lacks(settings, remote):
    with pytest.raises(NetworkError, match="could not be fetched") as caught:
        sourcetree.ensure(settings, component(git=replace(remote, commit="1" * 40)))
    assert "source archive" in caught.value.todo
    assert leftovers(settings) == []


def test_git_offline(settings):
    pinned = GitSource(url="https://git.example.invalid/x", tag="v1", commit="1" * 40, tree="")
    with pytest.raises(OfflineError, match="--offline was asked for"):
        sourcetree.ensure(replace(settings, offline=True), component(git=pinned))


def test_a_machine_without_git(settings, monkeypatch):
    monkeypatch.setitem(sys.modules, "git", None)  # GitPython raises ImportError where the program is missing
    with pytest.raises(CommandError, match="git is not there") as caught:
        sourcetree.ensure(settings, component(git=GitSource(url="x", tag="", commit="1" * 40, tree="")))
    assert "source archive" in caught.value.todo
    assert leftovers(settings) == []


@pytest.mark.parametrize("trouble", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_an_interruption_leaves_nothing_and_the_next_run_is_whole(settings, monkeypatch, trouble):
    kept = component(keep(settings, archive(FILES)))

    def broken(*_):
        raise trouble

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfileobj", broken)
        with pytest.raises(type(trouble)):
            sourcetree.ensure(settings, kept)
    assert leftovers(settings) == []
    assert (sourcetree.ensure(settings, kept) / "pkg/a.py").exists()
