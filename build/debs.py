"""What a root's packages resolve to: apt's own resolver, on the archive as it is or as it stood at an instant."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from build import apt
from build.canonical import digest
from build.errors import ResolveError
from build.models import Deb, DebSet

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
IMAGE_ARCHITECTURE = "arm64"
SNAPSHOT_ID = "%Y%m%dT%H%M%SZ"  # how snapshot archives write a time


@dataclass(frozen=True, kw_only=True)
class Request:
    """One lock to be made: a table of ``lock/targets.toml`` for one architecture.

    ``essential``: Debian's essential packages come along even where nothing depends on them.
    """

    root: str
    suite: str
    arch: str
    packages: tuple[str, ...]
    essential: bool
    intent: str


def requests(tables: Mapping[str, Any]) -> tuple[Request, ...]:
    """Every lock of .debs that the parsed ``lock/targets.toml`` asks for, in its order."""
    found = [
        _request(name, table, IMAGE_ARCHITECTURE, essential=True) for name, table in tables.get("rootfs", {}).items()
    ]
    for name, table in tables.get("root", {}).items():
        found += [_request(name, table, arch, essential=False) for arch in table["architectures"]]
    return tuple(found)


def _request(name: str, table: Mapping[str, Any], arch: str, *, essential: bool) -> Request:
    return Request(
        root=name,
        suite=table["suite"],
        arch=arch,
        packages=tuple(table["packages"]),
        essential=essential,
        intent=digest(table),
    )


def resolve(
    request: Request,
    mirrors: Sequence[str],
    state: Path,
    *,
    keyring: Path = KEYRING,
    before: DebSet | None = None,
    as_of: int | None = None,
    snapshot: str = "",
) -> DebSet:
    """Ask apt what to install for ``request``; the set with its epoch still 0 (see :func:`with_epoch`).

    ``mirrors``: roots of Debian mirrors, best first; the first that answers, and is not behind ``before``, is used.
    ``state``: a folder that apt may fill, made for this run; further calls with it spare downloads. ``before``: the
    set that this one is to replace; it is returned as it is where the packages are the same. ``as_of``: an instant in
    seconds: resolve as the archive stood then, by the signed Release file's date. ``snapshot``: where earlier states
    are kept, ``@SNAPSHOTID@`` standing for the time; asked only for an instant before the mirrors' own state.

    Raises :class:`ResolveError` where there is no apt, no key, no mirror that answers, no state of that instant, or no
    solution, with apt's reason.
    """
    _require_apt(keyring)
    if not mirrors:
        raise ResolveError("no Debian mirror is known", todo="name one in SPARK_RUNTIME_DEBIAN_MIRROR")
    known = before.released if before is not None and before.suite == request.suite else 0
    faults: list[str] = []
    later: list[int] = []
    for mirror in mirrors:
        try:
            archive = apt.update(mirror, request.suite, request.arch, state, keyring=keyring)
        except ResolveError as error:
            faults.append(error.why)
            continue
        if archive.date < known:
            faults.append(f"a mirror lags: it is of {_time(archive.date)}, and the lock knows {_time(known)}")
        elif as_of is not None and archive.date > as_of:
            faults.append(f"the archive is of {_time(archive.date)} already")
            later.append(archive.date)
            snapshot = snapshot or archive.snapshots
        else:
            return _kept(before, _solve(request, archive))
    if as_of is not None and snapshot:
        return _kept(before, _solve(request, _at(request, snapshot, as_of, state, keyring)))
    raise _no_archive(request, as_of, faults, later)


def with_epoch(debset: DebSet, build_times: Iterable[int]) -> DebSet:
    """The set with ``epoch`` as the newest of its members' build times (:func:`build.unpack.build_time`)."""
    return replace(debset, epoch=max(build_times))


