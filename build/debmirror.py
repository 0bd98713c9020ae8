"""Where locked .debs may be fetched from: what this machine is configured with, never a host that we chose.

First the mirrors, which hold what is current; then, for what they dropped, a snapshot archive, which keeps every state:
the user's own choice, else the one that the archive's Release file names in its field ``Snapshots``.
"""

from __future__ import annotations

import os
import pwd
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from build import proc
from build import store as stores
from build.apt import stanzas
from build.debs import at
from build.download import Download
from build.errors import CommandError, NetworkError, UsageError
from build.models import DebSet

VARIABLE = "SPARK_RUNTIME_DEBIAN_MIRROR"
SNAPSHOT_VARIABLE = "SPARK_RUNTIME_DEBIAN_SNAPSHOT"
GONE = (
    "fetch from an exported folder (--exported DIR) or from a snapshot archive (its root in "
    f"{SNAPSHOT_VARIABLE}); or take what the archive has today: `nox -s lock -- --upgrade`"
)
# A snapshot archive takes in a state some hours after the date in its Release file; what is superseded then stays in
# the pool for more than a day. An instant between two snapshots is answered from the earlier one.
IMPORTED_AFTER_SECONDS = 86_400
ANSWER_SECONDS = 20
SCHEMES = ("http://", "https://")
APT = Path("/etc/apt")
OS_RELEASE = Path("/etc/os-release")
MMDEBSTRAP = Path("/usr/bin/mmdebstrap")
DEFAULT_MIRROR = re.compile(r"\$mirror\s*=\s*'(https?://[^']+/debian)'")
ONE_LINE = re.compile(r"^deb\s+(?:\[[^\]]*\]\s+)?(?P<uri>\S+)\s+(?P<suite>\S+)\s+(?P<components>.+)$")


def downloads(debset: DebSet, mirrors: Sequence[str], snapshot: str = "") -> tuple[Download, ...]:
    """Each locked .deb with its place on every mirror, then in the snapshot archive (see :func:`snapshot`).

    Without either, only what must be in the store.
    """
    earlier = (IMPORTED_AFTER_SECONDS, 0) if snapshot else ()
    roots = [*mirrors, *(at(snapshot, debset.released + seconds) for seconds in earlier)]
    return tuple(
        Download(
            file=deb.file,
            sha256=deb.sha256,
            size=deb.size,
            urls=tuple(f"{root.rstrip('/')}/{quote(deb.path, safe='/~:')}" for root in roots),
            gone=GONE,
        )
        for deb in debset.debs
    )


def snapshot(environment: Mapping[str, str] = os.environ) -> str:
    """The snapshot archive of the user's choice, ``@SNAPSHOTID@`` standing for the time; empty where none is named."""
    root = environment.get(SNAPSHOT_VARIABLE, "").strip()
    return f"{_address(root, SNAPSHOT_VARIABLE).rstrip('/')}/archive/debian/@SNAPSHOTID@/" if root else ""


def named_snapshot(mirrors: Sequence[str], suite: str) -> str:
    """The snapshot archive that a mirror's Release file names; empty where none does.

    The signature is not looked at: what comes from there is compared with the lock as from anywhere.
    """
    import urllib.request  # noqa: PLC0415 - 30 ms that a no-op build does not spend

    for mirror in mirrors:
        try:
            url = f"{mirror.rstrip('/')}/dists/{suite}/InRelease"
            with urllib.request.urlopen(url, timeout=ANSWER_SECONDS) as answer:  # noqa: S310 - the user's own mirrors
                text = answer.read().decode("utf-8", errors="replace")
        except OSError:
            continue
        for record in stanzas(text):
            named = record.get("Snapshots", "")
            if "@SNAPSHOTID@" in named and named.startswith(SCHEMES):
                return named
    return ""


def _address(root: str, variable: str) -> str:
    if not root.startswith(SCHEMES):
        raise UsageError(
            f"{variable} names '{root}'",
            why="it is no http:// or https:// address",
            todo="name the address of an archive's root; a folder can be served with `python3 -m http.server`",
        )
    return root


