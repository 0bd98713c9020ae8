"""build/patchwork.py and build/patched.py: what a series may touch in the wheel lane, and what comes of it."""

import base64
import hashlib
import io
import shutil
import time
import zipfile
from dataclasses import replace

import pytest

from build import patched, patchwork, series, sourcetree, store, udiffparse
from build.errors import CompiledCodeError, LockError, PatchError, UnresolvedError
from build.models import Component, Lock, PatchRef, RequirementChange, Settings, Unresolved, Wheel
from tests.test_series import HEADER
from tests.test_sourcetree import archive, keep
from tests.test_treehash import git_tree

A = b"one\ntwo\nthree\nfour\n"
FILES = {"src/pkg/a.py": A, "src/pkg/data.cuh": A, "csrc/k.cu": A, "CMakeLists.txt": A, "tests/t.py": A, "setup.py": A}
PATHS = (("src/pkg/", "pkg/"), ("src/pkg/deep/", "other/"))


def diff(path, old=b"two", new=b"TWO", data=A):
    text = b"".join((b"-%s\n+%s\n" % (line, new)) if line == old else b" %s\n" % line for line in data.splitlines())
    count = len(data.splitlines())
    return (
        b"diff --git a/%s b/%s\n--- a/%s\n+++ b/%s\n@@ -1,%d +1,%d @@\n" % (*[path.encode()] * 4, count, count) + text
    )


def creation(path, text=b"new\n"):
    name = path.encode()
    return (
        b"diff --git a/%s b/%s\nnew file mode 100644\n--- /dev/null\n+++ b/%s\n@@ -0,0 +1 @@\n+" % (name, name, name)
    ) + text


def record_hash(data):
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def work(tmp_path, *patches, record=None):
    for name, data in FILES.items():
        path = tmp_path / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return patchwork.Work(
        component=Component(name="pkg", distribution="pkg", paths=PATHS, archive=None, git=None, files=()),
        tree=tmp_path / "tree",
        changes=tuple(udiffparse.parse(f"pkg/{n:04}.patch", data) for n, data in enumerate(patches, start=1)),
        record=record
        or {"pkg/a.py": record_hash(A), "pkg/data.cuh": record_hash(A), "pkg/built.py": record_hash(b"x")},
    )


def test_installed_paths_follow_the_longest_prefix(tmp_path):
    component = work(tmp_path).component
    assert patchwork.installed_path(component, "src/pkg/a.py") == "pkg/a.py"
    assert patchwork.installed_path(component, "src/pkg/deep/a.py") == "other/a.py"
    assert patchwork.installed_path(component, "tests/t.py") is None


def test_patches_build_on_each_other(tmp_path):
    done = work(
        tmp_path, diff("src/pkg/a.py"), diff("src/pkg/a.py", b"TWO", b"2", A.replace(b"two", b"TWO")),
        creation("src/pkg/b.py"), diff("src/pkg/b.py", b"new", b"newer", b"new\n"),
    )  # fmt: skip
    patchwork.check_installable(done)
    files, content = patchwork.apply(done)
    assert content == {"pkg/a.py": A.replace(b"two", b"2"), "pkg/b.py": b"newer\n"}
    assert [(file.source, file.installed, file.before[:4]) for file in files] == [
        ("src/pkg/a.py", "pkg/a.py", hashlib.sha256(A).hexdigest()[:4]), ("src/pkg/b.py", "pkg/b.py", ""),
    ]  # fmt: skip
    assert files[0].after == hashlib.sha256(content["pkg/a.py"]).hexdigest()


def test_a_failure_names_the_patch_and_leaves_the_tree(tmp_path):
    done = work(tmp_path, diff("src/pkg/a.py"), diff("src/pkg/a.py", b"three", b"3", A))
    with pytest.raises(PatchError, match=r"pkg/0002\.patch does not apply exactly to src/pkg/a\.py"):
        patchwork.apply(done)
    assert (tmp_path / "tree/src/pkg/a.py").read_bytes() == A


@pytest.mark.parametrize("path", ["csrc/k.cu", "CMakeLists.txt", "setup.py", "csrc/new.h", "src/pkg/new.cuh"])
def test_compiled_code_is_refused_with_the_way_out(tmp_path, path):
    data = creation(path) if "new" in path else diff(path)
    with pytest.raises(CompiledCodeError) as caught:
        patchwork.check_installable(work(tmp_path, diff("src/pkg/a.py"), data))
    for part in ("pkg/0002.patch", path, "source lane"):
        assert part in str(caught.value)


def test_sources_that_the_wheel_installs_as_they_are_may_be_patched(tmp_path):
    patchwork.check_installable(work(tmp_path, diff("src/pkg/data.cuh")))


