"""What a root's packages resolve to: apt's own resolver, in a state of its own, against the signed archive.

Nothing of the host's apt is used but its program: sources, keys, architecture and the list of what is installed
are ours, so that the answer is the same on any host and for any foreign architecture.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from build import proc
from build.canonical import digest
from build.errors import BuildError, CommandError, ResolveError
from build.models import Deb, DebSet

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
COMPONENT = "main"
IMAGE_ARCHITECTURE = "arm64"
INSTALL_LINE = re.compile(r"^Inst (?P<name>\S+) \((?P<version>\S+) .*\[(?P<arch>\w+)\]\)", re.MULTILINE)


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


def resolve(request: Request, mirrors: Sequence[str], state: Path, *, keyring: Path = KEYRING) -> DebSet:
    """Ask apt what to install for ``request``; the set with its epoch still 0 (see :func:`with_epoch`).

    ``mirrors``: roots of Debian mirrors, best first; the first that answers is used. ``state``: a folder that apt
    may fill (kept between calls, it spares downloads). Raises :class:`ResolveError` where there is no apt, no key,
    no mirror that answers, or no solution.
    """
    _require_apt(keyring)
    if not mirrors:
        raise ResolveError("no Debian mirror is known", todo="name one in SPARK_RUNTIME_DEBIAN_MIRROR")
    faults: list[str] = []
    for mirror in mirrors:
        config = _configure(request, mirror, state / f"{request.suite}-{request.arch}", keyring)
        try:
            _apt(["apt-get", "update", "-q"], config)
        except CommandError as error:
            faults.append(_last_line(error))
            continue
        return _solve(request, config)
    raise ResolveError(
        f"no Debian mirror gave a signed {request.suite} for {request.arch}",
        why="; ".join(faults),
        todo="check the network, or name another mirror in SPARK_RUNTIME_DEBIAN_MIRROR",
    )


def _solve(request: Request, config: Path) -> DebSet:
    wanted = [*(["?essential"] if request.essential else []), *request.packages]
    try:
        simulated = _apt(["apt-get", "install", "--simulate", "-q", *wanted], config)
    except CommandError as error:
        raise ResolveError(
            f"apt finds no way to install the packages of '{request.root}' for {request.arch}",
            why=error.why,
            todo="check the package names in lock/targets.toml",
        ) from error
    chosen = [match.groupdict() for match in INSTALL_LINE.finditer(simulated)]
    if not chosen:
        raise ResolveError(f"apt installs nothing for '{request.root}'", why=simulated[-500:])
    names = sorted(f"{item['name']}={item['version']}" for item in chosen)
    records = stanzas(_apt(["apt-cache", "show", *names], config))
    debs = {deb.name: deb for deb in (_deb(record) for record in records)}
    missing = sorted({item["name"] for item in chosen} ^ set(debs))
    if missing:
        raise ResolveError(f"apt has no record of {', '.join(missing)}")
    return DebSet(
        root=request.root,
        suite=request.suite,
        arch=request.arch,
        epoch=0,
        debs=tuple(sorted(debs.values(), key=lambda deb: (deb.name, deb.version, deb.arch))),
    )


def with_epoch(debset: DebSet, build_times: Iterable[int]) -> DebSet:
    """The set with ``epoch`` as the newest of its members' build times (:func:`build.unpack.build_time`)."""
    return DebSet(
        root=debset.root,
        suite=debset.suite,
        arch=debset.arch,
        epoch=max(build_times),
        debs=debset.debs,
    )


def stanzas(text: str) -> list[dict[str, str]]:
    r"""Records of deb822 text, without the continuation lines.

    >>> stanzas("Package: a\nDepends: b,\n c\n\nPackage: d\n")
    [{'Package': 'a', 'Depends': 'b,'}, {'Package': 'd'}]
    """
    found: list[dict[str, str]] = []
    for block in re.split(r"\n\s*\n", text):
        fields = (line.partition(":") for line in block.splitlines() if line[:1].strip())
        record = {key: value.strip() for key, colon, value in fields if colon}
        if record:
            found.append(record)
    return found


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


def _configure(request: Request, mirror: str, folder: Path, keyring: Path) -> Path:
    """An apt state that knows one mirror, one suite and one architecture, and nothing of the host."""
    for part in ("etc/apt.conf.d", "etc/preferences.d", "etc/trusted.gpg.d", "lists/partial", "cache/archives/partial"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    (folder / "status").write_text("")
    (folder / "etc" / "sources.list").write_text(
        f"deb [arch={request.arch} signed-by={keyring}] {mirror} {request.suite} {COMPONENT}\n"
    )
    config = folder / "apt.conf"
    settings = {
        "Dir::Etc": folder / "etc",
        "Dir::Etc::sourcelist": folder / "etc" / "sources.list",
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::State": folder,
        "Dir::State::lists": folder / "lists",
        "Dir::State::status": folder / "status",
        "Dir::Cache": folder / "cache",
        "APT::Architecture": request.arch,
        "APT::Install-Recommends": "false",
        "APT::Install-Suggests": "false",
        "APT::Sandbox::User": "root",
        "pkgCacheGen::ForceEssential": "none",  # else apt counts itself as essential
        "Acquire::Languages": "none",
        "Acquire::Retries": "3",
    }
    lines = [f'{key} "{value}";' for key, value in settings.items()]
    lines += ["#clear APT::Architectures;", f'APT::Architectures {{ "{request.arch}"; }};']
    config.write_text("\n".join(lines) + "\n")
    return config


def _apt(argv: Sequence[str], config: Path) -> str:
    # APT_CONFIG is read first and names another Dir::Etc, so that nothing below the host's /etc/apt is read.
    return proc.run(argv, env={**proc.network_env(), "APT_CONFIG": os.fspath(config)}).stdout


def _last_line(error: BuildError) -> str:
    return error.why.strip().splitlines()[-1].strip() if error.why.strip() else error.what
