"""What a compiling step told: figures for who asked for the build, and its failures as errors of ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from build.errors import BuildError, CompileError, MemoryShortError, SpaceError

Facts = Mapping[str, Any]
KILLED = 137  # the exit status of a process that SIGKILL ended, as a shell gives it


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Of one native build: compilers at once, seconds and processor seconds of its parts, what the cache had.

    ``log``: ninja's own, of what each file took.
    """

    jobs: int
    heavy: int
    reason: str
    configure_seconds: float
    compile_seconds: float
    cpu_seconds: float
    hits: int
    misses: int
    log: str = ""

    @property
    def line(self) -> str:
        """In one line, for people."""
        files = self.hits + self.misses
        cached = (
            f"{self.hits or 'none'} of {files} files out of the compile cache" if files else "without the compile cache"
        )
        took = (
            f"compiled in {self.compile_seconds:.0f} s ({self.cpu_seconds:.0f} processor seconds, {self.jobs} at once)"
        )
        return f"{took}, configured in {self.configure_seconds:.0f} s; {cached}"


def figures(facts: Facts) -> Figures | None:
    """The figures of a step that ran to its end; None where BuildKit had its result already."""
    if not {"jobs", "configure", "compile", "cache"} <= facts.keys():
        return None
    return Figures(
        jobs=facts["jobs"]["ordinary"],
        heavy=facts["jobs"]["heavy"],
        reason=facts["jobs"]["reason"],
        configure_seconds=facts["configure"]["seconds"],
        compile_seconds=facts["compile"]["seconds"],
        cpu_seconds=facts["compile"]["cpu"],
        hits=facts["cache"]["hits"],
        misses=facts["cache"]["misses"],
        log=facts.get("ninja-log", ""),
    )


def fault(facts: Facts, log: str) -> BuildError | None:
    """The error of a step that failed, from what it told; None where it told nothing of the kind."""
    if text := facts.get("no-room"):
        return MemoryShortError(
            "there is not enough memory to compile",
            why=str(text),
            todo="end what uses memory (a loaded model, above all), or say --jobs 1 and take the risk",
        )
    if lines := facts.get("unconfigured"):
        return CompileError(
            "CMake cannot configure the project",
            why="\n       ".join(line for line in lines if line),
            todo=f"correct the target's native tables or the patch; the whole log is {log}",
        )
    told = facts.get("fault")
    if told is None:
        return _killed(facts)
    lines = "\n       ".join([*told["lines"], f"to try it again, in the step: {told['command']}"])
    others = f" ({told['others']} more failed)" if told["others"] else ""
    if told["kind"] == "memory":
        at_once = facts.get("jobs", {}).get("ordinary", 1)
        fewer = f"--jobs {max(1, at_once // 2)}" if at_once > 1 else "a machine with more memory, or with swap"
        return MemoryShortError(
            f"the kernel ended {told['kills'] or 'some'} compilers for lack of memory, {told['file']} among them",
            why=lines,
            todo=f"run it again with {fewer}; what was compiled is in the compile cache",
        )
    if told["kind"] == "space":
        return SpaceError("the disk filled up while compiling", why=lines, todo="free some space, then run it again")
    return CompileError(
        f"{told['file'] or 'ninja'} does not compile{others}",
        why=lines,
        todo=f"correct the patch or the target; the whole log is {log}",
    )


def _killed(facts: Facts) -> BuildError | None:
    """The error of a step that was ended from outside while it compiled, as the OOM killer ends a whole container."""
    if "jobs" not in facts or "compile" in facts or facts.get("exit") != KILLED:
        return None
    return MemoryShortError(
        "the step that compiles was killed, as the kernel does for lack of memory",
        why=f"{facts['jobs']['ordinary']} compilers ran at once: {facts['jobs']['reason']}",
        todo="run it again with fewer --jobs; what was compiled is in the compile cache",
    )
