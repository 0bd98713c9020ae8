"""What must be so before an image is published: the checkout, the target, the image itself, its smoke report.

Composes. Each demand is an error with the command that meets it, raised before anything is sent.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from build import proc, published, recipe, report, results, steps
from build.errors import CommandError, PublishError
from build.models import Settings
from build.ociimage import Image

FREE = (str(published.FOLDER), str(results.FOLDER), "README.md")  # what a push or a build itself writes
UNFIT = "not for use"
DIRTY = "dirty checkout"
HONEST = ("-c", f"core.excludesFile={os.devnull}", "-c", "core.fsmonitor=false")  # the user's own list hides files
SHOWN = 8  # changed files in a message


def commit(repo: Path) -> str:
    """The commit that is checked out; :class:`PublishError` where there is none."""
    try:
        return proc.run(["git", "rev-parse", "--verify", "HEAD^{commit}"], cwd=repo).stdout.strip()
    except CommandError as error:
        raise PublishError(
            "this is no checkout with a commit",
            why=error.output.splitlines()[-1] if error.output else error.what,
            todo="publish from a clone: the record names the commit that it was made from",
        ) from error


def changed(repo: Path) -> tuple[str, ...]:
    """What differs from the commit: changed, added and unknown files; records, results and what git ignores aside."""
    argv = ["git", *HONEST, "status", "--porcelain=v1", "-z", "--untracked-files=all", "--no-renames"]
    rows = proc.run(argv, cwd=repo).stdout.split("\0")
    return tuple(row[3:] for row in rows if row and not any(f"{row[3:]}/".startswith(f"{free}/") for free in FREE))


def require_clean(settings: Settings, *, allowed: bool) -> tuple[str, ...]:
    """The remarks that a record gets for the checkout; :class:`PublishError` for a dirty one, unless ``allowed``."""
    commit(settings.repo)  # or its error, which says more than git's
    found = changed(settings.repo)
    if not found:
        return ()
    if not allowed:
        more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
        raise PublishError(
            "the checkout is dirty: nobody could build what would be published",
            why=", ".join(found[:SHOWN]) + more,
            todo="commit it (or leave it out by .gitignore); for a private test: --allow-dirty, which the record tells",
        )
    return (DIRTY,)


def require_fit(job: steps.Job, *, allowed: bool) -> tuple[str, ...]:
    """The same for the target: one whose image cannot serve a model is not published, unless ``allowed``."""
    why = ""
    if job.target.native is not None and not job.target.native.complete:
        why = "only a part of vLLM's native code is compiled in it"
    elif not any(wheel.name == "vllm" for wheel in job.lock.wheels):
        why = "there is no vLLM in it"
    if not why:
        return ()
    if not allowed:
        raise PublishError(
            f"{job.name} is not for use",
            why=why,
            todo="name another --target; for a private test: --allow-unfit, which the record tells",
        )
    return (UNFIT,)


def require_image(job: steps.Job, image: Image) -> results.Result:
    """The image as a result, which is the recorded one; :class:`PublishError` where it is of other inputs, or not.

    Without a recorded result nobody could check by building: that is no publication.
    """
    chain = recipe.chain_id(job)
    has = image.labels.get(f"{steps.LABEL}.chain-id", "")
    build = f"run `nox -s build -- --target {job.name}`, then its smoke, and push again"
    if has != chain:
        raise PublishError(
            f"the image is not of this clone's inputs for {job.name}",
            why=f"its chain id is {has[:12] or 'not told'}, this clone's is {chain[:12]}",
            todo=build,
        )
    recorded = results.read(job.settings.repo, job.name)
    if recorded is None or recorded.chain_id != chain:
        raise PublishError(
            f"lock/results/ does not say what {job.name} should be",
            why="what is published must be comparable with what anyone builds",
            todo=f"`nox -s build -- --record --target {job.name}`, and commit the result",
        )
    found = as_result(job, image, recorded)
    if faults := results.differences(recorded, found):
        raise PublishError(
            f"the image is not what lock/results/ says of {job.name}", why="\n       ".join(faults), todo=build
        )
    return found


def as_result(job: steps.Job, image: Image, recorded: results.Result) -> results.Result:
    """An image as results have it. Who built it is known where it is the recorded one to the byte."""
    same = recorded.manifest == image.manifest
    return results.Result(
        target=job.name,
        chain_id=image.labels.get(f"{steps.LABEL}.chain-id", ""),
        engine=recorded.engine if same else "another engine",
        buildkit=recorded.buildkit if same else "",
        rootfs=recorded.rootfs,  # its tar became the first layer, which is compared
        config=image.config_digest,
        canonical_config=results.canonical_config(image.config),
        manifest=image.manifest,
        layers=tuple(
            results.LayerResult(diff_id=layer.diff_id, digest=layer.digest, size=layer.size) for layer in image.layers
        ),
    )


def require_smoked(settings: Settings, target: str, image: Image, named: Path | None) -> bytes:
    """The green smoke report of this very image, as its file has it; :class:`PublishError` for none, or a red one."""
    stem = f"{target}-{image.manifest.removeprefix('sha256:')[:12]}"
    path = named or settings.repo / "out" / "smoke" / f"{stem}.json"
    smoke = f"run `nox -s smoke -- --target {target}`"
    try:
        data = path.read_bytes()
        told = json.loads(data)
        rows = [(str(row["name"]), str(row["status"]), str(row["reason"])) for row in told["checks"]]
        digest, chain = str(told["digest"]), str(told["chain_id"])
    except FileNotFoundError as error:
        raise PublishError(f"{target} was not smoked", why=f"there is no report {path.name}", todo=smoke) from error
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise PublishError(f"{path.name} is no smoke report", why=repr(error), todo=smoke) from error
    if digest != image.manifest or chain != image.labels.get(f"{steps.LABEL}.chain-id"):
        raise PublishError(
            f"the smoke report {path.name} is of another image", why=f"of {digest}, not {image.manifest}", todo=smoke
        )
    bad = [f"{name}: {reason}" for name, status, reason in rows if status not in (report.PASSED, report.SKIPPED)]
    if bad or not any(status == report.PASSED for _, status, _ in rows):
        raise PublishError(
            f"the smoke report of {target} is not green", why="\n       ".join(bad) or "no check passed", todo=smoke
        )
    return data
