"""How long a target's native code takes to compile: predictions from the stored list of its files. Composes."""

from __future__ import annotations

import os
from collections.abc import Sequence

from build import costs, jobs, prediction, steps, units
from build.costs import Machine
from build.nativereport import Figures
from build.prediction import Prediction
from build.units import Unit


def compiled(job: steps.Job) -> tuple[Unit, ...]:
    """The files of the stored list that the target's build compiles; none where no list is stored."""
    listed = units.read(job.settings.repo, job.name)
    if listed is None or job.target.native is None:
        return ()
    return tuple(unit for unit in listed.units if unit.target in job.target.native.targets)


def here(listed: Sequence[Unit]) -> Prediction:
    """The prediction for this machine, with what memory it has now. ``jobs.NoRoomError`` where not one file fits."""
    return on(costs.this_machine(jobs.memory(), len(os.sched_getaffinity(0))), listed)


def on(machine: Machine, listed: Sequence[Unit]) -> Prediction:
    """The prediction for a machine; CMake gives pools to whole targets."""
    return prediction.on(machine, listed, by_target=True)


def elsewhere(job: steps.Job) -> list[str]:
    """Predictions for the machines that people have, a line each."""
    listed = compiled(job)
    found = [(machine.name, on(machine, listed)) for machine in costs.KNOWN] if listed else []
    return [
        f"predicted  {prediction.duration(item.seconds)} ({prediction.duration(item.low)} to"
        f" {prediction.duration(item.high)}) to compile on {name}, which nobody measured yet"
        for name, item in found
    ]


def compared(job: steps.Job, figures: Figures) -> list[str]:
    """What a build that found nothing in the compile cache took, beside what was predicted for it; lines to print."""
    listed = compiled(job)
    if not listed or figures.hits or not figures.log:
        return []
    predicted = prediction.predict(
        listed, ordinary_jobs=figures.jobs, heavy_jobs=max(1, figures.heavy), by_target=True, overhead_seconds=0
    )
    return prediction.lines(prediction.happened(listed, figures.log, predicted, seconds=figures.compile_seconds))
