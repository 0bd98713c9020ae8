"""Write an exported folder: what one target needs, copied out of the store and verified on the way.

Each file is written under ``scratch/`` and renamed when its bytes are on the disk: a name is whole, and a second run
copies only what is missing. The manifest of a target comes last. Nothing that is there is ever removed.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import hashlib
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from build import exported, gitsource, lockform
from build import store as stores
from build.canonical import file_sha256
from build.console import human_bytes, step, transfer
from build.download import Download
from build.errors import StoreError, UsageError
from build.models import GitSource, Settings

SCHEMA = 1
SUMS = "SHA256SUMS"
FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+!-]*")
HEADER = "# Written by `nox -s fetch -- --export`. What this folder was made for; README.txt says how to use it.\n"
WORKERS = 4
SLACK = 1 << 16  # bytes for each file: clusters of a large stick
README = """\
Files for building {target} of spark-runtime on a machine without a network.

For: building machines {machines}, with Python {pythons}.
It fits a clone of the repository in which
  sha256sum lock/{target}.toml   says {lock}
  sha256sum lock/python.txt   says {tools}
and gives the image with the chain id
  {chain_id}

Carry this folder and such a clone over (as one file: git bundle create FILE HEAD; there: git clone FILE). Then, in
the clone, with Python {pythons} and root or sudo, and this folder wherever it is there:

  export SPARK_RUNTIME_EXPORTED=/where/this/folder/is
  ./nox -s build -- --target {target} --offline

Nothing here is trusted: every file is compared with the hash that the clone's lock states, when it is taken into the
store there. To look for damage from the transport: sha256sum --check --quiet SHA256SUMS, in this folder.

It may be read-only, and is not needed any more once `./nox -s fetch -- --target {target} --offline` has ended well.
"""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a folder was made for. ``lock``, ``tools``: sha256 of the target's lock and of ``lock/python.txt``."""

    target: str
    chain_id: str
    lock: str
    tools: str
    machines: tuple[str, ...]
    pythons: tuple[str, ...]


def facts(repo: Path, target: str, chain_id: str, machines: Sequence[str], pythons: Sequence[str]) -> Facts:
    """The facts of an export from this repository as it stands."""
    lock, tools = ((repo / "lock" / name).read_bytes() for name in (f"{target}.toml", "python.txt"))
    return Facts(
        target=target,
        chain_id=chain_id,
        lock=hashlib.sha256(lock).hexdigest(),
        tools=hashlib.sha256(tools).hexdigest(),
        machines=tuple(machines),
        pythons=tuple(pythons),
    )


def places(files: Sequence[Download], wheels: Sequence[Download]) -> dict[str, Download]:
    """Path in a folder → the file: ``files`` by hash as in a store, the tools' ``wheels`` by name for pip."""
    if strange := [item.file for item in wheels if not FILE_NAME.fullmatch(item.file)]:
        raise UsageError(
            f"the index names a file that cannot be written: {strange[0]!r}",
            why="the name of a wheel has letters, digits and ._+-! only",
            todo="use another index",
        )
    by_hash = {str(stores.blob(Path(), item.sha256)): item for item in files}
    return by_hash | {f"{exported.PYTHON}/{item.file}": item for item in wheels}


def require_folder(store: Path, folder: Path) -> None:
    """An error for a folder that is the store, or in it."""
    if folder.resolve().is_relative_to(store.resolve()):
        raise UsageError(f"{folder} is in the store itself", todo="name a folder elsewhere, on the medium to carry")


