"""What runs on this machine, read from /proc (proc(5)): to find again what we left running, and never another's."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Sequence
from pathlib import Path

PROC = Path("/proc")


def arguments(pid: int) -> list[str]:
    """The argument list that a process was started with; empty for one that is gone, or dead but not yet reaped."""
    try:
        return [
            part for part in (PROC / str(pid) / "cmdline").read_bytes().decode(errors="replace").split("\0") if part
        ]
    except OSError:
        return []


def naming(text: str, *, programs: Collection[str]) -> list[int]:
    """The processes that run one of ``programs`` (base names) with ``text`` somewhere in their arguments."""
    found = []
    for name in sorted(filter(str.isdigit, os.listdir(PROC)), key=int):
        argv = arguments(int(name))
        if argv and os.path.basename(argv[0]) in programs and any(text in part for part in argv):
            found.append(int(name))
    return found


def started_in(folder: Path) -> bool:
    """Whether a process runs whose program or script, as it was called, is below ``folder``."""
    start = f"{folder}{os.sep}"
    pids = (int(name) for name in os.listdir(PROC) if name.isdigit())
    return any(part.startswith(start) for pid in pids for part in arguments(pid))


def wait_for_end(pids: Sequence[int], seconds: float) -> bool:
    """Wait until none of the processes runs any more, at most ``seconds``; whether that came to pass."""
    deadline = time.monotonic() + seconds
    while any(arguments(pid) for pid in pids):
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.05)
    return True


def cpu_seconds(pid: int) -> float:
    """Seconds of CPU that a process took, and its children that ended (proc_pid_stat(5)); 0 for one that is gone."""
    try:
        fields = (PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
