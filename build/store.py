"""The content-addressed store: verified files by sha256, made things by id, shared by every clone of a user.

Layout below the store's root: ``blobs/sha256/ab/abcd…`` (verified bytes), ``partial/`` (downloads that were cut),
``trees/<id>/``, ``roots/<id>/``, ``rootfs/<id>.tar``, ``contexts/<id>/``, ``engine/``, ``locks/``, ``scratch/``.
A name without a scratch prefix is whole: everything is made under ``scratch/`` and renamed into place.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import fcntl
import json
import os
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from build.canonical import file_sha256
from build.console import human_bytes, say
from build.errors import BusyError, HashMismatchError, SpaceError

WAIT_SECONDS = 3600.0
USE = "use.lock"  # shared by all that work with the store, alone for who cleans it
_HELD: dict[Path, int] = {}  # open as long as we live


def blob(store: Path, sha256: str) -> Path:
    """Where the bytes with this hex sha256 are kept, whether or not they are there."""
    return store / "blobs" / "sha256" / sha256[:2] / sha256


def has(store: Path, sha256: str, size: int) -> bool:
    """Whether the store holds this file. The size is compared; the bytes were verified when they came in."""
    try:
        return os.stat(blob(store, sha256)).st_size == size
    except FileNotFoundError:
        return False


def admit(store: Path, verified: Path, sha256: str) -> None:
    """Move a file of this file system, whose bytes were compared with ``sha256``, into its place."""
    target = blob(store, sha256)
    target.parent.mkdir(parents=True, exist_ok=True)
    verified.chmod(0o644)
    os.replace(verified, target)


def verify(store: Path, file: str, sha256: str) -> None:
    """Read a stored file again and compare; a bad one is removed before the error is raised."""
    path = blob(store, sha256)
    found = file_sha256(path)
    if found != sha256:
        path.unlink(missing_ok=True)
        raise HashMismatchError(
            f"{file} in the store is not what was locked; it was removed",
            why=f"expected sha256 {sha256}, found {found}",
            todo="run the same command again: it fetches the file anew",
        )


def verify_all(store: Path, files: Iterable[tuple[str, str]]) -> None:
    """:func:`verify` for many (file name, sha256) pairs, in parallel; the first bad one ends it."""
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for job in [pool.submit(verify, store, file, sha256) for file, sha256 in files]:
            job.result()


def content(store: Path) -> tuple[int, int]:
    """Bytes and number of the blobs."""
    sizes = [path.stat().st_size for path in _blobs(store)]
    return sum(sizes), len(sizes)


def verify_content(store: Path, progress: Callable[[int], None]) -> tuple[str, ...]:
    """Read every blob again, in parallel; those whose bytes are not their name's are removed and named."""

    def check(path: Path) -> str | None:
        try:
            size, found = path.stat().st_size, file_sha256(path)
        except FileNotFoundError:  # cleaned away meanwhile
            return None
        progress(size)
        if found == path.name:
            return None
        path.unlink(missing_ok=True)
        return path.name

    largest_first = sorted(_blobs(store), key=lambda path: -path.stat().st_size)
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        return tuple(sorted(name for name in pool.map(check, largest_first) if name))


def _blobs(store: Path) -> list[Path]:
    return [path for path in (store / "blobs" / "sha256").glob("*/*") if path.is_file()]


@contextlib.contextmanager
def scratch(store: Path, name: str) -> Iterator[Path]:
    """A folder in the store (so that a rename into place is atomic), gone afterwards whatever happens."""
    parent = store / "scratch"
    parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{name}-{os.getpid()}-", dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def is_held(store: Path, name: str) -> bool:
    """Whether a process holds the lock ``name`` at this moment."""
    return is_locked(store / "locks" / f"{name}.lock")


