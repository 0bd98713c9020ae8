"""`clean --keep-locked`: what no lock names goes, all else stays, and nothing goes where that cannot be known."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest

from build import bases, deblock, gitsource, kept, lockfile, releases, sourcetree, store
from build.commands import clean
from build.errors import BusyError, LockError, UsageError
from build.models import GitSource, Settings, SourceArchive
from build.releases import NamedTree
from build.settings import REPO


@pytest.fixture
def settings(tmp_path):
    """A clone of the locks and patches, and a store."""
    repo = tmp_path / "repo"
    for name in ("lock", "patches"):
        shutil.copytree(REPO / name, repo / name)
    return Settings(repo=repo, store=tmp_path / "store", json=True)


def make(path, size: int = 10_000):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(size))
    return path


@pytest.fixture
def locked(settings):
    """Something of every kind that a lock names."""
    root = settings.store
    lock = lockfile.read_lock(settings.repo, "tiny")
    debs = deblock.read(deblock.path_of(settings.repo, "builder", "arm64")).debset.debs
    component = next(item for item in lockfile.read_lock(settings.repo, "v0.22").components if item.archive)
    named = kept.read(settings).entries
    folders = [make(root / kind / min(named[kind]) / "file") for kind in ("trees", "roots")]
    return [
        *(make(store.blob(root, item.sha256)) for item in (*lock.wheels, *lock.tools, component.archive, debs[0])),
        *folders,
        make(root / "rootfs" / min(named["rootfs"])),
        make(root / "contexts/tiny/main/Dockerfile"),
        make(root / "partial" / debs[1].sha256),
        make(root / "built/tiny.json"),
        make(root / "env" / os.path.basename(sys.prefix) / "bin/python"),
    ]


@pytest.fixture
def strays(settings):
    """Something of every kind that none names."""
    root = settings.store
    blob = make(store.blob(root, "ab" * 32), 50_000)
    (root / "contexts/tiny/other").mkdir(parents=True)
    os.link(blob, root / "contexts/tiny/other/old.whl")
    return [
        blob,
        root / "contexts/tiny/other/old.whl",
        make(root / "trees" / ("cd" * 32) / "file"),
        make(root / "trees" / f"overlaps-{'cd' * 32}.json"),
        make(root / "roots" / ("ef" * 32) / "usr/bin/file"),
        make(root / "roots" / f"uv-{'ef' * 32}"),
        make(root / "rootfs" / f"{'01' * 32}.tar"),
        make(root / "contexts/gone/main/Dockerfile"),
        make(root / "partial" / ("23" * 32)),
        make(root / "env" / ("4" * 24) / "bin/python"),
        make(root / "env" / f"{'4' * 24}.lock", 1),
    ]


def run(settings, *, dry_run=False):
    return clean.keep_locked(settings, dry_run=dry_run)


def test_what_no_lock_names_goes_and_the_rest_stays(settings, locked, strays, capsys):
    assert run(settings) == 0
    assert [path for path in strays if path.exists()] == []
    assert [path for path in locked if not path.exists()] == []
    told = json.loads(capsys.readouterr().out)
    assert told["removed"]["blobs"] == [f"blobs/sha256/ab/{'ab' * 32}"]
    assert told["before"]["blobs"] - told["after"]["blobs"] >= 50_000
    assert 100_000 < told["freed"] < 200_000  # the blob and its link in a context count once
    assert run(settings) == 0
    assert json.loads(capsys.readouterr().out)["freed"] == 0


def test_a_dry_run_tells_the_same_and_removes_nothing(settings, locked, strays, capsys):
    run(settings, dry_run=True)
    would = json.loads(capsys.readouterr().out)
    assert all(path.exists() for path in (*locked, *strays))
    run(settings)
    did = json.loads(capsys.readouterr().out)
    assert {key: would[key] for key in ("before", "after", "removed")} == {
        key: did[key] for key in ("before", "after", "removed")
    }
    assert would["freed"] == did["freed"]


def damage_a_lock(repo):
    path = repo / "lock/v0.22.toml"
    path.write_text(path.read_text().replace("epoch = ", "epoch = 1"))


def cut_a_deb_lock(repo):
    path = repo / "lock/debs/tools-arm64.toml"
    path.write_bytes(path.read_bytes()[:1000])


def damage_the_tools(repo):
    with (repo / "lock/python.txt").open("a") as stream:
        stream.write("<<<<<<< HEAD\n")


FAULTS = {
    "edited by hand": damage_a_lock,
    "cut": cut_a_deb_lock,
    "merge conflict": damage_the_tools,
    "no lock": lambda repo: (repo / "lock/tiny.toml").unlink(),
    "no deb lock": lambda repo: (repo / "lock/debs/tiny-arm64.toml").unlink(),
    "not a lock": lambda repo: (repo / "lock/other.toml").write_text("a = 1\n"),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_where_a_lock_cannot_be_read_nothing_is_removed(settings, locked, strays, kind):
    FAULTS[kind](settings.repo)
    with pytest.raises(LockError):
        run(settings)
    assert all(path.exists() for path in (*locked, *strays))


def test_the_lock_of_a_target_that_left_the_intent_still_counts(settings, locked, strays):
    text = (settings.repo / "lock/targets.toml").read_text()
    before, _, _ = text.partition("[targets.tiny]")
    (settings.repo / "lock/targets.toml").write_text(before)
    run(settings)
    assert [path for path in locked if not path.exists()] == []


def test_what_a_named_tree_wants_beside_it_stays(settings):
    """`rebase` takes it from there without a network."""
    locked = releases.read(settings.repo)
    source = GitSource(url="https://git.example/a", tag="", commit="1" * 40, tree="2" * 40)
    archive = SourceArchive(name="b", version="1", file="b-1.tar.gz", sha256="ab" * 32, size=10_000)
    tree = NamedTree(name="fork", source=source, archives=(("flashinfer", archive),))
    (settings.repo / releases.FILE).write_text(releases.text(replace(locked, trees=(tree,), unresolved=())))
    names = (gitsource.tree_id(source), sourcetree.tree_id(bases.component(archive), git=False))
    named = [make(store.blob(settings.store, archive.sha256))]
    named += [make(settings.store / "trees" / name / "file") for name in names]
    run(settings)
    assert [path for path in named if not path.exists()] == []


WORK = """
import sys, time
from pathlib import Path
from build import download, steps, store
from build.models import GitSource, Settings, SourceArchive
from build.releases import NamedTree
root = Path(sys.argv[2])
kind = sys.argv[1]
if kind == "job":
    steps.load(Settings(repo=Path(sys.argv[3]), store=root), "tiny")
    print("ready", flush=True)
    time.sleep(60)
