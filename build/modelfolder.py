"""A model's folder: the files of one revision of a repository, and beside them what is known of them.

``<models>/<owner>--<name>-<revision, 12 digits>/`` has the files as the repository names them: plain ones, no links, so
that a container can mount it as it is and no byte is on the disk twice. ``.spark-runtime/`` in it has ``model.json``
(:class:`State`, whole or not), ``partial/`` (downloads that were cut) and ``locks/``. Such a folder can be moved to
another disk or machine as it is.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from build import store
from build.canonical import digest
from build.errors import ModelError

VARIABLE = "SPARK_RUNTIME_MODELS"
OURS = ".spark-runtime"
SCHEMA = 1

Progress = Callable[[int], None]  # told bytes, from several threads


@dataclass(frozen=True, kw_only=True)
class Model:
    """A revision (a commit, 40 hex digits) of a repository (``owner/name``): its files can never change."""

    repo: str
    revision: str

    @property
    def name(self) -> str:
        """The folder's name.

        >>> Model(repo="some/model-7B", revision="d663e8fb16809f6619000648b187b257249ed824").name
        'some--model-7B-d663e8fb1680'
        """
        return f"{self.repo.replace('/', '--')}-{self.revision[:12]}"

    def __str__(self) -> str:
        return f"{self.repo} at {self.revision}"


@dataclass(frozen=True, kw_only=True)
class Item:
    """A file of a revision: its path in the repository, bytes, and ``sha256:…`` or, where git keeps it, ``blob:…``."""

    path: str
    size: int
    digest: str


@dataclass(frozen=True, kw_only=True)
class State:
    """What a folder is to hold. ``whole``: all of it is there, and every byte was compared.

    ``verified``: path → time (mtime, ns) of a file that was compared while others were still missing.
    """

    model: Model
    files: tuple[Item, ...]
    whole: bool = False
    verified: Mapping[str, int] = field(default_factory=dict)

    @property
    def bytes(self) -> int:
        return sum(item.size for item in self.files)


def root(store_root: Path, named: Path | None) -> Path:
    """Where models are kept: the named folder, else ``$SPARK_RUNTIME_MODELS``, else ``models/`` in the store."""
    if named is None and (told := os.environ.get(VARIABLE)):
        named = Path(told).expanduser()
    return (named or store_root / "models").absolute()


def read(folder: Path, model: Model) -> State | None:
    """What is known of a folder, None where nothing is. Raises :class:`ModelError` where it is another model's."""
    path = folder / OURS / "model.json"
    try:
        told = json.loads(path.read_bytes())
        if int(told["schema"]) > SCHEMA:
            raise ModelError(f"{path} was written by a newer version of this project", todo="update your clone")
        state = State(
            model=Model(**told["model"]), files=tuple(Item(**item) for item in told["files"]),
            whole=told["whole"] is True, verified=dict(told["verified"]),
        )  # fmt: skip
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"{path} cannot be read",
            why=f"{type(error).__name__}: {error}",
            todo="remove that file and run `nox -s model` again: what is there is read, and not fetched again",
        ) from error
    if state.model != model:
        raise ModelError(
            f"{folder} holds another model",
            why=f"it holds {state.model}; asked for was {model}",
            todo="name another folder (--models), or move this one away",
        )
    return state


def write(folder: Path, state: State) -> None:
    """Write what is known, atomically; :attr:`State.whole` only after all else is on the disk."""
    ours = folder / OURS
    ours.mkdir(parents=True, exist_ok=True)
    made = {"schema": SCHEMA, **asdict(state)}
    part = ours / f"model.json.{os.getpid()}"
    with open(part, "w", encoding="utf-8") as stream:
        json.dump(made, stream, indent=1)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(part, ours / "model.json")


def reopened(folder: Path, state: State) -> State:
    """The state of a whole folder of which files got lost: those that are there stay compared."""
    if not state.whole:
        return state
    lost = {item.path for item in lacking(folder, state)}
    times = {item.path: os.lstat(folder / item.path).st_mtime_ns for item in state.files if item.path not in lost}
    return replace(state, whole=False, verified=times)


def lacking(folder: Path, state: State) -> tuple[Item, ...]:
    """The files that are not there with their size. A link is not there: a container could not follow it."""
    return tuple(item for item in state.files if not has(folder, item))


def has(folder: Path, item: Item) -> bool:
    """Whether a file is there with its size."""
    try:
        found = os.lstat(folder / item.path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return stat.S_ISREG(found.st_mode) and found.st_size == item.size


def compared(folder: Path, state: State, item: Item) -> bool:
    """Whether a file is there and its bytes were compared since it was last written."""
    return has(folder, item) and state.verified.get(item.path) == os.lstat(folder / item.path).st_mtime_ns


def finish(folder: Path, state: State) -> None:
    """Note that all of it is there and was compared; what is left of cut downloads goes."""
    shutil.rmtree(folder / OURS / "partial", ignore_errors=True)
    write(folder, replace(state, whole=True, verified={}))


def free(folder: Path) -> int:
    """Bytes that are free where the folder is, or will be."""
    there = folder
    while not there.exists():
        there = there.parent
    return shutil.disk_usage(there).free


def partial(folder: Path, item: Item) -> Path:
    """Where the file's bytes come in. By path too: two files may have the same bytes, and come in at once."""
    return folder / OURS / "partial" / digest([item.path, item.digest])[:32]


def locked(folder: Path) -> AbstractContextManager[None]:
    """Hold the folder: one run changes it at a time."""
    return store.locked(folder / OURS, "model")


def drop(folder: Path, state: State, items: tuple[Item, ...]) -> None:
    """Remove files that are damaged, and note that the folder is not whole; who fetches brings them again."""
    for item in items:
        (folder / item.path).unlink(missing_ok=True)
    write(folder, reopened(folder, state))
