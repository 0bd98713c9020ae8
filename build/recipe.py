"""What an image is made of, from a job: layers, Dockerfile, labels, manifest, and the chain id over all of it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from build import (
    bytecode,
    consistency,
    determinism,
    leftout,
    lockfile,
    metadata,
    nativebuild,
    nativelock,
    patterns,
    profiles,
    requirements,
    requireslock,
    rootfs,
    roots,
    series,
    store,
    wheels,
)
from build.canonical import digest, tree_sha256
from build.errors import InconsistentLockError, LockError
from build.layers import LayerPlan, plan_layers
from build.models import Component, Wheel
from build.render import Page, cuda_layer, image_env, render
from build.steps import LABEL, Job

FORM = 1  # of the chain; a change of how builds work that no input shows


def grouped(job: Job) -> tuple[LayerPlan, ...]:
    """The layers without what only the wheels' RECORDs tell."""
    return _plan(job, (), {}, {}, {})


def planned(job: Job) -> tuple[LayerPlan, ...]:
    """The layers as they are installed; every overlap of wheels is resolved, every pattern found, or it is an error."""
    found = overlaps(job)
    declared = [(item.winner, item.over) for item in job.target.overlaps]
    return _plan(job, found, wheels.winners(found, declared), left_out(job), compiled(job))


def overlaps(job: Job) -> tuple[wheels.Overlap, ...]:
    """What the target's wheels both write, from their RECORDs; read once for a set of wheels."""

    def found() -> list[dict[str, Any]]:
        demand_requires(job)
        return [asdict(item) for item in wheels.overlaps(_records(job))]

    rows = _kept(job, overlaps_name(job.lock.wheels), found)
    return tuple(wheels.Overlap(**{**row, "writers": tuple(row["writers"])}) for row in rows)


def left_out(job: Job) -> patterns.Files:
    """What of the target's wheels does not enter the image, from their RECORDs; read once for the same patterns.

    Raises ``PatternError`` for what is not there, and for what is needed all the same.
    """
    tables = [item.patterns for item in job.target.left_out]
    if not tables:
        return {}
    rows = _kept(job, left_out_name(job.lock.wheels, tables), lambda: leftout.find(_records(job), tables))
    found = {name: tuple(paths) for name, paths in rows.items()}
    patched = [file.installed for item in job.lock.components for file in item.files if file.installed]
    leftout.demand(leftout.contradictions(found, patched, [item.path for item in job.target.libraries]))
    return found


def compiled(job: Job) -> patterns.Files:
    """The sources of the target's wheels to compile, likewise. Raises ``InconsistentLockError`` for another Python."""
    wanted = job.target.bytecode
    if not wanted:
        return {}
    if faults := list(consistency.differing_python(job.lock, job.rootfs, job.builders)):
        raise InconsistentLockError(
            "bytecode cannot be compiled for the image by the Python of its builder",
            why="\n       ".join(faults),
            todo="`nox -s lock -- --upgrade` brings both to one version",
        )
    gone = {path for group in left_out(job).values() for path in group}
    name = bytecode_name(job.lock.wheels, [item.patterns for item in job.target.left_out], wanted)
    rows = _kept(job, name, lambda: bytecode.find(_records(job), wanted, gone))
    return {key: tuple(paths) for key, paths in rows.items()}


def _records(job: Job) -> dict[str, dict[str, str]]:
    return {w.name: wheels.record(store.blob(job.settings.store, w.sha256)) for w in job.lock.wheels}


def _kept(job: Job, name: str, make: Callable[[], Any]) -> Any:
    """A JSON value out of ``trees/`` in the store, made where it is not there."""
    path = job.settings.store / "trees" / name
    with suppress(OSError, ValueError):
        return json.loads(path.read_text(encoding="utf-8"))
    made = make()
    path.parent.mkdir(parents=True, exist_ok=True)
    with store.scratch(job.settings.store, "records") as folder:
        (folder / path.name).write_text(json.dumps(made), encoding="utf-8")
        os.replace(folder / path.name, path)
    return made


