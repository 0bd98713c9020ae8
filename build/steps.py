"""What the stories share: a target with its locks, and the steps that several verbs take with it.

Above the modules and below ``build/commands``: it composes them, and holds no mechanism of its own.
"""

from __future__ import annotations

import os
import tomllib
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from build import deblock, debs, download, gitsource, host, index, lockfile, madewheel, patched, roots, series, store
from build.console import human_bytes, step, transfer
from build.download import Download
from build.errors import LockError, UnresolvedError
from build.intent import FILE, Intent, read_intent, target_checksum
from build.models import DebSet, GitSource, Lock, Settings, SourceArchive, Unresolved, Wheel
from build.tables import TargetIntent

LABEL = "spark-runtime"
PythonFile = Wheel | SourceArchive
GONE = "look for another index that has them, name an exported folder (--exported DIR), or `nox -s lock`"
MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}  # Debian's name → the kernel's


@dataclass(frozen=True, kw_only=True)
class Job:
    """A target, what its locks say, and the settings of this run."""

    settings: Settings
    intent: Intent
    name: str
    target: TargetIntent
    lock: Lock
    series: series.Series
    rootfs: DebSet
    builders: tuple[DebSet, ...]
    tool_roots: tuple[DebSet, ...]
    compilers: tuple[DebSet, ...] = ()

    @property
    def environment(self) -> index.Environment:
        return index.Environment(platform=self.lock.platform, python=self.lock.python)

    @property
    def builder(self) -> DebSet:
        """The builder root of this machine's architecture."""
        return _of(self.builders, roots.host_architecture())

    @property
    def tools(self) -> DebSet:
        """The tools root of this machine's architecture."""
        return _of(self.tool_roots, roots.host_architecture())

    @property
    def compiler(self) -> DebSet:
        """The compile root of this machine's architecture; only in the source lane."""
        return _of(self.compilers, roots.host_architecture())

    @property
    def uv(self) -> Wheel:
        """The uv that runs in this machine's builder root."""
        return self.uv_of(roots.host_architecture())

    def uv_of(self, machine: str) -> Wheel:
        """The uv that runs in the builder root of a machine, named as Debian names it."""
        return next(wheel for wheel in self.lock.tools if MACHINES[machine] in wheel.file)

    def debsets(self, machines: Sequence[str]) -> tuple[DebSet, ...]:
        """Every set of Debian packages that such machines build the target from."""
        return (
            *(_of(self.tool_roots, machine) for machine in machines),
            *(_of(self.builders, machine) for machine in machines),
            *(_of(self.compilers, machine) for machine in machines if self.compilers),
            self.rootfs,
        )


def _of(debsets: Sequence[DebSet], machine: str) -> DebSet:
    return next(item for item in debsets if item.arch == machine)


def load(settings: Settings, name: str | None, *, changed: bool = False) -> Job:
    """Read the intent and every lock of a target; a stale, edited or missing one is an error.

    ``changed``: the series may be another than the locked one, and the caller sees to that (:func:`require_locked`).
    From here on nothing is cleaned out of the store until this process ends (:func:`build.store.hold`).
    """
    intent = read_intent(settings.repo)
    chosen, target = intent.target(name)
    lock = lockfile.read_lock(settings.repo, chosen, intent=target_checksum(intent, chosen))
    sets = deb_sets(settings.repo)
    found = series.read(settings.repo, target.series, tuple(target.components))
    store.hold(settings.store)
    job = Job(
        settings=settings,
        intent=intent,
        name=chosen,
        target=target,
        lock=lock,
        series=found,
        rootfs=sets[target.rootfs, "arm64"],
        builders=tuple(sets["builder", arch] for arch in MACHINES),
        tool_roots=tuple(sets["tools", arch] for arch in MACHINES),
        compilers=tuple(sets["compile", arch] for arch in MACHINES) if target.native is not None else (),
    )
    if not changed:
        require_locked(job)
    return job


