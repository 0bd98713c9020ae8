"""What a source tree's pyproject.toml says of its distribution, and the dist-info that a wheel of it has.

Only what is written there: none of the tree's code is run, so nothing is known that is ``dynamic``.

Formats: the pyproject.toml, core metadata (2.4, with PEP 639's licences) and entry points specifications, all at
packaging.python.org.
"""

from __future__ import annotations

import glob
import os
import posixpath
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

from packaging.metadata import Metadata
from packaging.version import Version
from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from build.errors import ResolveError

FILE = "pyproject.toml"
DYNAMIC = {"version", "dependencies", "optional-dependencies"}  # what a lock tells, and extras, which are left out
CONTENT_TYPES = {".md": "text/markdown", ".rst": "text/x-rst", ".txt": "text/plain"}

Line = Annotated[str, StringConstraints(pattern=r"^\P{Cc}*$")]
Group = Annotated[str, StringConstraints(pattern=r"^\w+(\.\w+)*$")]
Point = Annotated[str, StringConstraints(pattern=r"^[^\s=\[#;\p{Cc}]([^=\p{Cc}]*[^\s=\p{Cc}])?$")]
Object = Annotated[str, StringConstraints(pattern=r"^[\w.]+ *(: *[\w.]+ *)?(\[[\w ,.-]*\])?$")]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True)


class _Dashed(_Table, alias_generator=lambda name: name.replace("_", "-")):
    pass


class Person(_Table):
    """An author or a maintainer."""

    name: Line = ""
    email: Line = ""


class License(_Table):
    """A licence as it was told before PEP 639."""

    file: Line = ""
    text: str = ""


class Readme(_Dashed):
    """The long description."""

    file: Line = ""
    text: str = ""
    content_type: Line = ""


class Project(_Dashed):
    """The table ``[project]``, without what a wheel of ours does not take from it."""

    name: Line
    version: Line | None = None
    description: Line = ""
    readme: Line | Readme = Readme()
    requires_python: Line = ""
    license: Line | License = License()
    license_files: tuple[Line, ...] = ()
    authors: tuple[Person, ...] = ()
    maintainers: tuple[Person, ...] = ()
    keywords: tuple[Line, ...] = ()
    classifiers: tuple[Line, ...] = ()
    urls: dict[Line, Line] = {}
    scripts: dict[Point, Object] = {}
    gui_scripts: dict[Point, Object] = {}
    entry_points: dict[Group, dict[Point, Object]] = {}
    dynamic: tuple[str, ...] = ()


class Scm(_Table):
    """The table ``[tool.setuptools_scm]``: that it is there, and where it would write the version."""

    version_file: str = ""
    write_to: str = ""


class Tool(_Table):
    """The table ``[tool]``."""

    setuptools_scm: Scm | None = None


class PyProject(_Table):
    """The file."""

    project: Project
    tool: Tool = Tool()


def refused(what: str, why: str = "") -> ResolveError:
    """The error for a tree that no wheel can be made of."""
    return ResolveError(what, why=why, todo="lock a release or commit whose tree has no such fault, or report this one")


def read(tree: Path) -> PyProject:
    """A tree's pyproject.toml. Raises ``ResolveError`` with all its faults, and where it leaves things to code."""
    try:
        said = PyProject.model_validate(tomllib.loads(_text(tree, FILE)))
    except tomllib.TOMLDecodeError as error:
        raise refused(f"{FILE} is not TOML", str(error)) from error
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()]
        raise refused(f"{FILE} cannot be followed", "; ".join(faults)) from error
    if unknown := sorted(set(said.project.dynamic) - DYNAMIC):
        why = "they are `dynamic`, and none of the tree's code is run"
        raise refused(f"{FILE} leaves {', '.join(unknown)} to the tree's own code", why)
    return said


def dist_info(tree: Path, project: Project, version: Version, requires: Sequence[str]) -> dict[str, bytes]:
    """METADATA, ``licenses/…`` and, where there are any, ``entry_points.txt``.

    ``requires``: PEP 508 requirements, in place of what the table asks for; its extras are left out. Raises
    ``ResolveError`` for a file that the table names and the tree lacks or has as a link, and for invalid metadata.
    """
    licences = _licences(tree, project)
    found = {"METADATA": _metadata(tree, project, version, sorted(licences), requires)}
    found |= {f"licenses/{path}": data for path, data in licences.items()}
    points = _entry_points(project)
    return found | ({"entry_points.txt": points} if points else {})


