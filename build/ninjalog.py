"""When Ninja's commands ran, by the log that it keeps in its build's folder, ``.ninja_log`` (Ninja's build_log.cc)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from build.errors import CommandError

HEADERS = ("# ninja log v5", "# ninja log v6", "# ninja log v7")  # what they hash and how files' times are told differs


@dataclass(frozen=True, kw_only=True)
class Command:
    """What made ``output``, a path below the build's folder. ``start``, ``end``: ms since its Ninja began."""

    start: int
    end: int
    output: str

    @property
    def seconds(self) -> float:
        """How long it ran, of the wall."""
        return (self.end - self.start) / 1000


def read(text: str) -> tuple[Command, ...]:
    """The commands of a log, in the order in which they ended. :class:`CommandError` for one of another form."""
    header, _, rest = text.partition("\n")
    if header not in HEADERS:
        raise _unreadable(f"it begins with {header[:40]!r}; known are v5, v6 and v7")
    lines = rest.split("\n")[:-1]  # a last line without its end was being written when Ninja was killed
    return tuple(_command(number, line) for number, line in enumerate(lines, start=2))


def _command(number: int, line: str) -> Command:
    try:
        start, end, _, output, _ = line.split("\t")
        return Command(start=int(start), end=int(end), output=output)
    except ValueError as error:
        raise _unreadable(f"line {number} is {line[:80]!r}") from error


def _unreadable(why: str) -> CommandError:
    return CommandError("Ninja's log does not read as one", why=why, todo="build with the Ninja that is locked")


def wall_seconds(commands: Sequence[Command]) -> float:
    """How long the Ninjas of a log ran together: each begins at 0 again, which shows where commands end earlier."""
    ends = [*(command.end for command in commands), -1]
    return sum(end for end, following in pairwise(ends) if following < end) / 1000
