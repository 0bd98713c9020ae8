"""build/projecttable.py: what pyproject.toml says becomes dist-info, and what it cannot say without code is refused."""

import os

import pytest
from packaging.metadata import Metadata
from packaging.version import Version

from build import projecttable
from build.errors import ResolveError

WHOLE = """\
[project]
name = "Demo"
description = "What it is – in a line"
readme = "docs/README.rst"
requires-python = ">=3.10,<3.15"
license = "Apache-2.0 OR MIT"
license-files = ["LICEN[CS]E*", "licenses/**/*.txt"]
authors = [{name = "Team"}, {name = "Ada L.", email = "ada@example.org"}, {email = "x@example.org"}, {name = "Zoë"}]
maintainers = [{name = 'A "B"', email = "ab@example.org"}]
keywords = ["a", "b c"]
classifiers = ["Programming Language :: Python :: 3", "Intended Audience :: Developers"]
dynamic = ["version", "dependencies", "optional-dependencies"]
dependencies-of-tomorrow = ["unknown keys are left alone"]
[project.urls]
Homepage = "https://example.org/"
Chat = "https://chat.example.org"
[project.scripts]
demo = "demo.cli:main"
also-demo = "demo.cli:main [extra]"
[project.gui-scripts]
window = "demo.ui:App.run"
[project.entry-points."demo.plugins"]
"with space" = "demo.plugins:a"
module = "demo.plugins"
[project.optional-dependencies]
audio = ["av"]
"""
METADATA = """\
Metadata-Version: 2.4
Name: Demo
Version: 1.0
Summary: What it is – in a line
Author: Team, Zoë
Author-email: "Ada L." <ada@example.org>, x@example.org
Maintainer-email: "A \\"B\\"" <ab@example.org>
License-Expression: Apache-2.0 OR MIT
Project-URL: Homepage, https://example.org/
Project-URL: Chat, https://chat.example.org
Keywords: a,b c
Classifier: Programming Language :: Python :: 3
Classifier: Intended Audience :: Developers
Requires-Python: >=3.10,<3.15
Description-Content-Type: text/x-rst
License-File: LICENSE
License-File: licenses/a.txt
License-File: licenses/deep/er/b.txt
Requires-Dist: z[x]>=1, <2; python_version > "3.11"
Requires-Dist: a

Long

 text.
"""
POINTS = """\
[console_scripts]
also-demo = demo.cli:main [extra]
demo = demo.cli:main

[demo.plugins]
module = demo.plugins
with space = demo.plugins:a

[gui_scripts]
window = demo.ui:App.run
"""


@pytest.fixture
def told(tmp_path):
    """dist-info by pyproject.toml and other files of a tree."""

    def story(text, files=(), requires=()):
        for path, content in {"pyproject.toml": text, **dict(files)}.items():
            place = tmp_path / "tree" / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content if isinstance(content, bytes) else content.encode())
        said = projecttable.read(tmp_path / "tree")
        found = projecttable.dist_info(tmp_path / "tree", said.project, Version("1.0"), requires)
        return {name: data.decode() for name, data in found.items()}

    return story


def project(lines, name="demo"):
    return f'[project]\nname = "{name}"\n{lines}\n'


def test_all_that_can_be_told(told):
    files = {
        "docs/README.rst": "Long\n\n text.\n", "LICENSE": "L", "licenses/a.txt": "A", "licenses/deep/er/b.txt": "B",
        "licenses/c.md": "C",
    }  # fmt: skip
    found = told(WHOLE, files, ['z[x]>=1,  <2; python_version > "3.11"\n', "a"])
    assert found == {
        "METADATA": METADATA, "entry_points.txt": POINTS,
        "licenses/LICENSE": "L", "licenses/licenses/a.txt": "A", "licenses/licenses/deep/er/b.txt": "B",
    }  # fmt: skip
    assert Metadata.from_email(METADATA).description == "Long\n\n text.\n"


def test_a_name_is_enough(told):
    assert told('project = {name = "demo"}') == {
        "METADATA": "Metadata-Version: 2.4\nName: demo\nVersion: 1.0\n\n"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("readme", "kind", "text"),
    [
        ('"R.md"', "text/markdown", "read"),
        ('"./R.MD"', "text/markdown", "READ"),
        ('{file = "R", content-type = "text/plain; charset=UTF-8"}', "text/plain; charset=UTF-8", "plain"),
        ('{text = "here", content-type = "text/markdown"}', "text/markdown", "here"),
    ],
)
def test_the_long_description(told, readme, kind, text):
    found = told(project(f"readme = {readme}"), {"R.md": "read", "R.MD": "READ", "R": "plain"})
    assert found["METADATA"].endswith(f"\nDescription-Content-Type: {kind}\n\n{text}")


