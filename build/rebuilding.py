"""A published image built again from nothing, at the commit that it was published from, and compared.

Composes. The work is `nox -s reproduce`, run in this clone where it has the image's inputs, else in a copy of it at
that commit, which is gone afterwards.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from build import documents, proc, recipe, results, steps, store
from build.console import step
from build.errors import BuildError, VerifyError
from build.models import Settings
from build.ociimage import Image
from build.published import Record


def rebuild(settings: Settings, image: Image, record: Record | None, provenance: Mapping[str, Any]) -> str:
    """Build and compare; what held, in words. Raises :class:`VerifyError` where it is another image."""
    target = image.labels.get(f"{steps.LABEL}.target", "")
    chain = image.labels.get(f"{steps.LABEL}.chain-id", "")
    if _chain_here(settings, target) == chain:
        return _reproduced(settings, settings.repo, image, target)
    places = record.places if record else ()
    commits = [place.commit for place in reversed(places)]
    if provenance:
        commits.append(documents.built(provenance).commit)
    for commit in commits:
        if _has(settings.repo, commit):
            with store.scratch(settings.store, "rebuild") as folder, step(f"a copy of this clone at {commit[:12]}"):
                clone = _clone(settings.repo, commit, folder / "clone")
                return _reproduced(settings, clone, image, target)
    raise VerifyError(
        "it cannot be built here",
        why=f"this clone's {target or 'targets'} has another chain id, and it has not the commit "
        f"{commits[0][:12] if commits else 'that it was published from: no record names it'}",
        todo="git fetch (with all history: --unshallow), then again",
    )


def _chain_here(settings: Settings, target: str) -> str:
    try:
        return recipe.chain_id(steps.load(settings, target))
    except BuildError:
        return ""


def _has(repo: Path, commit: str) -> bool:
    argv = ["git", "cat-file", "-e", f"{commit}^{{commit}}"]
    return proc.run(argv, cwd=repo, check=False).returncode == 0


def _clone(repo: Path, commit: str, folder: Path) -> Path:
    proc.run(["git", "clone", "--quiet", "--shared", "--no-checkout", repo, folder])
    proc.run(["git", "checkout", "--quiet", "--detach", commit], cwd=folder)
    return folder


def _reproduced(settings: Settings, repo: Path, image: Image, target: str) -> str:
    """Run `reproduce` in a clone, and compare what it found right with the image."""
    recorded = results.read(repo, target)
    if recorded is None:
        raise VerifyError("it cannot be compared", why=f"lock/results/ has nothing of {target} at that commit")
    was, now = [row.diff_id for row in recorded.layers], [layer.diff_id for layer in image.layers]
    if was != now or recorded.canonical_config != results.canonical_config(image.config):
        raise VerifyError("it is not the image that its commit's lock/results/ tells of")
    argv: list[proc.Arg] = [
        sys.executable,
        repo / "nox",
        "-s",
        "reproduce",
        "--",
        "--target",
        target,
        "--store",
        settings.store,
    ]
    own = {name: value for name, value in os.environ.items() if name.startswith("SPARK_RUNTIME_")}
    env = {**proc.network_env(), **own}
    done = proc.run(argv, cwd=repo, env=env, capture=False, check=False, verbose=settings.verbose)
    if done.returncode != 0:
        raise VerifyError(
            "building it again did not give it",
            why=f"`nox -s reproduce -- --target {target}` ended with exit status {done.returncode}; its words: above",
        )
    held = "the same manifest" if recorded.manifest == image.manifest else "the same diff ids and canonical config"
    return f"built again from nothing, under other conditions: {held}"
