"""The Python files of a source tree as a wheel, with none of the tree's code run; native code is compiled elsewhere.

Formats: the binary distribution format (PEP 427) and RECORD (PEP 376). The same tree gives the same bytes on any
machine, so nothing is compressed: zlib and zlib-ng, which stands in for it in some systems, give different bytes for
the same content. The file never leaves the machine that makes it.
"""

from __future__ import annotations

import ast
import base64
import csv
import hashlib
import io
import os
import stat
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from build import projecttable
from build.canonical import file_sha256
from build.determinism import LAYER_TIME
from build.errors import LockError, ResolveError
from build.projecttable import refused

TAG = "py3-none-any"
WHEEL = f"Wheel-Version: 1.0\nGenerator: spark-runtime\nRoot-Is-Purelib: true\nTag: {TAG}\n"
DATE = time.gmtime(LAYER_TIME)[:6]
UNIX = 3  # the system whose modes an entry has
VERSION_FILE = """\
# In the form of setuptools-scm, which writes this file when it builds; the source tree had none.
__all__ = ["__version__", "__version_tuple__", "version", "version_tuple", "__commit_id__", "commit_id"]

__version__ = version = {version!r}
__version_tuple__ = version_tuple = {fields!r}

__commit_id__ = commit_id = None
"""

Paths = Sequence[tuple[str, str]]
"""Repository prefix → installed prefix, as :class:`build.models.Component` has them."""


@dataclass(frozen=True, kw_only=True)
class _File:
    data: bytes
    program: bool = False


def file_name(distribution: str, version: str) -> str:
    """What an installer wants the wheel to be called.

    >>> file_name("Vllm-Omni", "0.22.0-rc1")
    'vllm_omni-0.22.0rc1-py3-none-any.whl'
    """
    return f"{_package(distribution)}-{Version(version)}-{TAG}.whl"


def make(tree: Path, distribution: str, version: str, paths: Paths, requires: Sequence[str], target: Path) -> str:
    """Write the wheel of a tree's Python files to ``target``; its sha256.

    ``paths``: every file below a repository prefix is installed below the other one; the longest prefix counts.
    ``requires``: PEP 508 requirements, in place of what the tree asks for; its extras are left out. setuptools-scm's
    ``_version.py`` is made where the tree lacks it, as a commit's does. All else is what pyproject.toml says.

    Raises :class:`LockError` for a tree of another distribution or version, :class:`ResolveError` for one that no
    wheel can be made of: links and caches among its files, paths that install nothing or one file over another,
    metadata that are not valid or that only its own code could tell. Nothing is written before all that is known.
    """
    number = Version(version)
    said = projecttable.read(tree)
    _check_same(said.project, distribution, number)
    files = _shipped(tree, paths)
    if said.tool.setuptools_scm is not None:
        files |= _version_file(files, said.tool.setuptools_scm, _package(distribution), number, paths)
    own = {"WHEEL": WHEEL.encode(), **projecttable.dist_info(tree, said.project, number, requires)}
    info = f"{_package(distribution)}-{number}.dist-info"
    ordered = {path: files[path] for path in sorted(files)}
    ordered |= {f"{info}/{path}": _File(data=own[path]) for path in sorted(own)}
    _pack(target, ordered, f"{info}/RECORD")
    return file_sha256(target)


def _package(distribution: str) -> str:
    return canonicalize_name(distribution).replace("-", "_")


def _check_same(project: projecttable.Project, distribution: str, number: Version) -> None:
    if canonicalize_name(project.name) != canonicalize_name(distribution):
        raise LockError(
            f"the source tree is not one of {distribution}",
            why=f"its {projecttable.FILE} names {project.name}",
            todo="correct the component's `distribution` or its source in lock/targets.toml, then `nox -s lock`",
        )
    if project.version is not None:
        _check_version(projecttable.FILE, {project.version}, number)


def _check_version(path: str, stated: set[str], number: Version) -> None:
    try:
        same = {Version(text) for text in stated} == {number}
    except InvalidVersion:
        same = False
    if not same:
        raise LockError(
            f"the source tree is not that of version {number}",
            why=f"its {path} states {', '.join(sorted(stated)) or 'no version that can be read'}",
            todo="the source and the locked version have to be of one release: `nox -s lock`",
        )


