"""A component's patches one after the other, over its tree as the series has it and over its tree as an edit leaves it.

Where both are the same, a patch applies exactly, as everywhere; where they are not, its hunks follow their lines
(``build.relocate``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from build import recut, udiffparse
from build.errors import PatchError
from build.overlay import PLAIN, Edits, File, Overlay, content
from build.relocate import relocate
from build.series import SeriesPatch
from build.udiff import FileChange, Patch

Given = Mapping[str, Callable[[Overlay], Edits]]
"""Name of a patch → what it is to do from now on, over the files before it."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """One patch on its way.

    ``was``, ``old``: the files before it as the series has them, and what it does there. ``before``, ``edits``: the
    files before it as they are now, and what it does to them. ``faults``: the files where it does not fit any more.
    """

    patch: SeriesPatch
    was: Overlay
    old: Edits
    before: Overlay
    edits: Edits
    faults: Mapping[str, PatchError]

    def recut(self) -> bytes:
        """The patch written anew, its header as it stands."""
        return cut(self.patch, self.edits)


def walk(tree: Path, patches: Iterable[SeriesPatch], given: Given) -> Iterator[Step]:
    """Every patch in order, ``given`` ones as they are given. It ends at the first that has faults, after giving it.

    Raises :class:`PatchError` where the series itself does not apply exactly.
    """
    was = before = Overlay(tree=tree)
    for patch in patches:
        parsed = _parsed(patch, empty=patch.name in given)
        old = apply(parsed, was) if parsed else {}
        edits: Edits = old
        faults: Mapping[str, PatchError] = {}
        if patch.name in given:
            edits = given[patch.name](before)
        elif parsed and before != was:
            edits, faults = _carried(parsed, was, old, before)
        yield Step(patch=patch, was=was, old=old, before=before, edits=edits, faults=faults)
        if faults:
            return
        was, before = was.after(old), before.after(edits)


def apply(patch: Patch, files: Overlay) -> Edits:
    """What a patch does to files, exactly. Raises as :meth:`build.udiff.Patch.apply` does."""
    before: dict[str, File | None] = {}

    def read(path: str) -> bytes | None:
        before[path] = files.read(path)
        return content(before[path])

    after = patch.apply(read)
    return {change.path: (before[change.path], _file(change, before, after[change.path])) for change in patch.files}


def as_written(name: str, data: bytes) -> Callable[[Overlay], Edits]:
    """What the patch with these bytes does, for :data:`Given`."""
    patch = udiffparse.parse(name, data)
    return lambda files: apply(patch, files)


def cut(patch: SeriesPatch, edits: Edits) -> bytes:
    """A patch that does this, with the header of ``patch``."""
    changes = {path: (content(before), content(after)) for path, (before, after) in edits.items()}
    modes = {path: (_mode(before), _mode(after)) for path, (before, after) in edits.items()}
    return recut.recut(patch.name, patch.header, changes, modes)


def has_change(patch: SeriesPatch) -> bool:
    """Whether there is more in a patch than its header."""
    return patch.header != patch.data


def _parsed(patch: SeriesPatch, *, empty: bool) -> Patch | None:
    """The patch; None for one that has only a header yet, where that may be."""
    return None if empty and not has_change(patch) else udiffparse.parse(patch.name, patch.data)


def _carried(patch: Patch, was: Overlay, old: Edits, before: Overlay) -> tuple[Edits, dict[str, PatchError]]:
    """What a patch does to files that an edit changed before it, and where it does not fit."""
    edits: dict[str, tuple[File | None, File | None]] = {}
    faults: dict[str, PatchError] = {}
    for change in patch.files:
        then, now = was.read(change.path), before.read(change.path)
        if then == now:
            edits[change.path] = old[change.path]
            continue
        try:
            moved = relocate(patch.name, change, content(now), was=content(then), same_ends=True)
        except PatchError as error:
            faults[change.path] = error
        else:
            edits[change.path] = (now, _file(change, {change.path: now}, moved.after))
    return edits, faults


def _file(change: FileChange, before: Mapping[str, File | None], data: bytes | None) -> File | None:
    """A file after a change: its mode is the one that the change sets, else the one that it had."""
    if data is None:
        return None
    had = before[change.path]
    return File(data=data, mode=change.mode or (had.mode if had else PLAIN))


def _mode(file: File | None) -> str:
    return file.mode if file else PLAIN
