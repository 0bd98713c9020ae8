"""How long a native build will take to compile: said before it runs, and compared with what happened.

A prediction until somebody measured it: most files are taken to cost what their class does (``build/costs.py``), and
other machines' cores what we think of them.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from build import compilecommands, costs, jobs, ninjalog
from build.costs import Machine
from build.units import Unit

UNCERTAIN = 0.4  # either way: of the cores, and of all that was not measured
# Configure took 53 to 144 s under an emulated CMake; the links of up to nine libraries were not measured. Assumed.
OVERHEAD_SECONDS = 90.0
WORST = 3  # classes that are named when it is over


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """``cpu_seconds``: of that machine's cores. ``seconds``: of the wall, all in; it may well be ``low`` or ``high``.

    ``longest``: the unit that takes longest, and how long. ``core_factor``: as :func:`predict` was given it.
    ``basis``: what it rests on, in words.
    """

    cpu_seconds: float
    low: float
    seconds: float
    high: float
    longest: tuple[Unit, float]
    core_factor: float
    basis: str


def on(machine: Machine, units: Sequence[Unit], *, by_target: bool = False) -> Prediction:
    """What compiling takes on a machine, with the jobs that fit it. ``jobs.NoRoomError`` where none does."""
    found = jobs.plan(machine.memory, machine.count, heavy=bool(_heavy(units, by_target=by_target)))
    factor = machine.speed(found.ordinary)
    return predict(units, ordinary_jobs=found.ordinary, heavy_jobs=found.heavy, core_factor=factor, by_target=by_target)


def predict(
    units: Sequence[Unit],
    *,
    ordinary_jobs: int,
    heavy_jobs: int,
    core_factor: float = 1.0,
    overhead_seconds: float = OVERHEAD_SECONDS,
    by_target: bool = False,
) -> Prediction:
    """What compiling ``units`` takes where a core is ``core_factor`` times as fast as the measuring machine's.

    ``overhead_seconds``: of the wall, for all that does not compile. ``by_target``: all units of a target that has
    a heavy one are of the pool `heavy`, as CMake gives pools to targets; else none but the heavy ones.
    """
    heavy = _heavy(units, by_target=by_target)
    took = [(costs.cpu_seconds(unit) / core_factor, unit) for unit in units]
    tasks = [(seconds, unit in heavy) for seconds, unit in took]
    wall = overhead_seconds + schedule(tasks, ordinary_jobs=ordinary_jobs, heavy_jobs=heavy_jobs)
    seconds, unit = max(took, key=lambda item: item[0])
    pool = f", {heavy_jobs} of the {len(heavy)} that may be heavy" if heavy else ""
    measured = sum(costs.cost_of(unit).measured for unit in units)
    return Prediction(
        cpu_seconds=sum(seconds for seconds, _ in took),
        low=wall * (1 - UNCERTAIN),
        seconds=wall,
        high=wall * (1 + UNCERTAIN),
        longest=(unit, seconds),
        core_factor=core_factor,
        basis=f"{len(units)} files, {measured} of classes of which some were measured; {ordinary_jobs} at once{pool}; "
        f"cores taken to be {core_factor:.2f} times as fast as the measuring machine's; ±{UNCERTAIN:.0%}",
    )


def _heavy(units: Sequence[Unit], *, by_target: bool) -> frozenset[Unit]:
    """The units of the pool `heavy`."""
    if by_target:
        targets = costs.heavy_targets(units)
        return frozenset(unit for unit in units if unit.target in targets)
    return frozenset(unit for unit in units if costs.cost_of(unit).heavy)


def schedule(tasks: Sequence[tuple[float, bool]], *, ordinary_jobs: int, heavy_jobs: int) -> float:
    """Seconds until all (seconds, heavy) tasks are done: each starts in its turn when a job is free, heavy ones first.

    At most ``ordinary_jobs`` run at once, of these at most ``heavy_jobs`` heavy ones: Ninja's ``-j``, and a pool in it.

    >>> schedule([(4, False), (3, True), (3, True)], ordinary_jobs=2, heavy_jobs=1)
    6.0
    """
    if ordinary_jobs < 1 or heavy_jobs < 0 or (heavy_jobs == 0 and any(heavy for _, heavy in tasks)):
        raise ValueError(f"{ordinary_jobs} jobs, {heavy_jobs} heavy ones")
    # Nothing but their own pool keeps heavy tasks waiting, so they can be laid out by themselves before the others.
    pool = _filled([0.0] * min(ordinary_jobs, heavy_jobs), (seconds for seconds, heavy in tasks if heavy))
    free = [0.0] * (ordinary_jobs - len(pool))
    return max(_filled([*pool, *free], (seconds for seconds, heavy in tasks if not heavy)))


def _filled(ends: list[float], tasks: Iterable[float]) -> list[float]:
    """When each job ends, if every task goes to the job that is free first."""
    heapq.heapify(ends)
    for seconds in tasks:
        heapq.heapreplace(ends, ends[0] + seconds)
    return ends


@dataclass(frozen=True, kw_only=True)
class ClassOutcome:
    """Seconds of one job, summed over the ``count`` units of a class that Ninja's log has."""

    name: str
    count: int
    predicted: float
    happened: float

    @property
    def ratio(self) -> float:
        """How many times what was predicted it took."""
        return self.happened / self.predicted


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """``seconds``: of the wall. ``classes``: those that were predicted worst (in seconds) first.

    ``untimed``: units that the log has not; ``unknown``: object files in it that are of no unit.
    """

    predicted: Prediction
    seconds: float
    classes: tuple[ClassOutcome, ...]
    untimed: tuple[Unit, ...]
    unknown: tuple[str, ...]

    @property
    def ratio(self) -> float:
        """How many times as long as predicted the compilers ran, all of them together; 1 where none ran."""
        predicted = sum(item.predicted for item in self.classes)
        return sum(item.happened for item in self.classes) / predicted if predicted else 1.0


