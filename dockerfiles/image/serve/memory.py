"""How much memory is left: the host's, and what each cgroup around this process may still take. In kB of 1024 bytes.

Files are opened once and read by ``pread``: a sample is a few system calls and no path is looked up.
"""

from __future__ import annotations

import os
import re
from typing import NamedTuple

MEMINFO = "/proc/meminfo"
MEMBERSHIP = "/proc/self/cgroup"
CGROUPS = "/sys/fs/cgroup"
WHOLE = 1 << 14  # bytes; more than any of these files has
UNLIMITED = 1 << 60  # cgroup v1 says "no limit" as the greatest page-aligned number
HOST, GROUP = "host", "cgroup"
AVAILABLE = re.compile(rb"^MemAvailable:\s+(\d+) kB", re.MULTILINE)
# File names of both versions (Documentation/admin-guide/cgroup-v2.rst, cgroup-v1/memory.rst): limit, usage, and the
# line of memory.stat that tells which part of the usage is cached files that nobody uses.
V2 = ("memory.max", "memory.current", rb"^inactive_file (\d+)")
V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", rb"^total_inactive_file (\d+)")


class Sample(NamedTuple):
    """``kb``: the least that is available, by ``source``; ``host_kb``: MemAvailable of the host."""

    kb: int
    source: str
    host_kb: int


class Unreadable(Exception):  # noqa: N818 - told as an event
    """The memory cannot be read just now."""


class Group:
    """One cgroup: what it may still take, cached files that can be dropped counted as free."""

    def __init__(self, folder: str, names: tuple[str, str, bytes]) -> None:
        self.limit, self.usage, self.stat = (
            os.open(os.path.join(folder, name), os.O_RDONLY) for name in (names[0], names[1], "memory.stat")
        )
        self.cached = re.compile(names[2], re.MULTILINE)

    def left(self) -> int | None:
        """kB, or None where it has no limit."""
        limit = os.pread(self.limit, WHOLE, 0).strip()
        if not limit.isdigit() or int(limit) >= UNLIMITED:
            return None
        found = self.cached.search(os.pread(self.stat, WHOLE, 0))
        used = int(os.pread(self.usage, WHOLE, 0)) - (int(found[1]) if found else 0)
        return max(0, int(limit) - used) // 1024


class Memory:
    """The host's memory and the cgroups around this process, as far as they are visible. Raises ``OSError``."""

    def __init__(self, meminfo: str = MEMINFO, membership: str = MEMBERSHIP, cgroups: str = CGROUPS) -> None:
        self.host = os.open(meminfo, os.O_RDONLY)
        self.groups = around(membership, cgroups)

    def sample(self) -> Sample:
        """What is left now. Raises :class:`Unreadable`."""
        try:
            found = AVAILABLE.search(os.pread(self.host, WHOLE, 0))
            if found is None:
                raise Unreadable("there is no MemAvailable in it")
            host = int(found[1])
            rooms = [room for group in self.groups if (room := group.left()) is not None]
        except (OSError, ValueError) as error:
            raise Unreadable(str(error)) from error
        if rooms and min(rooms) < host:
            return Sample(min(rooms), GROUP, host)
        return Sample(host, HOST, host)


def around(membership: str, cgroups: str) -> list[Group]:
    """This process's cgroup and those above it, as far up as their files are here (none in the root of a host)."""
    try:
        with open(membership, encoding="utf-8") as stream:
            lines = [line.rstrip("\n").split(":", 2) for line in stream]
    except OSError:
        return []
    places = {controllers: path for _, controllers, path in (line for line in lines if len(line) == 3)}
    path = next((path for controllers, path in places.items() if "memory" in controllers.split(",")), None)
    root, names = (os.path.join(cgroups, "memory"), V1) if path is not None else (cgroups, V2)
    parts = [part for part in (path or places.get("", "/")).split("/") if part not in ("", "..")]
    found: list[Group] = []
    for count in range(len(parts), -1, -1):
        try:
            found.append(Group(os.path.join(root, *parts[:count]), names))
        except OSError:
            continue  # in a name space of cgroups only the own one is there, as the root
    return found
