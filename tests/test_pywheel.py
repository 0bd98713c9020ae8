"""build/pywheel.py: a tree's files as a wheel that installs, the same bytes everywhere, and what is refused."""

import csv
import hashlib
import importlib.metadata
import io
import os
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from build import lockfile, pywheel, requirementfiles, sourcetree, store, wheels
from build.errors import LockError, ResolveError
from build.settings import REPO, default_store

PATHS = [("src/spark/", "spark_demo/")]
PYPROJECT = """\
[project]
name = "Spark.Demo"
description = "A demonstration – no more"
readme = "README.md"
license = "Apache-2.0"
license-files = ["LICENSE"]
authors = [{name = "Team"}]
requires-python = ">=3.10"
dynamic = ["version", "dependencies"]
[project.scripts]
spark = "spark_demo.cli:main"
[tool.setuptools_scm]
"""
FILES = {
    "pyproject.toml": PYPROJECT,
    "README.md": "# Démo\n",
    "LICENSE": "Do.\n",
    "setup.py": "raise SystemExit('nobody runs this')\n",
    "src/other/a.py": "",
    "src/spark/__init__.py": "from spark_demo._version import __version__\n",
    "src/spark/cli.py": "#!/usr/bin/python3\ndef main():\n    print('hello')\n",
    "src/spark/data/é, b.json": "{}",
    "src/spark/data/.keep": "",
    "src/spark/run.sh": "#!/bin/sh\n",
}
PROGRAMS = ("src/spark/cli.py", "src/spark/run.sh")
GOLDEN = "f09b855d3ef9009e20ca172972d35136ffe2d308287ab1422a3389534099706c"
INFO = "spark_demo-1.2.0rc1.dist-info"


def plant(folder, files=FILES, programs=PROGRAMS):
    for path, content in files.items():
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content if isinstance(content, bytes) else content.encode())
        place.chmod(0o755 if path in programs else 0o644)
    return folder


@pytest.fixture
def tree(tmp_path):
    return plant(tmp_path / "tree")


@pytest.fixture
def make(tree, tmp_path):
    def story(*, distribution="spark-demo", version="1.2.0-rc1", paths=PATHS, requires=()):
        target = tmp_path / pywheel.file_name(distribution, version)
        sha256 = pywheel.make(tree, distribution, version, paths, requires, target)
        assert hashlib.sha256(target.read_bytes()).hexdigest() == sha256
        return target

    return story


def read(wheel, path):
    with zipfile.ZipFile(wheel) as archive:
        return archive.read(path).decode()