def happened(units: Sequence[Unit], log: str, predicted: Prediction, *, seconds: float = 0.0) -> Outcome:
    """What became of a prediction, by the text of ``.ninja_log``. ``seconds``: the wall's; 0 asks the log for them."""
    commands = ninjalog.read(log)
    times = {item.output: item.seconds for item in commands}  # what ran again counts as it ran last
    objects = {output: compilecommands.unit_of(output, units) for output in times if compilecommands.is_object(output)}
    sums: dict[str, list[tuple[float, float]]] = {}
    for output, unit in objects.items():
        if unit is not None:
            pair = (costs.cpu_seconds(unit) / predicted.core_factor, times[output])
            sums.setdefault(costs.cost_of(unit).name, []).append(pair)
    classes = [
        ClassOutcome(name=name, count=len(pairs), predicted=sum(p for p, _ in pairs), happened=sum(h for _, h in pairs))
        for name, pairs in sums.items()
    ]
    return Outcome(
        predicted=predicted,
        seconds=seconds or ninjalog.wall_seconds(commands),
        classes=tuple(sorted(classes, key=lambda item: (-abs(item.happened - item.predicted), item.name))),
        untimed=tuple(sorted(set(units) - set(objects.values()))),
        unknown=tuple(sorted(output for output, unit in objects.items() if unit is None)),
    )


def lines(outcome: Outcome) -> list[str]:
    """An outcome in words: the whole, then the classes that were predicted worst."""
    told = outcome.predicted
    between = f"{duration(told.low)} to {duration(told.high)}"
    said = [
        f"predicted {duration(told.seconds)} ({between}), took {duration(outcome.seconds)}",
        f"  compilers ran {outcome.ratio:.1f} times as long as predicted, all of them together",
    ]
    said += [
        f"  {item.name}: {item.ratio:.1f} times, {duration(item.happened)} for {item.count} files"
        for item in outcome.classes[:WORST]
    ]
    if outcome.untimed:
        said.append(f"  not compiled: {_some([unit.source for unit in outcome.untimed])}")
    if outcome.unknown:
        said.append(f"  of no file of the list: {_some(outcome.unknown)}")
    return said


def _some(names: Sequence[str]) -> str:
    return names[0] + (f" and {len(names) - 1} more" if len(names) > 1 else "")


def duration(seconds: float) -> str:
    """A time with as many digits as a prediction is worth.

    >>> duration(44.6), duration(540), duration(6 * 3600)
    ('45 s', '9 min', '6.0 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"
