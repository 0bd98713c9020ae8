"""What every build by BuildKit begins and ends with: inputs in place, and a failure told by its cause."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from build import assemble, buildx, emulation, host, nativereport, steps, store
from build.console import step
from build.errors import ImageBuildError
from build.models import Built


def prepare(job: steps.Job, chain: str, known: Built | None, *, whole: bool = True) -> assemble.Contexts:
    """Everything that BuildKit needs, verified and in place. ``whole``: the image is to be made, which takes disk."""
    settings = job.settings
    steps.require_resolved(job)
    needed = steps.missing_bytes(job) + assemble.disk_needed(job, known) // (1 if whole else 2)
    store.require_space(settings.store, needed, f"building {job.name}")
    steps.fetch_all(job)
    patched = steps.patched_files(job)
    if not settings.builder:  # a builder of its own sees to that itself
        emulation.ensure(settings.store, host.tools(settings))
    rootfs = host.rootfs_tar(settings, job.target.rootfs)
    builder = host.builder_tar(settings)
    with step("write the build contexts"):
        return assemble.write(job, chain, patched, root_tar=rootfs, builder=builder)


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
