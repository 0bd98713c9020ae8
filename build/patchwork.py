"""A series over a source tree: what it may touch in the wheel lane, what comes of it, how that is kept.

Only files that the wheel installs as they are may be patched there, or added beside them; and the tree's file must
be the wheel's, by its RECORD. What comes of it are the touched files at their installed paths. The component's
requirement files may be patched too: they are read where a target is locked, and installed by no wheel.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

from build import overlay
from build import store as stores
from build.canonical import digest
from build.errors import CompiledCodeError, PatchError
from build.models import Component, PatchedFile

FORM = 2  # of how patches are applied and kept: a new number makes all patched files anew
COMPILED = (".c", ".cc", ".cpp", ".cu", ".cuh", ".h", ".hpp", ".rs", ".so", ".cmake")
COMPILED_NAMES = ("CMakeLists.txt", "pyproject.toml", "setup.py", "setup.cfg", "Cargo.toml", "Cargo.lock")
MODE = 0o644


class FileChange(Protocol):
    """What a patch does to one file (``build.udiff.FileChange``)."""

    @property
    def path(self) -> str: ...
    @property
    def created(self) -> bool: ...
    @property
    def deleted(self) -> bool: ...
    @property
    def mode(self) -> str | None: ...


class Change(Protocol):
    """A parsed patch (``build.udiff.Patch``): its name, the files it touches, what it makes of them."""

    @property
    def name(self) -> str: ...
    @property
    def files(self) -> Sequence[FileChange]: ...
    def apply(self, read: Callable[[str], bytes | None]) -> Mapping[str, bytes | None]: ...


@dataclass(frozen=True, kw_only=True)
class Work:
    """One component's part of a series: its pristine tree, its patches in order, its wheel's RECORD.

    ``record``: installed path → ``sha256=<urlsafe base64>`` (``build.wheels.record``). ``requirement_files``: the
    component's, with all that they include. ``compiled``: prefixes of what compilers see.
    """

    component: Component
    tree: Path
    changes: tuple[Change, ...]
    record: Mapping[str, str]
    requirement_files: frozenset[str] = frozenset()
    compiled: tuple[str, ...] = ()

    def only_read(self, path: str) -> bool:
        """Whether a repository path is read and not installed: a requirement file, or a source that is compiled."""
        if self.is_compiled(path):
            return True
        return path in self.requirement_files and installed_path(self.component, path) not in self.record

    def is_compiled(self, path: str) -> bool:
        """Whether compilers see a repository path, in the source lane."""
        return path.startswith(self.compiled) and installed_path(self.component, path) not in self.record


@dataclass(frozen=True, kw_only=True)
class Applied:
    """A series applied: by component, each touched file with its hashes, and git's ids of its tree before and after."""

    folder: Path
    files: Mapping[str, tuple[PatchedFile, ...]]
    trees: Mapping[str, tuple[str, str]]


def installed_path(component: Component, path: str) -> str | None:
    """Where a wheel of the component installs a repository path; None where its ``paths`` map has none.

    The longest matching prefix counts.
    """
    fitting = [(prefix, to) for prefix, to in component.paths if path.startswith(prefix)]
    if not fitting:
        return None
    prefix, to = max(fitting, key=lambda pair: len(pair[0]))
    return to + path.removeprefix(prefix)


def check_installable(work: Work) -> None:
    """Each file that the series touches is one that the wheel installs (or a new one), and the tree's is the wheel's.

    Raises :class:`CompiledCodeError` for what only a compilation can bring into an image, :class:`PatchError`
    for what is not installed at all, for a tree that differs from the wheel, and for what a layer of files cannot
    do: delete a file of the layer below, make one executable.
    """
    created: set[str] = set()
    for change in work.changes:
        for file in change.files:
            if work.only_read(file.path):
                continue
            created |= {file.path} if file.created else set()
            _check_path(work, change.name, file.path, created=file.path in created)
            if file.deleted or file.mode not in (None, "100644"):
                raise PatchError(
                    f"{change.name} deletes a file or makes one executable, which the wheel lane cannot: {file.path}",
                    why="the patched files are a layer over the installed wheel, all of mode 0644",
                    todo="empty the file instead, or leave its mode as it is",
                )


def _check_path(work: Work, patch: str, path: str, *, created: bool) -> None:
    installed = installed_path(work.component, path)
    locked = work.record.get(installed) if installed is not None else None
    name = PurePosixPath(path).name
    if locked is None and (name.endswith(COMPILED) or name in COMPILED_NAMES):
        raise CompiledCodeError(
            f"{patch} touches compiled code, which the wheel lane cannot build: {path}",
            why=f"the wheel of {work.component.distribution} does not install this file",
            todo="use a target of the source lane for this patch, or take the file out of the patch",
        )
    if installed is None:
        raise PatchError(
            f"{patch} touches a file outside the component '{work.component.name}': {path}",
            why=f"its paths are {', '.join(prefix for prefix, _ in work.component.paths)}",
            todo="take the file out of the patch, or extend the component's `paths` in lock/targets.toml",
        )
    if created:
        if locked is not None:
            raise PatchError(
                f"{patch} creates a file that the wheel installs already: {installed}",
                why="the release's sources lack it, so it was made when the wheel was built",
                todo="take another path for the new file",
            )
        return
    if locked is None:
        raise PatchError(
            f"{patch} touches a file that is not installed: {path}",
            why=f"the wheel of {work.component.distribution} has no {installed}, so the image would not change",
            todo="take the file out of the patch",
        )
    try:
        found = _record_hash(_read(work.tree, path) or b"")
    except PatchError as error:  # it knows no patch
        raise PatchError(f"{patch}: {error.what}", why=error.why, todo=error.todo) from error
    if found != locked:
        raise PatchError(
            f"{path} of {work.component.name} is not the file that the wheel installs as {installed}",
            why=f"source tree: {found}; the wheel's RECORD: {locked}",
            todo="the source archive or commit and the wheel are of different versions: `nox -s lock`",
        )


