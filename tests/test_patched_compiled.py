"""build/patchwork.py and build/patched.py in the source lane: patched files that only compilers see."""

import hashlib
import shutil
from dataclasses import replace

import pytest

from build import madewheel, patched, patchlayout, sourcetree, treehash
from build.errors import CompiledCodeError, LockError, PatchError
from build.models import Component, GitSource, Settings, Submodule
from tests import lockkit, nativekit
from tests.nativekit import CMAKE, FILES, KERNEL, KERNEL_PATCH, patch

NEW = b"int two();\n"
NEW_PATCH = patch("csrc/deep/two.h", None, NEW)
PATCHED = KERNEL.replace(b"1;", b"2;")
GONE_PATCH = lockkit.HEADER + (
    "diff --git a/csrc/old.cpp b/csrc/old.cpp\ndeleted file mode 100644\n--- a/csrc/old.cpp\n+++ /dev/null\n"
    "@@ -1 +0,0 @@\n-int old();\n"
)


@pytest.fixture
def settings(tmp_path):
    return Settings(repo=tmp_path / "repo", store=tmp_path / "store", offline=True)


def as_locked(draft, applied):
    """The lock with what a series gave."""
    before, after = applied.trees["app"]
    component = replace(draft.components[0], files=applied.files["app"], tree=before, patched_tree=after)
    return replace(draft, components=(component,))


def locked(settings, *patches, files=FILES):
    """The lock of a series over `app`, as `lock` leaves it, and the series."""
    named = {f"{number:04}-some.patch": text for number, text in enumerate(patches, start=1)}
    found = nativekit.plant(settings.repo, named)
    tree = {**files, "csrc/old.cpp": b"int old();\n"}
    lock = madewheel.add(settings, nativekit.bare_lock(nativekit.source(settings, tree)), "1.0")
    return as_locked(lock, patched.apply(settings, lock, found)), found


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def test_each_file_is_locked_with_its_hashes_and_as_what_it_is(settings):
    lock, _ = locked(settings, KERNEL_PATCH, lockkit.CODE_PATCH, NEW_PATCH, GONE_PATCH)
    found = {item.source: (item.installed, item.compiled, item.before, item.after) for item in lock.components[0].files}
    assert found == {
        "csrc/one.cpp": ("", True, sha256(KERNEL), sha256(PATCHED)),
        "csrc/deep/two.h": ("", True, "", sha256(NEW)),
        "csrc/old.cpp": ("", True, sha256(b"int old();\n"), ""),
        "src/app.py": ("app.py", False, sha256(lockkit.MODULE), sha256(lockkit.MODULE.replace(b"1", b"2"))),
    }


def test_they_are_kept_apart_from_what_is_installed(settings):
    lock, found = locked(settings, KERNEL_PATCH, lockkit.CODE_PATCH, NEW_PATCH, GONE_PATCH)
    seen = patched.compiled_files(settings, lock, found)
    assert {path: file and file.read_bytes() for path, file in seen.items()} == {
        "csrc/one.cpp": PATCHED, "csrc/deep/two.h": NEW, "csrc/old.cpp": None,
    }  # fmt: skip
    installed = patched.locked_files(settings, lock, found)
    assert list(installed) == ["app.py"]
    assert installed["app.py"].read_bytes() == lockkit.MODULE.replace(b"1", b"2")


def test_a_file_beyond_what_compilers_see_is_refused_as_in_the_wheel_lane(settings):
    with pytest.raises(CompiledCodeError, match="pyproject.toml"):
        locked(settings, patch("pyproject.toml", nativekit.PYPROJECT, nativekit.PYPROJECT + b"[tool.x]\n"))


def test_a_patch_of_the_build_s_own_files_is_one_too(settings):
    text = patch("CMakeLists.txt", CMAKE, CMAKE.replace(b"LANGUAGES CXX", b"LANGUAGES C"))
    lock, found = locked(settings, text)
    assert [(item.source, item.compiled) for item in lock.components[0].files] == [("CMakeLists.txt", True)]
    assert list(patched.compiled_files(settings, lock, found)) == ["CMakeLists.txt"]


def test_one_that_the_wheel_installs_is_installed(settings):
    """A header that ships with the Python files is patched there, whatever compilers see of it."""
    lock, found = locked(settings, patch("src/k.h", b"int a;\n", b"int b;\n"), files={**FILES, "src/k.h": b"int a;\n"})
    wide = replace(lock, native=replace(lock.native, sources=("csrc/", "src/")))
    for each in (lock, as_locked(wide, patched.apply(settings, wide, found))):
        assert [(item.installed, item.compiled) for item in each.components[0].files] == [("k.h", False)]
        assert patched.compiled_files(settings, each, found) == {}
        assert list(patched.locked_files(settings, each, found)) == ["k.h"]


