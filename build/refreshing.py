"""Write a series' patches anew: from what they do, and from what was edited. All are written, or none.

Composes. A patch of another series is never written: that series must go on applying, and says itself when it changes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from build import desk as desks
from build import edittree, patchfiles
from build.desk import Desk
from build.edittree import EditTree
from build.errors import PatchError
from build.patchsteps import Step, walk
from build.series import FOLDER, entries


@dataclass(frozen=True, kw_only=True)
class Refreshed:
    """What a refresh did: the patch that was edited (or none), the files that were written, in order of the series.

    ``borrowers``: other series that list one of those.
    """

    edited: str
    written: tuple[Path, ...]
    borrowers: tuple[str, ...]


def refresh(desk: Desk) -> Refreshed:
    """Write the series anew; what was edited goes into it, and then its tree is removed.

    Raises :class:`PatchError` with nothing written and the tree as it was: a patch that does not apply, or not to what
    was edited before it; an edit that leaves nothing of its patch; something in the tree that no patch takes; a patch
    of another series that would have to change.
    """
    repo = desk.settings.repo
    tree = edittree.find(repo, desk.target)
    edit = desks.live(desk, tree)
    made = recut(desk, edit)
    changed = {path: data for path, data in made.items() if (repo / path).read_bytes() != data}
    lent = borrowers(desk, tuple(changed))  # all is read before anything is written
    patchfiles.write(repo, changed)
    if tree is not None:
        edittree.drop(repo, tree)
    return Refreshed(edited=edit.patch if edit else "", written=tuple(changed), borrowers=lent)


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
    """The other series that list one of the patches. Raises :class:`PatchError` for one that cannot be read."""
    names = {str(path.relative_to(FOLDER)) for path in written}
    others = sorted(file.parent.name for file in (desk.settings.repo / FOLDER).glob("*/series"))
    others = [name for name in others if name != desk.series.name]
    return tuple(name for name in others if names & {entry for _, entry in entries(desk.settings.repo, name)})
