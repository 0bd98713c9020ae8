"""build/madewheel.py: the wheel of a tree's Python files is the same everywhere, locked, and made again when lost."""

import shutil
from dataclasses import replace

import pytest

from build import madewheel, metadata, patched, sourcetree, store, wheels
from build.errors import HashMismatchError, LockError, OfflineError, ResolveError
from build.models import Settings, Wheel
from tests import gitkit, lockkit, nativekit
from tests.sourcekit import resolve

FILE = "app-1.0-py3-none-any.whl"


@pytest.fixture
def settings(tmp_path):
    return Settings(repo=tmp_path / "repo", store=tmp_path / "store", offline=True)


@pytest.fixture
def elsewhere(tmp_path):
    return Settings(repo=tmp_path / "repo", store=tmp_path / "elsewhere", offline=True)


def locked(settings, files=nativekit.FILES, **more):
    return madewheel.add(settings, nativekit.bare_lock(nativekit.source(settings, files), **more), "1.0")


def blob(settings, lock):
    return store.blob(settings.store, madewheel_of(lock).sha256)


def madewheel_of(lock):
    (wheel,) = [item for item in lock.wheels if item.made]
    return wheel


def test_two_stores_make_the_same_bytes(settings, elsewhere):
    one, two = locked(settings), locked(elsewhere)
    assert one.wheels == two.wheels
    assert blob(settings, one).read_bytes() == blob(elsewhere, two).read_bytes()
    wheel = madewheel_of(one)
    assert (wheel.name, wheel.version, wheel.file) == ("app", "1.0", FILE)
    assert wheel.size == blob(settings, one).stat().st_size


@pytest.mark.programs("git")
def test_a_commit_with_these_files_makes_what_an_archive_makes(settings, elsewhere, tmp_path):
    remote = gitkit.repository(tmp_path / "app", {**nativekit.FILES, ".gitignore": b"*.o\n"})
    online = replace(elsewhere, offline=False)
    source = resolve(online, remote.url, tag="", commit=remote.head)
    component = replace(nativekit.source(elsewhere), archive=None, git=source)
    assert madewheel.add(online, nativekit.bare_lock(component), "1.0").wheels == locked(settings).wheels


def test_it_says_what_the_lock_says_that_it_requires(settings):
    lock = locked(settings, requires=("dep==1.0", "other>=1"))
    found = metadata.read_all(settings.store, lock.wheels, {})["app"]
    assert list(found.requires) == ["dep==1.0", "other>=1"]
    assert locked(settings, requires=("dep==2.0",)).wheels != lock.wheels
    assert "app.py" in wheels.record(blob(settings, lock))
    assert [path for path in wheels.record(blob(settings, lock)) if "csrc" in path or "CMake" in path] == []


def test_it_takes_the_place_of_one_of_its_name_and_leaves_all_others(settings):
    def other(name):
        return Wheel(name=name, version="3", file=f"{name}-3-py3-none-any.whl", sha256="ab" * 32, size=1)

    bare = nativekit.bare_lock(nativekit.source(settings))
    lock = madewheel.add(settings, replace(bare, wheels=(other("aaa"), other("app"), other("zed"))), "1.0")
    assert [(item.name, item.version, item.made) for item in lock.wheels] == [
        ("aaa", "3", False), ("app", "1.0", True), ("zed", "3", False),
    ]  # fmt: skip
    assert (lock.wheels[0], lock.wheels[2]) == (other("aaa"), other("zed"))
    assert madewheel.add(settings, lock, "1.0") == lock


def test_the_wheel_lane_makes_none(settings):
    lock = replace(nativekit.bare_lock(nativekit.source(settings)), native=None)
    assert madewheel.add(settings, lock, "1.0") == lock
    madewheel.ensure(settings, lock)
    assert not (settings.store / "trees").exists()


