"""How many processes the kernel has ended for lack of memory, by its own counters."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True, kw_only=True)
class Kills:
    """Processes ended on the machine, and in our cgroup and those below it; None where no counter can be read."""

    machine: int | None
    own: int | None

    def since(self, before: Kills) -> Kills:
        """What was counted in between."""
        return Kills(machine=_rise(before.machine, self.machine), own=_rise(before.own, self.own))

    @property
    def count(self) -> int | None:
        """Ours, where the cgroup counted any: another program on the machine may have been ended too. Else all."""
        return self.own or (self.own if self.machine is None else self.machine)


def read(proc: Path = PROC, cgroup: Path = CGROUP) -> Kills:
    """The counters now: ``oom_kill`` of /proc/vmstat (Linux 4.13) and of memory.events (cgroup-v2.rst)."""
    return Kills(machine=_counter(proc / "vmstat"), own=_own(proc, cgroup))


def _own(proc: Path, cgroup: Path) -> int | None:
    """Of the cgroup of this process, or the nearest above it that is seen from here and counts what is below it."""
    lines = _text(proc / "self" / "cgroup").splitlines()
    own = next((line[3:] for line in lines if line.startswith("0::")), "/")
    folder = Path(os.path.normpath(cgroup / own.lstrip("/")))
    while folder == cgroup or cgroup in folder.parents:
        if (count := _counter(folder / "memory.events")) is not None:
            return count
        folder = folder.parent
    return None


def _counter(path: Path) -> int | None:
    for line in _text(path).splitlines():
        if line.startswith("oom_kill "):
            return int(line.split()[1])
    return None


def _rise(before: int | None, after: int | None) -> int | None:
    return None if before is None or after is None else max(0, after - before)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
