"""dockerfiles/lane/patched.py: the dist-info of a patched distribution tells the truth about it."""

import base64
import csv
import hashlib
import importlib.metadata
import io
import zipfile
from dataclasses import replace

import pytest
from packaging.version import Version

from build import assemble, recipe, steps, store
from build.metadata import of_wheel
from build.models import PatchedFile, RequirementChange, Settings
from build.requirements import edits
from build.settings import REPO
from tests import indexkit

REQUIRES = ("torch (==2.11.0)", 'b>=1; extra == "x"', "b>=1", "gone", "Requires_Me")


@pytest.fixture
def lane(monkeypatch):
    monkeypatch.syspath_prepend(str(REPO / "dockerfiles" / "lane"))
    import patched

    yield patched
    monkeypatch.delitem(__import__("sys").modules, "patched")


@pytest.fixture
def released(tmp_path):
    """The dist-info of a wheel as its layer keeps it, and the wheel."""
    _, data, _ = indexkit.wheel("My-Pkg", "1.0", requires=REQUIRES, files={"pkg.py": b"x = 1\n"})
    (tmp_path / "wheel.whl").write_bytes(data)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for name in archive.namelist():
            if name.startswith("My_Pkg-1.0.dist-info/"):
                path = tmp_path / "released" / name.split("/")[1]
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(archive.read(name).replace(b"My_Pkg-1.0.dist-info", b"my_pkg-1.0.dist-info"))
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "pkg.py").write_bytes(b"x = 2\n")
    return tmp_path


def relabel(lane, folder, *changes):
    """What is installed, after the changes that the host hands over."""
    found = [RequirementChange(before=before, after=after) for before, after in changes]
    made = edits(of_wheel(folder / "wheel.whl").requires, found)
    lane.relabel(folder / "site", folder / "released", ["pkg.py"], [list(pair) for pair in made], "spark")
    (info,) = (folder / "site").glob("*.dist-info")
    return info, importlib.metadata.PathDistribution(info)


def test_without_changed_requirements_only_the_version_differs(lane, released):
    info, installed = relabel(lane, released)
    before = (released / "released" / "METADATA").read_bytes()
    assert (info / "METADATA").read_bytes() == before.replace(b"Version: 1.0\n", b"Version: 1.0+spark\n", 1)
    assert installed.version == "1.0+spark"


@pytest.mark.parametrize("version", ["1.0", "1.0+cu130", "0.21.1rc1.dev363+g27fd665bd", "1.0.post2"])
def test_the_image_is_told_of_the_version_that_is_installed(lane, released, version):
    """What the manifest says, the checks ask importlib for."""
    folder = released / "released"
    for name in ("METADATA", "RECORD"):
        data = (folder / name).read_bytes()
        data = data.replace(b"Version: 1.0\n", f"Version: {version}\n".encode(), 1)
        (folder / name).write_bytes(data.replace(b"my_pkg-1.0.dist-info", f"my_pkg-{version}.dist-info".encode()))
    info, installed = relabel(lane, released)
    assert installed.version == recipe.labelled(version, "spark")
    assert info.name == f"my_pkg-{installed.version}.dist-info"
    assert str(Version(installed.version)) == installed.version, "as PEP 440 has it"


def test_requirements_are_as_the_series_makes_them(lane, released):
    info, installed = relabel(
        lane,
        released,
        ("torch==2.11.0", "torch==2.13.0"),
        ("b>=1", "b>=3"),
        ("gone", ""),
        ("", 'new; os_name == "posix"'),
    )
    assert installed.requires == [
        "torch==2.13.0",
        'b>=1; extra == "x"',
        "b>=3",
        "Requires_Me",
        'new; os_name == "posix"',
    ]
    assert (info / "METADATA").read_text().endswith("\n\nA long description.\n")
    rows = {row[0]: row for row in csv.reader(io.StringIO((info / "RECORD").read_text()))}
    for path in ("pkg.py", f"{info.name}/METADATA"):
        data = (released / "site" / path).read_bytes()
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        assert rows[path][1:] == [f"sha256={digest}", str(len(data))]


def test_two_lines_may_change_places(lane):
    metadata = "Name: a\nRequires-Dist: a==1\nRequires-Dist: a==2\n\nRequires-Dist: a==1\n"
    swapped = "Name: a\nRequires-Dist: a==2\nRequires-Dist: a==1\n\nRequires-Dist: a==1\n"
    assert lane.required(metadata, [["a==1", "a==2"], ["a==2", "a==1"]]) == swapped


@pytest.mark.parametrize("lines", ["", "Requires-Dist: a==1\nRequires-Dist: a==1\n", "Requires-Dist: a==10\n"])
def test_a_line_that_is_not_there_once_stops_the_build(lane, lines):
    with pytest.raises(SystemExit, match="METADATA has [02] lines 'Requires-Dist: a==1'"):
        lane.required(f"Name: a\n{lines}\nRequires-Dist: a==1\n", [["a==1", "a==2"]])


# --- what the host hands over --------------------------------------------------------------------------------------

READ = PatchedFile(source="requirements.txt", installed="", before="0", after="1")
FILE = PatchedFile(source="src/jinja2/x.py", installed="jinja2/x.py", before="0", after="1")


@pytest.fixture
def handed(tmp_path):
    """What `tiny` would hand over, were its component patched like that."""
    job = steps.load(Settings(repo=REPO, store=tmp_path), "tiny")
    _, data, _ = indexkit.wheel("jinja2", "3.1.6", requires=["MarkupSafe (>=2.0)"])
    wheels = tuple(replace(item, sha256="ab" * 32) if item.name == "jinja2" else item for item in job.lock.wheels)
    path = store.blob(tmp_path, "ab" * 32)
    path.parent.mkdir(parents=True)
    path.write_bytes(data)

    def hand_over(*files, requires=()):
        components = tuple(replace(item, files=files, requires=requires) for item in job.lock.components)
        made = replace(job, lock=replace(job.lock, wheels=wheels, components=components))
        assert recipe.patched_distributions(made) == tuple(assemble._patched(made))
        assert [row["installed"] for row in recipe.manifest(made, chain="")["patched"]] == [
            file.installed for file in files if file.installed
        ]
        return assemble._patched(made)

    return hand_over


def test_changed_requirements_are_handed_over_in_the_wheel_s_own_words(handed):
    change = RequirementChange(before="markupsafe>=2.0", after="markupsafe==3.0.2")
    edit = ("MarkupSafe (>=2.0)", "markupsafe==3.0.2")
    assert handed(FILE, READ, requires=(change,)) == {
        "jinja2": {"paths": ["jinja2/x.py"], "requires": (edit,), "compiled": False}
    }
    assert handed(READ, requires=(change,)) == {"jinja2": {"paths": [], "requires": (edit,), "compiled": False}}


def test_a_requirement_file_with_another_comment_changes_nothing(handed):
    assert handed(READ) == {}
    assert handed(FILE) == {"jinja2": {"paths": ["jinja2/x.py"], "requires": (), "compiled": False}}
