"""Where a change stands in a file that is not the one it was cut for: by all of its lines, once, or nowhere.

Pure. Nothing is guessed: each hunk's old lines, with their full context, must stand in the file, at whatever line; in
order, and not overlapping. A hunk with less context than git writes was cut at an edge of its file and stands there
only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from build.errors import AlreadyAppliedError, PatchError
from build.udiff import CONTEXT, FileChange, Hunk, show_line, split_lines

Lines = Sequence[bytes]


@dataclass(frozen=True, kw_only=True)
class Relocated:
    """A change in its new place.

    ``after``: the file's content with it, None where it deletes the file. ``moves``: for each hunk, the line where it
    stands minus the line that it states.
    """

    after: bytes | None
    moves: tuple[int, ...]


def relocate(
    name: str, change: FileChange, before: bytes | None, *, was: bytes | None = None, same_ends: bool = False
) -> Relocated:
    """The change of one file, applied to ``before``. ``name`` is the patch's, for messages.

    ``was``: the content that the change was cut for, None where that is not known: a hunk whose lines stood more than
    once there is as unclear as one whose lines stand more than once here. Such a hunk is placed only where ``before``
    is that very content, and the whole change stands at the lines that it states; or, with ``same_ends``, where
    ``before`` is ``was`` as somebody edited it, by what is the same at the beginning and at the end of both.

    Raises :class:`PatchError` that names patch, file and hunk, what was expected and what was found, and
    :class:`AlreadyAppliedError` where the new lines of every hunk stand there, once, and the old do not.
    """
    new = b"".join(line for hunk in change.hunks for line in hunk.new)
    if change.created:
        if before is None:
            return Relocated(after=new, moves=(0,) * len(change.hunks))
        if before == new:
            raise _already(name, change, "the file is there with this very content")
        raise _refused(name, change, "it creates the file, and there is one of that name")
    if before is None:
        if change.deleted:
            raise _already(name, change, "the file is gone")
        raise _refused(name, change, "there is no such file")
    lines = split_lines(before)
    if change.deleted and (left := _left(change, lines)):
        raise _refused(name, change, f"it deletes the file, and {left} would be left of it")
    starts = _starts(name, change, lines, None if was is None else split_lines(was), same_ends=same_ends)
    result: list[bytes] = []
    end = 0
    for hunk, start in zip(change.hunks, starts, strict=True):
        if start < end:
            why = f"hunk {hunk.number} stands at line {start + 1}, before the end of the hunk before it"
            raise _refused(name, change, why)
        result += [*lines[end:start], *hunk.new]
        end = start + len(hunk.old)
    result += lines[end:]
    if any(not line.endswith(b"\n") for line in result[:-1]):
        raise _refused(name, change, "a line would lose its newline in the middle of the file")
    moves = tuple(start - _stated(hunk) for hunk, start in zip(change.hunks, starts, strict=True))
    return Relocated(after=None if change.deleted else b"".join(result), moves=moves)


def _starts(name: str, change: FileChange, lines: Lines, was: Lines | None, *, same_ends: bool) -> list[int]:
    """Where each hunk stands, from 0."""
    found = [_places(lines, hunk) for hunk in change.hunks]
    if any(not places for places in found):
        if change.hunks and all(_is_there(lines, hunk) for hunk in change.hunks):
            raise _already(name, change, "its new lines stand there, and the old do not")
        lost = next(hunk for hunk, places in zip(change.hunks, found, strict=True) if not places)
        raise _refused(name, change, _why_nowhere(lost, lines))
    as_stated = all(_stated(hunk) in places for hunk, places in zip(change.hunks, found, strict=True))
    starts = []
    for hunk, places in zip(change.hunks, found, strict=True):
        now, then = _standing(lines, hunk.old), _standing(was or (), hunk.old)
        if max(len(now), len(then)) == 1:
            place: int | None = places[0]
        elif was is not None and same_ends:
            place = _carried_line(was, lines, _stated(hunk), len(hunk.old))
        else:
            place = _stated(hunk) if as_stated and was == lines else None
        if place not in places:
            raise _refused(name, change, _why_unclear(hunk, now, then))
        starts.append(place)
    return starts


def _stated(hunk: Hunk) -> int:
    """The line that a hunk states, from 0. A hunk without old lines names the line before."""
    return hunk.old_start - 1 if hunk.old else hunk.old_start


def _places(lines: Lines, hunk: Hunk) -> list[int]:
    """Where the hunk's old lines stand with full context, or at the edge of the file that cut it short."""
    return [start for start in _standing(lines, hunk.old) if not _short(lines, hunk, start)]


