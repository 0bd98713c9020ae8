"""How many compilers may run at once on a machine, and why: memory counts before cores.

The standard library only: a compile step runs this file as it is (``dockerfiles/lane/native.py``), on the machine and
in the cgroup that it counts, and ``plan`` asks it about the machine that plans.

What a compiler takes was measured of vLLM 0.22 (the biggest process of one job, ``NVCC_THREADS=1``): 4.3 GiB for
FlashAttention's files, the most of any ordinary one; 8.9 GiB for CUTLASS' matrix products on 12.x, which get a pool of
their own (CMake's ``JOB_POOLS``).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

GIB = 1 << 30
ORDINARY = 4.5 * GIB  # bytes for one job of the pool `compile`
HEAVY = 9.5 * GIB  # bytes for one of the pool `heavy`
BESIDE = 3.0 * GIB  # bytes that an ordinary job takes most of the time, while heavy ones run beside it
RESERVE = 2 * GIB  # bytes for the rest of the machine
UNIFIED_RESERVE = 8 * GIB  # the same where the GPU lives in this memory too (a GB10)
NO_LIMIT = "max"  # memory.max of a cgroup without one (cgroup-v2.rst)


class NoRoomError(Exception):
    """Not even one compiler fits; the text says the numbers."""


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Bytes that may be used now, what says so, and whether a GPU shares them."""

    available: int
    said_by: str
    unified: bool

    @property
    def reserve(self) -> int:
        """Bytes to leave alone."""
        return UNIFIED_RESERVE if self.unified else RESERVE


@dataclass(frozen=True, kw_only=True)
class Jobs:
    """Sizes of the pools ``compile`` and ``heavy`` (0: there is nothing heavy), and the reason in words."""

    ordinary: int
    heavy: int
    reason: str


def plan(memory: Memory, cores: int, *, heavy: bool, wished: int = 0) -> Jobs:
    """The jobs that fit. ``heavy``: some files are; ``wished``: a number that overrides ours, at the user's risk.

    Raises :class:`NoRoomError` where not one of the largest would fit.
    """
    if cores < 1 or wished < 0:
        raise ValueError(f"{cores} cores, {wished} jobs")
    room = memory.available - memory.reserve
    least = HEAVY if heavy else ORDINARY
    seen = f"{_gib(memory.available)} of memory by {memory.said_by}, {_gib(memory.reserve)} of it left alone"
    if memory.unified:
        seen += " as the GPU lives there too"
    if wished:
        return Jobs(ordinary=wished, heavy=min(wished, 1) if heavy else 0, reason=f"as asked for; {seen}")
    if room < least:
        raise NoRoomError(f"one compiler takes up to {_gib(least)} and {_gib(max(room, 0))} may be used: {seen}")
    ordinary = max(1, min(cores, int(room // ORDINARY)))
    while heavy and ordinary > 1 and HEAVY + BESIDE * (ordinary - 1) > room:
        ordinary -= 1  # one heavy file at least is compiled at a time, and what runs beside it has to fit too
    beside = max(1, min(ordinary, int((room - BESIDE * ordinary) // (HEAVY - BESIDE)))) if heavy else 0
    bound = f"{cores} cores" if ordinary == cores else f"{_gib(ORDINARY)} a job"
    return Jobs(ordinary=ordinary, heavy=beside, reason=f"{seen}; {bound}")


def memory(proc: Path = Path("/proc"), cgroup: Path = Path("/sys/fs/cgroup")) -> Memory:
    """What this process may use: the machine's MemAvailable (proc_meminfo(5)), or less by a cgroup above it."""
    available, said_by = _mem_available(proc), "MemAvailable"
    for folder in _groups(proc, cgroup):
        limit = _text(folder / "memory.max")
        if limit and limit != NO_LIMIT:
            # What a cgroup holds of files it gives back before it runs out, as MemAvailable counts too.
            used = int(_text(folder / "memory.current") or 0) - _inactive(folder)
            if int(limit) - used < available:
                available, said_by = max(0, int(limit) - used), f"the limit of the cgroup {folder.name or '/'}"
    return Memory(available=available, said_by=said_by, unified=_unified(proc))


def _mem_available(proc: Path) -> int:
    for line in (proc / "meminfo").read_text(encoding="ascii").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    raise NoRoomError("this kernel does not tell how much memory is available")


def _groups(proc: Path, cgroup: Path) -> Iterator[Path]:
    """The cgroup of this process and all above it; with a namespace of its own it is the root (cgroups(7))."""
    said = _text(proc / "self" / "cgroup").splitlines()
    own = next((line[3:] for line in said if line.startswith("0::")), "/")
    folder = Path(os.path.normpath(cgroup / own.lstrip("/")))
    while folder == cgroup or cgroup in folder.parents:
        yield folder
        folder = folder.parent


def _inactive(folder: Path) -> int:
    for line in _text(folder / "memory.stat").splitlines():
        if line.startswith("inactive_file "):
            return int(line.split()[1])
    return 0


def _unified(proc: Path) -> bool:
    """Whether the GPU is a GB10, by its driver (``/proc/driver/nvidia/gpus/…/information``)."""
    return any("GB10" in _text(path) for path in (proc / "driver" / "nvidia" / "gpus").glob("*/information"))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _gib(count: float) -> str:
    return f"{count / GIB:.1f} GiB"
