"""The Python index, by uv: resolve requirements to wheels, and find where locked files may be had.

uv reads its own configuration (index, credentials, proxies, CA); we never name a host. What comes back is a
PEP 751 lock (``pylock.toml``), of which we keep file name, size, sha256 and upload time.
"""

from __future__ import annotations

import tempfile
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from build.errors import CommandError, NetworkError, ResolveError
from build.proc import Arg, network_env, run

RESOLVER_LINES = 24


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
) -> tuple[Found, ...]:
    """One wheel for each distribution that the requirements need, dependencies included; never a source build.

    ``prefer``: (name, version) pairs kept where the requirements allow it. Raises :class:`ResolveError` with the
    resolver's own reason.
    """
    arguments = ["--only-binary", ":all:"]
    packages = _compile(requirements, constraints, environment, arguments, prefer)
    found = [_file(package, package["wheels"][0], sdist=False) for package in packages if package.get("wheels")]
    _require(found)
    return tuple(sorted(found, key=lambda item: item.name))


def locate(pins: Iterable[tuple[str, str]], environment: Environment) -> dict[str, Found]:
    """Every file (wheels for the environment, source archives) of exact releases, by sha256."""
    requirements = sorted({f"{name}=={version}" for name, version in pins})
    if not requirements:
        return {}
    found = {}
    for package in _compile(requirements, (), environment, ["--no-deps"], ()):
        files = [_file(package, wheel, sdist=False) for wheel in package.get("wheels", ())]
        if "sdist" in package:
            files.append(_file(package, package["sdist"], sdist=True))
        found.update({file.sha256: file for file in files})
    return found


def _compile(
    requirements: Sequence[str],
    constraints: Sequence[str],
    environment: Environment,
    arguments: Sequence[str],
    prefer: Iterable[tuple[str, str]],
) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory(prefix="resolve-") as folder:
        wanted, held, out = (Path(folder) / name for name in ("in.txt", "constraints.txt", "pylock.toml"))
        wanted.write_text("".join(f"{line}\n" for line in requirements), encoding="utf-8")
        held.write_text("".join(f"{line}\n" for line in constraints), encoding="utf-8")
        if preferred := _preferences(prefer):
            out.write_text(preferred, encoding="utf-8")
        argv: list[Arg] = [
            uv_binary(), "pip", "compile", "--quiet", "--no-header", "--no-python-downloads", "--format", "pylock.toml",
            "--python-platform", environment.platform, "--python-version", environment.python,
            "--constraints", held, *arguments, "--output-file", out, wanted,
        ]  # fmt: skip
        try:
            run(argv, env=network_env(), cwd=folder)
        except CommandError as error:
            raise _reason(error) from error
        return list(tomllib.loads(out.read_text(encoding="utf-8"))["packages"])


def _preferences(prefer: Iterable[tuple[str, str]]) -> str:
    """A pylock whose versions uv prefers (it reads its own output file before it resolves)."""
    packages = [f'[[packages]]\nname = "{name}"\nversion = "{version}"\n' for name, version in prefer]
    return "\n".join(['lock-version = "1.0"\ncreated-by = "nox -s lock"\n', *packages]) if packages else ""


def _file(package: dict[str, Any], file: dict[str, Any], *, sdist: bool) -> Found:
    url = file.get("url") or file.get("path", "")
    uploaded = file.get("upload-time")
    return Found(
        name=package["name"],
        version=package["version"],
        file=unquote(url.split("#")[0].split("?")[0].rsplit("/", 1)[-1]),
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


def _reason(error: CommandError) -> ResolveError | NetworkError:
    lines = [line for line in error.output.splitlines() if not line.startswith("warning:")]
    text = "\n       ".join(lines[:RESOLVER_LINES])
    if any(sign in error.output for sign in ("error sending request", "dns error", "timed out", "Connect")):
        return NetworkError("the Python index could not be reached", why=text, todo="check the network, then again")
    return ResolveError(
        "uv found no set of wheels for these requirements",
        why=text,
        todo="change the target in lock/targets.toml; if these are locked versions, your index lacks one: use another",
    )


def uv_binary() -> str:
    """The uv of our own environment."""
    from uv import find_uv_bin  # noqa: PLC0415 - only when an index is asked

    return str(find_uv_bin())
