"""A patch on files that it was not made for: where its hunks stand now, whether they are there already, what clashes.

Pure. A hunk fits where all of its old lines, context included, stand exactly once, at whatever line; nothing is
guessed. Whether a patch that fits still does what it is for is for its behaviour to tell.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from build.errors import AlreadyAppliedError, PatchError
from build.relocate import relocate
from build.udiff import FileChange, Patch

Read = Callable[[str], "bytes | None"]


class Fit(StrEnum):
    """How a patch fits other files than its own."""

    EXACT = "exact"  # as it is, and the files are the very ones that it was made for
    CONTEXT = "same context"  # every hunk's lines stand there once; the files are other versions
    UPSTREAM = "upstream"  # its change is there already
    CONFLICT = "conflict"


@dataclass(frozen=True, kw_only=True)
class HunkFit:
    """One hunk: how it fits, by how many lines it moves, and why it does not fit."""

    path: str
    hunk: int
    fit: Fit
    moved: int = 0
    why: str = ""


@dataclass(frozen=True, kw_only=True)
class Carried:
    """A patch on other files. ``content``: what comes of each file, where it fits; None for one that it deletes."""

    name: str
    fit: Fit
    hunks: tuple[HunkFit, ...]
    content: Mapping[str, bytes | None]

    @property
    def moved(self) -> bool:
        """Whether it has to be written anew with other line numbers."""
        return any(hunk.moved for hunk in self.hunks)

    @property
    def why(self) -> str:
        """Each hunk that does not fit, in words; and those that are there already beside them."""
        clashes = [f"{hunk.path}: {hunk.why}" for hunk in self.hunks if hunk.fit is Fit.CONFLICT]
        there = [f"{hunk.path}: hunk {hunk.hunk} is there already" for hunk in self.hunks if hunk.fit is Fit.UPSTREAM]
        return "; ".join(dict.fromkeys(clashes + (there if self.fit is Fit.CONFLICT else [])))


def unknown(path: str) -> None:
    """The files that a patch was made for, where they are not at hand."""


def carry(patch: Patch, read: Read, is_home: Callable[[str], bool], was: Read = unknown) -> Carried:
    """How a patch fits. ``read``: the other files; ``is_home``: whether a file is the one that the patch was made for.

    ``was``: the very files that it was made for. They tell which of several alike places a hunk means.
    """
    hunks = tuple(
        hunk for change in patch.files for hunk in _hunks(patch.name, change, read(change.path), was(change.path))
    )
    fits = {hunk.fit for hunk in hunks}
    content: dict[str, bytes | None] = {}
    if fits == {Fit.UPSTREAM}:
        return Carried(name=patch.name, fit=Fit.UPSTREAM, hunks=hunks, content={})
    if fits == {Fit.CONTEXT}:
        try:
            content = {
                item.path: relocate(patch.name, item, read(item.path), was=was(item.path)).after for item in patch.files
            }
        except PatchError as error:  # each fits by itself, and not all together
            clash = HunkFit(path=patch.files[0].path, hunk=0, fit=Fit.CONFLICT, why=f"{error.what}: {error.why}")
            return Carried(name=patch.name, fit=Fit.CONFLICT, hunks=(*hunks, clash), content={})
        home = not any(hunk.moved for hunk in hunks) and all(is_home(change.path) for change in patch.files)
        return Carried(name=patch.name, fit=Fit.EXACT if home else Fit.CONTEXT, hunks=hunks, content=content)
    return Carried(name=patch.name, fit=Fit.CONFLICT, hunks=hunks, content={})


def _hunks(name: str, change: FileChange, before: bytes | None, was: bytes | None) -> list[HunkFit]:
    """Each hunk of a file by itself; a created or deleted file as a whole."""
    if change.created or change.deleted or len(change.hunks) <= 1:
        return [_hunk(name, change, before, was, change.hunks[0].number if change.hunks else 1)]
    return [_hunk(name, replace(change, hunks=(hunk,)), before, was, hunk.number) for hunk in change.hunks]


def _hunk(name: str, change: FileChange, before: bytes | None, was: bytes | None, number: int) -> HunkFit:
    try:
        moves = relocate(name, change, before, was=was).moves
    except AlreadyAppliedError:
        return HunkFit(path=change.path, hunk=number, fit=Fit.UPSTREAM)
    except PatchError as error:
        return HunkFit(path=change.path, hunk=number, fit=Fit.CONFLICT, why=error.why)
    return HunkFit(path=change.path, hunk=number, fit=Fit.CONTEXT, moved=moves[0] if moves else 0)
