"""Write a series' patches anew: from what they do, and from what was edited. All are written, or none.

Composes. A patch of another series is never written: that series must go on applying, and says itself when it changes.
"""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from build import desk as desks
from build import edittree
from build.desk import Desk
from build.edittree import EditTree
from build.errors import PatchError
from build.patchsteps import Step, walk
from build.series import FOLDER

ASIDE = ".refresh-"


@dataclass(frozen=True, kw_only=True)
class Refreshed:
    """What a refresh did: the patch that was edited (or none), the files that were written, in order of the series.

    ``borrowers``: other series that list one of those.
    """

    edited: str
    written: tuple[Path, ...]
    borrowers: tuple[str, ...]


def refresh(desk: Desk) -> Refreshed:
    """Write the series anew; what was edited goes into it, and its tree is removed.

    Raises :class:`PatchError` with nothing written: a patch that does not apply, or not to what was edited before it;
    an edit that leaves nothing of its patch; a patch of another series that would have to change.
    """
    edit = desks.current(desk)
    made = recut(desk, edit)
    changed = {path: data for path, data in made.items() if (desk.settings.repo / path).read_bytes() != data}
    write(desk.settings.repo, changed)
    if edit is not None:
        edittree.drop(desk.settings.repo, edit)
    return Refreshed(
        edited=edit.patch if edit else "", written=tuple(changed), borrowers=borrowers(desk, tuple(changed))
    )


def recut(desk: Desk, edit: EditTree | None) -> dict[Path, bytes]:
    """Every patch file of the series with what it is to hold."""
    given = desks.given(edit) if edit else {}
    made = {}
    for component in desk.series.components:
        moved = False
        for step in walk(desk.trees[component], desk.series.of(component), given):
            if step.faults:
                raise desks.clash(desk, step)
            data = step.recut()
            if step.patch.ref.series == desk.series.name:
                made[step.patch.path] = data
            elif data != step.patch.data:
                raise _borrowed(desk, step, moved=moved)
            moved = moved or step.before != step.was or step.patch.name in given
    return {patch.path: made[patch.path] for patch in desk.series.patches if patch.path in made}


def _borrowed(desk: Desk, step: Step, *, moved: bool) -> PatchError:
    ref = step.patch.ref
    copy = f"copy it to {FOLDER / desk.series.name / step.patch.name} and list it there"
    return PatchError(
        f"{step.patch.path} is of the series '{ref.series}', and would have to change",
        why="what was edited before it moves its lines" if moved else "it is not in the form that a refresh writes",
        todo=copy if moved else f"refresh a target of the series '{ref.series}', or {copy}",
    )


def borrowers(desk: Desk, written: tuple[Path, ...]) -> tuple[str, ...]:
    """The other series that list one of the patches."""
    entries = {str(path.relative_to(FOLDER)) for path in written}
    found = []
    for file in sorted((desk.settings.repo / FOLDER).glob("*/series")):
        listed = {line.split("#", 1)[0].strip() for line in file.read_text(encoding="utf-8").splitlines()}
        if file.parent.name != desk.series.name and listed & entries:
            found.append(file.parent.name)
    return tuple(found)


def write(repo: Path, files: Mapping[Path, bytes]) -> None:
    """Write patch files: all beside the series first, then each renamed into its place, which no signal interrupts."""
    if not files:
        return
    folder = repo / FOLDER
    _clear(folder)
    aside = Path(tempfile.mkdtemp(prefix=f"{ASIDE}{os.getpid()}-", dir=folder))
    try:
        (aside / ".gitignore").write_text("*\n", encoding="utf-8")
        for number, (path, data) in enumerate(files.items()):
            (aside / str(number)).write_bytes(data)
            shutil.copymode(repo / path, aside / str(number))
        with _undisturbed():
            for number, path in enumerate(files):
                os.replace(aside / str(number), repo / path)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _clear(folder: Path) -> None:
    """Remove what killed runs left."""
    for entry in folder.glob(f"{ASIDE}*"):
        if not os.path.exists(f"/proc/{entry.name.removeprefix(ASIDE).split('-')[0]}"):
            shutil.rmtree(entry, ignore_errors=True)


@contextmanager
def _undisturbed() -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