def is_locked(path: Path) -> bool:
    """Whether a process holds this lock file (flock) at this moment."""
    try:
        with open(path, "rb") as stream:
            fcntl.flock(stream.fileno(), fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def in_use(entry: Path) -> bool:
    """Whether an entry of ``scratch/`` or ``partial/`` is a living process's (by the process id in its name, its lock).

    >>> in_use(Path(f"scratch/tree-{os.getpid()}-abc")), in_use(Path("partial/0a1b"))
    (True, False)
    """
    if entry.parent.name == "partial":
        return is_held(entry.parent.parent, f"fetch-{entry.name[:16]}")
    if entry.parent.name != "scratch":
        return False
    parts = entry.name.split("-")
    return any(part.isdigit() and os.path.exists(f"/proc/{part}") for part in parts)


@contextlib.contextmanager
def locked(
    store: Path, name: str, *, wait: float = WAIT_SECONDS, transient: bool = False, stop: threading.Event | None = None
) -> Iterator[None]:
    """Hold the store's lock ``name``; a second process waits and says for whom, at most ``wait`` seconds.

    The kernel drops the lock when its holder dies (flock), so that no stale lock is ever left. ``transient``: the
    file is removed at a good end; only for work that whoever comes next finds done and looks for first. ``stop``:
    once set, waiting ends as if the time were over.
    """
    folder = store / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.lock"
    with open(path, "a+", encoding="utf-8") as stream:
        _acquire(stream.fileno(), path, name, wait, stop)
        stream.truncate(0)
        stream.write(json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": int(time.time())}))
        stream.flush()
        try:
            yield
            if transient:
                path.unlink(missing_ok=True)
        finally:
            stream.truncate(0)
            stream.flush()


def _acquire(descriptor: int, path: Path, name: str, wait: float, stop: threading.Event | None) -> None:
    deadline = time.monotonic() + wait
    told = False
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline or (stop is not None and stop.is_set()):
                raise BusyError(
                    f"another run holds '{name}'",
                    why=f"{holder(path)}; waited {wait:.0f} s",
                    todo="let it end (or end it), then run the same command again",
                ) from None
            if not told:
                say(f"waiting for '{name}', held by {holder(path)}")
                told = True
            time.sleep(0.2)
        else:
            return


def hold(store: Path) -> None:
    """Say, until this process ends, that it works with the store: what it found there stays (see :func:`alone`).

    A store that cannot be written to is left as it is: whether that matters, the work itself finds out.
    """
    place = store.absolute()
    if place in _HELD:
        return
    with contextlib.suppress(OSError):
        (place / "locks").mkdir(parents=True, exist_ok=True)
        _HELD[place] = os.open(place / "locks" / USE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        fcntl.flock(_HELD[place], fcntl.LOCK_SH)  # waits for a cleaner, which takes seconds


@contextlib.contextmanager
def alone(store: Path) -> Iterator[None]:
    """Nobody else works with the store meanwhile; :class:`BusyError` where somebody does."""
    (store / "locks").mkdir(parents=True, exist_ok=True)
    with open(store / "locks" / USE, "ab") as stream:
        try:
            fcntl.flock(stream.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _working("a run works with it") from None
        others = (path for path in sorted((store / "locks").glob("*.lock")) if path.name != USE)
        if held := next((path for path in others if is_locked(path)), None):
            raise _working(f"'{held.stem}' is held by {holder(held)}")
        yield


def _working(why: str) -> BusyError:
    return BusyError("another run works with this store", why=why, todo="let it end, then run the same command again")


def holder(path: Path) -> str:
    """Who holds a lock file, in words."""
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
        return f"process {known['pid']} on {known['host']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "a process that did not say who it is"


def require_space(folder: Path, needed: int, purpose: str, *, todo: str = "") -> None:
    """An error when the file system of ``folder`` has fewer than ``needed`` bytes free.

    ``todo``: the advice, where the folder is not the store.
    """
    there = folder
    while not there.exists():
        there = there.parent
    free = shutil.disk_usage(there).free
    if free < needed:
        raise SpaceError(
            f"not enough disk space for {purpose}",
            why=f"needs {human_bytes(needed)}, {human_bytes(free)} are free on the file system of {there}",
            todo=todo
            or "free some space (nox -s clean says what it can drop), or keep the store elsewhere (--store DIR)",
        )