def at(snapshot: str, instant: int) -> str:
    """The root of the archive as it stood at ``instant`` (seconds).

    >>> at("https://snapshot.example/debian/@SNAPSHOTID@/", 1_700_000_000)
    'https://snapshot.example/debian/20231114T221320Z/'
    """
    return snapshot.replace("@SNAPSHOTID@", datetime.fromtimestamp(instant, UTC).strftime(SNAPSHOT_ID))


def _at(request: Request, snapshot: str, as_of: int, state: Path, keyring: Path) -> apt.Archive:
    """The archive out of a snapshot; its Release file is long past its Valid-Until, and must be."""
    try:
        archive = apt.update(at(snapshot, as_of), request.suite, request.arch, state, keyring=keyring, expires=False)
    except ResolveError as error:
        raise ResolveError(
            f"the snapshot archive gave no signed {request.suite} of {_time(as_of)}",
            why=error.why,
            todo="check SPARK_RUNTIME_DEBIAN_SNAPSHOT, or name a later date",
        ) from error
    if archive.date > as_of:
        raise ResolveError(
            f"the snapshot archive cannot tell how {request.suite} stood at {_time(as_of)}",
            why=f"it gave a state of {_time(archive.date)}",
            todo=f"name a date from {_time(archive.date)} on",
        )
    return archive


def _no_archive(request: Request, as_of: int | None, faults: Sequence[str], later: Sequence[int]) -> ResolveError:
    why = "\n       ".join(dict.fromkeys(faults))
    if as_of is None or not later:
        return ResolveError(
            f"no Debian mirror gave a signed {request.suite} for {request.arch}",
            why=why,
            todo="check the network (for a signature: the host's debian-archive-keyring), "
            "or name another mirror in SPARK_RUNTIME_DEBIAN_MIRROR",
        )
    return ResolveError(
        f"no Debian mirror can tell how {request.suite} stood at {_time(as_of)}",
        why=why,
        todo="name the root of a snapshot archive in SPARK_RUNTIME_DEBIAN_SNAPSHOT, "
        f"or a date from {_time(min(later))} on",
    )


def _solve(request: Request, archive: apt.Archive) -> DebSet:
    wanted = [*(["?essential"] if request.essential else []), *request.packages]
    try:
        records = apt.solve(archive, wanted)
    except ResolveError as error:
        raise ResolveError(
            f"apt finds no way to install the packages of '{request.root}' for {request.arch}",
            why=error.why or error.what,
            todo="check the package names in lock/targets.toml",
        ) from error
    if not records:
        raise ResolveError(f"apt installs nothing for '{request.root}'", todo="name packages in lock/targets.toml")
    return DebSet(
        root=request.root,
        suite=request.suite,
        arch=request.arch,
        epoch=0,
        released=archive.date,
        debs=tuple(sorted((_deb(record) for record in records), key=_order)),
    )


def _kept(before: DebSet | None, found: DebSet) -> DebSet:
    """The set that was there, where the new one is of the same packages: an archive's new date is no news."""
    if before is None:
        return found
    same = replace(found, epoch=before.epoch, released=before.released)
    return before if same == replace(before, debs=tuple(sorted(before.debs, key=_order))) else found


def _order(deb: Deb) -> tuple[str, str, str]:
    return deb.name, deb.version, deb.arch


def _time(instant: int) -> str:
    return datetime.fromtimestamp(instant, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _deb(record: Mapping[str, str]) -> Deb:
    path = record["Filename"]
    return Deb(
        file=path.rsplit("/", 1)[-1],
        sha256=record["SHA256"],
        size=int(record["Size"]),
        name=record["Package"],
        version=record["Version"],
        arch=record["Architecture"],
        path=path,
    )


def _require_apt(keyring: Path) -> None:
    if shutil.which("apt-get") is None:
        raise ResolveError(
            "locking Debian packages needs apt",
            why="there is no apt-get on this host",
            todo="run `nox -s lock` on Debian or Ubuntu; building from the locks needs no apt",
        )
    if not keyring.is_file():
        raise ResolveError(
            "the keys of Debian's archive are not here",
            why=f"{keyring} does not exist",
            todo="apt-get install debian-archive-keyring",
        )
