"""What the files of a native vLLM take to compile, by classes, and the machines that we know something about.

Data, with the source of each number: measured on one x86-64 machine (2 vCPUs, nvcc 13.0.88, GCC 14.2) with vLLM 0.22,
one run of a file each; or assumed, and then it says so. Seconds are of CPU (user and system): the machine was shared.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from build import jobs
from build.jobs import GIB, Memory
from build.units import Unit


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a unit takes whose target and source match these patterns (:mod:`fnmatch`; ``*`` takes ``/`` too).

    ``seconds``: of CPU on the measuring machine, for one architecture. ``memory``: bytes of its biggest process.
    ``basis``: where the numbers come from. ``measured``: whether a file of this class was.
    """

    name: str
    targets: str = "*"
    sources: tuple[str, ...]
    seconds: float
    memory: float
    measured: bool
    basis: str

    @property
    def heavy(self) -> bool:
        """Whether it takes more than a job of the pool `compile` may."""
        return self.memory > jobs.ORDINARY


COSTS = (  # the first that matches counts
    Cost(
        name="FlashAttention 2", targets="_vllm_fa2_C", sources=("*.cu",), seconds=85, memory=4.3 * GIB, measured=True,
        basis="hdim128 bf16 90.9, split hdim256 107.2 s; 4.3 and 4.1 GiB; smaller heads assumed to take less",
    ),
    Cost(
        name="FlashAttention 3", targets="_vllm_fa3_C", sources=("*.cu",), seconds=35, memory=4.3 * GIB, measured=False,
        basis="assumed: a front end took 25 s and 2.4 GiB, then failed for want of its CUTLASS",
    ),
    # Of the generated files the largest was measured, with 75 kernels; the 14 for sm80 have 52 on the average, so that
    # these two are rather too much. Those for sm89 have 48 and fewer.
    Cost(
        name="Marlin for MoE", sources=("*/marlin_moe_wna16/sm80_*.cu",), seconds=123, memory=2.7 * GIB, measured=True,
        basis="bf16_u4b8 123.1 s, 2.7 GiB",
    ),
    Cost(
        name="Marlin", sources=("*/marlin/sm80_*.cu",), seconds=102, memory=2.7 * GIB, measured=True,
        basis="bf16_u4b8 102.0 s, 2.7 GiB",
    ),
    Cost(
        name="Marlin for fp8", sources=("*/marlin*/sm89_*.cu",), seconds=80, memory=2.7 * GIB, measured=False,
        basis="assumed: by its kernels, beside bf16_u4b8",
    ),
    Cost(
        name="CUTLASS for 12.x", sources=("*/c3x/*_sm120_*.cu", "*/nvfp4_scaled_mm_sm120_*.cu"), seconds=80,
        memory=8.9 * GIB, measured=True, basis="fp8 97.2, blockwise fp8 72.5, nvfp4 70.3 s; 8.9, 7.4 and 7.0 GiB",
    ),
    Cost(
        name="other CUTLASS", seconds=80, memory=8.9 * GIB, measured=False, basis="assumed: as CUTLASS for 12.x",
        sources=("*fp4_blockwise_moe_kernel.cu", "*_cutlass_mla_kernel.cu", "deps/qutlass/*.cu", "deps/flashkda/*.cu"),
    ),
    Cost(
        name="CUDA", sources=("*.cu",), seconds=40, memory=2.7 * GIB, measured=True,
        basis="layernorm 15.6, gguf 26.1, cache 53.9, topk_softplus_sqrt 82.8 s under load, 71.3 without; to 2.7 GiB",
    ),
    Cost(
        name="empty", sources=("build/lane_empty_*.cpp",), seconds=0.1, memory=0.1 * GIB, measured=False,
        basis="assumed: one comment, in place of a target's sources",
    ),
    Cost(
        name="C++", sources=("*",), seconds=21.5, memory=1.8 * GIB, measured=True,
        basis="moe/torch_bindings.cpp 21.5 s, 1.8 GiB",
    ),
)  # fmt: skip


def cost_of(unit: Unit) -> Cost:
    """The class of a unit."""
    return next(
        cost
        for cost in COSTS
        if fnmatchcase(unit.target, cost.targets) and any(fnmatchcase(unit.source, item) for item in cost.sources)
    )


def cpu_seconds(unit: Unit) -> float:
    """What a unit takes on the measuring machine; anew for each architecture that has machine code (assumed)."""
    return cost_of(unit).seconds * max(1, sum(name.startswith("sm_") for name in unit.architectures))


def heavy_targets(units: Iterable[Unit]) -> tuple[str, ...]:
    """The targets with a unit that needs the pool `heavy`, which CMake gives to whole targets (JOB_POOL_COMPILE)."""
    return tuple(sorted({unit.target for unit in units if cost_of(unit).heavy}))


@dataclass(frozen=True, kw_only=True)
class Machine:
    """``cores``: (number, speed of one where the measuring machine's is 1). ``memory``: of it with nothing loaded."""

    name: str
    cores: tuple[tuple[int, float], ...]
    memory: Memory

    @property
    def count(self) -> int:
        """All of its cores."""
        return sum(count for count, _ in self.cores)

    def speed(self, busy: int) -> float:
        """The mean speed of ``busy`` cores, the fastest first, as a kernel that knows them fills them.

        >>> GB10.speed(10), round(GB10.speed(20), 2), round(GB10.speed(99), 2)
        (1.5, 1.15, 1.15)
        """
        speeds = sorted((speed for count, speed in self.cores for _ in range(count)), reverse=True)[:busy]
        return sum(speeds) / len(speeds)


# Assumed, none was measured: X925, A725 and N2 beside the measuring machine's vCPU, and what an idle one has free.
GB10 = Machine(
    name="GB10", cores=((10, 1.5), (10, 0.8)), memory=Memory(available=112 * GIB, said_by="assumption", unified=True)
)
ARM_RUNNER = Machine(
    name="GitHub's arm64 runner", cores=((4, 0.9),),
    memory=Memory(available=15 * GIB, said_by="assumption", unified=False),
)  # fmt: skip
KNOWN = (GB10, ARM_RUNNER)


def this_machine(memory: Memory, cores: int) -> Machine:
    """The machine that asks, its cores taken to be as fast as the measuring machine's."""
    return Machine(name="this machine", cores=((cores, 1.0),), memory=memory)
