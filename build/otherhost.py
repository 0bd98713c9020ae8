"""Build a target as a machine of another architecture does: its Python, uv, git, mmdebstrap, buildx, and our code.

They are the tools root of that architecture, run by QEMU's user emulation, offline, out of a folder as `fetch --export`
writes it. Two things stay this machine's, for no emulator can stand in for them: the kernel, and the engine. The
builder root is the other architecture's too, so that the steps of the Dockerfile run its Python and its uv.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from build import assemble, clone, emulation, host, jail, ociimage, private, proc, recipe, results, rootfs, roots, steps
from build.buildx import image_output
from build.canonical import file_sha256
from build.console import step
from build.models import Engine, Settings

PURPOSE = "building as another machine does"
PYTHON = "/usr/bin/python3"  # the tools root's


def build(settings: Settings, target: str, machine: str, work: Path, exported: Path) -> results.Result:
    """Build below ``work``, a new folder, out of ``exported``; what came out. Its image is :func:`image`.

    ``machine``: Debian's name of an architecture.
    """
    own = work / "store"
    tools = host.tools(settings)
    emulation.ensure(settings.store, tools)
    debset = host.locked_debs(settings, host.TOOLS, machine)
    host.fetch_debs(settings, debset)
    clone.copy(settings.repo, work / "clone")
    try:
        with step("start an engine that has never built anything"):
            chosen = private.up(own, tools)
        with step(f"unpack the tools root of {machine}"):
            root = roots.ensure(settings.store, debset)
        with step(f"build {target} by the tools of {machine}, emulated"):
            _run(settings, target, machine, chosen, root, work, exported)
        return _result(settings, target, own, image(work))
    finally:
        private.remove(own)


@contextlib.contextmanager
def place(settings: Settings) -> Iterator[Path]:
    """A folder to work in, gone afterwards: not in the store, where nothing is exported to."""
    work = settings.repo / "out" / f"machine-{os.getpid()}"
    work.mkdir(parents=True)
    try:
        yield work
    finally:
        proc.run(proc.as_root(["rm", "-rf", "--one-file-system", "--", work], purpose=PURPOSE), check=False)


def image(work: Path) -> Path:
    """Where the image is, an OCI image layout."""
    return work / "image"


def _run(settings: Settings, target: str, machine: str, chosen: Engine, root: Path, work: Path, exported: Path) -> None:
    (work / "home").mkdir()
    run = private.places(work / "store").run
    box = jail.Jail(
        root=root,
        binds=((work, str(work)), (exported, str(exported)), (run, str(run))),
        tmpfs=("/tmp",),  # noqa: S108 - a path in the jail
        env=(
            ("HOME", str(work / "home")),  # buildx writes there
            ("SPARK_RUNTIME_STORE", str(work / "other-store")),
            ("SPARK_RUNTIME_EXPORTED", str(exported)),
            ("DOCKER_HOST", chosen.url),
        ),
    )
    # The engine's own builder, by name: an engine of another architecture than ours would be refused.
    output = layout_output(recipe.oci_annotations(steps.load(settings, target)), image(work))
    story = ["build", "build", "--target", target, "--offline", "--builder", "default"]
    story += ["--machine", machine, "--output", output]
    argv = jail.command(box, [PYTHON, str(work / "clone/nox"), "--exec", "-m", *story])
    proc.run(proc.as_root(argv, purpose=PURPOSE), capture=False, verbose=settings.verbose)


def layout_output(annotations: Mapping[str, str], folder: Path) -> str:
    """The exporter's settings for the same image as an OCI image layout in a folder."""
    _, _, rest = image_output((), annotations).partition('"name=",')
    return f'type=oci,tar=false,"dest={folder}",{rest}'


def _result(settings: Settings, target: str, own: Path, layout: Path) -> results.Result:
    """What came out, from the layout."""
    made = ociimage.read(target, layout)
    job = steps.load(settings, target)
    return results.Result(
        target=target,
        chain_id=made.labels[f"{steps.LABEL}.chain-id"],
        engine=assemble.private_engine(job),
        buildkit="",
        rootfs=file_sha256(rootfs.place(own.parent / "other-store", job.rootfs)),
        config=made.config_digest,
        canonical_config=results.canonical_config(made.config),
        manifest=made.manifest,
        layers=tuple(results.LayerResult(diff_id=x.diff_id, digest=x.digest, size=x.size) for x in made.layers),
    )
