"""What a person sees while we work: steps with their time on standard error, results on standard output."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

LINE_SECONDS = 5.0


def say(text: str) -> None:
    """A line for the person who waits; never part of a command's result."""
    print(text, file=sys.stderr, flush=True)


def warn(text: str) -> None:
    say(f"warning: {text}")


@contextmanager
def step(title: str) -> Iterator[None]:
    """Announce work that takes a while and say how long it took."""
    say(f"→ {title}")
    start = time.monotonic()
    try:
        yield
    except BaseException:
        say(f"✗ {title} ({time.monotonic() - start:.1f} s)")
        raise
    say(f"✓ {title} ({time.monotonic() - start:.1f} s)")


def human_bytes(count: float) -> str:
    """A size in decimal units, as disks and registries count.

    >>> human_bytes(0), human_bytes(999), human_bytes(89_398), human_bytes(3_732_811_861)
    ('0 B', '999 B', '89.4 kB', '3.73 GB')
    """
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            digits = 0 if unit == "B" else 2 if unit == "GB" else 1
            return f"{count:.{digits}f} {unit}"
        count /= 1000
    raise AssertionError("unreachable")


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table on standard output."""
    import rich.box  # noqa: PLC0415 - rich costs 50 ms that a no-op build does not spend
    import rich.console  # noqa: PLC0415
    import rich.table  # noqa: PLC0415
    import rich.text  # noqa: PLC0415

    grid = rich.table.Table(title=title, title_justify="left", box=rich.box.SIMPLE_HEAD)
    for column in columns:
        grid.add_column(column, overflow="fold")
    for row in rows:
        grid.add_row(*(rich.text.Text(cell) for cell in row))
    width = None if sys.stdout.isatty() else 140
    rich.console.Console(width=width).print(grid)


def outline(lines: Sequence[tuple[int, str]]) -> None:
    """A tree on standard output, from (depth, text) lines, the lowest depth 0."""
    import rich.console  # noqa: PLC0415
    import rich.text  # noqa: PLC0415
    import rich.tree  # noqa: PLC0415

    root = rich.tree.Tree("", hide_root=True)
    above = [root]
    for depth, text in lines:
        del above[depth + 1 :]
        above.append(above[-1].add(rich.text.Text(text, overflow="fold")))
    width = None if sys.stdout.isatty() else 140
    rich.console.Console(width=width).print(root)


@contextmanager
def transfer(title: str, total: int) -> Iterator[Callable[[int], None]]:
    """Progress of bytes: a bar on a terminal, a line every few seconds elsewhere. Gives the function to call."""
    if sys.stderr.isatty():
        import rich.console  # noqa: PLC0415
        import rich.progress as bars  # noqa: PLC0415

        columns = (
            bars.TextColumn("{task.description}"), bars.BarColumn(), bars.DownloadColumn(),
            bars.TransferSpeedColumn(), bars.TimeRemainingColumn(),
        )  # fmt: skip
        with bars.Progress(*columns, console=rich.console.Console(stderr=True)) as progress:
            task = progress.add_task(title, total=total)
            yield lambda count: progress.update(task, advance=count)
        return
    yield _Lines(title, total)


class _Lines:
    """Progress as lines, for logs."""

    def __init__(self, title: str, total: int) -> None:
        self.title = title
        self.total = total
        self.done = 0
        self.lock = threading.Lock()
        self.next = time.monotonic() + LINE_SECONDS

    def __call__(self, count: int) -> None:
        with self.lock:
            self.done += count
            if time.monotonic() >= self.next:
                self.next = time.monotonic() + LINE_SECONDS
                say(f"  {self.title}: {human_bytes(self.done)} of {human_bytes(self.total)}")
