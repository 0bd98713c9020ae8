"""BuildKit, through ``buildx build``: what is asked of it, its progress in one line a step, its last words."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from build.console import say, warn
from build.errors import BuildError, EmulationError, ImageBuildError, SpaceError
from build.proc import base_env, quote

TAIL_LINES = 40
VERTEX = re.compile(r"^#(\d+) \[([^\]]+)\] (.*)$")
LANE = re.compile(r"^#\d+ [\d.]+ LANE (\{.*\})$")  # what dockerfiles/lane/native.py tells, a fact a line
EXIT = re.compile(r"did not complete successfully: (?:exit code: (\d+)|cannot allocate memory)$")
DONE = re.compile(r"^#(\d+) (DONE ([\d.]+)s|CACHED)$")
CACHE = re.compile(r"^#(\d+) (importing cache manifest from .+|exporting cache to .+)$")
FAULT = re.compile(r"^#(\d+) ERROR: (.*)$")
SLOW_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True)
class Request:
    """One build: the main context (with its Dockerfile), the named ones, and where the image goes.

    ``epoch``: seconds, becomes the image's creation time (BuildKit's SOURCE_DATE_EPOCH). ``values``: further build
    arguments. ``secrets``: files that a step reads and no cache key or layer holds. ``fresh``: stages that are made
    again whatever the cache has. ``stage``: where to stop, if not at the last one. ``dockerfile``: its name in the
    context. ``cache_to``, ``cache_from``: buildx's specs of caches beside BuildKit's own.
    """

    context: Path
    named: tuple[tuple[str, Path], ...]
    epoch: int
    output: str
    metadata: Path
    log: Path
    builder: str | None = None
    no_cache: bool = False
    values: tuple[tuple[str, str], ...] = ()
    secrets: tuple[tuple[str, Path], ...] = ()
    fresh: tuple[str, ...] = ()
    stage: str = ""
    dockerfile: str = "Dockerfile"
    cache_to: tuple[str, ...] = ()
    cache_from: tuple[str, ...] = ()


def image_output(names: Sequence[str], annotations: Mapping[str, str]) -> str:
    """The exporter's settings for an image in the engine's own store: OCI types, zstd layers.

    Level 3: level 9 took six times as long for 5 % fewer bytes (docs of this choice: CONTRIBUTING). Forcing it costs no
    second pass: BuildKit makes each layer as zstd at once, and only what a cache holds as gzip would be made anew
    (tests/engine/test_bench.py looks into the store).
    """
    quoted = ",".join(names)
    fields = [
        "type=image",
        f'"name={quoted}"',
        "oci-mediatypes=true",
        "compression=zstd",
        "compression-level=3",
        "force-compression=true",
    ]
    fields += [f'"annotation.{key}={value}"' for key, value in sorted(annotations.items())]
    return ",".join(fields)


def arguments(request: Request) -> list[str]:
    """The command line after ``buildx``."""
    argv = [
        "build", "--progress", "plain", "--platform", "linux/arm64", "--provenance", "false", "--sbom", "false",
        "--network", "none", "--build-arg", f"SOURCE_DATE_EPOCH={request.epoch}",
        "--metadata-file", str(request.metadata), "--output", request.output,
        "--file", str(request.context / request.dockerfile),
    ]  # fmt: skip
    for name, folder in request.named:
        argv += ["--build-context", f"{name}={folder}"]
    for name, value in request.values:
        argv += ["--build-arg", f"{name}={value}"]
    for name, file in request.secrets:
        argv += ["--secret", f"id={name},src={file}"]
    for name in request.fresh:
        argv += ["--no-cache-filter", name]
    if request.stage:
        argv += ["--target", request.stage]
    if request.builder:
        argv += ["--builder", request.builder]
    if request.no_cache:
        argv += ["--no-cache"]
    for spec in request.cache_from:
        argv += ["--cache-from", spec]
    for spec in request.cache_to:
        argv += ["--cache-to", spec]
    return [*argv, str(request.context)]


def build(
    buildx: Sequence[str], env: Mapping[str, str], request: Request, *, verbose: bool = False
) -> Mapping[str, object]:
    """Run the build; BuildKit's metadata (``containerimage.digest`` among it).

    Raises :class:`ImageBuildError` with the failing step and the last lines; the whole log stays in ``request.log``.
    """
    argv = [*buildx, *arguments(request)]
    request.log.parent.mkdir(parents=True, exist_ok=True)
    request.metadata.unlink(missing_ok=True)
    titles: dict[str, str] = {}
    with (
        open(request.log, "w", encoding="utf-8", errors="surrogateescape") as log,
        subprocess.Popen(
            argv,
            env=base_env(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
        ) as process,
    ):
        log.write(f"+ {quote(argv)}\n")
        assert process.stdout is not None
        try:
            for line in process.stdout:
                log.write(line)
                if verbose:
                    say(line.rstrip("\n"))
                else:
                    _show(line.rstrip("\n"), titles)
        except BaseException:
            process.terminate()
            raise
    if process.returncode != 0:
        raise _failure(request.log)
    metadata = dict(json.loads(request.metadata.read_text(encoding="utf-8")))
    request.metadata.unlink()
    return metadata


def _show(line: str, titles: dict[str, str]) -> None:
    if match := VERTEX.match(line):
        titles[match[1]] = f"[{match[2]}] {match[3]}"
    elif match := CACHE.match(line):
        titles[match[1]] = match[2]
    elif (match := FAULT.match(line)) and titles.get(match[1], "").startswith("importing cache"):
        warn(f"nothing is taken from a cache: {titles[match[1]]}: {match[2]}")  # BuildKit goes on without it
    elif fact := _fact(line):
        _show_fact(fact)
    elif match := DONE.match(line):
        title = titles.pop(match[1], "")
        if title and match[3] and float(match[3]) >= SLOW_SECONDS:
            say(f"  {title[:100]} ({match[3]} s)")
    elif match := re.match(r"^#\d+ (exporting layers|exporting to .*|.*sending tarball).* ([\d.]+s) done$", line):
        say(f"  {match[1]} ({match[2]})")


def _show_fact(fact: Mapping[str, object]) -> None:
    """What a compiling step says of itself while it runs."""
    if text := fact.get("says"):
        say(f"  {text}")
    if isinstance(jobs := fact.get("jobs"), dict):
        heavy = f", {jobs['heavy']} of them heavy" if jobs["heavy"] else ""
        say(f"  {jobs['ordinary']} compilers at once{heavy}: {jobs['reason']}")


def facts(log: Path) -> dict[str, object]:
    """What a compiling step told in a build's log, by its name; empty where it did not run."""
    found: dict[str, object] = {}
    for line in log.read_text(encoding="utf-8", errors="surrogateescape").splitlines():
        found |= _fact(line)
        if match := EXIT.search(line):
            found["exit"] = int(match[1] or 137)
    return found


