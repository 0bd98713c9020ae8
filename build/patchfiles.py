"""Write patch files anew: all of them or none, whatever ends the run.

All that is to be written lies in a hidden folder beside the series, with a plan, before the first file is replaced. A
run that is killed among the replacements leaves that folder, and the next one goes on where it ended.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from build import processes
from build.errors import PatchError
from build.series import FOLDER

ASIDE = ".refresh-"
PLAN = "plan.json"

_OURS = re.compile(rf"{re.escape(ASIDE)}(\d+)-")


def write(repo: Path, files: Mapping[Path, bytes]) -> None:
    """Replace files that are there, by their path in the repository; no signal interrupts that.

    Where something else does (a full disk, say), the next run's :func:`finish` goes on.
    """
    if not files:
        return
    aside = Path(tempfile.mkdtemp(prefix=f"{ASIDE}{os.getpid()}-", dir=repo / FOLDER))
    try:
        (aside / ".gitignore").write_text("*\n", encoding="utf-8")
        for number, (path, data) in enumerate(files.items()):
            (aside / str(number)).write_bytes(data)
            shutil.copymode(repo / path, aside / str(number))
        rows = [(str(path), _sha256(repo / path), hashlib.sha256(data).hexdigest()) for path, data in files.items()]
        (aside / "partial").write_text(json.dumps(rows), encoding="utf-8")
        os.replace(aside / "partial", aside / PLAN)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    with _undisturbed():
        for number, path in enumerate(files):
            os.replace(aside / str(number), repo / path)
    shutil.rmtree(aside, ignore_errors=True)


def finish(repo: Path) -> tuple[Path, ...]:
    """Go on where killed runs ended, and remove what they left; the files that were replaced.

    To be called by whoever alone may write the patches. Raises :class:`PatchError` where somebody changed one of the
    files since: what it should be, only a person knows.
    """
    done: list[Path] = []
    for aside in sorted((repo / FOLDER).glob(f"{ASIDE}*")):
        ours = _OURS.match(aside.name)
        if ours and aside.is_dir() and (int(ours[1]) == os.getpid() or not processes.arguments(int(ours[1]))):
            done += _go_on(repo, aside)
            shutil.rmtree(aside, ignore_errors=True)
    return tuple(done)


def _go_on(repo: Path, aside: Path) -> list[Path]:
    try:
        rows = json.loads((aside / PLAN).read_text(encoding="utf-8"))
    except FileNotFoundError:  # it had not begun
        return []
    now = [_sha256(repo / path) for path, _, _ in rows]
    if all(found == before for found, (_, before, _) in zip(now, rows, strict=True)):
        return []
    if others := [path for found, (path, *known) in zip(now, rows, strict=True) if found not in known]:
        raise PatchError(
            f"a refresh was cut short, and since then {', '.join(others)} changed",
            why=f"what it was to write is in {aside}: {', '.join(f'{n} is {row[0]}' for n, row in enumerate(rows))}",
            todo=f"make of these patches what they should be, then: rm -r {aside}",
        )
    left = [number for number, (found, (_, before, _)) in enumerate(zip(now, rows, strict=True)) if found == before]
    with _undisturbed():
        for number in left:
            os.replace(aside / str(number), repo / rows[number][0])
    return [Path(rows[number][0]) for number in left]


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


@contextmanager
def _undisturbed() -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