def _shipped(tree: Path, paths: Paths) -> dict[str, _File]:
    """Installed path → file."""
    found: dict[str, _File] = {}
    idle = {prefix for prefix, _ in paths}
    for path in _walk(tree, tuple(idle)):
        prefix, to = max((pair for pair in paths if path.startswith(pair[0])), key=lambda pair: len(pair[0]))
        installed = to + path.removeprefix(prefix)
        idle.discard(prefix)
        if why := _no_place(installed, found):
            raise refused(f"{path} cannot be installed as {installed}", why)
        with open(tree / path, "rb") as stream:
            program = bool(os.fstat(stream.fileno()).st_mode & stat.S_IXUSR)
            # setuptools takes the bit from modules, and leaves it to other files.
            found[installed] = _File(data=stream.read(), program=program and not path.endswith(".py"))
    if idle:
        raise refused(f"the source tree has no file to install from {', '.join(sorted(idle))}")
    return found


def _no_place(installed: str, found: Mapping[str, _File]) -> str:
    top, *rest = installed.split("/")
    if {"", ".", ".."} & {top, *rest}:
        return "it is no place below site-packages"
    if top.endswith((".dist-info", ".data")):
        return "installers do other things with what is there"
    return "another file is installed there" if installed in found else ""


def _walk(tree: Path, prefixes: tuple[str, ...], below: str = "") -> Iterator[str]:
    """The files that begin with a prefix, all of them plain; a link on the way to a prefix is an error too."""
    with os.scandir(tree / below) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    for entry in found:
        path = below + entry.name
        inside, above = path.startswith(prefixes), any(prefix.startswith(f"{path}/") for prefix in prefixes)
        if inside and (entry.name == "__pycache__" or entry.name.endswith(".pyc")):
            raise ResolveError(
                f"the source tree holds what running it left behind: {path}",
                why="a source tree has no bytecode, and with it the wheel would be another one on each machine",
                todo="drop the tree from the store (`nox -s clean -- trees`) and run this again",
            )
        if entry.is_dir(follow_symlinks=False):
            if inside or above:
                yield from _walk(tree, prefixes, f"{path}/")
        elif inside or (above and entry.is_symlink()):
            if not entry.is_file(follow_symlinks=False) or not path.isprintable() or "\\" in path:
                raise refused(f"{path!r} cannot be put into a wheel", "it is no plain file with a plain name")
            yield path


def _version_file(
    files: Mapping[str, _File], scm: projecttable.Scm, package: str, number: Version, paths: Paths
) -> dict[str, _File]:
    """What setuptools-scm would write while it builds, where the tree lacks it; what is there states our version."""
    path = f"{package}/_version.py"
    for told in filter(None, (scm.version_file, scm.write_to)):
        if path not in {to + told.removeprefix(prefix) for prefix, to in paths if told.startswith(prefix)}:
            raise refused(f"{projecttable.FILE} has setuptools-scm write {told}", f"only {path} is known here")
    if path in files:
        _check_version(path, _stated(path, files[path].data), number)
        return {}
    if not any(file.startswith(f"{package}/") for file in files):
        return {}
    text = VERSION_FILE.format(version=str(number), fields=_fields(number))
    return {path: _File(data=text.encode())}


def _stated(path: str, data: bytes) -> set[str]:
    r"""The versions that a Python file assigns, without running it.

    >>> _stated("_version.py", b"__version__ = version = '1.2'\nversion_tuple = (1, 2)\n")
    {'1.2'}
    """
    try:
        statements = ast.parse(data).body
    except (SyntaxError, ValueError) as error:
        raise refused(f"{path} is not Python", str(error)) from error
    return {
        str(statement.value.value)
        for statement in statements
        if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Constant)
        if {"version", "__version__"} & {name.id for name in statement.targets if isinstance(name, ast.Name)}
    }


def _fields(number: Version) -> tuple[int | str, ...]:
    """A version's parts as setuptools-scm has them.

    >>> _fields(Version("0.22.1rc2.dev3+g12ab")), _fields(Version("1!2.post1"))
    ((0, 22, 1, 'rc2', 'dev3', 'g12ab'), ('1!', 2, 'post1'))
    """
    epoch = (f"{number.epoch}!",) if number.epoch else ()
    pre = ("".join(map(str, number.pre)),) if number.pre else ()
    post = (f"post{number.post}",) if number.post is not None else ()
    dev = (f"dev{number.dev}",) if number.dev is not None else ()
    local = (number.local,) if number.local else ()
    return (*epoch, *number.release, *pre, *post, *dev, *local)


def _pack(target: Path, files: Mapping[str, _File], record: str) -> None:
    """The archive, in the order of ``files``, RECORD last."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerows([path, _record_hash(file.data), len(file.data)] for path, file in files.items())
    rows.writerow([record, "", ""])
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for path, file in {**files, record: _File(data=text.getvalue().encode())}.items():
            entry = zipfile.ZipInfo(path, DATE)
            entry.create_system = UNIX
            entry.external_attr = (stat.S_IFREG | (0o755 if file.program else 0o644)) << 16
            archive.writestr(entry, file.data)


def _record_hash(data: bytes) -> str:
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode("ascii")
