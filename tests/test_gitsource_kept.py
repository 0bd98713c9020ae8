"""build/gitsource.py: exported folders, machines without git, runs that end badly, runs at once."""

import os
import signal
import subprocess
import sys
import tarfile
import threading
from dataclasses import replace

import pytest

from build import gitremote, gitsource, treehash, treetar
from build.errors import (
    CommandError,
    LockError,
    NetworkError,
    OfflineError,
)
from build.models import Settings
from tests import gitkit
from tests.gitkit import repository
from tests.sourcekit import UNKNOWN, content, leftovers, resolve
from tests.test_sourcetree import archive

pytestmark = pytest.mark.programs("git")


@pytest.fixture
def settings(tmp_path):
    return Settings(repo=tmp_path / "repo", store=tmp_path / "store")


# --- exported folders ------------------------------------------------------------------------------------------------


def test_a_packed_tree_is_all_that_a_machine_without_network_and_git_needs(settings, nested, tmp_path, monkeypatch):
    (nested[1].folder / "tool").symlink_to("deps/in/inner.txt")
    nested[1].commit()
    nested[0].submodule("third/again", "../org/middle", nested[1])
    source = resolve(settings, nested[0].url, tag="", commit=nested[0].head)
    packed = gitsource.pack(settings, source, tmp_path / "exported")
    assert packed == tmp_path / "exported/sources" / f"{gitsource.tree_id(source)}.tar"
    elsewhere = Settings(
        repo=tmp_path, store=tmp_path / "other", offline=True, exported=(tmp_path / "none", tmp_path / "exported")
    )
    monkeypatch.setenv("PATH", gitkit.without_git(tmp_path / "bin"))
    folder = gitsource.ensure(elsewhere, "a", source)
    assert content(folder) == content(gitsource.ensure(settings, "a", source))
    assert gitsource.difference(folder, source) == ""
    assert leftovers(elsewhere) == [folder]


def test_the_same_tree_is_packed_to_the_same_bytes(settings, remote, tmp_path):
    (remote.folder / "link").symlink_to("run.sh")
    (remote.folder / "run.sh").chmod(0o755)
    remote.commit()
    source = resolve(settings, remote.url, tag="", commit=remote.head)
    first = gitsource.pack(settings, source, tmp_path / "one").read_bytes()
    elsewhere = replace(settings, store=tmp_path / "other")
    folder = gitsource.ensure(elsewhere, "a", source)
    (folder / "pkg/a.py").chmod(0o600)
    os.utime(folder / "pkg/a.py", (1, 1))
    assert gitsource.pack(elsewhere, source, tmp_path / "two").read_bytes() == first
    with tarfile.open(tmp_path / "one/sources" / f"{gitsource.tree_id(source)}.tar") as tar:
        assert [(item.name, item.mode, item.mtime, item.uid) for item in tar] == [
            ("link", 0o755, 0, 0), ("pkg", 0o755, 0, 0), ("pkg/a.py", 0o644, 0, 0), ("run.sh", 0o755, 0, 0),
        ]  # fmt: skip


def test_a_stored_tree_that_was_touched_is_not_packed(settings, remote, tmp_path):
    source = resolve(settings, remote.url)
    (gitsource.ensure(settings, "a", source) / "pkg/a.py").write_text("touched")
    with pytest.raises(LockError, match="in the store is not what was locked"):
        gitsource.pack(settings, source, tmp_path / "exported")
    assert not (tmp_path / "exported").exists()


def altered(tar_path, how):
    data = tar_path.read_bytes()
    if how == "a byte":
        tar_path.write_bytes(data.replace(b"a = 1", b"a = 7"))
    elif how == "cut":
        tar_path.write_bytes(data[:700])
    elif how == "no tar":
        tar_path.write_bytes(b"<html>not found</html>")
    else:
        with tarfile.open(tar_path, "a") as tar:
            info = tarfile.TarInfo("run.sh" if how == "twice" else "../evil" if how == "outside" else "out")
            if how == "link":
                info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
            tar.addfile(info)


@pytest.mark.parametrize("how", ["a byte", "cut", "no tar", "twice", "outside", "link"])
def test_an_exported_tree_that_was_altered_is_refused_and_the_remote_asked(settings, remote, tmp_path, how, capsys):
    source = resolve(settings, remote.url)
    packed = gitsource.pack(settings, source, tmp_path / "exported")
    altered(packed, how)
    elsewhere = Settings(repo=tmp_path, store=tmp_path / "other", exported=(tmp_path / "exported",))
    with pytest.raises(OfflineError, match="is not in the store") as caught:
        gitsource.ensure(replace(elsewhere, offline=True), "a", source)
    assert str(packed) in caught.value.why
    assert leftovers(elsewhere) == []
    assert not list(tmp_path.rglob("evil"))
    capsys.readouterr()
    assert content(gitsource.ensure(elsewhere, "a", source))["pkg/a.py"] == b"a = 1\n"
    assert f"{packed} holds another tree" in capsys.readouterr().err


