"""A buildx builder that is not our engine: whether it can do the work, and what kind of machine it builds on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from build import ociimage, proc
from build.console import say, step
from build.errors import CommandError, EngineError

MACHINES = ("amd64", "arm64")  # that there are builder roots for
SECONDS = 600  # a builder that is not running is started, and may pull its own image
LABEL = "machine"
# No base image and no program: BuildKit says what BUILDARCH is, as it will when it builds the image.
DOCKERFILE = f"FROM scratch\nARG BUILDARCH\nLABEL {LABEL}=${{BUILDARCH}}\nCOPY Dockerfile /\n"
OLD_STORE = "OCI exporter is not supported for the docker driver"  # buildx, of an engine without the containerd store


def machine(
    buildx: Sequence[str], env: Mapping[str, str], name: str, folder: Path, *, wanted: str | None = None
) -> str:
    """The architecture, by Debian's name, of the machine where a builder builds for linux/arm64. Found out by a build.

    Of a builder with several nodes it is the one that buildx takes for that platform. ``buildx``, ``env``: as
    :func:`build.engine.buildx` gives them. ``folder``: one to work in. ``wanted``: an architecture to take whatever the
    builder's is, as one can that emulates. Raises :class:`EngineError`, also for an engine with the old image store: it
    makes tars of layers in its own way, and so other layers.
    """
    context, told = folder / "asked", folder / "told.tar"
    context.mkdir()
    (context / "Dockerfile").write_text(DOCKERFILE, encoding="utf-8")
    asked = ["build", "--progress", "plain", "--platform", "linux/arm64", "--provenance", "false", "--builder", name]
    asked += ["--output", f'type=oci,"dest={told}"', str(context)]
    try:
        with step(f"ask the builder {name} what it builds on"):
            proc.run([*buildx, *asked], env=env, timeout=SECONDS)
    except CommandError as error:
        raise _unusable(name, error) from error
    found = ociimage.read(f"the answer of {name}", told).labels[LABEL]
    if wanted is None and found not in MACHINES:
        raise EngineError(
            f"the builder {name} is on a machine of another kind",
            why=f"it is {found}, and what its steps would run is locked for {' and '.join(MACHINES)}",
            todo="name a builder on one of those",
        )
    say(f"the builder {name} builds on {found}: its steps run programs for {wanted or 'that'}")
    return wanted or found


def _unusable(name: str, error: CommandError) -> EngineError:
    if OLD_STORE in error.output:
        return EngineError(
            f"the builder {name} is a Docker Engine with its old image store",
            why="that writes layers in its own way: the image would not be the recorded one",
            todo='set "features": {"containerd-snapshotter": true} in its daemon.json, and restart it',
        )
    said = [line.partition("ERROR: ")[2] for line in error.output.splitlines() if line.startswith("ERROR: ")]
    return EngineError(
        f"the builder {name} cannot be used",
        why=said[-1] if said else error.why or error.what,
        todo="`docker buildx ls` shows builders, and the Docker contexts that are builders too (docs/teams.md)",
    )