def _read(tree: Path, path: str) -> bytes:
    """A plain file; not what a link leads to, for that may be anywhere."""
    place = os.path.join(os.path.realpath(tree), posixpath.normpath(path))
    if os.path.realpath(place) != place or not os.path.isfile(place) or not path.isprintable():
        raise refused(f"{path!r} is not a plain file of the source tree")
    return Path(place).read_bytes()


def _text(tree: Path, path: str) -> str:
    try:
        return _read(tree, path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise refused(f"{path} is not UTF-8", str(error)) from error


def _licences(tree: Path, project: Project) -> dict[str, bytes]:
    """The licence files by repository path; an error where some are named and none is there.

    PEP 639 wants one for each pattern that fits none, which setuptools does not raise and FlashInfer's releases need.
    """
    patterns = list(project.license_files)
    if isinstance(project.license, License) and project.license.file:
        patterns.append(glob.escape(project.license.file))
    found: dict[str, bytes] = {}
    for pattern in patterns:
        if {"", ".", ".."} & set(pattern.split("/")):
            raise refused(f"{FILE} names a licence file outside the source tree: {pattern}")
        paths = glob.glob(pattern, root_dir=tree, recursive=True)
        found |= {path: _read(tree, path) for path in paths if not os.path.isdir(tree / path)}
    if patterns and not found:
        raise refused(f"the source tree has no licence file {', '.join(patterns)}")
    return found


def _metadata(
    tree: Path, project: Project, version: Version, licences: Sequence[str], requires: Sequence[str]
) -> bytes:
    kind, text = _description(tree, project.readme)
    licence = project.license
    lines = [
        ("Metadata-Version", "2.4"),
        ("Name", project.name),
        ("Version", str(version)),
        ("Summary", project.description),
        *_people("Author", project.authors),
        *_people("Maintainer", project.maintainers),
        ("License-Expression", licence) if isinstance(licence, str) else ("License", _joined(licence.text)),
        *(("Project-URL", f"{label}, {url}") for label, url in project.urls.items()),
        ("Keywords", ",".join(project.keywords)),
        *(("Classifier", text) for text in project.classifiers),
        ("Requires-Python", project.requires_python),
        ("Description-Content-Type", kind),
        *(("License-File", path) for path in licences),
        *(("Requires-Dist", _joined(text)) for text in requires),
    ]
    headers = "".join(f"{name}: {value}\n" for name, value in lines if value or name == "Requires-Dist")
    data = f"{headers}\n{text}".encode()
    try:
        Metadata.from_email(data)
    except ExceptionGroup as error:
        why = "; ".join(str(fault) for fault in error.exceptions)
        raise refused(f"the metadata of {project.name} are not valid", why) from error
    return data


def _joined(text: str) -> str:
    return " ".join(text.split())


def _people(role: str, people: Sequence[Person]) -> Iterator[tuple[str, str]]:
    yield role, ", ".join(person.name for person in people if not person.email)
    yield f"{role}-email", ", ".join(_address(person) for person in people if person.email)


def _address(person: Person) -> str:
    r"""An address, quoted where RFC 822 wants it.

    >>> print(_address(Person(name="Ada L.", email="a@x.org")), _address(Person(name="Zoë", email="z@x.org")))
    "Ada L." <a@x.org> Zoë <z@x.org>
    """
    name = person.name
    if not name.replace(" ", "").isalnum():
        name = '"{}"'.format(name.replace("\\", r"\\").replace('"', r"\""))
    return f"{name} <{person.email}>" if person.name else person.email


def _description(tree: Path, readme: str | Readme) -> tuple[str, str]:
    """Content type and text."""
    readme = Readme(file=readme) if isinstance(readme, str) else readme
    if not readme.file:
        return readme.content_type, readme.text
    kind = readme.content_type or CONTENT_TYPES.get(os.path.splitext(readme.file)[1].lower(), "")
    if not kind:
        raise refused(f"{FILE} does not say what {readme.file} is", f"known are {', '.join(CONTENT_TYPES)}")
    return kind, _text(tree, readme.file)


def _entry_points(project: Project) -> bytes:
    programs = {"console_scripts": project.scripts, "gui_scripts": project.gui_scripts}
    if twice := sorted(programs.keys() & project.entry_points.keys()):
        raise refused(f"{FILE} has programs among its entry points", f"{', '.join(twice)}: they have their own tables")
    blocks = [
        "".join([f"[{group}]\n", *(f"{name} = {points[name]}\n" for name in sorted(points))])
        for group, points in sorted({**programs, **project.entry_points}.items())
        if points
    ]
    return "\n".join(blocks).encode()
