"""The compile cache of the source lane, carried from one engine to another: ``build --ccache DIR``.

ccache's folder is a cache mount, which BuildKit keeps to itself: only a step sees it. So a step of a small Dockerfile
packs it into one tar (:mod:`build.ccachetar`) or adds a tar to it. Being a cache, it ends no build: what does not work
is a warning. What its steps leave in BuildKit is dropped again, for the private engine collects no garbage.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from build import ccachetar, contexts, proc
from build.ccachetar import Figures
from build.console import human_bytes, say, step, warn
from build.errors import BuildError, CommandError, SpaceError

PROGRAM = Path(ccachetar.__file__)
TOLD = re.compile(r"^#\d+ [\d.]+ CCACHE (\{.*\})$", re.MULTILINE)
SEED = "compile-cache-seed"  # the context that a tar comes by
COMMAND = (
    "/mnt/builder/ld.so", "--library-path", "/mnt/builder/lib.native", "/mnt/builder/usr/bin/python3", "-sP",
    "/mnt/ccachetar.py",
)  # fmt: skip
# NONCE and the others are in the step's environment, and so in the key that BuildKit keeps it by: it runs each time.
DOCKERFILE = f"""\
FROM --platform=$BUILDPLATFORM scratch AS builder
ADD builder.tar /
FROM scratch
ARG NONCE DO KNOWN
RUN --network=none --mount=type=tmpfs,target=/mnt --mount=type=bind,from=builder,target=/mnt/builder \\
    --mount=type=bind,source=ccachetar.py,target=/mnt/ccachetar.py --mount=type=bind,from={SEED},target=/mnt/seed \\
    --mount=type=cache,id={{mount}},target=/mnt/ccache {json.dumps(COMMAND)}
"""
# BuildKit's words for what the steps and the seed leave in its store (solver/llbsolver/ops/exec.go, source/local).
LEFT = (f"mount / from exec {' '.join(COMMAND)}", f"local source for {SEED}")


@dataclass(frozen=True, kw_only=True)
class Place:
    """A compile cache: the cache mount ``mount`` of a BuildKit, and the folder that it is carried in.

    ``buildx``, ``env``: as :func:`build.engine.buildx` gives them, ``builder``: one that was named. ``root``: the
    builder root's tar for the machine that builds. ``context``: a folder of ours, the same from build to build.
    """

    mount: str
    folder: Path
    buildx: Sequence[str]
    env: Mapping[str, str]
    builder: str | None
    root: Path
    context: Path

    @property
    def tar(self) -> Path:
        """Where it is carried. The mount is named after the compilers: what others compiled lies beside it."""
        return self.folder / f"{self.mount}.tar"


@contextmanager
def carried(place: Place) -> Iterator[None]:
    """Bring the mount up to date before, keep it in the folder afterwards, also after a build that failed."""
    _restore(place)
    try:
        yield
    except SpaceError:
        raise
    except BuildError:
        _save(place)
        raise
    _save(place)


def _restore(place: Place) -> None:
    """Add what the tar holds to the mount, where that was used less lately."""
    try:
        held = _held(place)
        if held is None:
            say(f"no compile cache of these compilers is in {place.folder} yet")
            return
        there = _run(place, "look")
        if there.newest >= held.newest:
            say(f"the engine's compile cache is as new as the one in {place.folder}")
            return
        with step(f"take the compile cache from {place.folder} ({held.files} files, {human_bytes(held.bytes)})"):
            _run(place, "take", seed=place.tar)
    except ccachetar.DamagedError as error:
        warn(f"{place.tar} is not used: {error}")
    except (BuildError, OSError) as error:
        warn(f"nothing is taken from {place.folder}: {_reason(error)}")
    finally:
        _tidy(place)


def _save(place: Place) -> None:
    """Write the tar anew where the mount holds something else."""
    known = None
    try:
        with suppress(ccachetar.DamagedError):
            known = _held(place)
        place.folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".saving-", dir=place.folder) as folder:
            there = _run(place, "give", known=known, output=f'type=local,"dest={folder}"')
            made = Path(folder) / ccachetar.OUT.name / ccachetar.FILE
            if made.exists():
                os.replace(made, place.tar)
                say(f"the compile cache is in {place.tar}: {there.files} files, {human_bytes(there.bytes)}")
            elif there.files:
                say(f"{place.tar} is the engine's compile cache")
            else:
                say("there is no compile cache to keep: nothing was compiled")
    except (BuildError, OSError) as error:
        warn(f"the compile cache is not kept in {place.folder}: {_reason(error)}")
    finally:
        _tidy(place)


def _tidy(place: Place) -> None:
    """Drop what our steps left in BuildKit, by its ids: its prune matches no descriptions, which only ``du`` tells."""
    found, current = [], ""
    with suppress(BuildError):
        for line in proc.run([*_buildx(place, "du"), "--verbose"], env=place.env).stdout.splitlines():
            name, _, value = line.partition(":")
            if name == "ID":
                current = value.strip()
            elif name == "Description" and value.strip() in LEFT:
                found.append(current)
        if found:
            chosen = f'id="^({"|".join(found)})$"'
            proc.run([*_buildx(place, "prune"), "--force", "--filter", chosen], env=place.env)


def _held(place: Place) -> Figures | None:
    """What is in the tar; None where there is none. Raises ``DamagedError``."""
    return ccachetar.figures(ccachetar.listed(place.tar)) if place.tar.exists() else None


def _run(
    place: Place, what: str, *, known: Figures | None = None, seed: Path | None = None, output: str = "type=cacheonly"
) -> Figures:
    """Let BuildKit run the step; what the mount holds then."""
    text = DOCKERFILE.format(mount=place.mount)
    entries: dict[str, bytes | Path] = {"ccachetar.py": PROGRAM.read_bytes(), "builder.tar": place.root}
    contexts.sync(place.context / "main", {"Dockerfile": text.encode(), **entries})
    contexts.sync(place.context / "seed", {ccachetar.FILE: seed} if seed else {})
    values = {"NONCE": secrets.token_hex(8), "DO": what, "KNOWN": json.dumps(asdict(known)) if known else ""}
    argv = [
        *_buildx(place, "build"), "--progress", "plain", "--platform", "linux/arm64", "--provenance", "false",
        "--sbom", "false", "--network", "none", "--output", output,
        "--build-context", f"{SEED}={place.context / 'seed'}",
        *(word for name, value in values.items() for word in ("--build-arg", f"{name}={value}")),
        str(place.context / "main"),
    ]  # fmt: skip
    try:
        told = TOLD.findall(proc.run(argv, env=place.env).stderr)
    finally:
        shutil.rmtree(place.context / "seed")
    if not told:
        raise CommandError("the step that packs compile caches said nothing")
    return Figures(**json.loads(told[-1]))


def _buildx(place: Place, verb: str) -> list[str]:
    return [*place.buildx, verb, *(["--builder", place.builder] if place.builder else [])]


def _reason(error: Exception) -> str:
    """Why, in a line: BuildKit's last word, where it said one."""
    said = [line for line in getattr(error, "output", "").splitlines() if line.startswith("ERROR: ")]
    return said[-1].removeprefix("ERROR: ") if said else getattr(error, "what", str(error))