def _fact(line: str) -> dict[str, object]:
    """What a line tells; nothing where it only looks like that: a project's own programs print what they like."""
    if match := LANE.match(line):
        with suppress(ValueError):
            return dict(json.loads(match[1]))
    return {}


def _failure(log: Path) -> BuildError:
    lines = log.read_text(encoding="utf-8").splitlines()
    tail = "\n       ".join(lines[-TAIL_LINES:])
    if "no space left on device" in tail.lower():
        return SpaceError(
            "the disk filled up while BuildKit was building",
            why=lines[-1],
            todo="free some space (nox -s clean says what it can drop here; docker buildx prune, on a builder) and run "
            "the same command again",
        )
    if "exec format error" in tail:
        return EmulationError(
            "the machine that builds cannot run a step's program",
            why=f"exec format error, in the last lines of {log}",
            todo="where it is not an arm64, register QEMU's emulation there (Debian, Ubuntu: apt-get install "
            "qemu-user-static); --machine, if given, must be its own architecture",
        )
    if failed := _cache_fault(lines):
        return ImageBuildError(
            "the image was built, and its build cache could not be sent",
            why=failed,
            todo="look at --cache-to and at your rights in that registry (`docker login`, REGISTRY_TOKEN)",
        )
    return ImageBuildError("BuildKit failed", why=f"the last lines of {log}:\n       {tail}", todo=f"read {log}")


def _cache_fault(lines: Sequence[str]) -> str:
    """Why a cache could not be exported; empty where that is not what failed."""
    exports = {match[1]: match[2] for line in lines if (match := CACHE.match(line)) and "exporting" in match[2]}
    faults = (match for line in lines if (match := FAULT.match(line)))
    return next((f"{exports[match[1]]}: {match[2]}" for match in faults if match[1] in exports), "")