def test_what_is_not_installed(tmp_path):
    with pytest.raises(PatchError, match=r"outside the component 'pkg': tests/t\.py"):
        patchwork.check_installable(work(tmp_path, diff("tests/t.py")))
    with pytest.raises(PatchError, match=r"not installed: src/pkg/a\.py"):
        patchwork.check_installable(work(tmp_path, diff("src/pkg/a.py"), record={"pkg/b.py": ""}))
    with pytest.raises(PatchError, match=r"that the wheel installs already: pkg/built\.py"):
        patchwork.check_installable(work(tmp_path, creation("src/pkg/built.py")))


def test_a_tree_that_is_not_the_wheel_s(tmp_path):
    other = record_hash(b"other")
    with pytest.raises(PatchError, match="is not the file that the wheel installs as") as caught:
        patchwork.check_installable(work(tmp_path, diff("src/pkg/a.py"), record={"pkg/a.py": other}))
    assert other in caught.value.why
    assert record_hash(A) in caught.value.why


def linked(tmp_path, *patches):
    """The work, its tree having links: to a file, to a folder, and to a folder beside the tree."""
    record = {"pkg/a.py": record_hash(A), "pkg/link.py": record_hash(A), "pkg/sub/a.py": record_hash(A)}
    done = work(tmp_path, *patches, record=record)
    (tmp_path / "tree/src/pkg/link.py").symlink_to("a.py")
    (tmp_path / "tree/src/pkg/sub").symlink_to(".")
    (tmp_path / "outside").mkdir()
    (tmp_path / "tree/src/pkg/out").symlink_to(tmp_path / "outside")
    return done


@pytest.mark.parametrize("path", ["src/pkg/link.py", "src/pkg/sub/a.py"])
def test_what_is_a_link_or_behind_one_is_not_patched(tmp_path, path):
    done = linked(tmp_path, diff(path))
    for follow in (patchwork.check_installable, patchwork.changed, patchwork.apply):
        with pytest.raises(PatchError, match=f"^pkg/0001.patch: {path} is not a plain file"):
            follow(done)


@pytest.mark.parametrize("path", ["src/pkg/sub/new.py", "src/pkg/out/new.py", "src/pkg/link.py"])
def test_no_file_is_made_through_a_link(tmp_path, path):
    done = linked(tmp_path, creation(path))
    with pytest.raises(PatchError, match=f"^pkg/0001.patch: {path} is not a plain file"):
        patchwork.apply(done)


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(PatchError, match=r"does not apply exactly to src/pkg") as caught:
        patchwork.changed(work(tmp_path, diff("src/pkg")))
    assert caught.value.why == "the tree has no such file"


def test_what_a_layer_of_files_cannot_do(tmp_path):
    deleted = b"diff --git a/src/pkg/a.py b/src/pkg/a.py\ndeleted file mode 100644\n"
    deleted += b"--- a/src/pkg/a.py\n+++ /dev/null\n@@ -1,4 +0,0 @@\n-one\n-two\n-three\n-four\n"
    executable = b"diff --git a/src/pkg/a.py b/src/pkg/a.py\nold mode 100644\nnew mode 100755\n"
    for data in (deleted, executable):
        with pytest.raises(PatchError, match="the wheel lane cannot"):
            patchwork.check_installable(work(tmp_path, data))


# --- a whole lock --------------------------------------------------------------------------------------------------


@pytest.fixture
def settings(tmp_path):
    return Settings(repo=tmp_path / "repo", store=tmp_path / "store")


def wheel(settings, files):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archived:
        for name, data in files.items():
            archived.writestr(name, data)
        rows = [f"{name},{record_hash(data)},{len(data)}" for name, data in files.items()]
        archived.writestr("pkg-1.dist-info/RECORD", "\n".join([*rows, "pkg-1.dist-info/RECORD,,"]) + "\n")
    kept = keep(settings, out.getvalue())
    return Wheel(name="pkg", version="1", file="pkg-1-py3-none-any.whl", sha256=kept.sha256, size=kept.size)


def locked(settings, patch=None):
    """A series of one patch, and the lock that `nox -s lock` would write for it."""
    folder = settings.repo / "patches" / "s"
    (folder / "pkg").mkdir(parents=True, exist_ok=True)
    (folder / "series").write_text("pkg/0001.patch\n")
    (folder / "pkg/0001.patch").write_bytes(HEADER.encode() + (patch or diff("src/pkg/a.py")))
    component = Component(
        name="pkg", distribution="pkg", paths=PATHS, git=None, files=(),
        archive=keep(settings, archive({f"pkg-1/{name}": data for name, data in FILES.items()})),
    )  # fmt: skip
    found = series.read(settings.repo, "s", ("pkg",))
    draft = Lock(
        target="t", intent="", epoch=0, python="3.13", platform="", tools=(),
        wheels=(wheel(settings, {"pkg/a.py": A}),), patches=found.refs, components=(component,),
    )  # fmt: skip
    return as_locked(draft, patched.apply(settings, draft, found)), found


