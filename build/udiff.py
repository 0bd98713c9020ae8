"""Patches as values, and their exact application: no fuzz, no offset, full context, all or nothing.

Content is bytes: line ends and encodings are kept. ``build.udiffparse`` reads them from git's format.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from build.errors import AlreadyAppliedError, PatchError

CONTEXT = 3  # lines on each side of a change, as git writes them; fewer only at a file's edge

Read = Callable[[str], "bytes | None"]
"""A file's bytes by its path in the repository; None where there is no such file."""


@dataclass(frozen=True, kw_only=True)
class Hunk:
    """A change at one place: the lines that must stand at ``old_start`` (1-based), and what takes their place.

    Lines carry their newline; only a file's last line may lack it. ``leading`` and ``trailing`` count context.
    """

    number: int
    old_start: int
    new_start: int
    old: tuple[bytes, ...]
    new: tuple[bytes, ...]
    leading: int
    trailing: int


@dataclass(frozen=True, kw_only=True)
class FileChange:
    """What a patch does to one file. ``mode`` is the new file mode where the patch sets one."""

    path: str
    created: bool
    deleted: bool
    mode: str | None
    hunks: tuple[Hunk, ...]


@dataclass(frozen=True, kw_only=True)
class Patch:
    """A parsed patch: its name for messages, its header text, and one change per file."""

    name: str
    header: str
    files: tuple[FileChange, ...]

    def apply(self, read: Read) -> dict[str, bytes | None]:
        """The content of every touched file afterwards (None: deleted). ``read`` gives what is there before.

        Raises :class:`PatchError` naming patch, file, hunk, the expected and the found lines, and what of the patch is
        there already; :class:`AlreadyAppliedError` where all of it is. Nothing is written anywhere.
        """
        before = {change.path: self._read(read, change.path) for change in self.files}
        found = [state for change in self.files for state in _states(change, before[change.path])]
        if found and all(state.there for state in found):
            raise AlreadyAppliedError(
                f"{self.name} is already applied to {', '.join(before)}",
                why="\n       ".join(f"{state.path}: {state.text}" for state in found),
                todo="drop it from the series if upstream has it; nothing was changed",
            )
        if not all(state.fits for state in found):
            raise _not_exact(self.name, found)
        return {change.path: _after(self.name, change, before[change.path]) for change in self.files}

    def _read(self, read: Read, path: str) -> bytes | None:
        try:
            return read(path)
        except PatchError as error:  # it knows no patch
            raise PatchError(f"{self.name}: {error.what}", why=error.why, todo=error.todo) from error


@dataclass(frozen=True, kw_only=True)
class _State:
    """How a hunk, or a file as a whole, stands to what is there; ``text`` says it for a message."""

    path: str
    text: str
    fits: bool = False
    there: bool = False


def _states(change: FileChange, before: bytes | None) -> list[_State]:
    path = change.path
    if change.created:
        if before is None:
            return [_State(path=path, fits=True, text="the file is not there")]
        if before == b"".join(line for hunk in change.hunks for line in hunk.new):
            return [_State(path=path, there=True, text="the file is there with this very content")]
        return [_State(path=path, text="it creates the file, but the tree has one of that name")]
    if before is None:
        if change.deleted:
            return [_State(path=path, there=True, text="the file is gone")]
        return [_State(path=path, text="the tree has no such file")]
    return _hunk_states(change, split_lines(before))


def _hunk_states(change: FileChange, lines: Sequence[bytes]) -> list[_State]:
    """All as they state; else all there already; else each by itself, over what those before it are."""
    if not any(_fault(hunk, lines, _stated(hunk)) for hunk in change.hunks):
        return [_fitting(change, hunk, _stated(hunk)) for hunk in change.hunks]
    if all(_is_there(hunk, lines, _resulting(hunk)) for hunk in change.hunks):
        return [_there(change, hunk, _resulting(hunk)) for hunk in change.hunks]
    found: list[_State] = []
    moved = 0
    for hunk in change.hunks:
        start = _stated(hunk) + moved
        fault = _fault(hunk, lines, start)
        if not fault:
            found.append(_fitting(change, hunk, start))
        elif _is_there(hunk, lines, start):
            found.append(_there(change, hunk, start))
            moved += len(hunk.new) - len(hunk.old)
        else:
            found.append(_State(path=change.path, text=fault))
    return found


def _fitting(change: FileChange, hunk: Hunk, start: int) -> _State:
    text = f"hunk {hunk.number} is not there: its old lines stand at line {start + 1}"
    return _State(path=change.path, fits=start == _stated(hunk), text=text)


def _there(change: FileChange, hunk: Hunk, start: int) -> _State:
    return _State(path=change.path, there=True, text=f"hunk {hunk.number}: its new lines stand at line {start + 1}")


