"""Work on several things at once, in threads that nobody waits for once it is to end.

One of them may be waiting itself, minutes, for a server that does not answer; Ctrl-C is not to wait for that.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable
from typing import TypeVar

GRACE_SECONDS = 2.0  # for threads to stop by themselves

Thing = TypeVar("Thing")
Result = TypeVar("Result")


class Stopped(Exception):  # noqa: N818 - a signal between threads: another one's error is told
    """Work that was given up because other work failed, or Ctrl-C came."""


def heed(stop: threading.Event) -> None:
    """For work to call now and then: :class:`Stopped` once it is to end."""
    if stop.is_set():
        raise Stopped


def each(
    work: Callable[[Thing], Result], things: Iterable[Thing], *, workers: int, stop: threading.Event
) -> list[Result]:
    """What the work gives for each thing, in their order; so many at once, the first ones first.

    The first error ends it and is raised, as is Ctrl-C: ``stop`` is set then, which the work may look at; what is not
    begun is not begun any more. Threads that do not stop in a few seconds are left behind; they end with the process.
    """
    rows = list(things)
    waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
    ended: queue.SimpleQueue[tuple[int, Result | None, BaseException | None]] = queue.SimpleQueue()
    for number in range(len(rows)):
        waiting.put(number)

    def run() -> None:
        while not stop.is_set():
            try:
                number = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                ended.put((number, work(rows[number]), None))
            except BaseException as error:  # noqa: BLE001 - it is raised where it is waited for
                ended.put((number, None, error))
                stop.set()  # afterwards: what others say of it comes after this

    threads = [threading.Thread(target=run, daemon=True) for _ in range(min(workers, len(rows)))]
    for thread in threads:
        thread.start()
    found: dict[int, Result] = {}
    try:
        for _ in rows:
            number, result, error = ended.get()
            if error is not None:
                raise error
            found[number] = result  # type: ignore[assignment]  # None only where the work gives that
    finally:
        stop.set()
        for thread in threads:
            thread.join(GRACE_SECONDS / len(threads))
    return [found[number] for number in range(len(rows))]