def as_locked(draft, applied):
    """The lock with what a series gave."""
    before, after = applied.trees["pkg"]
    component = replace(draft.components[0], files=applied.files["pkg"], tree=before, patched_tree=after)
    return replace(draft, components=(component,))


def test_the_lock_s_files_are_made_once_and_kept(settings):
    lock, found = locked(settings)
    files = patched.locked_files(settings, lock, found)
    assert {name: path.read_bytes() for name, path in files.items()} == {"pkg/a.py": A.replace(b"two", b"TWO")}
    assert files["pkg/a.py"].stat().st_mode & 0o777 == 0o644
    for item in patched.inputs(lock):  # nothing is read again
        store.blob(settings.store, item.sha256).unlink()
    assert patched.locked_files(settings, lock, found) == files


def test_a_commit_that_the_lock_leaves_open(settings):
    lock, found = locked(settings)
    left = Unresolved(what="components.pkg.git", wanted="https://example.invalid/pkg v1", why="not reached")
    lock = replace(lock, unresolved=(left,))
    assert patched.locked_files(settings, lock, found)
    for follow in (patched.works, patched.apply, patched.locked, patched.locked_files):
        with pytest.raises(UnresolvedError, match="leaves the commit of pkg open"):
            follow(settings, lock, found, git=True)


def test_files_that_are_not_the_lock_s(settings):
    lock, _ = locked(settings)
    _, other = locked(settings, diff("src/pkg/a.py", new=b"ZWEI"))
    with pytest.raises(LockError, match="the patched files of pkg are not") as caught:
        patched.locked_files(settings, lock, other)
    assert "src/pkg/a.py" in caught.value.why


def tree_of(settings, lock):
    return sourcetree.ensure(settings, lock.components[0])


def test_a_tree_that_is_not_the_one_it_was_locked_for_is_told_before_any_patch(settings):
    lock, found = locked(settings)
    file = tree_of(settings, lock) / "src/pkg/a.py"
    file.write_bytes(A + b"meddled\n")
    shutil.rmtree(settings.store / "trees" / patched.name(settings, lock, found, git=False))  # nothing kept answers
    with pytest.raises(PatchError, match=r"pkg/0001\.patch: src/pkg/a\.py is not the file") as caught:
        patched.locked_files(settings, lock, found)
    for data in (A, A + b"meddled\n"):
        assert hashlib.sha256(data).hexdigest() in caught.value.why


def test_a_file_that_no_patch_touches_counts_by_the_tree_s_id(settings):
    lock, found = locked(settings)
    shutil.rmtree(settings.store / "trees" / patched.name(settings, lock, found, git=False))
    before = patched.locked(settings, lock, found)
    assert before.trees == {"pkg": (lock.components[0].tree, lock.components[0].patched_tree)}
    shutil.rmtree(before.folder)
    (tree_of(settings, lock) / "src/pkg/new.py").write_text("meddled\n")
    with pytest.raises(LockError, match="the tree of pkg is not the locked one") as caught:
        patched.locked(settings, lock, found)
    assert lock.components[0].tree in caught.value.why


@pytest.mark.programs("git")
def test_the_tree_ids_are_git_s(settings, tmp_path):
    lock, _ = locked(settings)
    folder = tmp_path / "git"
    shutil.copytree(tree_of(settings, lock), folder)
    assert git_tree(folder, tmp_path / "before") == lock.components[0].tree
    (folder / "src/pkg/a.py").write_bytes(A.replace(b"two", b"TWO"))
    assert git_tree(folder, tmp_path / "after") == lock.components[0].patched_tree


def test_a_kept_file_that_was_changed_is_made_again(settings):
    lock, found = locked(settings)
    path = patched.locked_files(settings, lock, found)["pkg/a.py"]
    path.write_bytes(b"meddled\n")
    again = patched.locked_files(settings, lock, found)["pkg/a.py"]
    assert again.read_bytes() == A.replace(b"two", b"TWO")


def test_a_kept_file_that_became_a_link_is_made_again(settings, tmp_path):
    lock, found = locked(settings)
    path = patched.locked_files(settings, lock, found)["pkg/a.py"]
    path.rename(tmp_path / "elsewhere.py")
    path.symlink_to(tmp_path / "elsewhere.py")
    again = patched.locked_files(settings, lock, found)["pkg/a.py"]
    assert again.read_bytes() == A.replace(b"two", b"TWO")
    assert not again.is_symlink()