def test_offline_and_nowhere(settings):
    source = gitsource.GitSource(url="https://git.example.invalid/x", tag="v1", commit=UNKNOWN, tree=UNKNOWN)
    with pytest.raises(OfflineError, match=f"the commit {UNKNOWN[:12]} of a is not in the store"):
        gitsource.ensure(replace(settings, offline=True), "a", source)


def test_a_machine_without_git(settings, remote, tmp_path, monkeypatch):
    source = resolve(settings, remote.url)
    monkeypatch.setenv("PATH", gitkit.without_git(tmp_path / "bin"))
    with pytest.raises(CommandError, match="git is not there") as caught:
        gitsource.ensure(settings, "a", source)
    assert "--exported DIR" in caught.value.todo
    assert leftovers(settings) == []


# --- runs that end badly, and runs at once ---------------------------------------------------------------------------

CHILD = """
import sys
from pathlib import Path
from build import gitsource
from build.models import GitSource, Settings
url, commit, tree, store = sys.argv[1:]
source = GitSource(url=url, tag="", commit=commit, tree=tree)
print(gitsource.ensure(Settings(repo=Path("."), store=Path(store)), "a", source))
"""


def start(settings, source):
    """Another process that brings the source in."""
    argv = [sys.executable, "-c", CHILD, source.url, source.commit, source.tree, str(settings.store)]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)


def test_a_fetch_that_is_killed_leaves_nothing_and_the_next_run_is_whole(settings, remote, tmp_path):
    with gitkit.http(tmp_path / "srv") as server:
        source = resolve(settings, f"{server.url}/a")
        server.stall = threading.Semaphore(0)
        child = start(settings, source)
        assert server.stall.acquire(timeout=60)  # it is in the middle of its fetch
        os.killpg(child.pid, signal.SIGKILL)
        child.communicate()
        assert not (settings.store / "trees").exists()
        server.stall = None
        server.go_on.set()
        folder = gitsource.ensure(settings, "a", source)
    assert content(folder)["pkg/a.py"] == b"a = 1\n"
    assert list((settings.store / "trees").iterdir()) == [folder]


def test_two_runs_at_once_fetch_it_once(settings, remote, tmp_path):
    with gitkit.http(tmp_path / "srv") as server:
        source = resolve(settings, f"{server.url}/a")
        server.stall = threading.Semaphore(0)
        children = [start(settings, source) for _ in range(2)]
        assert server.stall.acquire(timeout=60)
        server.go_on.set()
        told = [child.communicate(timeout=60) for child in children]
        assert not server.stall.acquire(blocking=False)  # nobody else began to fetch
    assert [child.returncode for child in children] == [0, 0], told
    assert {out.strip() for out, _ in told} == {str(settings.store / "trees" / gitsource.tree_id(source))}


@pytest.mark.parametrize("scheme", ["git", "http"])
def test_a_server_that_never_answers(settings, remote, monkeypatch, scheme):
    monkeypatch.setattr(gitremote, "ANSWER_SECONDS", 0.5)
    with gitkit.silent() as port:
        url = f"{scheme}://127.0.0.1:{port}/a"
        with pytest.raises(NetworkError) as caught:
            resolve(settings, url, tag="", commit=UNKNOWN)
        assert "took longer than" in caught.value.why
        assert resolve(settings, url, mirrors=[remote.url]).url == url


@pytest.mark.parametrize("trouble", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_an_interruption_leaves_nothing(settings, remote, monkeypatch, trouble):
    source = resolve(settings, remote.url)

    def broken(*_):
        raise trouble

    with monkeypatch.context() as patch:
        patch.setattr(treehash, "tree_id", broken)
        with pytest.raises(type(trouble)):
            gitsource.ensure(settings, "a", source)
    assert leftovers(settings) == []
    assert (gitsource.ensure(settings, "a", source) / "run.sh").exists()


def test_an_upstream_source_archive_in_a_repository(settings, tmp_path):
    """The way that a release's tree gets into git and out again."""
    release = {"pkg-1/PKG-INFO": b"Name: pkg\n", "pkg-1/pkg/__init__.py": b"", "pkg-1/csrc/k.cu": b"// k\r\n"}
    (tmp_path / "pkg-1.tar.gz").write_bytes(archive(release))
    with tarfile.open(tmp_path / "pkg-1.tar.gz") as tar:
        treetar.unpack(tar, tmp_path / "release")
    unpacked = content(tmp_path / "release/pkg-1")
    made = repository(tmp_path / "srv/pkg", unpacked).tag("v1", annotated=True)
    with gitkit.daemon(tmp_path / "srv") as url:
        source = resolve(settings, f"{url}/pkg")
        folder = gitsource.ensure(settings, "pkg", source)
    assert source.tree == made.tree == treehash.tree_id(folder) == treehash.tree_id(tmp_path / "release/pkg-1")
    assert content(folder) == unpacked
