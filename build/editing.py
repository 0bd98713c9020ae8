"""Stop after a patch of a series, in a clean git tree of its component, to change it.

Composes. Where a refresh stops because a later patch does not fit what was edited, that patch may be edited on top of
it: git merges what it can, and what is edited so far waits in the tree.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Mapping
from pathlib import Path

from build import desk as desks
from build import edittree, gitlocal, worktree
from build.desk import Desk
from build.edittree import EditTree
from build.errors import PatchError, UsageError
from build.overlay import Edits, File, content
from build.patchcommit import Commit, commit_of
from build.patchsteps import Given, Step, as_written, has_change, walk
from build.series import FOLDER, SeriesPatch


def edit(desk: Desk, patch: SeriesPatch) -> EditTree:
    """Make the tree to edit a patch of the series, one that :func:`pick` gave.

    Raises :class:`PatchError` for changes that would be lost, and for a patch up to this one that does not apply.
    """
    pending = waiting(desk, patch)
    given: Given = {name: as_written(name, data) for name, data in pending.items()}
    if not has_change(patch):
        given = {**given, patch.name: lambda _: {}}
    steps = list(walk(desk.trees[patch.ref.component], desk.up_to(patch), given))
    last = steps[-1]
    if last.patch.name != patch.name:
        raise desks.clash(desk, last)
    merged = merge(last)
    done: Edits = {**last.edits, **merged}
    commits = [(commit_of(step.patch.header, step.patch.fields), step.edits) for step in steps]
    commits[-1] = (commits[-1][0], done)
    tree = desk.trees[patch.ref.component]
    wanted = EditTree(
        folder=edittree.place(desk.settings.repo, desk.target, patch.ref.component),
        target=desk.target,
        series=desk.series.name,
        number=desk.number(patch.name),
        patch=patch.name,
        source=tree.name,
        patches=tuple((item.name, item.ref.sha256) for item in desk.up_to(patch)),
        made=worktree.marks(done),
        merged=tuple(merged),
        pending=pending,
    )
    pristine = Commit(
        name="spark-runtime",
        email="edit@spark-runtime.invalid",
        date=f"@{desk.epoch} +0000",
        message=f"{patch.ref.component} of {desk.target}, without patches\n",
    )
    return edittree.make(desk.settings.repo, wanted, tree, pristine, commits)


def pick(desk: Desk, number: int) -> SeriesPatch:
    """The ``number``-th patch of the series (from 1, over all components), which must be its own.

    Raises ``UsageError`` for a number that is none, :class:`PatchError` for a patch of another series.
    """
    patches = desk.series.patches
    if not 1 <= number <= len(patches):
        listed = "\n       ".join(f"{n}  {patch.name}" for n, patch in enumerate(patches, start=1))
        raise UsageError(
            f"the series '{desk.series.name}' has no patch {number}", why=listed, todo="name one of these numbers"
        )
    patch = patches[number - 1]
    if patch.ref.series != desk.series.name:
        raise PatchError(
            f"{patch.name} is of the series '{patch.ref.series}', which '{desk.series.name}' borrows it from",
            why="a change to it is a change to every series that lists it",
            todo=f"edit it through a target of '{patch.ref.series}'; or, for '{desk.series.name}' alone, copy it to "
            f"{FOLDER / desk.series.name / patch.name} and list it there",
        )
    return patch


def waiting(desk: Desk, patch: SeriesPatch) -> Mapping[str, bytes]:
    """What is edited already and goes into the new tree unwritten: nothing, unless a refresh stops at this very patch.

    Raises :class:`PatchError` where something would be lost.
    """
    existing = desks.live(desk, edittree.find(desk.settings.repo, desk.target))
    if existing is None:
        return {}
    lost = desks.unrefreshed(desk, existing)
    if not lost:
        return {}
    with contextlib.suppress(PatchError):  # what a refresh would say as well
        given = desks.given(existing)
        for step in walk(desk.trees[existing.component], desk.series.of(existing.component), given):
            if step.patch.name == existing.patch:
                done = step.recut()
            if step.faults and step.patch.name == patch.name:
                return {**existing.pending, existing.patch: done}
    raise PatchError(
        f"{existing.patch} is being edited, and that is not in the series yet",
        why=f"{', '.join(lost)} (in {existing.folder})",
        todo=f"`{desk.command('--refresh')}` first; or, to lose it: rm -r {existing.folder}",
    )


def merge(step: Step) -> dict[str, tuple[File | None, File | None]]:
    """For each file where a patch does not fit, what git's merge makes of it; with markers where that is unclear."""
    found: dict[str, tuple[File | None, File | None]] = {}
    if not step.faults:
        return found
    with tempfile.TemporaryDirectory(prefix="merge-") as name:
        place = Path(name)
        repository = gitlocal.init(place, place / "git")
        labels = ("as edited", "as it was", step.patch.name)
        for path in step.faults:
            now, (then, theirs) = step.before.read(path), step.old[path]
            for side, file in (("ours", now), ("base", then), ("theirs", theirs)):
                (place / side).write_bytes(content(file) or b"")
            repository.merge(place / "ours", place / "base", place / "theirs", labels)
            mode = (theirs or now or File(data=b"")).mode
            found[path] = (now, File(data=(place / "ours").read_bytes(), mode=mode))
    return found
