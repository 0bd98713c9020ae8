"""The Python index, by uv: resolve requirements to wheels, and find where locked files may be had.

uv goes by the user's own configuration of it (index, credentials, proxies, CA), as far as that says how an index is
reached (``build/uvconfig.py``); we never name a host. What comes back is a PEP 751 lock (``pylock.toml``), of which
we keep file name, size, sha256 and upload time.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
import tomllib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from build import uvconfig, wheeltags
from build.errors import CommandError, NetworkError, ResolveError, UsageError
from build.models import SourceArchive, Wheel
from build.proc import Arg, network_env, run
from build.resolver import explained

LIMIT_SECONDS = 900.0  # for one resolution: an index that drips forever is not waited for
# What would change a resolution from outside the repository: the intent alone says what is resolved.
NOT_THE_USERS = (
    "UV_CONSTRAINT", "UV_EXCLUDE", "UV_EXCLUDE_NEWER", "UV_FORK_STRATEGY", "UV_NO_BINARY", "UV_NO_BINARY_PACKAGE",
    "UV_OVERRIDE", "UV_PRERELEASE", "UV_PROJECT", "UV_RESOLUTION", "UV_TORCH_BACKEND", "UV_WORKING_DIR",
    uvconfig.NAMED, uvconfig.NONE,
)  # fmt: skip
UNDATED = re.compile(r"`([^`]+)` is missing an upload date")


@dataclass(frozen=True, kw_only=True)
class Found:
    """A distribution's file on an index: what a lock keeps of it, and its address of today."""

    name: str
    version: str
    file: str
    sha256: str
    size: int
    uploaded: int
    url: str
    sdist: bool

    @property
    def wheel(self) -> Wheel:
        """What a lock keeps of it, where it is a wheel."""
        return Wheel(name=self.name, version=self.version, file=self.file, sha256=self.sha256, size=self.size)

    @property
    def archive(self) -> SourceArchive:
        """The same, where it is a source archive."""
        return SourceArchive(name=self.name, version=self.version, file=self.file, sha256=self.sha256, size=self.size)


@dataclass(frozen=True, kw_only=True)
class Environment:
    """What wheels are chosen for: uv's ``--python-platform`` and a Python version like ``3.13``."""

    platform: str
    python: str


def resolve(
    requirements: Sequence[str],
    constraints: Sequence[str],
    environment: Environment,
    *,
    prefer: Iterable[tuple[str, str]] = (),
    hold: Collection[str] = (),
    overrides: Sequence[str] = (),
    as_of: str | None = None,
    verbose: bool = False,
) -> tuple[Found, ...]:
    """One wheel for each distribution that the requirements need, dependencies included; never a source build.

    - ``prefer``: (name, version) pairs kept where the requirements allow it.
    - ``hold``: the sha256 of wheels that are taken where their release is: one that joins it later changes no lock.
    - ``overrides``: requirements that replace every other one of their distribution.
    - ``as_of``: only files uploaded before :func:`instant` of it. What was deleted or yanked since is not there any
      more: no index tells when.
    - ``verbose``: the resolver's whole explanation.

    Raises :class:`ResolveError` with the resolver's own reason, also where ``as_of`` is asked of an index that tells
    no upload times, and ``NetworkError`` where the index cannot be read.
    """
    arguments = ["--only-binary", ":all:", *(["--exclude-newer", instant(as_of)] if as_of else [])]
    packages = _compile(
        requirements, environment, arguments,
        constraints=constraints, overrides=overrides, prefer=prefer, dated=as_of is not None, verbose=verbose,
    )  # fmt: skip
    ranks = wheeltags.ranks(environment.platform, environment.python)
    found = [_best(package, ranks, hold) for package in packages]
    _require(found)
    return tuple(sorted(found, key=lambda item: item.name))


def instant(as_of: str) -> str:
    """What ``--as-of`` means, as RFC 3339 in UTC: a date's end (all that was uploaded on that day counts), or a time.

    >>> instant("2026-10-31"), instant("2026-10-31T12:00:00+02:00")
    ('2026-11-01T00:00:00Z', '2026-10-31T10:00:00Z')
    """
    try:
        if re.fullmatch(r"\d{4}-\d{2}-\d{2}", as_of):
            day = date.fromisoformat(as_of) + timedelta(days=1)
            return f"{day.isoformat()}T00:00:00Z"
        time = datetime.fromisoformat(as_of)
    except (ValueError, OverflowError) as error:
        raise _no_time(as_of, str(error)) from error
    if time.tzinfo is None:
        raise _no_time(as_of, "it names no time zone")
    return time.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _no_time(as_of: str, why: str) -> UsageError:
    return UsageError(f"{as_of} is no date", why=why, todo="write 2026-10-31 (its end, UTC) or 2026-10-31T12:00:00Z")


def locate(pins: Iterable[tuple[str, str]], environment: Environment) -> dict[str, Found]:
    """Every file (wheels for the environment, source archives) of exact releases, by sha256.

    Whenever they were uploaded: a hash decides here, not a time.
    """
    requirements = sorted({f"{name}=={version}" for name, version in pins})
    if not requirements:
        return {}
    found = {}
    for package in _compile(requirements, environment, ["--no-deps"]):
        files = [_file(package, wheel, sdist=False) for wheel in package.get("wheels", ())]
        if "sdist" in package:
            files.append(_file(package, package["sdist"], sdist=True))
        found.update({file.sha256: file for file in files})
    return found