def write(
    settings: Settings, folder: Path, wanted: Mapping[str, Download], sources: Sequence[GitSource], known: Facts
) -> int:
    """Make ``folder`` hold all that ``wanted`` names (:func:`places`) and the trees of ``sources``, and say what it is.

    The bytes of the files that were copied; each must be in the store. Raises ``SpaceError`` before anything is
    copied, and ``HashMismatchError`` for a damaged file of the store, which is removed there.
    """
    store = settings.store
    name = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:16]
    with stores.locked(store, f"export-{name}", transient=True):
        folder.mkdir(parents=True, exist_ok=True)
        _clear_up(folder)
        lacking = {path: item for path, item in wanted.items() if not _is_there(folder / path, item)}
        total = sum(item.size for item in lacking.values())
        purpose = f"{len(lacking)} files to export"
        todo = "free some space there, or name a larger medium"
        stores.require_space(folder, total + SLACK * len(lacking), purpose, todo=todo)
        title = f"export {len(lacking)} of {len(wanted)} files, {human_bytes(total)}"
        with step(title), transfer("export", total) as progress:
            _copy_all(store, folder, lacking, progress)
        packed = [_pack(settings, folder, source) for source in sources]
        _describe(folder, wanted, packed, known)
    return total


def _is_there(path: Path, item: Download) -> bool:
    return path.is_file() and not path.is_symlink() and path.stat().st_size == item.size


def _clear_up(folder: Path) -> None:
    """Remove what killed exports left."""
    for entry in sorted((folder / "scratch").glob("*")):
        if not stores.in_use(entry):
            shutil.rmtree(entry, ignore_errors=True)


def _copy_all(store: Path, folder: Path, lacking: Mapping[str, Download], progress: exported.Progress) -> None:
    if not lacking:
        return

    def copy(path: str, item: Download) -> None:
        partial = scratch / path.replace("/", "-")  # by place: a wheel may be wanted in two
        try:
            exported.copy(stores.blob(store, item.sha256), partial, item.sha256, item.size, progress)
            with open(partial, "rb") as written:
                os.fsync(written.fileno())
        except exported.Unfit as unfit:
            stores.verify(store, item.file, item.sha256)
            raise StoreError(f"{item.file} in the store cannot be used", why=str(unfit)) from unfit
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        os.replace(partial, folder / path)

    with stores.scratch(folder, "export") as scratch, concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
        jobs = [pool.submit(copy, path, item) for path, item in lacking.items()]
        try:
            for job in concurrent.futures.as_completed(jobs):
                job.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    with contextlib.suppress(OSError):  # another store's export has its own in there
        (folder / "scratch").rmdir()


def _pack(settings: Settings, folder: Path, source: GitSource) -> str:
    """The place in the folder of a source's packed tree, written anew unless it is as an earlier export listed it."""
    place = f"{exported.SOURCES}/{gitsource.tree_id(source)}.tar"
    if not (folder / place).is_file() or _listed(folder).get(place) != file_sha256(folder / place):
        gitsource.pack(settings, source, folder)
    return place


def _listed(folder: Path) -> dict[str, str]:
    """Path → sha256, as ``SHA256SUMS`` of a folder has it."""
    lines = (folder / SUMS).read_text(encoding="utf-8").splitlines() if (folder / SUMS).is_file() else []
    return {path: sha256 for sha256, _, path in (line.partition("  ") for line in lines)}


def _describe(folder: Path, wanted: Mapping[str, Download], packed: Sequence[str], known: Facts) -> None:
    """Write what the folder is for, for people and for sha256sum; what an earlier export wrote stays listed."""
    sums = {path: item.sha256 for path, item in wanted.items()} | {path: file_sha256(folder / path) for path in packed}
    for path, sha256 in _listed(folder).items():
        if path not in sums and (folder / path).is_file():
            sums[path] = sha256
    said = {**asdict(known), "files": len(wanted), "bytes": sum(item.size for item in wanted.values())}
    said |= {"sources": list(packed)}
    said |= {"machines": list(known.machines), "pythons": list(known.pythons)}
    readme = README.format(
        target=known.target, chain_id=known.chain_id, lock=known.lock, tools=known.tools,
        machines=", ".join(known.machines), pythons=" or ".join(known.pythons),
    )  # fmt: skip
    lockform.write(folder / SUMS, "".join(f"{sha256}  {path}\n" for path, sha256 in sorted(sums.items())))
    lockform.write(folder / "README.txt", readme)
    lockform.write(folder / f"export-{known.target}.toml", lockform.text(HEADER, SCHEMA, said))