def _stated(hunk: Hunk) -> int:
    """The line that a hunk states, from 0. A hunk without old lines names the line before."""
    return hunk.old_start - 1 if hunk.old else hunk.old_start


def _resulting(hunk: Hunk) -> int:
    """The same, of its new lines with all hunks before it applied."""
    return hunk.new_start - 1 if hunk.new else hunk.new_start


def _is_there(hunk: Hunk, lines: Sequence[bytes], start: int) -> bool:
    """Whether the hunk's new lines stand there. One that leaves none has emptied its file."""
    return tuple(lines[start : start + len(hunk.new)]) == hunk.new if hunk.new else not lines


def _fault(hunk: Hunk, lines: Sequence[bytes], start: int) -> str:
    """Why a hunk does not fit a place: what was expected and what was found; empty where it fits."""
    end = start + len(hunk.old)
    if tuple(lines[start:end]) != hunk.old:
        return _difference(hunk, lines, start)
    # Without full context a hunk could fit a place it was not written for (git's -C1 and -U1).
    few = f"fewer than {CONTEXT} lines of context"
    if hunk.leading < CONTEXT and start > 0:
        found = _shown(lines, start - 1)
        return f"hunk {hunk.number}, line {start}: {few} before it: expected the file's start, found {found}"
    if hunk.trailing < CONTEXT and end < len(lines):
        found = _shown(lines, end)
        return f"hunk {hunk.number}, line {end + 1}: {few} after it: expected the file's end, found {found}"
    return ""


def _difference(hunk: Hunk, lines: Sequence[bytes], start: int) -> str:
    """What was expected and what was found, at the first line that differs; and where the lines are instead."""
    index = next(at for at, line in enumerate(hunk.old) if lines[start + at : start + at + 1] != [line])
    expected, found = show_line(hunk.old[index]), _shown(lines, start + index)
    text = f"hunk {hunk.number}, line {start + index + 1}: expected {expected}, found {found}"
    count = len(hunk.old)
    places = [at for at in range(len(lines) - count + 1) if tuple(lines[at : at + count]) == hunk.old]
    if places:
        offsets = ", ".join(f"line {place + 1} (offset {place - _stated(hunk):+d})" for place in places[:3])
        text += f"; its lines stand at {offsets}, and an offset is not exact"
    return text


def _shown(lines: Sequence[bytes], index: int) -> str:
    return show_line(lines[index]) if index < len(lines) else "the end of the file"


def _not_exact(name: str, found: Sequence[_State]) -> PatchError:
    """The error for a patch of which something neither fits nor all is there."""
    there = [state for state in found if state.there]
    others = [state for state in found if not state.there]
    first = next((state for state in others if not state.fits), others[0])
    why = [first.text]
    if there:
        why += [f"there already: {state.path}: {state.text}" for state in there]
        why += [f"not there: {state.path}: {state.text}" for state in others if state is not first]
    return PatchError(
        f"{name} does not apply exactly to {first.path}",
        why="\n       ".join(why),
        todo="rewrite the patch against this very source"
        + (": part of it is there already; " if there else "; ")
        + "nothing was changed",
    )


def _after(name: str, change: FileChange, before: bytes | None) -> bytes | None:
    """The file with a change whose hunks all fit."""
    lines = split_lines(before or b"")
    result: list[bytes] = []
    end = 0
    for hunk in change.hunks:
        start = _stated(hunk)
        result += [*lines[end:start], *hunk.new]
        end = start + len(hunk.old)
    result += lines[end:]
    why = ""
    if change.deleted and result:
        why = f"it deletes the file, but leaves {'a line' if len(result) == 1 else f'{len(result)} lines'} of it"
    elif any(not line.endswith(b"\n") for line in result[:-1]):
        why = "a line would lose its newline in the middle of the file"
    if why:
        raise _not_exact(name, [_State(path=change.path, text=why)])
    return None if change.deleted else b"".join(result)


def split_lines(data: bytes) -> list[bytes]:
    r"""Lines with their newline; only ``\n`` ends a line.

    >>> split_lines(b"a\r\nb"), split_lines(b"")
    ([b'a\r\n', b'b'], [])
    """
    lines = [line + b"\n" for line in data.split(b"\n")]
    lines[-1] = lines[-1].removesuffix(b"\n")
    return lines if lines[-1] else lines[:-1]


def show(text: bytes) -> str:
    """Bytes of a patch or a file, for a message."""
    return repr(text.decode("utf-8", "replace"))


def show_line(line: bytes) -> str:
    """A line of a patch or a file, for a message."""
    return show(line.removesuffix(b"\n")) + ("" if line.endswith(b"\n") else " without a newline")
