"""What every build by BuildKit begins and ends with: inputs in place, and a failure told by its cause."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from build import assemble, buildx, emulation, host, nativereport, roots, steps, store
from build.console import step
from build.errors import ImageBuildError, UsageError
from build.models import Built


def prepare(
    job: steps.Job, chain: str, known: Built | None, *, whole: bool = True, machine: str = ""
) -> assemble.Contexts:
    """Everything that BuildKit needs, verified and in place. ``whole``: the image is to be made, which takes disk.

    ``machine``: the architecture of the machine that builds, by Debian's name, if it is not this one.
    """
    settings = job.settings
    steps.require_resolved(job)
    needed = steps.missing_bytes(job) + assemble.disk_needed(job, known) // (1 if whole else 2)
    store.require_space(settings.store, needed, f"building {job.name}")
    steps.fetch_all(job)
    elsewhere = machine if machine != roots.host_architecture() else ""
    if elsewhere:
        fetch_for(job, elsewhere)
    patched = steps.patched_files(job)
    if not settings.builder:  # a builder of its own sees to that itself
        emulation.ensure(settings.store, host.tools(settings))
    rootfs = host.rootfs_tar(settings, job.target.rootfs)
    builder = builder_tar(job, elsewhere) if elsewhere else host.builder_tar(settings)
    with step("write the build contexts"):
        return assemble.write(job, chain, patched, root_tar=rootfs, builder=builder, machine=machine)


def builder_tar(job: steps.Job, machine: str) -> Path:
    """The builder root of another architecture, as :func:`build.host.builder_tar` gives this machine's."""
    return roots.ensure_tar(job.settings.store, assemble.of_machine(job.builders, machine))


def fetch_for(job: steps.Job, machine: str) -> None:
    """Bring what a build's steps run on a machine of another architecture than this one: its Python, uv, compilers.

    ``UsageError`` for what only a machine of that architecture could prepare.
    """
    if job.target.native is not None and machine != host.IMAGE_ARCHITECTURE:
        raise UsageError(
            f"{job.name} cannot be compiled on a builder of {machine} from this machine",
            why="a machine of its architecture unpacks the compilers that stand in for the image's own",
            todo=f"name a builder of {host.IMAGE_ARCHITECTURE}, or run this on a machine of {machine}",
        )
    environment = steps.builder_environment(steps.MACHINES[machine], job.lock.python)
    steps.fetch_python(job.settings, [job.uv_of(machine)], [environment])
    for debsets in (job.builders, job.compilers):
        if debsets:
            host.fetch_debs(job.settings, assemble.of_machine(debsets, machine))


def image(
    job: steps.Job, buildx_argv: Sequence[str], env: Mapping[str, str], request: buildx.Request
) -> Mapping[str, object]:
    """Let BuildKit build; when a step fails, say so if it is for a wheel that went bad in the store."""
    try:
        return buildx.build(buildx_argv, env, request, verbose=job.settings.verbose)
    except ImageBuildError as error:
        fault = nativereport.fault(buildx.facts(request.log), str(request.log))
        if fault is not None:
            raise fault from error
        assemble.verify(job)
        raise
