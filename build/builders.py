"""A buildx builder that is not our engine: what kind of machine it builds on, and whether it answers at all."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from build import proc
from build.console import say, step
from build.errors import CommandError, EngineError

MACHINES = ("amd64", "arm64")  # that there are builder roots for
SECONDS = 600  # a builder that is not running is started, and may pull its own image
# No step and no base image: BuildKit resolves BUILDARCH and copies a file, as it will resolve it for the image.
DOCKERFILE = "FROM scratch\nARG BUILDARCH\nCOPY ${BUILDARCH} /machine\n"


def machine(buildx: Sequence[str], env: Mapping[str, str], name: str, folder: Path) -> str:
    """The architecture, by Debian's name, of the machine where a builder builds for linux/arm64. Found out by a build.

    Of a builder with several nodes it is the one that buildx takes for that platform. ``buildx``, ``env``: as
    :func:`build.engine.buildx` gives them. ``folder``: one to work in. Raises :class:`EngineError`.
    """
    context, told = folder / "asked", folder / "told"
    context.mkdir()
    for known in MACHINES:
        (context / known).write_text(known, encoding="utf-8")
    (context / "Dockerfile").write_text(DOCKERFILE, encoding="utf-8")
    asked = ["build", "--progress", "plain", "--platform", "linux/arm64", "--provenance", "false", "--builder", name]
    asked += ["--output", f'type=local,"dest={told}"', str(context)]
    try:
        with step(f"ask the builder {name} what it builds on"):
            proc.run([*buildx, *asked], env=env, timeout=SECONDS)
    except CommandError as error:
        raise _unusable(name, error) from error
    found = (told / "machine").read_text(encoding="utf-8")
    say(f"the builder {name} builds on {found}: its steps run programs for that")
    return found


def _unusable(name: str, error: CommandError) -> EngineError:
    said = [line.partition("ERROR: ")[2] for line in error.output.splitlines() if line.startswith("ERROR: ")]
    if other := re.search(r'"/([a-z0-9]+)": not found', error.output):
        return EngineError(
            f"the builder {name} is on a machine of another kind",
            why=f"it is {other[1]}, and what its steps would run is locked for {' and '.join(MACHINES)}",
            todo="name a builder on one of those",
        )
    return EngineError(
        f"the builder {name} cannot be used",
        why=said[-1] if said else error.why or error.what,
        todo="`docker buildx ls` shows builders, and the Docker contexts that are builders too (docs/teams.md)",
    )