def demand_requires(job: Job) -> None:
    """The wheels in the store require what the lock says that they do; else :class:`LockError`.

    The lock may have been made from the parts of wheels that an index handed out, which nothing verified.
    """
    stated = metadata.read_all(job.settings.store, job.lock.wheels, {})
    found = requirements.of_lock(job.lock, stated, nativelock.asked(job.target, job.lock), job.environment)
    locked = requireslock.read(job.settings.repo, job.lock, nativelock.asked(job.target, job.lock))
    if faults := requirements.disagreements(locked, found):
        raise LockError(
            f"wheels of {job.name} do not require what was locked",
            why="\n       ".join(faults),
            todo=f"the index that it was locked with gave other METADATA: `nox -s lock -- --target {job.name}`",
        )


def overlaps_name(locked: Sequence[Wheel]) -> str:
    """The name in ``trees/`` of what is known of a set of wheels."""
    return f"overlaps-{digest(sorted(wheel.sha256 for wheel in locked))}.json"


def left_out_name(locked: Sequence[Wheel], tables: Sequence[Sequence[str]]) -> str:
    """The same for what patterns match of a set of wheels."""
    return f"left-out-{digest([sorted(wheel.sha256 for wheel in locked), tables])}.json"


def bytecode_name(locked: Sequence[Wheel], gone: Sequence[Sequence[str]], wanted: Sequence[str]) -> str:
    """The same for the sources that patterns match of a set of wheels, less those that are left out."""
    return f"bytecode-{digest([sorted(wheel.sha256 for wheel in locked), gone, wanted])}.json"


def _plan(
    job: Job,
    found: Sequence[wheels.Overlap],
    winners: dict[str, str],
    left: patterns.Files,
    sources: patterns.Files,
) -> tuple[LayerPlan, ...]:
    return plan_layers(
        job.lock.wheels,
        [layer.name for layer in job.intent.layers],
        job.intent.layer_of,
        overlaps=found,
        winners=winners,
        left_out=left,
        bytecode=sources,
        patched=patched_distributions(job),
    )


def patched_distributions(job: Job) -> tuple[str, ...]:
    """The distributions that the series changes, in the order of the layers that their wheels are in.

    So are the layers of their patched files: a patch of vLLM does not change what is patched of FlashInfer.
    """
    order = [layer.name for layer in job.intent.layers]
    changed = (item.distribution for item in job.lock.components if is_patched(item) or is_compiled(job, item))
    return tuple(sorted(changed, key=lambda name: (order.index(job.intent.layer_of(name)), name)))


def is_patched(component: Component) -> bool:
    """Whether the series changes what the component's distribution installs, or what it requires."""
    return bool(component.requires) or any(file.installed for file in component.files)


def is_compiled(job: Job, component: Component) -> bool:
    """Whether it is the component whose native code is compiled: its dist-info then tells of more than its wheel."""
    return job.lock.native is not None and job.lock.native.component == component.name


def baked(job: Job) -> dict[str, bytes]:
    """The profiles that the image carries, those which name its target: file name → content, in the order of names.

    All are read, so that a fault in one stops every build: :class:`ProfileError`.
    """
    found = profiles.read_all(job.settings.repo, job.intent.targets)
    return {
        f"{name}.toml": (job.settings.repo / profiles.FOLDER / f"{name}.toml").read_bytes()
        for name, profile in found.items()
        if job.name in profile.targets
    }


def chain_id(job: Job) -> str:
    """The name of the image before it exists: sha256 over its lock and all else that enters it."""
    return digest(
        {
            "form": FORM,
            "lock": lockfile.image_text(job.lock),
            "rootfs": rootfs.rootfs_id(job.rootfs),
            "layers": [plan.as_dict() for plan in grouped(job)],
            "builders": [roots.root_id(item) for item in job.builders],
            "dockerfiles": dict(tree_sha256(job.settings.repo / "dockerfiles")),
            "dockerfile": dockerfile(job, chain=""),
            "manifest": manifest(job, chain=""),
            **({"native": nativebuild.inputs(job)} if job.target.native is not None else {}),
        }
    )