def test_a_patch_that_does_not_apply_leaves_nothing(settings):
    locked(settings)
    trees = sorted(path.name for path in (settings.store / "trees").iterdir())
    with pytest.raises(PatchError, match=r"pkg/0001\.patch does not apply exactly"):
        locked(settings, diff("src/pkg/a.py", data=A.replace(b"one", b"ONE")))
    assert sorted(path.name for path in (settings.store / "trees").iterdir()) == trees
    assert list((settings.store / "scratch").iterdir()) == []


def test_apply_and_verify_take_a_fraction_of_a_second(settings):
    lock, found = locked(settings)
    start = time.monotonic()
    patched.apply(settings, lock, found)
    assert time.monotonic() - start < 1


def test_refs_tell_patches_apart():
    one = PatchRef(series="s", component="a", file="b", sha256="c")
    assert series.series_id([one]) != series.series_id([replace(one, component="ab", file="")])


# --- requirement files ---------------------------------------------------------------------------------------------


LINES = b"-r common.txt\ntorch==2.11.0\nnumpy\nlast\n"


def with_requirements(settings, *patches):
    """The lock of a series over a tree that has requirement files, which no wheel installs."""
    folder = settings.repo / "patches" / "s" / "pkg"
    folder.mkdir(parents=True)
    names = [f"{number:04}.patch" for number in range(1, len(patches) + 1)]
    (folder.parent / "series").write_text("".join(f"pkg/{name}\n" for name in names))
    for name, data in zip(names, patches, strict=True):
        (folder / name).write_bytes(HEADER.encode() + data)
    tree = {
        **FILES,
        "requirements/cuda.txt": LINES,
        "requirements/common.txt": b"six\n",
        "requirements/rocm.txt": LINES,
    }
    component = Component(
        name="pkg", distribution="pkg", paths=PATHS, git=None, files=(), requirement_files=("requirements/cuda.txt",),
        archive=keep(settings, archive({f"pkg-1/{name}": data for name, data in tree.items()})),
    )  # fmt: skip
    found = series.read(settings.repo, "s", ("pkg",))
    lock = Lock(
        target="t", intent="", epoch=0, python="3.13", platform="", tools=(),
        wheels=(wheel(settings, {"pkg/a.py": A}),), patches=found.refs, components=(component,),
    )  # fmt: skip
    return lock, found


def pin(path="requirements/cuda.txt", data=LINES, old=b"torch==2.11.0", new=b"torch==2.13.0"):
    return diff(path, old, new, data)


def test_a_patched_requirement_file_is_locked_and_not_installed(settings):
    lock, found = with_requirements(settings, diff("src/pkg/a.py"), pin())
    applied = patched.apply(settings, lock, found)
    folder, files = applied.folder, applied.files
    assert [(file.source, file.installed) for file in files["pkg"]] == [
        ("requirements/cuda.txt", ""), ("src/pkg/a.py", "pkg/a.py"),
    ]  # fmt: skip
    assert files["pkg"][0].before == hashlib.sha256(LINES).hexdigest()
    assert [path.name for path in folder.rglob("*") if path.is_file()] == ["a.py"]
    final = as_locked(lock, applied)
    for _ in range(2):  # made, then kept
        assert list(patched.locked_files(settings, final, found)) == ["pkg/a.py"]


def test_what_a_series_changes_in_requirements_is_told(settings):
    common = pin("requirements/common.txt", b"six\n", b"six", b"six>=1")
    lock, found = with_requirements(settings, pin(), common)
    assert patched.requirement_changes(settings, lock, found) == {
        "pkg": (
            RequirementChange(before="six", after="six>=1"),
            RequirementChange(before="torch==2.11.0", after="torch==2.13.0"),
        )
    }
    applied = patched.apply(settings, lock, found)
    assert {file.installed for file in applied.files["pkg"]} == {""}
    assert [path for path in applied.folder.rglob("*") if path.is_file()] == []


def test_a_requirement_file_that_is_not_the_component_s_is_refused(settings):
    lock, found = with_requirements(settings, pin("requirements/rocm.txt"))
    with pytest.raises(PatchError, match=r"outside the component 'pkg': requirements/rocm\.txt"):
        patched.apply(settings, lock, found)


def test_a_patch_that_is_not_exact_over_requirements_is_refused(settings):
    lock, found = with_requirements(settings, pin(data=LINES.replace(b"numpy", b"numpy>=2")))
    for follow in (patched.apply, patched.requirement_changes):
        with pytest.raises(PatchError, match="does not apply exactly"):
            follow(settings, lock, found)
