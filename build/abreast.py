"""Work on many things at once, in threads that never keep this process from ending.

The pool of :mod:`concurrent.futures` waits at Ctrl-C for what its threads are at: a stalled download, a file of
gigabytes. Here they are told to stop, and who does not hear it within a moment is left behind.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

PATIENCE_SECONDS = 1.0  # for all threads together, once one failed or Ctrl-C came

Thing = TypeVar("Thing")
Made = TypeVar("Made")


class Stopped(Exception):  # noqa: N818 - no failure: what work raises when it was told to stop
    """The work was given up because other work failed, or Ctrl-C came."""


def run(work: Callable[[Thing, Callable[[], None]], Made], things: Sequence[Thing], workers: int) -> list[Made]:
    """``work`` on each thing, begun in their order by so many threads; the results, in the same order.

    ``work`` is given the thing, and a function to call now and then: it raises :class:`Stopped` once all is to end.
    The first failure ends the others and is raised.
    """
    stop = threading.Event()
    todo: queue.SimpleQueue[tuple[int, Thing]] = queue.SimpleQueue()
    done: queue.SimpleQueue[tuple[int, Made | None, BaseException | None]] = queue.SimpleQueue()
    for number, thing in enumerate(things):
        todo.put((number, thing))

    def heed() -> None:
        if stop.is_set():
            raise Stopped

    def labour() -> None:
        while not stop.is_set():
            try:
                number, thing = todo.get_nowait()
            except queue.Empty:
                return
            try:
                done.put((number, work(thing, heed), None))
            except BaseException as error:  # noqa: BLE001 - it is raised where the results are awaited
                done.put((number, None, error))
                stop.set()  # after it: whoever ends for this comes later

    threads = [threading.Thread(target=labour, daemon=True) for _ in range(min(workers, len(things)))]
    for thread in threads:
        thread.start()
    made: dict[int, Made] = {}
    try:
        while len(made) < len(things):
            number, result, error = done.get()
            if error is not None:
                raise error  # noqa: TRY301 - what follows is for every way to end
            made[number] = result  # type: ignore[assignment]  # None where that is what work gives
    except BaseException:
        stop.set()
        share = PATIENCE_SECONDS / len(threads)
        for thread in threads:
            thread.join(share)
        raise
    return [made[number] for number in range(len(things))]
