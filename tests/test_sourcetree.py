"""build/sourcetree.py: a component's pristine tree, from its archive or its commit, whole or not there."""

import gzip
import hashlib
import io
import shutil
import tarfile
from dataclasses import replace

import pytest

from build import sourcetree, store
from build.errors import HashMismatchError, LockError, OfflineError, UnresolvedError
from build.models import Component, GitSource, Lock, Settings, SourceArchive, Unresolved
from tests.gitkit import repository

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


@pytest.mark.parametrize("again", ["file", "link"])
def test_an_archive_that_has_a_path_twice_writes_through_no_link(settings, again):
    data = gzip.decompress(archive({}, link=("pkg-1/a", "../outside" if again == "link" else "b")))
    out = io.BytesIO(data)
    with tarfile.open(fileobj=out, mode="a") as tar:
        tar.addfile(tarfile.TarInfo("pkg-1/a"))
    with pytest.raises(LockError, match="cannot be unpacked") as caught:
        sourcetree.ensure(settings, component(keep(settings, out.getvalue())))
    assert "pkg-1/a is there twice" in caught.value.why
    assert not list(settings.store.rglob("outside"))


# --- git, whose own tests are in test_gitsource.py -------------------------------------------------------------------


@pytest.fixture
def pinned(tmp_path):
    """A repository and its older commit, as locked."""
    remote = repository(tmp_path / "remote", {"pkg/a.py": b"a = 1\r\nb = 2\n"})
    source = GitSource(url=remote.url, tag="v1", commit=remote.head, tree=remote.tree)
    remote.commit({"pkg/a.py": b"a = 2\n"})
    return source


@pytest.mark.programs("git")
def test_the_pinned_commit_and_nothing_else(settings, pinned):
    found = sourcetree.ensure(settings, component(git=pinned))
    assert (found / "pkg/a.py").read_bytes() == b"a = 1\r\nb = 2\n"
    assert [path.name for path in found.iterdir()] == ["pkg"]
    assert found.name == sourcetree.tree_id(component(git=pinned), git=False)
    assert leftovers(settings) == [found]


@pytest.mark.programs("git")
def test_git_when_asked_and_the_archive_otherwise(settings, pinned):
    both = component(keep(settings, archive(FILES)), pinned)
    assert (sourcetree.ensure(settings, both) / "setup.py").exists()
    assert not (sourcetree.ensure(settings, both, git=True) / "setup.py").exists()
    assert sourcetree.tree_id(both, git=True) != sourcetree.tree_id(both, git=False)


def test_git_offline(settings):
    source = GitSource(url="https://git.example.invalid/x", tag="v1", commit="1" * 40, tree="2" * 40)
    with pytest.raises(OfflineError, match="--offline was asked for"):
        sourcetree.ensure(replace(settings, offline=True), component(git=source))


def lock(item):
    left_open = Unresolved(what="components.pkg.git", wanted="https://git.example/pkg v1", why="nobody answered")
    return Lock(
        target="t", intent="", epoch=0, python="3.13", platform="", tools=(), wheels=(), patches=(),
        components=(item,), unresolved=(left_open,),
    )  # fmt: skip


def test_a_commit_that_the_lock_left_open_is_missed_only_where_it_is_needed(settings):
    kept = component(keep(settings, archive(FILES)))
    sourcetree.require_resolved(lock(kept), git=False)
    with pytest.raises(UnresolvedError, match="leaves the commit of pkg open") as caught:
        sourcetree.require_resolved(lock(kept), git=True)
    assert caught.value.why == "https://git.example/pkg v1: nobody answered"
    assert "nox -s lock -- --target t" in caught.value.todo
    assert "leave out `--from git`" in caught.value.todo
    with pytest.raises(UnresolvedError):
        sourcetree.require_resolved(lock(component()), git=False)


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
