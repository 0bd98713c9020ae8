"""Run ninja over a build folder, tell how far it is, and say of a failure what a person needs to know.

All that ninja prints goes to ``ninja.log`` in the build folder; ``ninjaout.py`` reads it meanwhile, ``oomkills.py``
tells whether the kernel ended processes, and ``ownsession.py`` sees to it that no compiler outlives :func:`run`.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal, get_args

from ninjaout import FULL, KILLED_CODES, STATUS_FORMAT, TAIL_LINES, Failed, Output, source, subject
from oomkills import CGROUP, PROC, Kills, read
from ownsession import chunks, started

LOG = "ninja.log"
NOT_BY_KERNEL = "(a process was killed, but not by the kernel for lack of memory: its counters did not rise)"

Kind = Literal["compiler", "memory", "space", "ninja"]


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Why a build failed. As JSON: ``dataclasses.asdict`` and :meth:`from_dict`.

    ``compiler``: a command failed by itself, compiling, linking or generating. ``memory``: the kernel ended a process
    for lack of memory. ``space``: the disk is full. ``ninja``: it failed by itself, or was ended.
    """

    kind: Kind
    file: str  # the source; what was to be made where none can be told; empty where it is ninja itself that failed
    command: str  # to replay, with its working directory
    lines: tuple[str, ...]  # the last that this command printed, at most 30
    others: int  # how many further commands failed
    kills: int  # how many processes the kernel ended for lack of memory meanwhile

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Fault:
        """The value that ``asdict`` or JSON made of it. Raises ValueError, KeyError or TypeError for anything else."""
        if data["kind"] not in get_args(Kind):
            raise ValueError(f"no kind of fault: {data['kind']!r}")
        return cls(**{**data, "lines": tuple(data["lines"])})


def run(
    command: Sequence[str],
    build: Path,
    env: Mapping[str, str],
    *,
    say: Callable[[str], None],
    every: float = 10.0,
    proc: Path = PROC,
    cgroup: Path = CGROUP,
) -> Fault | None:
    """Run ninja (``command``, with ``-C build`` in it and no ``--quiet``) to its end; None where all was made.

    ``env`` is its whole environment. ``say`` is told how far it is every so many seconds, also while nothing ends,
    and when all has ended. A build that fails is a :class:`Fault`, and so is a ninja that cannot be started. OSError
    where the log cannot be made; Ctrl-C, SIGTERM, SIGHUP and what ``say`` raises go through after the end of ninja
    and its commands.
    """
    before = read(proc, cgroup)
    output = Output()
    with open(build / LOG, "wb", buffering=0) as log, contextlib.ExitStack() as stack:
        try:
            process = stack.enter_context(started(command, {**env, "NINJA_STATUS": STATUS_FORMAT}))
        except OSError as error:
            output.feed(f"{command[0]} cannot be started: {error}")
            return _by_itself("ninja", output, command, kills=0)
        _follow(chunks(process), log, output, say, every)
    if process.returncode == 0:
        return None
    return judge(output, process.returncode, command, build, read(proc, cgroup).since(before))


def _follow(printed: Iterable[bytes], log: BinaryIO, output: Output, say: Callable[[str], None], every: float) -> None:
    """Write down and read what comes, to its end, and tell of it."""
    begun = told = time.monotonic()
    rest = b""
    for chunk in printed:
        with contextlib.suppress(OSError):  # a full disk: the commands will say it
            log.write(chunk)
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            output.feed(line.decode(errors="replace").rstrip("\r"))
        if (now := time.monotonic()) - told >= every:
            told = now
            say(progress(output, now - begun))
    if rest:
        output.feed(rest.decode(errors="replace"))
    output.close()
    say(progress(output, time.monotonic() - begun))


def progress(output: Output, seconds: float) -> str:
    """How far ninja is: ``12 of 40 after 95 s, last: csrc/moe/x.cu``."""
    done = f"{output.done} of {output.total}" if output.total else "nothing finished"
    last = subject(output.last) if output.total else next(reversed(output.tail), "")
    return f"{done} after {seconds:.0f} s" + (f", last: {last}" if last else "")


