"""What ninja prints into a pipe, read line by line: how far it is, and each command that failed with its own output.

Ninja keeps a command's output back until the command has ended, then prints ``[n/m] description``; of one that failed
also ``FAILED: `` with its outputs and the command line, and last what it had printed. Seen of 1.11.1, 1.12.1 and
1.13.0, which adds the exit code. With ``--quiet`` it says none of this, and nothing can be told.
"""

from __future__ import annotations

import json
import os
import re
import shlex
from collections import deque
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

STATUS_FORMAT = "[%f/%t] "  # NINJA_STATUS for what is read here
TAIL_LINES = 30
CLIP = 100  # characters of a description that is no object

STATUS = re.compile(r"\[(\d+)/(\d+)\] ")
FAILED = re.compile(r"FAILED: (?:\[code=(-?\d+)\] )?(.*?) *$")
STOPPED = "ninja: build stopped: "
COLOUR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
OBJECT = re.compile(r"(?:(.*)/)?CMakeFiles/[^/]+\.dir/(.+)\.o(?:bj)?$")

KILLED_CODES = (137, -9)  # 128 + SIGKILL, as ninja 1.13 and shells say it
# What gcc, nvcc, collect2, clang, sccache, dash, bash and make print when signal 9 ended a process of theirs.
KILLED = re.compile(
    r"Killed signal terminated program|\b(?:due to|with|by) signal 9\b|\bsignal: 9\b|\bSIGKILL\b"
    r"|^Killed\b|(?:: |\] |\d )Killed(?: |$)"
)
FULL = re.compile(r"No space left on device")
# What is wrong in a source or between objects, said with its place; no want of memory looks like that.
DIAGNOSTIC = re.compile(
    r":\d+: (?:fatal )?error:|\(\d+\): (?:\w+ )?error\b|\bline \d+; error"
    r"|undefined (?:reference|symbol)|multiple definition"
)


@dataclass(kw_only=True)
class Failed:
    """A command that failed: the outputs it was to make, its command line, and what its own output gives away."""

    outputs: str
    command: str | None = None
    tail: deque[str] = field(default_factory=lambda: deque(maxlen=TAIL_LINES + 1))
    killed: bool = False
    full: bool = False
    diagnosed: bool = False

    def take(self, line: str) -> None:
        """A line of its own: the command first, as ninja prints it."""
        if self.command is None:
            self.command = line
            return
        self.tail.append(line)
        self.killed |= bool(KILLED.search(line))
        self.full |= bool(FULL.search(line))
        self.diagnosed |= bool(DIAGNOSTIC.search(line))


@dataclass(kw_only=True)
class Output:
    """All that was read so far. ``tail``: the last lines that belong to no failed command, ninja's own among them."""

    done: int = 0
    total: int = 0
    last: str = ""
    failed: list[Failed] = field(default_factory=list)
    tail: deque[str] = field(default_factory=lambda: deque(maxlen=TAIL_LINES))
    _announced: bool = False  # only blank lines since the last status line

    def __post_init__(self) -> None:
        self._current: Failed | None = None

    def feed(self, line: str) -> None:
        """One line, without its end."""
        line = COLOUR.sub("", line)
        if status := self._status(line):
            if status.start():
                self._take(line[: status.start()])
            self.done, self.total, self.last = int(status[1]), int(status[2]), line[status.end() :]
            self._current, self._announced = None, True
        elif (failed := FAILED.match(line)) and (self._announced or self._current is None):
            code = int(failed[1]) if failed[1] else None
            self._current = Failed(outputs=failed[2], killed=code in KILLED_CODES)
            self.failed.append(self._current)
            self._announced = False
        else:
            self._take(line)

    def close(self) -> None:
        """There is no more: ninja's last words are no command's, nor are blank lines at the end."""
        if self._current is None or not self._current.tail:
            return
        before, words, after = self._current.tail.pop().rpartition(STOPPED)
        if words:
            self.tail.append(words + after)
        self._current.tail.append(before if words else after)
        while self._current.tail and not self._current.tail[-1]:
            self._current.tail.pop()

    def _take(self, line: str) -> None:
        self._announced &= not line
        if self._current is not None:
            self._current.take(line)
        elif line:
            self.tail.append(line)

    def _status(self, line: str) -> re.Match[str] | None:
        """Ninja's own status in a line; it stands behind a command's output where that ended without a newline.

        A command may print such lines too (a build inside the build): within a failed one's output, and within a
        line, ours are those that go on counting. By two, after a command of the console pool: only its start is told.
        The total only falls, by what turns out to be up to date.
        """
        if self._current is not None and self._current.command is None:
            return None  # its command line, whatever is in that
        for found in STATUS.finditer(line):
            goes_on = 0 <= int(found[1]) - self.done <= 2 and int(found[2]) <= self.total
            if goes_on or (found.start() == 0 and self._current is None):
                return found
        return None


def subject(description: str) -> str:
    """What a description is about: the source where it names an object of CMake's, else its beginning.

    >>> subject("Building CUDA object CMakeFiles/_moe_C.dir/csrc/moe/x.cu.o")
    'csrc/moe/x.cu'
    """
    name = _named(description.rpartition(" ")[2])
    return name or (description if len(description) <= CLIP else f"{description[: CLIP - 1]}…")


def source(outputs: str, build: Path) -> str:
    """The source that a failed command was to compile into ``outputs``; the first of them where no source is told.

    By ``compile_commands.json`` of the build folder where it is there and lists the object, else by CMake's own way
    of naming objects, which tells the path below the source folder.
    """
    names = outputs.split()
    for find in (partial(_listed, build), _named):
        if found := next(filter(None, map(find, names)), ""):
            return found
    return names[0] if names else outputs


def _named(output: str) -> str:
    """``sub/CMakeFiles/target.dir/folder/x.cu.o`` is made of ``sub/folder/x.cu``; ``..`` in a path is named ``__``."""
    if not (found := OBJECT.match(output)):
        return ""
    parts = [".." if part == "__" else part for part in found[2].split("/")]
    return os.path.normpath("/".join([*filter(None, [found[1]]), *parts]))


def _listed(build: Path, output: str) -> str:
    wanted = os.path.realpath(build / output)
    try:
        for entry in json.loads((build / "compile_commands.json").read_text(encoding="utf-8")):
            made = _made(entry, os.path.basename(output))
            if made and os.path.realpath(os.path.join(entry["directory"], made)) == wanted:
                return os.path.normpath(os.path.join(entry["directory"], str(entry["file"])))
    except (OSError, ValueError, LookupError, TypeError, AttributeError):  # it only helps, and another wrote it
        return ""
    return ""


def _made(entry: dict[str, Any], name: str) -> str:
    """The output of an entry, if it may be called ``name``: newer CMakes tell it alone, 3.25 does not."""
    if "output" in entry:
        return str(entry["output"])
    if "arguments" not in entry and name not in entry["command"]:
        return ""  # taking a thousand long commands apart takes a second
    words = entry.get("arguments") or shlex.split(entry["command"])
    return str(words[words.index("-o") + 1]) if "-o" in words else ""