def mirrors(store: Path, *, environment: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """Roots of Debian mirrors, best first: the user's own choice, else the host's apt sources, else the default of
    the mmdebstrap that the host's archive carries (that is how an Ubuntu host finds Debian).
    """
    if chosen := environment.get(VARIABLE, "").split():
        return tuple(_address(root, VARIABLE) for root in chosen)
    return _of_host(APT, OS_RELEASE) or _of_mmdebstrap(store)


def _of_host(apt: Path, os_release: Path) -> tuple[str, ...]:
    """The archives among apt's sources that carry Debian itself: the release's own suite, with ``main``."""
    release = _os_release(os_release)
    if release.get("ID") != "debian":
        return ()
    suites = {release.get("VERSION_CODENAME", ""), "stable", "testing", "unstable", "sid"} - {""}
    found = (
        uri.rstrip("/")
        for uri, suite, components in _sources(apt)
        if suite in suites and "main" in components and uri.startswith(SCHEMES)
    )
    return tuple(dict.fromkeys(found))


def _sources(apt: Path) -> Iterator[tuple[str, str, list[str]]]:
    parts = apt / "sources.list.d"
    for path in sorted(parts.glob("*.sources")):
        for record in stanzas(_without_comments(path)):
            if "deb" not in record.get("Types", "").split() or record.get("Enabled", "yes") == "no":
                continue
            for uri in record.get("URIs", "").split():
                for suite in record.get("Suites", "").split():
                    yield uri, suite, record.get("Components", "").split()
    for path in (apt / "sources.list", *sorted(parts.glob("*.list"))):
        if path.is_file():
            for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
                if match := ONE_LINE.match(line.strip()):
                    yield match["uri"], match["suite"], match["components"].split()


def _without_comments(path: Path) -> str:
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join(line for line in lines if not line.startswith("#"))


def _os_release(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    pairs = (line.partition("=") for line in path.read_text(encoding="utf-8", errors="replace").splitlines())
    return {key: value.strip().strip('"') for key, _, value in pairs}


def _of_mmdebstrap(store: Path) -> tuple[str, ...]:
    """The mirror that mmdebstrap falls back to, read out of its script: the host's, else the archive's package."""
    if MMDEBSTRAP.is_file():
        return _default_mirror(MMDEBSTRAP)
    with stores.scratch(store, "mmdebstrap") as folder:
        try:
            _apt_download("mmdebstrap", folder)
            package = next(folder.glob("mmdebstrap_*.deb"))
            proc.run(["dpkg-deb", "--extract", package, folder / "x"])
        except (CommandError, StopIteration) as error:
            raise NetworkError(
                "no Debian mirror is known",
                why=f"{VARIABLE} is not set, this is not Debian, and mmdebstrap, whose default would do, "
                f"cannot be fetched: {error}",
                todo=f"{VARIABLE}=<root of a Debian mirror>, or run `apt-get update` and try again",
            ) from error
        return _default_mirror(folder / "x" / MMDEBSTRAP.relative_to("/"))


def _apt_download(package: str, folder: Path) -> None:
    """Download a package of the host's distribution; where its lists are empty or old, with lists of our own."""
    (folder / "lists" / "partial").mkdir(parents=True)
    apt = ["apt-get", "-q", "-o", f"APT::Sandbox::User={pwd.getpwuid(os.geteuid()).pw_name}"]
    own = [*apt, "-o", f"Dir::State::Lists={folder}/lists", "-o", f"Dir::Cache={folder}"]
    env = proc.network_env()
    try:
        proc.run([*apt, "download", package], cwd=folder, env=env)
    except CommandError:
        proc.run([*own, "update"], cwd=folder, env=env)
        proc.run([*own, "download", package], cwd=folder, env=env)


def _default_mirror(script: Path) -> tuple[str, ...]:
    match = DEFAULT_MIRROR.search(script.read_text(encoding="utf-8", errors="replace"))
    return (match.group(1),) if match else ()
