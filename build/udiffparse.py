"""Read git-format patches, strictly: what is not certain is an error that names the line.

The format is that of ``git diff`` and ``git format-patch`` (git-diff(1), "Generating patch text with -p"); text
before the first ``diff --git`` line is the patch's header. What cannot be applied exactly by reading alone (binary
patches, renames, links) is refused by name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from build.errors import PatchError
from build.udiff import FileChange, Hunk, Patch, show

REGULAR = ("100644", "100755")

_HUNK = re.compile(rb"^@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")
_EXTENDED = re.compile(
    rb"^(old mode|new mode|deleted file mode|new file mode|index|similarity index|dissimilarity index|"
    rb"rename from|rename to|copy from|copy to) (.*)$"
)
_NO_NEWLINE = rb"\ No newline at end of file"
_SIGNATURE = re.compile(rb"^-- ?$")


@dataclass
class _Cursor:
    name: str
    lines: list[bytes]
    at: int = 0
    paths: set[str] = field(default_factory=set)

    def peek(self) -> bytes | None:
        return self.lines[self.at] if self.at < len(self.lines) else None

    def take(self) -> bytes:
        self.at += 1
        return self.lines[self.at - 1]

    def fault(self, why: str) -> PatchError:
        return PatchError(
            f"{self.name} is not a patch that can be applied",
            why=f"line {self.at}: {why}",
            todo="write it with `git diff --no-renames` or `git format-patch --no-renames`",
        )


def header(data: bytes) -> bytes:
    r"""All of a patch before its first ``diff --git`` line; the whole of one that has none.

    >>> header(b"Subject: x\n\ndiff --git a/f b/f\n"), header(b"diff --git a/f b/f\n"), header(b"Subject: x\n")
    (b'Subject: x\n\n', b'', b'Subject: x\n')
    """
    if data.startswith(b"diff --git "):
        return b""
    head, found, _ = data.partition(b"\ndiff --git ")
    return head + b"\n" if found else data


def parse(name: str, data: bytes) -> Patch:
    """Read a git-format patch. ``name`` is what messages call it. Raises :class:`PatchError` with the line."""
    cursor = _Cursor(name, data.split(b"\n"))
    head = header(data)
    for line in head.split(b"\n")[:-1]:
        cursor.at += 1
        if line.startswith((b"--- a/", b"+++ b/", b"@@ -")):
            raise cursor.fault("a change without its `diff --git` line")
    if head == data:
        raise PatchError(
            f"{name} has a header and no change",
            why="there is no `diff --git` line in it",
            todo="make its change with `nox -s patch -- --edit N`, N being its place in the series, then --refresh",
        )
    return Patch(name=name, header=head.decode("utf-8", "replace"), files=tuple(_files(cursor)))


def _files(cursor: _Cursor) -> Iterator[FileChange]:
    while (line := cursor.peek()) is not None:
        if line.startswith(b"diff --git "):
            yield _file(cursor)
        elif _SIGNATURE.match(line):  # format-patch ends a mail with "-- " and git's version
            rest = [text for text in cursor.lines[cursor.at + 1 :] if text]
            if len(rest) > 1:
                cursor.at += 2
                raise cursor.fault("text after the patch's end")
            return
        elif not line:
            cursor.at += 1
        else:
            cursor.at += 1
            raise cursor.fault(f"a line outside every hunk (does a hunk's count lie?): {show(line)}")


def _file(cursor: _Cursor) -> FileChange:
    head = cursor.take()
    extended: dict[bytes, bytes] = {}
    while (line := cursor.peek()) is not None and (found := _EXTENDED.match(line)):
        extended[found[1]] = found[2]
        cursor.at += 1
    for key in extended:
        if key.startswith((b"rename", b"copy")):
            raise cursor.fault(f"`{key.decode()}`: renames and copies are not applied")
    if line is not None and line.startswith((b"GIT binary patch", b"Binary files ")):
        cursor.at += 1
        raise cursor.fault("a binary patch")
    created, deleted = b"new file mode" in extended, b"deleted file mode" in extended
    path = _names(cursor, head, created=created, deleted=deleted)
    mode = extended.get(b"new file mode", extended.get(b"new mode"))
    _check_mode(cursor, mode, extended.get(b"deleted file mode"))
    if path in cursor.paths:
        raise cursor.fault(f"{path} comes twice in one patch")
    cursor.paths.add(path)
    change = FileChange(
        path=path, created=created, deleted=deleted, mode=mode.decode() if mode else None, hunks=_hunks(cursor)
    )
    if not (change.hunks or created or deleted or mode):
        raise cursor.fault(f"no change to {path}")
    if (created or deleted) and (len(change.hunks) > 1 or any(h.old if created else h.new for h in change.hunks)):
        raise cursor.fault(f"{path} is {'created' if created else 'deleted'}, but the hunks say otherwise")
    return change


def _check_mode(cursor: _Cursor, *modes: bytes | None) -> None:
    for mode in modes:
        if mode is not None and mode.decode("ascii", "replace") not in REGULAR:
            raise cursor.fault(f"mode {mode.decode('ascii', 'replace')}: only regular files are patched")


def _names(cursor: _Cursor, head: bytes, *, created: bool, deleted: bool) -> str:
    """The file's path: from the ``---`` and ``+++`` lines, or from the first line where no content changes."""
    line = cursor.peek()
    if line is None or not line.startswith(b"--- "):
        rest = head.removeprefix(b"diff --git ")
        old, new = rest[: len(rest) // 2], rest[len(rest) // 2 + 1 :]
    else:
        old = cursor.take()[4:].removesuffix(b"\t")
        line = cursor.peek()
        if line is None or not line.startswith(b"+++ "):
            raise cursor.fault("`---` without `+++`")
        new = cursor.take()[4:].removesuffix(b"\t")
        if created != (old == b"/dev/null") or deleted != (new == b"/dev/null"):
            raise cursor.fault("/dev/null and the file mode lines disagree")
        old, new = (b"a/" + new[2:] if created else old), (b"b/" + old[2:] if deleted else new)
    if not (old.startswith(b"a/") and new.startswith(b"b/") and old[2:] == new[2:]):
        raise cursor.fault(f"two different names, or not of the form a/… b/…: {show(old)}, {show(new)}")
    return _safe(cursor, old[2:])


def _safe(cursor: _Cursor, raw: bytes) -> str:
    path = raw.decode("utf-8", "replace")
    parts = path.split("/")
    if '"' in path or "\\" in path or "\0" in path or any(part in ("", ".", "..", ".git") for part in parts):
        raise cursor.fault(f"the path {show(raw)} leaves the tree or cannot be meant")
    return path


def _hunks(cursor: _Cursor) -> tuple[Hunk, ...]:
    hunks: list[Hunk] = []
    delta, end = 0, 0
    while (line := cursor.peek()) is not None and (found := _HUNK.match(line)):
        cursor.at += 1
        old_start, old_count, new_start, new_count = (int(g) if g is not None else 1 for g in found.groups())
        hunk = _body(cursor, len(hunks) + 1, old_start, old_count, new_start, new_count)
        # A count of 0 names the line before; the places of old and new must agree with all hunks before.
        first_old, first_new = old_start - (old_count > 0), new_start - (new_count > 0)
        if first_new != first_old + delta:
            raise cursor.fault(f"hunk {hunk.number}: old and new line numbers disagree with the hunks before it")
        if first_old < end:
            raise cursor.fault(f"hunk {hunk.number} overlaps the one before it")
        delta, end = delta + new_count - old_count, first_old + old_count
        hunks.append(hunk)
    return tuple(hunks)


def _body(cursor: _Cursor, number: int, old_start: int, old_count: int, new_start: int, new_count: int) -> Hunk:
    old: list[bytes] = []
    new: list[bytes] = []
    kinds = bytearray()
    while len(old) < old_count or len(new) < new_count or cursor.peek() == _NO_NEWLINE:
        line = cursor.peek()
        if line is None or not line.startswith((b" ", b"-", b"+", b"\\")):
            raise cursor.fault(f"hunk {number} ends early")
        cursor.at += 1
        if line == _NO_NEWLINE:
            if not kinds or kinds[-1:] == b"\\":
                raise cursor.fault(f"hunk {number}: nothing that could lack its newline")
            for side, marks in ((old, b" -"), (new, b" +")):
                if kinds[-1] in marks:
                    side[-1] = side[-1].removesuffix(b"\n")
        elif line.startswith(b" "):
            old.append(line[1:] + b"\n")
            new.append(line[1:] + b"\n")
        else:
            (old if line.startswith(b"-") else new).append(line[1:] + b"\n")
        kinds += line[:1]
    marks = bytes(kinds).replace(b"\\", b"")
    if len(old) != old_count or len(new) != new_count or not marks.strip(b" "):
        raise cursor.fault(f"hunk {number}: its lines are not what its @@ line counts")
    leading, trailing = len(marks) - len(marks.lstrip(b" ")), len(marks) - len(marks.rstrip(b" "))
    return Hunk(
        number=number, old_start=old_start, new_start=new_start, old=tuple(old), new=tuple(new),
        leading=leading, trailing=trailing,
    )  # fmt: skip
