"""The memory that a profile takes while it serves, and which profiles a machine has room for.

On a GB10 the GPU's memory is the system's: what must fit is the model, the KV cache, and what the watchdog wants to
stay available. vLLM has a rule of its own, in 0.22 and 0.32 alike: at start the profile's part of all memory must be
free (``request_memory`` in vllm/v1/worker/utils.py), and on such a machine it takes MemAvailable for what is free
(vllm/utils/mem_utils.py).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from build.console import human_bytes
from build.profiles import Profile

MEMINFO = Path("/proc/meminfo")
LINE = re.compile(r"^(MemTotal|MemAvailable):\s+(\d+) kB", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Memory:
    """The machine's, in bytes: all of it, and what could be had now without swapping (proc_meminfo(5))."""

    total: int
    available: int


@dataclass(frozen=True, kw_only=True)
class Need:
    """What a profile takes, in bytes; ``part``: what vLLM itself wants to find free, for the machine's memory."""

    model: int
    cache: int
    reserve: int
    part: int
    utilization: str

    @property
    def bytes(self) -> int:
        return max(self.model + self.cache + self.reserve, self.part)

    def __str__(self) -> str:
        parts = (
            f"{human_bytes(self.model)} model, {human_bytes(self.cache)} KV cache,"
            f" {human_bytes(self.reserve)} that stay free"
        )
        if self.part > self.model + self.cache + self.reserve:
            return f"{human_bytes(self.part)}: vLLM wants {self.utilization} of all memory free at start ({parts})"
        return f"{human_bytes(self.bytes)}: {parts}"


def memory(meminfo: Path = MEMINFO) -> Memory:
    """What there is now. Raises ``OSError`` or ``KeyError`` where the kernel does not say."""
    found = {name: int(kilobytes) * 1024 for name, kilobytes in LINE.findall(meminfo.read_text(encoding="ascii"))}
    return Memory(total=found["MemTotal"], available=found["MemAvailable"])


def need(profile: Profile, total: int) -> Need:
    """What a profile takes on a machine of so many bytes."""
    watchdog = profile.watchdog
    least = max(watchdog.min_available_kb, watchdog.startup_min_available_kb or 0)
    utilization = profile.serve.gpu_memory_utilization
    return Need(
        model=profile.model.bytes, cache=profile.serve.kv_cache_bytes, reserve=least * 1024,
        part=math.ceil(Decimal(utilization) * total), utilization=utilization,
    )  # fmt: skip


def fitting(profiles: Iterable[Profile], there: Memory) -> list[str]:
    """The names of those that the available memory is enough for."""
    return [item.name for item in profiles if need(item, there.total).bytes <= there.available]
