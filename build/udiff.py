"""Patches as values, and their exact application: no fuzz, no offset, full context, all or nothing.

Content is bytes: line ends and encodings are kept. ``build.udiffparse`` reads them from git's format.
"""

from __future__ import annotations

from collections.abc import Callable
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

        Raises :class:`PatchError` (:class:`AlreadyAppliedError` where the change is already there) naming patch,
        file, hunk, the expected and the found lines. Nothing is written anywhere.
        """
        return {change.path: _apply_file(self.name, change, read(change.path)) for change in self.files}


def _apply_file(name: str, change: FileChange, before: bytes | None) -> bytes | None:
    new = b"".join(line for hunk in change.hunks for line in hunk.new)
    if change.created:
        if before is None:
            return new
        if before == new:
            raise _already(name, change, "the file is there with this very content")
        raise _refused(name, change, "it creates the file, but the tree has one of that name")
    if before is None:
        if change.deleted:
            raise _already(name, change, "the file is gone")
        raise _refused(name, change, "the tree has no such file")
    lines = split_lines(before)
    result: list[bytes] = []
    end = 0
    for hunk in change.hunks:
        start = hunk.old_start - 1 if hunk.old else hunk.old_start
        _check_hunk(name, change, hunk, lines, start)
        result += lines[end:start] + list(hunk.new)
        end = start + len(hunk.old)
    result += lines[end:]
    if any(not line.endswith(b"\n") for line in result[:-1]):
        raise _refused(name, change, "a line would lose its newline in the middle of the file")
    if change.deleted:
        if result:
            raise _refused(name, change, f"it deletes the file, but {len(result)} lines would be left of it")
        return None
    return b"".join(result)


def _check_hunk(name: str, change: FileChange, hunk: Hunk, lines: list[bytes], start: int) -> None:
    end = start + len(hunk.old)
    # Without full context a hunk could fit a place it was not written for (git's -C1 and -U1).
    short = "before" if hunk.leading < CONTEXT and start > 0 else ""
    short = short or ("after" if hunk.trailing < CONTEXT and end < len(lines) else "")
    fits = tuple(lines[start:end]) == hunk.old
    if fits and not short:
        return
    new_start = hunk.new_start - 1 if hunk.new else hunk.new_start
    if hunk.new and tuple(lines[new_start : new_start + len(hunk.new)]) == hunk.new:
        raise _already(name, change, f"hunk {hunk.number}: its new lines stand at line {hunk.new_start}")
    if fits:
        raise _refused(name, change, f"hunk {hunk.number}: fewer than {CONTEXT} lines of context {short} it")
    raise _refused(name, change, _difference(hunk, lines, start))


def _difference(hunk: Hunk, lines: list[bytes], start: int) -> str:
    """What was expected and what was found, at the first line that differs; and where the lines are instead."""
    for index, expected in enumerate(hunk.old):
        found = lines[start + index] if start + index < len(lines) else None
        if found != expected:
            break
    text = (
        f"hunk {hunk.number}, line {start + index + 1}: expected {show_line(expected)}, "
        f"found {'the end of the file' if found is None else show_line(found)}"
    )
    count = len(hunk.old)
    places = [at + 1 for at in range(len(lines) - count + 1) if tuple(lines[at : at + count]) == hunk.old]
    if places:
        offsets = ", ".join(f"line {place} (offset {place - start - 1:+d})" for place in places[:3])
        text += f"; its lines stand at {offsets}, and an offset is not exact"
    return text


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


def _refused(name: str, change: FileChange, why: str) -> PatchError:
    return PatchError(
        f"{name} does not apply exactly to {change.path}",
        why=why,
        todo="rewrite the patch against this very source; nothing was changed",
    )


def _already(name: str, change: FileChange, why: str) -> AlreadyAppliedError:
    return AlreadyAppliedError(
        f"{name} is already applied to {change.path}",
        why=why,
        todo="drop it from the series if upstream has it; nothing was changed",
    )
