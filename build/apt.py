"""Apt as a library: its own resolver and its own check of signatures, on an archive and a state of our choice.

Nothing of the host's apt is used but its programs: sources, keys, architecture and the list of what is installed are
ours, so that the answer is the same on any host and for any foreign architecture. Needs no root.
"""

from __future__ import annotations

import difflib
import email.utils
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from build import proc
from build.canonical import digest
from build.errors import CommandError, ResolveError

COMPONENT = "main"
RETRIES = 2
TIMEOUT_SECONDS = 20  # without a byte, for each try
UPDATE_SECONDS = 600  # for a whole `apt-get update`, which brings 10 MB: a mirror that trickles must end, too
INSTALL_LINE = re.compile(r"^Inst (?P<name>\S+) \((?P<version>\S+) .*\[(?P<arch>\w+)\]\)", re.MULTILINE)
# What apt says beside the point, by the start of the line.
CHAFF = (
    "E: Unable to correct problems, you have held", "E: Some index files failed", "W: Some index files failed",
    "E: The following information from --solver",
)  # fmt: skip
FETCHING = re.compile(r"^[EW]: Failed to fetch")  # what is indented below it are hashes and times
RESULT = re.compile(r"^[EW]: |^The following packages have unmet dependencies")


@dataclass(frozen=True, kw_only=True)
class Archive:
    """One suite of one archive for one architecture, as :func:`update` found it.

    ``date``: of the signed Release file, in seconds. ``snapshots``: where the archive says that its earlier states
    are kept, ``@SNAPSHOTID@`` standing for the time; empty where it says nothing.
    """

    config: Path
    date: int
    snapshots: str


def update(mirror: str, suite: str, arch: str, folder: Path, *, keyring: Path, expires: bool = True) -> Archive:
    """Fetch and verify what the archive below ``mirror`` offers in ``suite`` (its ``main``) for ``arch``.

    ``folder``: for apt's state; what lies there is trusted as fetched before, so it should be one of this run, and be
    given with the same archives only. ``expires``: whether a Release file past its Valid-Until is refused. Raises
    :class:`ResolveError` with apt's reason in ``why``; it ends in a bounded time.
    """
    place = folder / digest([mirror, suite, arch])[:16]
    options = f"arch={arch} signed-by={keyring}" + ("" if expires else " check-valid-until=no")
    config = _configure(place, f"deb [{options}] {mirror} {suite} {COMPONENT}\n", arch)
    try:
        _run(["apt-get", "update", "-q"], config, timeout=UPDATE_SECONDS)
    except CommandError as error:
        raise ResolveError(
            f"no signed {suite} for {arch} from this mirror", why=reason(error.output) or error.what
        ) from error
    release = _release(place / "lists", suite)
    date = email.utils.parsedate_to_datetime(release["Date"])
    return Archive(config=config, date=int(date.timestamp()), snapshots=release.get("Snapshots", ""))


def solve(archive: Archive, wanted: Sequence[str]) -> list[dict[str, str]]:
    """The records (of the archive's Packages file) of all that apt installs into an empty root for ``wanted``.

    Raises :class:`ResolveError` with apt's own explanation in ``why``, shortened to what decides.
    """
    try:
        simulated = _run(["apt-get", "install", "--simulate", "-q", *wanted], archive.config)
    except CommandError as error:
        said = reason(error.output) or error.why
        raise ResolveError("apt finds no way to install this", why=_with_nearest(archive, said)) from error
    chosen = {match["name"]: match["version"] for match in INSTALL_LINE.finditer(simulated)}
    if not chosen:
        return []
    names = sorted(f"{name}={version}" for name, version in chosen.items())
    records = stanzas(_run(["apt-cache", "show", *names], archive.config))
    if missing := sorted(chosen.keys() ^ {record["Package"] for record in records}):
        raise ResolveError(f"apt has no record of {', '.join(missing)}")
    return records


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


def reason(output: str) -> str:
    r"""What decides in the output of an apt that failed: errors and warnings, unmet dependencies, each line once.

    >>> reason("Reading…\nThe following packages have unmet dependencies:\n a : Depends: b\nE: Some index files failed")
    'a : Depends: b'
    """
    kept: list[str] = []
    detailed = False
    for line in output.splitlines():
        if RESULT.match(line):
            detailed = FETCHING.match(line) is None
            if not line.startswith(("The following", *CHAFF)):
                kept.append(line[3:].strip())
        elif detailed and line.startswith(" "):
            kept.append(line[1:].rstrip())
        else:
            detailed = False
    return "\n       ".join(dict.fromkeys(kept))


def _release(lists: Path, suite: str) -> Mapping[str, str]:
    """The fields of the Release file that apt verified and kept."""
    for path in (*lists.glob(f"*_dists_{suite}_InRelease"), *lists.glob(f"*_dists_{suite}_Release")):
        for record in stanzas(path.read_text(encoding="utf-8", errors="replace")):
            if "Date" in record:
                return record
    raise ResolveError(f"the Release file of {suite} has no date")


def _with_nearest(archive: Archive, said: str) -> str:
    match = re.search(r"Unable to locate package (\S+)", said)
    if match is None:
        return said
    known = _run(["apt-cache", "pkgnames"], archive.config).split()
    near = difflib.get_close_matches(match[1], known, n=3, cutoff=0.75)
    return f"{said}; the archive has {', '.join(near)}" if near else said


def _configure(folder: Path, source: str, arch: str) -> Path:
    """An apt state that knows one mirror, one suite and one architecture, and nothing of the host."""
    for part in ("etc/apt.conf.d", "etc/preferences.d", "etc/trusted.gpg.d", "lists/partial", "cache/archives/partial"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    (folder / "status").touch()
    (folder / "etc" / "sources.list").write_text(source, encoding="utf-8")
    config = folder / "apt.conf"
    settings: dict[str, str | Path | int] = {
        "Dir::Etc": folder / "etc",
        "Dir::Etc::sourcelist": folder / "etc" / "sources.list",
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::State": folder,
        "Dir::State::lists": folder / "lists",
        "Dir::State::status": folder / "status",
        "Dir::Cache": folder / "cache",
        "APT::Architecture": arch,
        "APT::Install-Recommends": "false",
        "APT::Install-Suggests": "false",
        "APT::Sandbox::User": "root",
        "APT::Update::Error-Mode": "any",  # else an old state is good enough for apt where a mirror is away
        "pkgCacheGen::ForceEssential": "none",  # else apt counts itself as essential
        "Acquire::Languages": "none",
        "Acquire::Retries": RETRIES,
        "Acquire::http::Timeout": TIMEOUT_SECONDS,
        "Acquire::https::Timeout": TIMEOUT_SECONDS,
    }
    lines = [f'{key} "{value}";' for key, value in settings.items()]
    lines += ["#clear APT::Architectures;", f'APT::Architectures {{ "{arch}"; }};']
    config.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return config


def _run(argv: Sequence[str], config: Path, *, timeout: float | None = None) -> str:
    # APT_CONFIG is read first and names another Dir::Etc, so that nothing below the host's /etc/apt is read.
    return proc.run(argv, env={**proc.network_env(), "APT_CONFIG": os.fspath(config)}, timeout=timeout).stdout
