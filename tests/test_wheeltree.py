"""build/wheeltree.py: a folder out of wheels is what the wheels hold, whole or not there, and nothing outside it."""

import hashlib
import io
import os
import stat
import zipfile

import pytest

from build import store, treehash, wheeltree
from build.errors import HashMismatchError, LockError
from build.models import Settings, Wheel
from tests import gitkit

FILES = {"kit/beta/include/b.h": b"b\n", "kit/beta/run": b"#!/bin/sh\n", "kit/beta.py": b"", "kit/other/c.h": b"c\n"}
PROGRAMS = ("kit/beta/run",)


@pytest.fixture
def settings(tmp_path):
    return Settings(repo=tmp_path / "repo", store=tmp_path / "store")


@pytest.fixture
def keep(settings):
    """Puts a wheel with these entries, in this order, into the store."""

    def kept(*entries, name="kit"):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as archive:
            for path, data in entries:
                entry = zipfile.ZipInfo(path)
                entry.external_attr = (stat.S_IFREG | (0o755 if path in PROGRAMS else 0o644)) << 16
                archive.writestr(entry, data)
        sha256 = hashlib.sha256(out.getvalue()).hexdigest()
        place = store.blob(settings.store, sha256)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(out.getvalue())
        file = f"{name}-1.0-py3-none-any.whl"
        return Wheel(name=name, version="1.0", file=file, sha256=sha256, size=len(out.getvalue()))

    return kept


def content(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def left(settings):
    return [path for name in ("trees", "scratch") for path in (settings.store / name).glob("*")]


def refused(settings, wheels, below="", match="cannot be unpacked"):
    """This is an error, and the store has nothing of it."""
    with pytest.raises(LockError, match=match) as caught:
        wheeltree.ensure(settings, wheels, below)
    assert left(settings) == []
    return str(caught.value)


@pytest.mark.programs("git")
def test_the_folder_of_a_wheel_has_git_s_id_of_what_is_in_it(settings, keep, tmp_path):
    folder = wheeltree.ensure(settings, [keep(*FILES.items())], "kit/beta")
    assert content(folder) == {"include/b.h": b"b\n", "run": b"#!/bin/sh\n"}
    remote = gitkit.repository(tmp_path / "same", content(folder))
    (remote.folder / "run").chmod(0o755)
    assert treehash.tree_id(folder) == remote.commit().tree
    assert left(settings) == [folder]


def test_programs_stay_programs_whatever_the_umask(settings, keep):
    before = os.umask(0o077)
    try:
        folder = wheeltree.ensure(settings, [keep(*FILES.items())], "kit/beta")
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in folder.rglob("*") if path.is_file()}
    assert modes == {"b.h": 0o644, "run": 0o755}


def test_all_of_several_wheels_in_any_order(settings, keep):
    one, two = keep(("a/x.py", b"x")), keep(("a/y.py", b"y"), ("a/", b""), name="other")
    folder = wheeltree.ensure(settings, [one, two])
    assert content(folder) == {"a/x.py": b"x", "a/y.py": b"y"}
    assert wheeltree.ensure(settings, [two, one]) == folder
    assert left(settings) == [folder]
    assert len({wheeltree.name(wheels, below) for wheels in ([one], [two], [one, two]) for below in ("", "a")}) == 6


def test_what_is_kept_is_not_read_again(settings, keep):
    wheel = keep(*FILES.items())
    folder = wheeltree.ensure(settings, [wheel], "kit/beta")
    store.blob(settings.store, wheel.sha256).unlink()
    assert wheeltree.ensure(settings, [wheel], "kit/beta") == folder


def test_a_wheel_that_is_not_the_locked_one_is_not_unpacked(settings, keep):
    wheel = keep(*FILES.items())
    blob = store.blob(settings.store, wheel.sha256)
    blob.write_bytes(blob.read_bytes().replace(b"#!/bin/sh", b"#!/bin/ev"))
    with pytest.raises(HashMismatchError, match=r"kit-1\.0-py3-none-any\.whl"):
        wheeltree.ensure(settings, [wheel], "kit/beta")
    assert not blob.exists()
    assert left(settings) == []


@pytest.mark.parametrize("below", ["kit/gone", "kit/bet", "it/beta", "kit/beta/run"])
def test_a_wheel_without_the_folder_is_refused(settings, keep, below):
    text = refused(settings, [keep(*FILES.items())], below, match="has nothing below")
    assert "kit-1.0-py3-none-any.whl" in text
    assert f"{below}/" in text


@pytest.mark.parametrize(
    ("path", "below"),
    [
        ("../out", ""), ("a/../../out", ""), ("/out", ""), ("a//out", ""), ("a/./out", ""), ("..", ""),
        ("kit/../out", "kit"), ("kit//out", "kit"), ("kit/a/../../../out", "kit"), ("kit/beta/../../out", "kit/beta"),
    ],
)  # fmt: skip
def test_a_path_that_leaves_the_folder_is_refused(settings, keep, path, below, tmp_path):
    text = refused(settings, [keep((f"{below}/fine" if below else "fine", b""), (path, b"x"))], below)
    assert repr(path) in text
    assert "kit-1.0-py3-none-any.whl" in text
    assert list(tmp_path.rglob("out")) == []


def test_two_wheels_with_one_path_are_refused_though_the_bytes_are_the_same(settings, keep):
    one, two = keep(("a/x", b"x")), keep(("a/x", b"x"), ("b", b""), name="other")
    assert "other-1.0-py3-none-any.whl" in refused(settings, [one, two])
    assert content(wheeltree.ensure(settings, [two], "a")) == {"x": b"x"}


@pytest.mark.parametrize("paths", [("a", "a/x"), ("a/x", "a")])
def test_a_file_where_another_wheel_has_a_folder_is_refused(settings, keep, paths):
    first, second = (keep((path, b"x"), name=name) for path, name in zip(paths, ("kit", "other"), strict=True))
    assert "other-1.0-py3-none-any.whl" in refused(settings, [first, second])


def test_a_path_that_one_wheel_has_twice_is_refused(settings, keep):
    with pytest.warns(UserWarning, match="Duplicate name"):
        wheel = keep(("kit/x", b"1"), ("kit/x", b"2"))
    refused(settings, [wheel], "kit")


def test_a_link_is_a_file_that_says_where_it_leads(settings, tmp_path):
    """Zips can hold links; nothing is ever written through one, or read through it."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        entry = zipfile.ZipInfo("a/link")
        entry.create_system, entry.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        archive.writestr(entry, "../../../out")
        archive.writestr(zipfile.ZipInfo("a/b"), b"")
    sha256 = hashlib.sha256(out.getvalue()).hexdigest()
    place = store.blob(settings.store, sha256)
    place.parent.mkdir(parents=True)
    place.write_bytes(out.getvalue())
    wheel = Wheel(name="kit", version="1", file="kit-1.whl", sha256=sha256, size=len(out.getvalue()))
    folder = wheeltree.ensure(settings, [wheel], "a")
    assert not (folder / "link").is_symlink()
    assert (folder / "link").read_bytes() == b"../../../out"
