"""A patch on files that it was not made for: where its hunks stand now, whether they are there already, what clashes.

Pure but for the files that it reads. A hunk fits where all of its old lines, context included, stand exactly once, at
whatever line; nothing is guessed. Whether a patch that fits still does what it is for is for its behaviour to tell.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum

from build.errors import AlreadyAppliedError, PatchError
from build.overlay import PLAIN, Edits, File, Overlay, content
from build.relocate import relocate
from build.udiff import FileChange, Patch


class Fit(StrEnum):
    """How a patch fits other files than its own."""

    EXACT = "exact"  # as it is, and the files are the very ones that it was made for
    CONTEXT = "same context"  # every hunk's lines stand there once; the files are other versions
    UPSTREAM = "upstream"  # its change is there already
    CONFLICT = "conflict"


@dataclass(frozen=True, kw_only=True)
class HunkFit:
    """One hunk: how it fits, by how many lines it moves, and why it does not fit.

    Hunk 0 stands for what a patch does to a file without any: it changes a mode, or clashes as a whole.
    """

    path: str
    hunk: int
    fit: Fit
    moved: int = 0
    why: str = ""

    @property
    def name(self) -> str:
        return f"hunk {self.hunk}" if self.hunk else "the change"


@dataclass(frozen=True, kw_only=True)
class Carried:
    """A patch on other files. ``edits``: what comes of each file, where the patch fits."""

    name: str
    fit: Fit
    hunks: tuple[HunkFit, ...] = ()
    edits: Edits = field(default_factory=dict)

    @property
    def moved(self) -> bool:
        """Whether it has to be written anew with other line numbers."""
        return any(hunk.moved for hunk in self.hunks)

    @property
    def why(self) -> str:
        """Each hunk that does not fit, in words; and those that are there already beside them."""
        clashes = [f"{hunk.path}: {hunk.why}".removeprefix(": ") for hunk in self.hunks if hunk.fit is Fit.CONFLICT]
        there = [f"{hunk.path}: {hunk.name} is there already" for hunk in self.hunks if hunk.fit is Fit.UPSTREAM]
        return "; ".join(dict.fromkeys(clashes + (there if self.fit is Fit.CONFLICT else [])))


@dataclass(frozen=True, kw_only=True)
class _Place:
    """What one change finds: the file as it is now; ``known``, ``was``: whether and what it was made for."""

    change: FileChange
    now: File | None
    known: bool
    was: File | None

    @property
    def is_home(self) -> bool:
        return self.known and content(self.now) == content(self.was)

    @property
    def has_mode(self) -> bool:
        """Whether the change is one of the mode alone, and the file has that already."""
        content_stays = not (self.change.hunks or self.change.created or self.change.deleted)
        return content_stays and self.now is not None and self.now.mode == self.change.mode

    def edit(self, data: bytes | None) -> tuple[File | None, File | None]:
        """The file before and after; it keeps its mode where the change sets none."""
        mode = self.change.mode or (self.now.mode if self.now else PLAIN)
        return self.now, None if data is None else File(data=data, mode=mode)


def carry(patch: Patch, here: Overlay, home: Overlay | None) -> Carried:
    """How a patch fits. ``here``: the other files; ``home``: those that it was made for, None where nobody knows them.

    They tell which files are the very same, and which of several alike places a hunk means: without them, none.
    """
    try:
        places = [_place(change, here, home) for change in patch.files]
    except PatchError as error:  # what is no plain file is not patched
        return conflict(patch.name, patch.files[0].path, f"{error.what}: {error.why}")
    hunks = tuple(hunk for place in places for hunk in _hunks(patch.name, place))
    fits = {hunk.fit for hunk in hunks}
    if fits == {Fit.UPSTREAM}:
        return Carried(name=patch.name, fit=Fit.UPSTREAM, hunks=hunks)
    if fits != {Fit.CONTEXT}:
        return Carried(name=patch.name, fit=Fit.CONFLICT, hunks=hunks)
    try:
        edits = {place.change.path: place.edit(_relocated(patch.name, place)) for place in places}
    except PatchError as error:  # each fits by itself, and not all together
        return conflict(patch.name, patch.files[0].path, f"{error.what}: {error.why}", hunks)
    exact = all(place.is_home for place in places) and not any(hunk.moved for hunk in hunks)
    return Carried(name=patch.name, fit=Fit.EXACT if exact else Fit.CONTEXT, hunks=hunks, edits=edits)


def conflict(name: str, path: str, why: str, hunks: tuple[HunkFit, ...] = ()) -> Carried:
    """A patch that clashes as a whole; ``path`` is empty where no file of it is to blame."""
    whole = HunkFit(path=path, hunk=0, fit=Fit.CONFLICT, why=why)
    return Carried(name=name, fit=Fit.CONFLICT, hunks=(*hunks, whole))


def _place(change: FileChange, here: Overlay, home: Overlay | None) -> _Place:
    return _Place(
        change=change,
        now=here.read(change.path),
        known=home is not None,
        was=home.read(change.path) if home is not None else None,
    )


def _relocated(name: str, place: _Place) -> bytes | None:
    return relocate(name, place.change, content(place.now), was=content(place.was)).after


def _hunks(name: str, place: _Place) -> list[HunkFit]:
    """Each hunk of a file by itself; a created or deleted file as a whole, and a mode that changes alone."""
    change = place.change
    if change.created or change.deleted or len(change.hunks) <= 1:
        return [_hunk(name, place, change.hunks[0].number if change.hunks else 0)]
    return [_hunk(name, replace(place, change=replace(change, hunks=(hunk,))), hunk.number) for hunk in change.hunks]


def _hunk(name: str, place: _Place, number: int) -> HunkFit:
    change = place.change
    try:
        moves = relocate(name, change, content(place.now), was=content(place.was)).moves
    except AlreadyAppliedError:
        return HunkFit(path=change.path, hunk=number, fit=Fit.UPSTREAM)
    except PatchError as error:
        return HunkFit(path=change.path, hunk=number, fit=Fit.CONFLICT, why=error.why)
    if place.has_mode:
        return HunkFit(path=change.path, hunk=number, fit=Fit.UPSTREAM)
    return HunkFit(path=change.path, hunk=number, fit=Fit.CONTEXT, moved=moves[0] if moves else 0)
