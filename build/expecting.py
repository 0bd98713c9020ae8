"""Whether what was built is what ``lock/results/`` says: an image in the engine, in a file, or known by its digests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from build import assemble, buildspecs, ociimage, results, steps
from build.console import say, warn
from build.errors import LockError, NewerLockError, ReproduceError

MANIFEST, CONFIG = "containerimage.digest", "containerimage.config.digest"  # members of BuildKit's metadata


def recorded_before(job: steps.Job, *, rewrite: bool) -> results.Result | None:
    """The recorded result. One that an older version wrote, or a hand, may be written over."""
    try:
        return results.read(job.settings.repo, job.name)
    except LockError as error:
        if rewrite and not isinstance(error, NewerLockError):
            return None
        raise


def compare(recorded: results.Result, found: results.Result, *, expected: bool) -> None:
    """Say how far a build is what was recorded of the same inputs; what it is not is an error where that was asked."""
    faults = results.differences(recorded, found)
    if not faults:
        say(f"as recorded in lock/results/: {results.held(recorded, found)}")
    elif expected:
        raise another(
            found.target,
            faults,
            f"nox -s reproduce -- --target {found.target} builds it from nothing: which of the two is it?",
        )
    for text in faults:
        warn(f"{found.target} is not what was recorded of the same inputs: {text}")


def demand_sent(job: steps.Job, chain: str, spec: str, metadata: Mapping[str, object], *, buildkit: str) -> None:
    """``ReproduceError`` where an image that was sent elsewhere, as ``spec`` says, is not the recorded one.

    An OCI layout is read, and compared as any image; of what went to a registry BuildKit tells two digests.
    """
    recorded = results.read(job.settings.repo, job.name)
    if recorded is None or recorded.chain_id != chain:
        raise nothing_to_expect(job.name, recorded, chain)
    file = buildspecs.layout(spec)
    if file is None:
        _compare_digests(job.name, recorded, metadata)
        return
    image = ociimage.read(str(file), file)
    builder = f"the builder {job.settings.builder}"
    compare(recorded, assemble.result_of(job, image, engine=builder, buildkit=buildkit), expected=True)


def tellable(spec: str) -> bool:
    """Whether an image that is sent as ``spec`` says can be compared with a recorded one."""
    told = buildspecs.fields("--output", spec) if "=" in spec else {}
    return buildspecs.layout(spec) is not None or told.get("type") in ("image", "registry")


def _compare_digests(target: str, recorded: results.Result, metadata: Mapping[str, object]) -> None:
    manifest, config = str(metadata.get(MANIFEST, "")), str(metadata.get(CONFIG, ""))
    same = "as recorded in lock/results/: the same"
    if manifest == recorded.manifest:
        say(f"{same} manifest, {manifest}: equal to the byte, compressed layers and all")
    elif config and config == recorded.config:
        say(f"{same} configuration, and so the same diff ids; the manifest is {manifest}")
    else:
        raise another(
            target,
            [f"manifest: {recorded.manifest} was recorded, {manifest or 'none'} was sent",
             f"config: {recorded.config} was recorded, {config or 'none'} was sent"],
            "another BuildKit may have described the same image otherwise: --output type=oci,dest=FILE --expect tells",
        )  # fmt: skip


def another(target: str, faults: Sequence[str], todo: str) -> ReproduceError:
    """The error for an image that is another one than the recorded."""
    return ReproduceError(
        f"{target} is not what was recorded of the same inputs", why="\n       ".join(faults), todo=todo
    )


def nothing_to_expect(target: str, recorded: results.Result | None, chain: str) -> ReproduceError:
    """The error where nothing was recorded of these inputs."""
    was = f"chain id {recorded.chain_id[:12]} is recorded, and this" if recorded else "nothing is recorded, and this"
    return ReproduceError(
        f"lock/results/ does not say what {target} should be",
        why=f"{was} is {chain[:12]}",
        todo=f"what enters the image was changed: `nox -s build -- --record --target {target}`, and commit the result",
    )