def judge(output: Output, status: int, command: Sequence[str], build: Path, kills: Kills) -> Fault:
    """What a failed run comes to: of several failed commands the one that tells most. ``status``: ninja's own.

    It is memory only where the kernel's counters say so, or cannot be read and there are signs. Once they rose, a
    command that failed without saying what is wrong in its source is taken for a victim: up to 1.12 ninja keeps the
    exit code to itself, and a compiler that is killed prints nothing.
    """
    risen = kills.count
    if status < 0 or not output.failed:
        return _by_itself(_kind_of_end(output, status, risen), output, command, kills=risen or 0)
    victims = [failed for failed in output.failed if failed.killed]
    if risen and not victims:
        victims = [failed for failed in output.failed if not failed.diagnosed and not failed.full]
    full = [failed for failed in output.failed if failed.full]
    if victims and risen != 0:
        return _of_command("memory", victims[0], output, build, risen)
    if full:
        return _of_command("space", full[0], output, build, risen)
    return _of_command("compiler", output.failed[0], output, build, risen)


def _kind_of_end(output: Output, status: int, risen: int | None) -> Kind:
    """Ninja ended without a failed command, or was ended."""
    if status in KILLED_CODES:
        if risen != 0:
            return "memory"
        output.tail.append(NOT_BY_KERNEL)
    return "space" if any(FULL.search(line) for line in output.tail) else "ninja"


def _of_command(kind: Kind, failed: Failed, output: Output, build: Path, risen: int | None) -> Fault:
    lines = [*failed.tail, *([NOT_BY_KERNEL] if failed.killed and risen == 0 else [])]
    return Fault(
        kind=kind,
        file=source(failed.outputs, build),
        command=f"cd {shlex.quote(os.path.abspath(build))} && {failed.command or ''}",
        lines=tuple(lines[-TAIL_LINES:]),
        others=len(output.failed) - 1,
        kills=risen or 0,
    )


def _by_itself(kind: Kind, output: Output, command: Sequence[str], *, kills: int) -> Fault:
    return Fault(
        kind=kind,
        file="",
        command=f"cd {shlex.quote(os.getcwd())} && {shlex.join(command)}",
        lines=tuple(output.tail),
        others=len(output.failed),
        kills=kills,
    )


def explain(fault: Fault, jobs: int) -> str:
    """A fault for people, in a few lines: what failed, its last lines, the command to replay, and what to do."""
    lines = [_what(fault, jobs)]
    lines += ["Its last lines:", *(f"    {line}" for line in fault.lines)] if fault.lines else ["It printed nothing."]
    lines += ["To replay it:", f"    {fault.command}"]
    if fault.others:
        lines.append(f"{_count(fault.others, 'further command')} failed too.")
    if fault.kind == "space":
        lines.append("Free some space and run again: what was compiled is in the compile cache.")
    elif fault.kind == "memory" or fault.kills:
        lines.append(_fewer(jobs))
    return "\n".join(lines)


def _what(fault: Fault, jobs: int) -> str:
    what = f"the command for {fault.file}" if fault.file else "ninja itself"
    ran = _count(jobs, "job")
    ended = f"the kernel ended {_count(fault.kills, 'process', 'processes')} for lack of memory"
    match fault.kind:
        case "memory" if fault.kills:
            return f"With {ran}, {ended}, and {what} failed."
        case "memory":
            return f"With {ran}, {what} was killed: for lack of memory, it seems, but the kernel's counters are hidden."
        case "space":
            return f"The disk is full: {what} failed."
        case "compiler" | "ninja":
            return f"{what[0].upper()}{what[1:]} failed." + (f" Meanwhile, with {ran}, {ended}." if fault.kills else "")


def _fewer(jobs: int) -> str:
    kept = "what was compiled is in the compile cache"
    if jobs > 1:
        return f"For lack of memory, run again with fewer jobs, `--jobs {jobs // 2}` say: {kept}."
    return f"Fewer jobs than one there are not: free memory that other programs hold and run again; {kept}."


def _count(number: int, one: str, more: str = "") -> str:
    return f"{number} {one if number == 1 else more or f'{one}s'}"