def _compile(
    requirements: Sequence[str],
    environment: Environment,
    arguments: Sequence[str],
    *,
    constraints: Sequence[str] = (),
    overrides: Sequence[str] = (),
    prefer: Iterable[tuple[str, str]] = (),
    dated: bool = False,
    verbose: bool = False,
) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory(prefix="resolve-") as folder:
        out = Path(folder) / "pylock.toml"
        lists = {"requirements.txt": requirements, "constraints.txt": constraints, "overrides.txt": overrides}
        for name, lines in lists.items():
            (Path(folder) / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        (Path(folder) / "uv.toml").write_text(uvconfig.text(os.environ), encoding="utf-8")
        if preferred := _preferences(prefer):
            out.write_text(preferred, encoding="utf-8")
        argv: list[Arg] = [
            uv_binary(), "pip", "compile", "--config-file", "uv.toml", "--no-header", "--python", sys.executable,
            "--format", "pylock.toml", "--python-platform", environment.platform,
            "--python-version", environment.python,
            "--constraints", "constraints.txt", "--overrides", "overrides.txt", *arguments,
            "--output-file", out.name, "requirements.txt",
        ]  # fmt: skip
        try:
            said = run(argv, env=uv_environment(), cwd=folder, timeout=LIMIT_SECONDS).stderr
        except CommandError as error:
            if dated:
                _require_times(error.output)
            raise _reason(error, verbose=verbose) from error
        if dated:
            _require_times(said)
        return list(tomllib.loads(out.read_text(encoding="utf-8"))["packages"])


def uv_environment() -> dict[str, str]:
    """uv's environment without what would change a resolution; how an index is reached stays the user's."""
    return {name: value for name, value in network_env().items() if name not in NOT_THE_USERS}


def _preferences(prefer: Iterable[tuple[str, str]]) -> str:
    """A pylock whose versions uv prefers (it reads its own output file before it resolves)."""
    packages = [f'[[packages]]\nname = "{name}"\nversion = "{version}"\n' for name, version in prefer]
    return "\n".join(['lock-version = "1.0"\ncreated-by = "nox -s lock"\n', *packages]) if packages else ""


def _best(package: Mapping[str, Any], ranks: wheeltags.Ranks, hold: Collection[str]) -> Found:
    """The wheel of a release that is held, else the one an installer would take; a pylock lists them by name."""
    wheels = [_file(package, wheel, sdist=False) for wheel in package.get("wheels", ())]
    if not wheels:
        raise ResolveError(
            f"{package['name']} {package.get('version', '')} is no wheel of an index",
            why="uv resolved it to an archive, a repository or a folder, of which there is no locked wheel",
            todo="name it by its version in the target's requirements or overrides",
        )
    return min(wheels, key=lambda wheel: (wheel.sha256 not in hold, wheeltags.rank(wheel.file, ranks)))


def _file(package: Mapping[str, Any], file: Mapping[str, Any], *, sdist: bool) -> Found:
    url = file.get("url") or file.get("path", "")
    uploaded = file.get("upload-time")
    return Found(
        name=package["name"],
        version=package["version"],
        file=unquote(url.split("#")[0].split("?")[0]).rsplit("/", 1)[-1],  # unquoted first: a name has no slash
        sha256=file.get("hashes", {}).get("sha256", ""),
        size=file.get("size", 0),
        uploaded=int(uploaded.timestamp()) if isinstance(uploaded, datetime) else 0,
        url=url,
        sdist=sdist,
    )


def _require(found: Sequence[Found]) -> None:
    """A lock needs what some indexes (plain folders of files) do not tell."""
    for item in found:
        if not item.size or not item.uploaded or not item.sha256:
            raise ResolveError(
                f"the index does not tell size, sha256 and upload time of {item.file}",
                why="a lock holds the first two, and takes its epoch from the third (PEP 691, PEP 700)",
                todo="lock against an index that tells them; fetching works with any",
            )


def _require_times(said: str) -> None:
    """uv passes over files without an upload time when it is to go by them, and warns: what it finds then is not
    what stood there.
    """
    if undated := sorted(set(UNDATED.findall(said))):
        more = f" and {len(undated) - 1} more" if len(undated) > 1 else ""
        raise ResolveError(
            "the index cannot tell what stood there at that time",
            why=f"it tells no upload time of {undated[0]}{more} (PEP 700)",
            todo="leave out --as-of, or ask an index that tells upload times",
        )


def _reason(error: CommandError, *, verbose: bool) -> ResolveError | NetworkError:
    if error.returncode == 0:  # we ended it
        return NetworkError(
            "the Python index took too long",
            why=f"no resolution after {LIMIT_SECONDS:.0f} s",
            todo="try again where the network is faster, or another index",
        )
    return explained(error, verbose=verbose)


def uv_binary() -> str:
    """The uv of our own environment."""
    from uv import find_uv_bin  # noqa: PLC0415 - only when an index is asked

    return str(find_uv_bin())