def check_preimages(work: Work) -> None:
    """The tree's files are those that the lock names as what the series applies to; else :class:`PatchError`."""
    for file in work.component.files:
        found = _sha256(_read(work.tree, file.source))
        if found == file.before:
            continue
        touching = [change.name for change in work.changes if any(item.path == file.source for item in change.files)]
        raise PatchError(
            f"{', '.join(touching) or 'the series'}: {file.source} is not the file that this series was locked for",
            why=f"expected {_shown(file.before)}, found {_shown(found)}",
            todo="drop the tree from the store (`nox -s clean -- trees`) and run this again; nothing was changed",
        )


def _shown(sha256: str) -> str:
    return f"sha256 {sha256}" if sha256 else "no file"


def apply(work: Work) -> tuple[tuple[PatchedFile, ...], dict[str, bytes]]:
    """The series applied: each touched file with its hashes, and the new content by installed path.

    Pure: reads the tree, writes nothing. Raises ``PatchError`` at the first patch that does not apply exactly.
    """
    files, content = [], {}
    for path, after in sorted(changed(work).items()):
        installed = "" if work.only_read(path) else installed_path(work.component, path)
        assert installed is not None
        before = _sha256(_read(work.tree, path))
        files.append(
            PatchedFile(
                source=path,
                installed=installed,
                before=before,
                after=_sha256(after),
                compiled=work.is_compiled(path),
            )
        )
        if after is not None and (installed or work.is_compiled(path)):
            content[installed or compiled_place(work.component.name, path)] = after
    return tuple(files), content


def compiled_place(component: str, path: str) -> str:
    """Where the patched file of a compiled source is kept, beside those at their installed paths."""
    return f".compiled/{component}/{path}"


def changed(work: Work) -> dict[str, bytes | None]:
    """What the series makes of each file that it touches, by repository path; None for one that it deletes.

    Raises as :func:`apply` does.
    """
    state: dict[str, bytes | None] = {}

    def read(path: str) -> bytes | None:
        return state[path] if path in state else _read(work.tree, path)

    for change in work.changes:
        state.update(change.apply(read))
    return state


def patched_id(works: Iterable[Work], series: str) -> str:
    """The id of the patched files, before any tree is there: of the series and of the trees' ids."""
    trees = [
        [work.component.name, work.tree.name, list(work.component.paths), *([work.compiled] if work.compiled else [])]
        for work in works
    ]
    return digest({"form": FORM, "series": series, "trees": trees})


def write(
    store: Path,
    name: str,
    files: Mapping[str, tuple[PatchedFile, ...]],
    trees: Mapping[str, tuple[str, str]],
    content: Mapping[str, bytes],
) -> Applied:
    """Keep patched files as ``trees/<name>/`` with ``trees/<name>.json`` beside it; whole or not there."""
    final = store / "trees" / name
    with stores.locked(store, f"tree-{name[:16]}"), stores.scratch(store, "patched") as scratch:
        made = scratch / "tree"
        made.mkdir()
        for path, data in sorted(content.items()):
            target = made / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
            target.chmod(MODE)
        report = scratch / "report.json"
        said = {"files": {key: [asdict(file) for file in value] for key, value in files.items()}, "trees": dict(trees)}
        report.write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")
        final.parent.mkdir(parents=True, exist_ok=True)
        if kept(store, name) is None:  # else another run was faster
            if final.is_dir():  # what is there is not whole: it makes room
                os.replace(final, scratch / "old")
            os.replace(made, final)
            os.replace(report, final.with_name(f"{name}.json"))
    return Applied(folder=final, files=files, trees=trees)


def kept(store: Path, name: str) -> Applied | None:
    """Patched files that the store holds, re-read and compared; None where they are not there or not whole."""
    final = store / "trees" / name
    with suppress(OSError, ValueError, TypeError, KeyError, PatchError):
        stored = json.loads(final.with_name(f"{name}.json").read_text(encoding="utf-8"))
        files = {key: tuple(PatchedFile(**file) for file in value) for key, value in stored["files"].items()}
        trees = {key: (str(before), str(after)) for key, (before, after) in stored["trees"].items()}
        places = [(_kept_place(key, file), file.after) for key, group in files.items() for file in group]
        if all(_sha256(_read(final, place)) == after for place, after in places if place):
            return Applied(folder=final, files=files, trees=trees)
    return None


def _kept_place(component: str, file: PatchedFile) -> str:
    """Where a patched file is kept; empty where it is not: a requirement file, or one that is gone."""
    if file.installed:
        return file.installed
    return compiled_place(component, file.source) if file.compiled and file.after else ""


def _read(root: Path, path: str) -> bytes | None:
    return overlay.content(overlay.read(root, path))


def _sha256(data: bytes | None) -> str:
    return "" if data is None else hashlib.sha256(data).hexdigest()


def _record_hash(data: bytes) -> str:
    """A hash as RECORD writes it (PEP 376, PEP 427).

    >>> _record_hash(b"")
    'sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU'
    """
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode("ascii")