def test_licences_in_the_form_before_pep_639(told):
    found = told(project('license = {file = "LICENSE[1].txt"}'), {"LICENSE[1].txt": "L", "LICENSE1.txt": "no"})
    assert found["licenses/LICENSE[1].txt"] == "L"
    assert "License-File: LICENSE[1].txt\n" in found["METADATA"]
    assert "\nLicense: MIT or so\n" in told(project('license = {text = """MIT\nor so\n"""}'))["METADATA"]


def test_a_licence_pattern_may_fit_none_where_another_fits(told):
    found = told(project('license-files = ["LICENSE", "LICENSE*.txt"]'), {"LICENSE": "L"})
    assert [name for name in found if name.startswith("licenses/")] == ["licenses/LICENSE"]


@pytest.mark.parametrize(
    ("text", "what", "why"),
    [
        ("[project", "pyproject.toml is not TOML", ""),
        (b"# \xff", "pyproject.toml is not UTF-8", ""),
        ("[tool.x]", "pyproject.toml cannot be followed", "project: Field required"),
        (project("description = 3\nkeywords = 'a'"), "cannot be followed", "project.keywords: "),
        (project('description = "a\\nLicense: b"'), "cannot be followed", "project.description: "),
        (project('classifiers = ["a\\rb"]'), "cannot be followed", "project.classifiers.0: "),
        (project('scripts = {"a=b" = "c:d"}'), "cannot be followed", "project.scripts.a=b"),
        (project('scripts = {"[a" = "c:d"}'), "cannot be followed", "project.scripts.[a"),
        (project('scripts = {a = "c d"}'), "cannot be followed", "project.scripts.a: "),
        (project('scripts = {a = "c:d\\nx = y:z"}'), "cannot be followed", "project.scripts.a: "),
        (project('entry-points = {"a b" = {c = "d:e"}}'), "cannot be followed", "project.entry-points.a b"),
        (project('entry-points = {console_scripts = {a = "b:c"}}'), "has programs among", "console_scripts"),
        (project('dynamic = ["version", "scripts", "readme"]'), "leaves readme, scripts to the tree's own code", ""),
        (project('readme = "R"'), "does not say what R is", ".md"),
        (project('readme = "N.md"'), "'N.md' is not a plain file", ""),
        (project('readme = "../R.md"'), "'../R.md' is not a plain file", ""),
        (project('readme = "/etc/R.md"'), "'/etc/R.md' is not a plain file", ""),
        (project('readme = "link.md"'), "'link.md' is not a plain file", ""),
        (project('readme = "latin.md"'), "latin.md is not UTF-8", ""),
        (project('license-files = ["COPYING*", "folder"]'), "has no licence file COPYING*, folder", ""),
        (project('license-files = ["../*.md"]'), "a licence file outside the source tree: ../*.md", ""),
        (project('license-files = ["/etc/passwd"]'), "a licence file outside the source tree: /etc/passwd", ""),
        (project('license-files = ["odd*"]'), "'odd\\udcff' is not a plain file", ""),
        (project('license-files = ["*.md"]'), "'link.md' is not a plain file", ""),
        (project('license = "Apache 2"'), "the metadata of demo are not valid", "license"),
        (project('requires-python = "3.x"'), "the metadata of demo are not valid", "requires-python"),
        (project("", name="a b"), "the metadata of a b are not valid", "name"),
    ],
)  # fmt: skip
def test_what_is_refused(told, tmp_path, text, what, why):
    (tmp_path / "tree" / "folder").mkdir(parents=True)
    (tmp_path / "R.md").touch()
    (tmp_path / "tree" / os.fsdecode(b"odd\xff")).touch()
    (tmp_path / "tree" / "link.md").symlink_to("../R.md")
    with pytest.raises(ResolveError) as caught:
        told(text, {"R": "", "latin.md": b"\xe9"})
    assert what in caught.value.what
    assert why in caught.value.why
    assert caught.value.todo


@pytest.mark.parametrize("requirement", ["a b", "a>>1", "a; python_version >> '3'", "-r x.txt", "a\nLicense: b", ""])
def test_a_requirement_that_is_none(told, requirement):
    with pytest.raises(ResolveError, match="the metadata of demo are not valid"):
        told(project(""), requires=["fine", requirement])


def test_a_tree_without_pyproject(tmp_path):
    with pytest.raises(ResolveError, match=r"'pyproject\.toml' is not a plain file of the source tree"):
        projecttable.read(tmp_path)


def test_setuptools_scm_is_asked_for_by_an_empty_table(told, tmp_path):
    told(project(""))
    assert projecttable.read(tmp_path / "tree").tool.setuptools_scm is None
    told(project("") + "[tool.setuptools_scm]\n[tool.other]\nkey = 1\n")
    assert projecttable.read(tmp_path / "tree").tool.setuptools_scm == projecttable.Scm()
