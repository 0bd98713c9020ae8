"""Runs the suite: which cases are meant, one after the other, whatever becomes of each; and when to stop for good.

A case that fails stops no other. A server that is gone, that lets nobody in or does not know the model stops all, since
each case after it would only wait for the same.
"""

from __future__ import annotations

import fnmatch
import os
import time
import traceback
from collections.abc import Callable, Sequence

from build.console import say
from build.errors import UsageError
from build.interview import Interview, Outcome, Task
from build.replies import Kind
from build.troubles import printable
from build.validation import Case, Status

MARKS = {Status.PASSED: "✓", Status.FAILED: "✗", Status.SKIPPED: "-"}


def chosen(tasks: Sequence[Task], only: Sequence[str], skip: Sequence[str], *, quick: bool) -> tuple[Task, ...]:
    """The tasks that are meant: by name, group or pattern. Raises :class:`UsageError` for what fits none."""
    for pattern in (*only, *skip):
        if not any(_fits(task, pattern) for task in tasks):
            groups = list(dict.fromkeys(task.group for task in tasks))
            raise UsageError(
                f"no case fits '{pattern}'",
                why=f"groups: {', '.join(groups)}; cases: {', '.join(task.name for task in tasks)}",
                todo="name a group, a case, or a pattern like 'tools-*-whole'",
            )
    kept = [task for task in tasks if any(_fits(task, pattern) for pattern in only)] if only else list(tasks)
    kept = [task for task in kept if not any(_fits(task, pattern) for pattern in skip)]
    return tuple(task for task in kept if task.quick or only or not quick)


def _fits(task: Task, pattern: str) -> bool:
    return pattern == task.group or fnmatch.fnmatchcase(task.name, pattern)


def run(talk: Interview, tasks: Sequence[Task], done: list[Case], ended: Callable[[], None]) -> str:
    """Run every task and add its case to ``done``; ``ended`` is called after each.

    Why it stopped before the last one; empty where it did not. On Ctrl-C ``done`` has what was finished.
    """
    for number, task in enumerate(tasks, 1):
        say(f"  [{number}/{len(tasks)}] {task.name}: {task.title}")
        case = one(talk, task)
        done.append(case)
        say(f"  {MARKS[case.status]} {task.name} ({case.seconds:.1f} s){': ' if case.reason else ''}{case.reason}")
        ended()
        if why := _fatal(talk, task):
            done += [_left(task, why) for task in tasks[number:]]
            ended()
            return why
    return ""


def one(talk: Interview, task: Task) -> Case:
    """Run one task to its case."""
    talk.begin()
    start = time.perf_counter()
    try:
        outcome = task.do(talk)
    except Exception as error:  # noqa: BLE001 - hours of other cases are worth more than a traceback of one check
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{os.path.basename(place.filename)}:{place.lineno}"
        outcome = Outcome(findings=(f"a defect of ours, not the server's: {error!r} at {where}; please report it",))
    status = Status.FAILED if outcome.findings else Status.SKIPPED if outcome.skipped else Status.PASSED
    return Case(
        name=task.name,
        group=task.group,
        title=task.title,
        status=status,
        reasons=_reasons(talk, outcome),
        seconds=round(time.perf_counter() - start, 3),
        exchanges=tuple(talk.exchanges),
        facts=outcome.facts,
        samples=outcome.samples,
    )


def _reasons(talk: Interview, outcome: Outcome) -> tuple[str, ...]:
    """Why it is as it is, fit for a terminal: servers and models had a hand in these sentences."""
    told = outcome.findings or ((outcome.skipped,) if outcome.skipped else ())
    return tuple(printable(talk.server.mask(reason)) for reason in told)


def _fatal(talk: Interview, task: Task) -> str:
    """Why no further case has a chance; empty where the next one may."""
    trouble = talk.trouble
    if trouble is None:
        return ""
    if trouble.fatal and trouble.kind is not Kind.UNREACHABLE:
        return f"the server refused in {task.name}: {trouble}"
    return "" if talk.alive else f"the server died in {task.name}: it does not answer any more"


def _left(task: Task, why: str) -> Case:
    return Case(name=task.name, group=task.group, title=task.title, status=Status.SKIPPED, reasons=(f"not run: {why}",))
