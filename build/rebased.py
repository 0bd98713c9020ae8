"""A carried series as a folder of patches: whole or not there, and never over what somebody changed.

Such a folder is where a person goes on by hand, so that it is written anew only while it is as it was written. Its
``series`` file says so: a comment holds a checksum of all that the folder holds, as locks have one.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from build import overlay, patchsteps
from build.canonical import digest
from build.errors import UsageError
from build.overlay import File
from build.rebasing import Carriage, Result

SERIES = "series"
MARK = b"# as written: "  # before the checksum
TODO = "move it away, or name another folder (--output DIR)"


def place(folder: Path, carriage: Carriage) -> Path:
    """The folder of a carried series; a branch's slashes make no folders."""
    return folder / f"{carriage.owner.series.name}-onto-{carriage.base.label}".replace("/", "-")


def require_unchanged(final: Path) -> None:
    """``UsageError`` where something else is than what :func:`write` left there; an empty folder is nothing."""
    if not os.path.lexists(final):
        for parent in final.parents:
            if os.path.lexists(parent) and not parent.is_dir():
                raise UsageError(f"{parent} is no folder", todo="name another one (--output DIR)")
        return
    if final.is_symlink() or not final.is_dir():
        raise UsageError(f"{final} is no folder", why="`nox -s rebase` writes one there", todo=TODO)
    if any(final.iterdir()) and not _is_as_written(final):
        raise UsageError(
            f"{final} is not as `nox -s rebase` wrote it",
            why="a patch in it was changed, added or taken out since: that work would be lost",
            todo=TODO,
        )


def write(final: Path, result: Result) -> None:
    """The series as it would be for the other tree: what fits, recut to its lines; what does not is a comment.

    Written beside and renamed. Raises as :func:`require_unchanged` does, and :class:`PatchError` for what cannot be
    written as a patch; then nothing is changed.
    """
    files = _files(result)
    final.parent.mkdir(parents=True, exist_ok=True)
    partial, old = (final.with_name(f".{final.name}-{kind}-{os.getpid()}") for kind in ("new", "old"))
    try:
        overlay.put(partial, {path: File(data=data) for path, data in files.items()})
        require_unchanged(final)
        if final.is_dir():
            os.replace(final, old)
        os.replace(partial, final)
    finally:
        if old.is_dir() and not final.exists():
            os.replace(old, final)
        for folder in (partial, old):
            shutil.rmtree(folder, ignore_errors=True)


def _files(result: Result) -> dict[str, bytes]:
    """Path in the folder → what is in that file."""
    head = f"# {result.carriage.owner.series.name} carried to {result.carriage.base.label} by `nox -s rebase`."
    files, lines = {}, []
    for row in result.rows:
        if row.carried.edits:
            files[row.patch.name] = patchsteps.cut(row.patch, row.carried.edits)
            lines.append(row.patch.name)
        else:
            why = " ".join(row.carried.why.split())
            lines.append(f"# {row.patch.name}: {row.carried.fit.value}{': ' if why else ''}{why}")
    stated = MARK + _checksum({**files, SERIES: _text([head, *lines])}).encode()
    return {**files, SERIES: _text([head, stated.decode(), *lines])}


def _text(lines: Sequence[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def _checksum(files: Mapping[str, bytes]) -> str:
    """Of all files of a folder, their series without its checksum."""
    return digest({path: hashlib.sha256(data).hexdigest() for path, data in files.items()})


def _is_as_written(folder: Path) -> bool:
    paths = [path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()]
    if any(path.is_symlink() or not path.is_file() for path in paths):
        return False
    files = {str(path.relative_to(folder)): path.read_bytes() for path in paths}
    lines = files.get(SERIES, b"").split(b"\n")
    stated = [line.removeprefix(MARK).decode("utf-8", "replace") for line in lines if line.startswith(MARK)]
    files[SERIES] = b"\n".join(line for line in lines if not line.startswith(MARK))
    return stated == [_checksum(files)]