def test_it_is_not_among_what_is_fetched_for_a_series(settings):
    """The index may well have a wheel of that very name."""
    lock = locked(settings)
    assert patched.inputs(lock) == (lock.components[0].archive,)
    published = replace(lock, wheels=(replace(lock.wheels[0], made=False),))
    assert patched.inputs(published) == (published.wheels[0], lock.components[0].archive)


def test_a_store_that_lacks_it_makes_it_again(settings):
    lock = locked(settings)
    before = blob(settings, lock).read_bytes()
    blob(settings, lock).unlink()
    shutil.rmtree(settings.store / "trees")
    madewheel.ensure(settings, lock)
    assert blob(settings, lock).read_bytes() == before


def test_one_that_is_there_is_not_made_again(settings):
    lock = locked(settings)
    shutil.rmtree(settings.store / "trees")
    store.blob(settings.store, lock.components[0].archive.sha256).unlink()
    madewheel.ensure(settings, lock)  # else this would be an OfflineError


def test_a_machine_that_lacks_the_archive_too_says_so_or_obtains_it(settings, elsewhere):
    lock = locked(settings)
    with pytest.raises(OfflineError, match=r"app-1\.0\.tar\.gz is not in the store"):
        madewheel.ensure(elsewhere, lock)
    asked = []

    def obtain(archive):
        asked.append(archive)
        nativekit.source(elsewhere)

    madewheel.ensure(elsewhere, lock, obtain=obtain)
    assert asked == [lock.components[0].archive]
    assert blob(elsewhere, lock).read_bytes() == blob(settings, lock).read_bytes()


@pytest.mark.parametrize("path", ["src/app.py", "pyproject.toml", "src/added.py"])
def test_a_damaged_tree_is_told_and_does_not_become_the_locked_wheel(settings, path):
    lock = locked(settings)
    blob(settings, lock).unlink()
    file = sourcetree.ensure(settings, lock.components[0]) / path
    before = nativekit.FILES.get(path, b"")
    file.write_bytes(before.replace(b"def f", b"def g").replace(b'"app"', b'"app"\ndescription = "x"'))
    assert file.read_bytes() != before or path == "src/added.py"
    with pytest.raises(LockError, match=rf"do not make the locked {FILE}") as caught:
        madewheel.ensure(settings, lock)
    assert madewheel_of(lock).sha256 in caught.value.why
    assert "nox -s clean -- trees" in caught.value.todo
    assert not blob(settings, lock).exists()
    shutil.rmtree(settings.store / "trees")  # what the message says
    madewheel.ensure(settings, lock)
    assert blob(settings, lock).exists()


def test_a_file_that_only_compilers_see_does_not_change_it(settings):
    changed = {**nativekit.FILES, "csrc/one.cpp": b"int other();\n"}
    assert locked(settings, changed).wheels == locked(settings).wheels


def test_an_archive_of_other_bytes_is_no_source_of_it(settings, elsewhere):
    lock = locked(settings)
    other = lockkit.sdist("app", "1.0", {**nativekit.FILES, "src/app.py": b"import evil\n"})

    def obtain(archive):
        place = store.blob(elsewhere.store, archive.sha256)
        place.parent.mkdir(parents=True)
        place.write_bytes(other + bytes(max(0, archive.size - len(other))))

    with pytest.raises((HashMismatchError, OfflineError)):
        madewheel.ensure(elsewhere, lock, obtain=obtain)
    assert not blob(elsewhere, lock).exists()
    assert not (elsewhere.store / "trees").exists()


def test_a_tree_of_another_version_ends_it(settings):
    stated = nativekit.PYPROJECT.replace(b'dynamic = ["version", ', b'version = "1.1"\ndynamic = [')
    with pytest.raises(LockError, match="not that of version 1.0"):
        locked(settings, {**nativekit.FILES, "pyproject.toml": stated})
    left = nativekit.PYPROJECT.replace(b'"version", ', b'"version", "scripts", ')
    with pytest.raises(ResolveError, match="scripts"):
        locked(settings, {**nativekit.FILES, "pyproject.toml": left})
    assert list((settings.store / "scratch").iterdir()) == []