def require_locked(job: Job) -> None:
    """``LockError`` where the series is not the one that the lock was made with."""
    if job.series.refs != job.lock.patches:
        raise LockError(
            f"lock/{job.name}.toml is stale",
            why=f"patches/{job.target.series} is not what it was when the lock was made",
            todo=f"run `nox -s lock -- --target {job.name}`",
        )


def deb_sets(repo: Path) -> dict[tuple[str, str], DebSet]:
    """(root, architecture) → its locked .debs, each lock fresh."""
    tables = tomllib.loads((repo / FILE).read_text(encoding="utf-8"))
    found = {}
    for request in debs.requests(tables):
        path = deblock.path_of(repo, request.root, request.arch)
        locked = deblock.read(path)
        deblock.require_fresh(path, locked, request.intent)
        found[request.root, request.arch] = locked.debset
    return found


# Fetching


def fetch_python(settings: Settings, files: Sequence[PythonFile], environments: Iterable[index.Environment]) -> int:
    """Bring locked wheels and source archives into the store; the bytes that came in."""
    wanted = {item.sha256: item for item in files}
    plain = [Download(file=item.file, sha256=item.sha256, size=item.size, urls=()) for item in wanted.values()]
    taken = _take_in(settings, "wheels", plain)
    lacking = download.missing(settings.store, plain)
    if not lacking or settings.offline:
        download.fetch(settings.store, lacking, folders=settings.exported, offline=settings.offline)
        return taken
    located = locate([wanted[item.sha256] for item in lacking], environments)
    return taken + _transfer(settings, "wheels", located)


def locate(files: Sequence[PythonFile], environments: Iterable[index.Environment]) -> list[Download]:
    """The files with their places on the Python index."""
    pins = {(item.name, item.version) for item in files}
    places: dict[str, index.Found] = {}
    with step(f"ask the Python index where {len(files)} files are"):
        for environment in environments:
            places |= index.locate(pins, environment)
    return [
        Download(
            file=item.file, sha256=item.sha256, size=item.size, urls=_urls(places.get(item.sha256)), gone=GONE
        )
        for item in files
    ]  # fmt: skip


def _take_in(settings: Settings, what: str, files: Sequence[Download]) -> int:
    """Take what exported folders have, before anybody is asked where the rest is."""
    lacking = download.missing(settings.store, files)
    if not lacking or not settings.exported:
        return 0
    total = sum(item.size for item in lacking)
    title = f"take {what} from {', '.join(map(str, settings.exported))}"
    with step(title), transfer(title, total) as progress:
        return download.take_in(settings.store, lacking, settings.exported, progress=progress)


def _transfer(settings: Settings, what: str, located: Sequence[Download]) -> int:
    total = sum(item.size for item in located)
    with step(f"fetch {len(located)} {what}, {human_bytes(total)}"), transfer(f"fetch {what}", total) as progress:
        return download.fetch(settings.store, located, progress=progress)


def _urls(found: index.Found | None) -> tuple[str, ...]:
    return (found.url,) if found else ()


def python_files(job: Job, machines: Sequence[str] = ()) -> tuple[PythonFile, ...]:
    """Every locked wheel and source archive that such machines (default: this one) need for the target."""
    chosen = machines or this_machine()
    archives = tuple(item.archive for item in job.lock.components if item.archive is not None)
    wheels = tuple(wheel for wheel in job.lock.wheels if not wheel.made)
    return (*wheels, *archives, *(job.uv_of(machine) for machine in chosen), *native_files(job, chosen))


def native_files(job: Job, machines: Sequence[str]) -> tuple[Wheel, ...]:
    """What a native build takes in besides: CMake and what it needs, compilers for x86-64, substitutes."""
    native = job.lock.native
    if native is None:
        return ()
    return (
        *native.tools,
        *(native.hosts if "amd64" in machines else ()),
        *(item.wheel for item in native.substitutes),
    )


def this_machine() -> tuple[str]:
    """This machine's architecture, as machines are named for :func:`fetch_all`."""
    return (roots.host_architecture(),)


def environments(job: Job, machines: Sequence[str] = ()) -> tuple[index.Environment, ...]:
    """What the files of :func:`python_files` are for: the image, and the machines' builder roots."""
    builders = (builder_environment(MACHINES[machine], job.lock.python) for machine in machines or this_machine())
    return (job.environment, *builders)


