"""What `nox -s patch` works on when it writes patches: a target's series, the trees below it, what is being edited.

Composes. A lock whose series has changed since it was made is taken as it is: the patches are what is about to change.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from build import index, lockfile, patchfiles, series, sourcetree, steps, store, worktree
from build.canonical import digest
from build.console import say
from build.edittree import EditTree
from build.errors import LockError, PatchError
from build.intent import read_intent
from build.models import Settings
from build.overlay import Edits
from build.patchsteps import Given, Step, as_written, has_change, walk
from build.series import Series, SeriesPatch

MARKERS = (b"<<<<<<< ", b">>>>>>> ")  # of git's conflicts


@dataclass(frozen=True, kw_only=True)
class Desk:
    """A target's series and, by component, the pristine tree that its patches apply to. ``epoch``: the lock's."""

    settings: Settings
    target: str
    series: Series
    trees: Mapping[str, Path]
    epoch: int

    def number(self, name: str) -> int:
        """The place of a patch in the series, from 1."""
        return next(n for n, patch in enumerate(self.series.patches, start=1) if patch.name == name)

    def up_to(self, patch: SeriesPatch) -> tuple[SeriesPatch, ...]:
        """The patches of its component, it being the last."""
        own = self.series.of(patch.ref.component)
        return own[: own.index(patch) + 1]

    def command(self, option: str) -> str:
        """The command for a person to type."""
        return f"nox -s patch -- {option} --target {self.target}"


def prepare(settings: Settings, name: str | None) -> Desk:
    """Read a target's series and lay out the trees of the components that it patches, from what its lock names.

    Raises as reading them does, but for a lock that is stale.
    """
    intent = read_intent(settings.repo)
    chosen, target = intent.target(name)
    lock = lockfile.read_lock(settings.repo, chosen)
    found = series.read(settings.repo, target.series, tuple(target.components))
    components = {item.name: item for item in lock.components if item.name in found.components}
    if lacking := [item for item in found.components if item not in components]:
        raise LockError(
            f"lock/{chosen}.toml knows no component '{lacking[0]}'",
            why="it was made before the series had a patch of it",
            todo=f"run `nox -s lock -- --target {chosen}` without that patch, then again",
        )
    sourcetree.require_resolved(lock, git=False)
    store.hold(settings.store)
    archives = tuple(item.archive for item in components.values() if item.archive is not None)
    steps.fetch_python(settings, archives, [index.Environment(platform=lock.platform, python=lock.python)])
    trees = {name: sourcetree.ensure(settings, item) for name, item in components.items()}
    return Desk(settings=settings, target=chosen, series=found, trees=trees, epoch=lock.epoch)


@contextmanager
def writing(settings: Settings) -> Iterator[None]:
    """Nobody else writes the patches of this clone meanwhile; what a killed run began to write is written first."""
    with store.locked(settings.store, f"patches-{digest(str(settings.repo))[:16]}"):
        if done := patchfiles.finish(settings.repo):
            say(f"a refresh that was cut short is finished now: {', '.join(map(str, done))}")
        yield


def live(desk: Desk, edit: EditTree | None) -> EditTree | None:
    """The target's tree to edit; None where there is none, or where the series lacks nothing that is in it.

    That is so where its patches changed and nobody touched it, and where a refresh was cut short after it had written.
    A tree that was touched, and whose patches changed, is a :class:`PatchError`; so is what no patch would take.
    """
    if edit is None:
        return None
    worktree.require_nothing_else(edit)
    patch = next((item for item in desk.series.patches if item.name == edit.patch), None)
    if patch is not None and edit.source == desk.trees[edit.component].name:
        there = tuple((item.name, item.ref.sha256) for item in desk.up_to(patch))
        if there == edit.patches:
            return edit
        if _is_in_series(desk, edit, patch):
            return None
    if worktree.is_untouched(edit):
        return None
    raise PatchError(
        f"{edit.patch} is being edited, and what its tree was made from has changed",
        why=f"patches up to it, or its source, are not those that {edit.folder} was made from",
        todo=f"put the patches back as they were, or save what you need and: rm -r {edit.folder}",
    )


def given(edit: EditTree) -> Given:
    """What is edited and not in the series yet: patches that wait, and what lies in the tree."""
    return {
        **{name: as_written(name, data) for name, data in edit.pending.items()},
        edit.patch: lambda before: _finished(edit, worktree.taken(edit, before)),
    }


def unrefreshed(desk: Desk, edit: EditTree) -> list[str]:
    """What would be lost with the tree: files changed since it was made, patches that wait."""
    patch = desk.series.patches[desk.number(edit.patch) - 1]
    waiting = {name: what for name, what in given(edit).items() if name != edit.patch}
    *_, last = walk(desk.trees[edit.component], desk.up_to(patch), {**waiting, edit.patch: lambda _: {}})
    now = worktree.marks(worktree.taken(edit, last.before))
    files = sorted(path for path in {*now, *edit.made} if now.get(path) != edit.made.get(path))
    return [*edit.pending, *files]


def clash(desk: Desk, step: Step) -> PatchError:
    """The error for a patch that does not fit what was edited before it."""
    return PatchError(
        f"{step.patch.name} does not fit what the edit makes of {', '.join(step.faults)}",
        why="\n       ".join(f"{path}: {error.why}" for path, error in step.faults.items()),
        todo=f"nothing was written; edit it next, on top of what is edited: "
        f"{desk.command(f'--edit {desk.number(step.patch.name)}')}",
    )


def _is_in_series(desk: Desk, edit: EditTree, patch: SeriesPatch) -> bool:
    """Whether the series as it stands gives what lies in the tree."""
    if not has_change(patch):
        return False
    try:
        *_, last = walk(desk.trees[edit.component], desk.up_to(patch), {})
        return worktree.taken(edit, last.before) == last.old
    except PatchError:
        return False


def _finished(edit: EditTree, edits: Edits) -> Edits:
    """The edits, unless a conflict of git's is left in a file that it merged."""
    for path in edit.merged:
        _, after = edits.get(path, (None, None))
        lines = after.data.split(b"\n") if after else []
        for number, line in enumerate(lines, start=1):
            if line.startswith(MARKERS):
                raise PatchError(
                    f"a conflict is left in {path}, line {number}",
                    why=f"git could not merge the change of {edit.patch} there",
                    todo=f"write what it should be in {edit.folder}, without the markers, then again",
                )
    return edits