with store.locked(root, kind):
    print("ready", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("kind", ["job", "build-other", f"fetch-{'ab' * 8}"])
def test_a_run_that_works_with_the_store_loses_nothing(settings, strays, kind):
    argv = [sys.executable, "-c", WORK, kind, str(settings.store), str(settings.repo)]
    with subprocess.Popen(argv, cwd=REPO, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout.readline() == "ready\n"
        with pytest.raises(BusyError, match="works with this store") as caught:
            run(settings)
        child.kill()
    assert kind == "job" or str(child.pid) in caught.value.why
    assert all(path.exists() for path in strays)
    run(settings)
    assert not any(path.exists() for path in strays)


def test_an_environment_that_runs_stays(settings, strays):
    place = settings.store / "env" / ("5" * 24)
    python = make(place / "bin/python")
    python.unlink()
    python.symlink_to(sys.executable)
    with subprocess.Popen([python, "-c", "input()"], stdin=subprocess.PIPE) as child:
        run(settings)
        assert python.exists()
        child.communicate(b"\n")
    run(settings)
    assert not place.exists()


def test_the_launcher_is_not_robbed_of_what_it_makes(settings, strays):
    import fcntl

    with (settings.store / "env" / f"{'4' * 24}.lock").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        run(settings)
        assert (settings.store / "env" / ("4" * 24)).exists()


def test_scratch_and_cut_downloads_of_the_living_stay(settings):
    with store.scratch(settings.store, "tree") as folder:
        run(settings)
        assert folder.exists()


def test_kinds_and_locks_are_two_ways_to_choose(settings):
    import argparse

    parser = argparse.ArgumentParser()
    clean.add_arguments(parser)
    for argv in (["blobs", "--keep-locked"], ["--all", "--keep-locked"]):
        with pytest.raises(UsageError):
            clean.run(parser.parse_args(argv), settings)


def test_every_id_of_a_lock_is_found_in_its_place(settings):
    named = kept.read(settings)
    assert {"tiny", "v0.22", "v0.32"} <= named.entries["contexts"]
    assert len(named.blobs) > 500
    assert all(len(sha256) == len(hashlib.sha256().hexdigest()) for sha256 in named.blobs)