def test_the_wheel_lane_still_refuses_them(settings):
    lock, found = locked(settings, KERNEL_PATCH)
    plain = replace(lock, native=None, wheels=(replace(lock.wheels[0], made=False),))
    with pytest.raises(CompiledCodeError, match=r"csrc/one\.cpp") as caught:
        patched.apply(settings, plain, found)
    assert "source lane" in caught.value.todo
    with pytest.raises(CompiledCodeError):
        patched.locked(settings, plain, found)
    of_another = replace(lock, native=replace(lock.native, component="lib"))
    other = Component(name="lib", distribution="lib", paths=(), archive=None, git=None, files=())
    with pytest.raises(CompiledCodeError):
        patched.apply(settings, replace(of_another, components=(*lock.components, other)), found)


def test_a_kept_one_that_was_changed_or_lost_is_made_again(settings):
    lock, found = locked(settings, KERNEL_PATCH, NEW_PATCH)
    for meddle in (lambda file: file.write_bytes(b"evil\n"), lambda file: file.unlink()):
        meddle(patched.compiled_files(settings, lock, found)["csrc/one.cpp"])
        assert not patched.is_kept(settings, lock, found)
        again = patched.compiled_files(settings, lock, found)
        assert again["csrc/one.cpp"].read_bytes() == PATCHED
        assert again["csrc/deep/two.h"].read_bytes() == NEW
        assert patched.is_kept(settings, lock, found)


def test_one_that_is_kept_needs_no_tree(settings):
    lock, found = locked(settings, KERNEL_PATCH)
    shutil.rmtree(sourcetree.ensure(settings, lock.components[0]))
    assert patched.compiled_files(settings, lock, found)["csrc/one.cpp"].read_bytes() == PATCHED


def test_another_one_than_was_locked_is_refused(settings):
    lock, found = locked(settings, KERNEL_PATCH)
    (file,) = lock.components[0].files
    for change in ({"after": sha256(b"evil")}, {"compiled": False}):
        other = replace(lock, components=(replace(lock.components[0], files=(replace(file, **change),)),))
        with pytest.raises(LockError, match="the patched files of app are not the locked ones") as caught:
            patched.compiled_files(settings, other, found)
        assert caught.value.why == "csrc/one.cpp"


def test_a_tree_that_is_not_the_locked_one_is_told_by_its_file(settings):
    lock, found = locked(settings, KERNEL_PATCH)
    shutil.rmtree(settings.store / "trees" / patched.name(settings, lock, found, git=False))
    (sourcetree.ensure(settings, lock.components[0]) / "csrc/one.cpp").write_bytes(KERNEL + b"evil\n")
    with pytest.raises(PatchError, match=r"csrc/one\.cpp is not the file that this series was locked for"):
        patched.compiled_files(settings, lock, found)


def test_a_patch_that_does_not_apply_exactly_is_refused(settings):
    other = patch("csrc/one.cpp", KERNEL.replace(b"one", b"uno"), PATCHED.replace(b"one", b"uno"))
    with pytest.raises(PatchError, match=r"0001-some\.patch does not apply exactly to csrc/one\.cpp"):
        locked(settings, other)


def test_what_compilers_see_is_in_the_name_of_what_is_kept(settings):
    lock, found = locked(settings, KERNEL_PATCH)
    more = replace(lock, native=replace(lock.native, sources=("csrc/",)))
    none = replace(lock, native=None)
    assert len({patched.name(settings, each, found, git=False) for each in (lock, more, none)}) == 3


def test_an_archive_s_tree_is_of_its_files_whatever_its_commit_pins(settings):
    """An archive has the files of a submodule, a commit's tree its commit; what is locked must not hang on which of
    the two was known first.
    """
    files = {**FILES, "csrc/sub/s.h": b"s\n"}
    lock, found = locked(settings, KERNEL_PATCH, files=files)
    (app,) = lock.components
    pinned = Submodule(path="csrc/sub", url="u", commit="1" * 40, tree="2" * 40)
    git = GitSource(url="u", tag="", commit="3" * 40, tree="4" * 40, submodules=(pinned,))
    known = replace(lock, components=(replace(app, git=git),))
    assert app.tree == treehash.tree_id(sourcetree.ensure(settings, app))
    assert patched.apply(settings, known, found).trees == {"app": (app.tree, app.patched_tree)}
    shutil.rmtree(settings.store / "trees")
    assert list(patched.compiled_files(settings, known, found)) == ["csrc/one.cpp"]
    assert patchlayout.write(settings, known, found, settings.repo / "out", git=False) == {"app": app.patched_tree}