def names(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


def test_every_file_below_the_prefix_then_dist_info_and_record_last(make):
    wheel = make(requires=["jinja2 >= 3", "numpy"])
    assert wheel.name == "spark_demo-1.2.0rc1-py3-none-any.whl"
    assert names(wheel) == [
        "spark_demo/__init__.py", "spark_demo/_version.py", "spark_demo/cli.py", "spark_demo/data/.keep",
        "spark_demo/data/é, b.json", "spark_demo/run.sh", f"{INFO}/METADATA", f"{INFO}/WHEEL",
        f"{INFO}/entry_points.txt", f"{INFO}/licenses/LICENSE", f"{INFO}/RECORD",
    ]  # fmt: skip
    assert read(wheel, f"{INFO}/METADATA").split("\n\n")[0].splitlines()[-2:] == [
        "Requires-Dist: jinja2 >= 3", "Requires-Dist: numpy",
    ]  # fmt: skip
    assert read(wheel, f"{INFO}/WHEEL").splitlines()[2:] == ["Root-Is-Purelib: true", "Tag: py3-none-any"]


def test_record_names_every_file_with_its_hash_and_size(make):
    wheel = make()
    with zipfile.ZipFile(wheel) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    rows = list(csv.reader(io.StringIO(content[f"{INFO}/RECORD"].decode())))
    assert [row[0] for row in rows] == list(content)
    assert rows[-1] == [f"{INFO}/RECORD", "", ""]
    assert {row[0]: int(row[2]) for row in rows[:-1]} == {name: len(content[name]) for name in list(content)[:-1]}
    assert all(row[1] == pywheel._record_hash(content[row[0]]) for row in rows[:-1])
    assert wheels.record(wheel)["../../../bin/spark"] == "entry point=spark_demo.cli:main"


def test_entries_say_nothing_of_the_machine(make):
    with zipfile.ZipFile(make()) as archive:
        entries = archive.infolist()
    assert {(entry.date_time, entry.create_system, entry.extra) for entry in entries} == {
        ((1980, 1, 1, 0, 0, 0), 3, b"")
    }
    assert {entry.compress_type for entry in entries} == {zipfile.ZIP_STORED}
    modes = {entry.filename: entry.external_attr >> 16 for entry in entries}
    assert modes.pop("spark_demo/run.sh") == stat.S_IFREG | 0o755
    assert set(modes.values()) == {stat.S_IFREG | 0o644}  # of cli.py too: setuptools leaves no module executable


def test_another_umask_order_and_time_give_the_same_bytes(tmp_path, make):
    before = os.umask(0o077)
    try:
        other = plant(tmp_path / "elsewhere", dict(reversed(FILES.items())))
        for path in (*other.rglob("*"), other):
            path.chmod(path.stat().st_mode & 0o700)
            os.utime(path, (1, 1))
        second = pywheel.make(other, "Spark_Demo", "1.2.0rc1", PATHS, (), tmp_path / "second")
    finally:
        os.umask(before)
    assert make().read_bytes() == (tmp_path / "second").read_bytes()
    assert second == GOLDEN  # a change of it makes all that is built from such wheels anew


def test_uv_installs_it_and_python_uses_it(make, tmp_path):
    wheel = make(requires=["jinja2 >= 3; python_version > '3'"])
    site = tmp_path / "site"
    uv = Path(sys.executable).with_name("uv")
    install = [uv, "pip", "install", "--no-config", "--offline", "--no-index", "--no-deps", "--python", sys.executable]
    subprocess.run([*install, "--target", site, wheel], check=True, capture_output=True)
    found = importlib.metadata.Distribution.at(site / INFO)
    assert (found.name, found.version, found.requires) == (
        "Spark.Demo", "1.2.0rc1", ["jinja2 >= 3; python_version > '3'"],
    )  # fmt: skip
    assert found.metadata["Summary"] == "A demonstration – no more"
    assert found.metadata.get_payload() == "# Démo\n"
    (point,) = found.entry_points
    assert (point.name, point.value, point.group) == ("spark", "spark_demo.cli:main", "console_scripts")
    assert {str(file) for file in found.files} >= set(names(wheel))
    assert [file for file in found.files if not file.locate().is_file()] == []
    assert os.access(site / "spark_demo/run.sh", os.X_OK)
    code = "import spark_demo._version as v; print(v.version, v.version_tuple, v.commit_id)"
    told = subprocess.run(
        [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {str(site)!r}); {code}"],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert told.stdout == "1.2.0rc1 (1, 2, 0, 'rc1') None\n"
    assert (site / "bin/spark").is_file()


# -------------------------------------------------------------------------------------------------- what is shipped


def test_the_longest_prefix_counts_and_a_prefix_may_be_a_file(make):
    wheel = make(paths=[*PATHS, ("src/spark/data/", "spark_demo/share/"), ("src/spark/run.sh", "go.sh")])
    assert names(wheel)[:6] == [
        "go.sh", "spark_demo/__init__.py", "spark_demo/_version.py", "spark_demo/cli.py", "spark_demo/share/.keep",
        "spark_demo/share/é, b.json",
    ]  # fmt: skip


def test_what_lies_beside_the_prefix_does_not_matter(tree, make):
    before = make().read_bytes()
    plant(tree, {"src/sparks/__pycache__/a.pyc": "", "src/spark.py": "", "vllm/b.py": ""})
    (tree / "src" / "link").symlink_to("/etc/passwd")
    os.mkfifo(tree / "pipe")
    assert make().read_bytes() == before


@pytest.mark.parametrize(
    ("path", "target"),
    [("src/spark/a.py", "cli.py"), ("src/spark/dir", "data"), ("src/spark/a.py", "nowhere")],
)
def test_a_link_is_refused(tree, make, path, target):
    (tree / path).symlink_to(target)
    with pytest.raises(ResolveError, match=rf"'{path}' cannot be put into a wheel"):
        make()


@pytest.mark.parametrize("folder", ["src", "src/spark"])
def test_a_link_on_the_way_is_refused(tree, make, folder):
    (tree / folder).rename(tree / "moved")
    (tree / folder).symlink_to(tree / "moved")
    with pytest.raises(ResolveError, match=rf"'{folder}' cannot be put into a wheel"):
        make()


@pytest.mark.parametrize("name", ["a\nb.py", "a\\b.py", os.fsdecode(b"\xff.py")])
def test_a_name_that_is_not_the_same_everywhere_is_refused(tree, make, name):
    (tree / "src/spark" / name).touch()
    with pytest.raises(ResolveError, match="no plain file with a plain name"):
        make()


def test_a_pipe_is_refused(tree, make):
    os.mkfifo(tree / "src/spark/pipe")
    with pytest.raises(ResolveError, match="'src/spark/pipe' cannot be put into a wheel"):
        make()


@pytest.mark.parametrize("path", ["src/spark/a.pyc", "src/spark/data/__pycache__/a.cpython-313.pyc"])
def test_bytecode_is_refused(tree, make, path):
    plant(tree, {path: ""})
    with pytest.raises(ResolveError, match="what running it left behind") as caught:
        make()
    assert "clean -- trees" in caught.value.todo


@pytest.mark.parametrize(
    ("paths", "what"),
    [
        ([*PATHS, ("src/other/", "spark_demo/"), ("src/other/a.py", "spark_demo/cli.py")], "another file is installed"),
        ([("src/spark/", "../spark/")], "no place below site-packages"),
        ([("src/spark/", "/spark/")], "no place below site-packages"),
        ([("src/spark/", "spark//")], "no place below site-packages"),
        ([("src/spark/", "spark_demo-1.data/")], "installers do other things"),
        ([("src/spark/", "other-1.dist-info/")], "installers do other things"),
        ([*PATHS, ("csrc/", "csrc/")], "has no file to install from csrc/"),
        ([("LICENSE/", "x/")], "has no file to install from LICENSE/"),
    ],
)
def test_paths_that_cannot_be_meant(make, tmp_path, paths, what):
    with pytest.raises(ResolveError, match=what):
        make(paths=paths)
    assert not list(tmp_path.glob("*.whl"))


# ----------------------------------------------------------------------------------------- of which version the tree is


def test_a_release_keeps_the_version_file_that_it_has(tree, make):
    text = "version: str\n__version__ = version = '1.2rc1'\n__commit_id__ = commit_id = 'g12'\n"
    plant(tree, {"src/spark/_version.py": text})
    assert read(make(), "spark_demo/_version.py") == text


@pytest.mark.parametrize(
    ("text", "stated"),
    [
        ("__version__ = version = '1.2.0'", "states 1.2.0"),
        ("version = '1.2rc1'\n__version__ = '1.3'", "states 1.2rc1, 1.3"),
        ("version = '1.2rc1+cu130'", "states 1.2rc1"),
        ("version = 'unknown'", "states unknown"),
        ("def version(): ...\n", "states no version that can be read"),
        ("", "states no version that can be read"),
    ],
)
def test_a_version_file_of_another_version(tree, make, text, stated):
    plant(tree, {"src/spark/_version.py": text})
    with pytest.raises(LockError, match=r"not that of version 1\.2\.0rc1") as caught:
        make()
    assert stated in caught.value.why


def test_a_version_file_that_is_not_python(tree, make):
    plant(tree, {"src/spark/_version.py": "version ="})
    with pytest.raises(ResolveError, match=r"spark_demo/_version\.py is not Python"):
        make()


def test_without_setuptools_scm_no_version_file_is_made_or_read(tree, make):
    plant(tree, {"pyproject.toml": PYPROJECT.replace("[tool.setuptools_scm]\n", "")})
    assert "spark_demo/_version.py" not in names(make())
    plant(tree, {"src/spark/_version.py": "version = 'another'"})
    assert read(make(), "spark_demo/_version.py") == "version = 'another'"


def test_no_version_file_where_no_package_has_the_distributions_name(make):
    assert "_version.py" not in "".join(names(make(paths=[("src/spark/", "spark/")])))


@pytest.mark.parametrize("key", ["version_file", "write_to"])
def test_where_setuptools_scm_would_write(tree, make, key):
    plant(tree, {"pyproject.toml": f"{PYPROJECT}{key} = 'src/spark/_version.py'\n"})
    assert "spark_demo/_version.py" in names(make())
    plant(tree, {"pyproject.toml": f"{PYPROJECT}{key} = 'src/spark/about.py'\n"})
    with pytest.raises(ResolveError, match=r"has setuptools-scm write src/spark/about\.py"):
        make()


def test_a_tree_of_another_distribution_or_version(tree, make):
    with pytest.raises(LockError, match="the source tree is not one of vllm") as caught:
        make(distribution="vllm")
    assert "Spark.Demo" in caught.value.why
    plant(tree, {"pyproject.toml": '[project]\nname = "spark_demo"\nversion = "1.2"\n'})
    assert make(version="1.2.0").name == "spark_demo-1.2.0-py3-none-any.whl"
    with pytest.raises(LockError, match=r"not that of version 1\.2\.1") as caught:
        make(version="1.2.1")
    assert caught.value.why == "its pyproject.toml states 1.2"


# ------------------------------------------------------------------------------------------------------ vLLM's own tree


@pytest.fixture(scope="module")
def released():
    """The tree and the wheel of v0.22's vLLM; the test is skipped where the store lacks one of them."""
    lock = lockfile.read_lock(REPO, "v0.22")
    component = next(item for item in lock.components if item.name == "vllm")
    wheel = next(item for item in lock.wheels if item.name == "vllm")
    tree = default_store() / "trees" / sourcetree.tree_id(component, git=False)
    if not tree.is_dir() or not store.has(default_store(), wheel.sha256, wheel.size):
        pytest.skip("the store lacks vLLM's source tree or wheel: run `nox -s checkout` and `nox -s fetch`")
    return component, tree, store.blob(default_store(), wheel.sha256)


@pytest.mark.slow
def test_vllms_own_wheel_has_the_same_files_but_what_is_compiled_or_fetched(released, tmp_path):
    component, tree, wheel = released
    requires = requirementfiles.read(tree, component.requirement_files)
    pywheel.make(tree, "vllm", "0.22.0", component.paths, requires, tmp_path / "vllm.whl")
    ours, theirs = wheels.record(tmp_path / "vllm.whl"), wheels.record(wheel)
    assert ours.keys() - theirs.keys() == set()
    differing = {path for path in ours if ours[path] != theirs[path]}
    assert differing == {f"vllm-0.22.0.dist-info/{name}" for name in ("METADATA", "WHEEL")}
    native = ("vllm/vllm-rs", "vllm/vllm_flash_attn/", "vllm/third_party/", "vllm-0.22.0.dist-info/top_level.txt")
    assert [path for path in theirs.keys() - ours.keys() if not path.startswith(native) and path[-3:] != ".so"] == []
    with zipfile.ZipFile(tmp_path / "vllm.whl") as mine, zipfile.ZipFile(wheel) as other:
        entries = [(entry, other.getinfo(entry.filename)) for entry in mine.infolist()]
    assert [a.filename for a, b in entries if (a.external_attr ^ b.external_attr) >> 16 & stat.S_IXUSR] == []