def dockerfile(job: Job, *, chain: str) -> str:
    """The rendered Dockerfile, with the chain id in the image's labels."""
    layers = grouped(job)
    cuda = cuda_layer(layers)
    page = Page(
        target=job.name,
        rootfs=job.rootfs.suite,
        python=job.lock.python,
        platform=job.lock.platform,
        series=job.target.series,
        local_version=job.target.local_version,
        layers=layers,
        patched=patched_distributions(job),
        cuda_layer=cuda,
        env=image_env(job.lock.python, cuda=bool(cuda)),
        labels=labels(job, chain),
        arguments=determinism.step_arguments(),
        profiles=tuple(baked(job)),
        native=nativebuild.page(job),
    )
    return render(job.settings.repo / "dockerfiles", page)


def oci_annotations(job: Job) -> dict[str, str]:
    """OCI annotations (image-spec, annotations.md): version and revision are vLLM's, created is the epoch."""
    prefix = "org.opencontainers.image"
    said = {
        f"{prefix}.created": datetime.fromtimestamp(job.lock.epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        f"{prefix}.title": f"{LABEL} {job.name}",
        f"{prefix}.version": job.target.version,
    }
    if job.target.revision:
        said[f"{prefix}.revision"] = job.target.revision
    return said


def labels(job: Job, chain: str) -> dict[str, str]:
    """The image's labels: ours, and the OCI annotations again, for tools that read only labels."""
    return {
        **oci_annotations(job),
        f"{LABEL}.target": job.name,
        f"{LABEL}.chain-id": chain,
        f"{LABEL}.series-id": series.series_id(job.lock.patches),
    }


def labelled(version: str, local: str) -> str:
    """The version of a patched distribution, as ``dockerfiles/lane/patched.py`` writes it.

    >>> labelled("0.22.0", "spark"), labelled("0.21.1rc1.dev363+g27fd665bd", "spark")
    ('0.22.0+spark', '0.21.1rc1.dev363+g27fd665bd.spark')
    """
    return f"{version}{'.' if '+' in version else '+'}{local}"


def manifest(job: Job, *, chain: str) -> dict[str, object]:
    """What the image knows of itself: ``/opt/spark/manifest.json``, read by its own checks."""
    native = {"native": nativebuild.told(job)} if job.target.native is not None else {}
    changed = set(patched_distributions(job))
    return {
        "schema": 1,
        "target": job.name,
        "chain_id": chain,
        "series": job.target.series,
        "series_id": series.series_id(job.lock.patches),
        "python": job.lock.python,
        "smoke": job.target.smoke,
        "wheels": [
            {
                "name": w.name,
                "version": labelled(w.version, job.target.local_version) if w.name in changed else w.version,
            }
            for w in job.lock.wheels
        ],
        "patches": [
            {
                "component": patch.ref.component,
                "series": patch.ref.series,
                "file": patch.ref.file,
                "sha256": patch.ref.sha256,
                "behaviour": patch.behaviour,
            }
            for patch in job.series.patches
        ],
        "patched": [
            {
                "component": item.name,
                "distribution": item.distribution,
                "installed": file.installed,
                "before": file.before,
                "after": file.after,
            }
            for item in job.lock.components
            for file in item.files
            if file.installed
        ],
        "exceptions": [item.model_dump() for item in job.target.exceptions],
        "libraries": [item.model_dump(exclude_defaults=True) for item in job.target.libraries],
        "bytecode": job.target.bytecode,
        "profiles": {name: hashlib.sha256(content).hexdigest() for name, content in baked(job).items()},
        "left_out": [
            {"paths": item.patterns, "reason": item.reason, "foreign": item.foreign} for item in job.target.left_out
        ],
        **native,
    }