def builder_environment(machine: str, python: str) -> index.Environment:
    """What wheels for a builder root are chosen for: trixie's glibc is newer than 2.39."""
    return index.Environment(platform=f"{machine}-manylinux_2_39", python=python)


def uv_program(settings: Settings, wheel: Wheel) -> Path:
    """The uv program out of its locked wheel, which is compared with the lock first; kept beside the roots."""
    made = settings.store / "roots" / f"uv-{wheel.sha256}"
    if not made.is_file():
        store.verify(settings.store, wheel.file, wheel.sha256)
        with (
            store.scratch(settings.store, "uv") as folder,
            zipfile.ZipFile(store.blob(settings.store, wheel.sha256)) as archive,
        ):
            name = next(n for n in archive.namelist() if n.endswith(".data/scripts/uv"))
            program = Path(archive.extract(name, folder))
            program.chmod(0o755)
            made.parent.mkdir(parents=True, exist_ok=True)
            os.replace(program, made)
    return made


def require_resolved(job: Job) -> None:
    """``UnresolvedError``, with all that is open, where the lock leaves open what a build of the target takes in."""
    if lacking := open_and_needed(job):
        raise UnresolvedError(
            f"{job.name} cannot be built yet: its lock leaves {len(lacking)} of its sources open",
            why="\n       ".join(f"{item.what}: {item.wanted} ({item.why})" for item in lacking),
            todo=f"run `nox -s lock -- --target {job.name}` where these can be reached, and commit the lock",
        )


def open_and_needed(job: Job) -> tuple[Unresolved, ...]:
    """What the lock leaves open and a build of the target takes in."""
    needed = {f"externals.{name}" for name in job.target.externals} if job.target.native is not None else set()
    needed |= {f"components.{item.name}.git" for item in job.lock.components if item.archive is None}
    return tuple(item for item in job.lock.unresolved if item.what in needed)


def fetch_all(job: Job, machines: Sequence[str] = ()) -> int:
    """Everything that a build of the target on such machines (default: this one) needs, into the store; the bytes."""
    require_resolved(job)
    fetch_sources(job)
    count = fetch_python(job.settings, python_files(job, machines), environments(job, machines))
    madewheel.ensure(job.settings, job.lock)
    return count + sum(host.fetch_debs(job.settings, item) for item in job.debsets(machines or this_machine()))


def all_files(job: Job, machines: Sequence[str] = ()) -> tuple[Download, ...]:
    """Every locked file that :func:`fetch_all` brings, each once, without a place."""
    debs = (deb for debset in job.debsets(machines or this_machine()) for deb in debset.debs)
    files = {item.sha256: item for item in (*python_files(job, machines), *debs)}
    return tuple(Download(file=item.file, sha256=item.sha256, size=item.size, urls=()) for item in files.values())


def sources(job: Job) -> tuple[GitSource, ...]:
    """The trees that a build takes from git: components of which no archive is locked, and external sources."""
    components = (item.git for item in job.lock.components if item.archive is None)
    return (*(source for source in components if source is not None), *(item.source for item in job.lock.externals))


def fetch_sources(job: Job) -> None:
    """Those trees, with their submodules, into the store."""
    for source in sources(job):
        gitsource.ensure(job.settings, source.url, source)


def missing_files(job: Job) -> tuple[Download, ...]:
    """The locked files that the store lacks."""
    return download.missing(job.settings.store, all_files(job))


def missing_bytes(job: Job) -> int:
    """Their sizes, added up."""
    return sum(item.size for item in missing_files(job))


# Patched files


def patched_files(job: Job, *, git: bool = False) -> dict[str, Path]:
    """Installed path → the patched file, for the whole series; every hash is the lock's."""
    return patched.locked_files(job.settings, job.lock, job.series, git=git)


def has_patched_files(job: Job) -> bool:
    """Whether the store keeps the patched files of the series already."""
    return patched.is_kept(job.settings, job.lock, job.series)