def _short(lines: Lines, hunk: Hunk, start: int) -> str:
    """The side on which the hunk has less than full context, though the file goes on there."""
    if hunk.leading < CONTEXT and start > 0:
        return "before"
    return "after" if hunk.trailing < CONTEXT and start + len(hunk.old) < len(lines) else ""


def _standing(lines: Lines, wanted: Lines) -> list[int]:
    """Where these lines stand, from 0; no lines stand everywhere."""
    count = len(wanted)
    wanted = list(wanted)
    return [
        start
        for start in range(len(lines) - count + 1)
        if not count or (lines[start] == wanted[0] and list(lines[start : start + count]) == wanted)
    ]


def _is_there(lines: Lines, hunk: Hunk) -> bool:
    return bool(hunk.new) and len(_standing(lines, hunk.new)) == 1 and not _standing(lines, hunk.old)


def _carried_line(was: Lines, now: Lines, start: int, count: int) -> int | None:
    """Where lines that did not change are now, from what is the same at the file's beginning and at its end.

    None where they lie in between, or where both ends claim them: then only a person knows which of the alike is meant.

    >>> a, x = [b"a"], [b"x"]
    >>> _carried_line(a + x, x + a + x, 0, 1), _carried_line(x + a, x + a + x, 1, 1), _carried_line(a, a + a, 0, 1)
    (1, 1, None)
    """
    moved = len(now) - len(was)
    most = min(len(was), len(now))
    same_before = next((at for at in range(most) if was[at] != now[at]), most)
    same_after = next((at for at in range(most) if was[-1 - at] != now[-1 - at]), most)
    claims = set()
    if start + count <= same_before:
        claims.add(start)
    if start >= len(was) - same_after:
        claims.add(start + moved)
    return claims.pop() if len(claims) == 1 else None


def _why_nowhere(hunk: Hunk, lines: Lines) -> str:
    """Why a hunk stands nowhere: what was expected and found at the place that is most like it."""
    if standing := _standing(lines, hunk.old):
        side = _short(lines, hunk, standing[0])
        edge = "start" if side == "before" else "end"
        return (
            f"hunk {hunk.number}: fewer than {CONTEXT} lines of context {side} it, "
            f"and line {standing[0] + 1} is not at the file's {edge}"
        )
    near = _nearest(hunk, lines)
    for index, expected in enumerate(hunk.old):
        found = lines[near + index] if near + index < len(lines) else None
        if found != expected:
            break
    return (
        f"hunk {hunk.number}, line {near + index + 1}: expected {show_line(expected)}, "
        f"found {'the end of the file' if found is None else show_line(found)}"
    )


def _nearest(hunk: Hunk, lines: Lines) -> int:
    """The place where most of the hunk's lines stand; among equals the one closest to what it states."""
    stated = _stated(hunk)

    def likeness(start: int) -> tuple[int, int]:
        return sum(map(bytes.__eq__, hunk.old, lines[start : start + len(hunk.old)])), -abs(start - stated)

    return max(range(max(1, len(lines))), key=likeness)


def _why_unclear(hunk: Hunk, now: Sequence[int], then: Sequence[int]) -> str:
    places, others = (", ".join(f"line {place + 1}" for place in found) for found in (now, then))
    if len(now) > 1:
        return f"hunk {hunk.number}: its lines stand more than once: {places}"
    return f"hunk {hunk.number}: its lines stand at {places}, and stood more than once before ({others})"


def _left(change: FileChange, lines: Lines) -> str:
    """What a deletion would leave of a file that begins with what it deletes."""
    old = [line for hunk in change.hunks for line in hunk.old]
    more = len(lines) - len(old)
    if more <= 0 or list(lines[: len(old)]) != old:
        return ""
    return "a line" if more == 1 else f"{more} lines"


def _refused(name: str, change: FileChange, why: str) -> PatchError:
    return PatchError(
        f"{name} does not fit {change.path}", why=why, todo="write its change anew for this file; nothing was changed"
    )


def _already(name: str, change: FileChange, why: str) -> AlreadyAppliedError:
    return AlreadyAppliedError(
        f"{name} is already in {change.path}",
        why=why,
        todo="drop it from the series if it is not needed any more; nothing was changed",
    )
