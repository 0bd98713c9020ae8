"""From a job to BuildKit's contexts, and from BuildKit's answer to what was built."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from build import (
    buildspecs,
    contexts,
    images,
    metadata,
    nativebuild,
    private,
    recipe,
    requirements,
    results,
    rootfs,
    roots,
    steps,
    store,
)
from build.buildx import Request, image_output
from build.canonical import digest, file_sha256, tree_files
from build.errors import ImageBuildError, UsageError
from build.layers import LayerPlan
from build.models import Built, Component, DebSet, Engine
from build.ociimage import Image

if TYPE_CHECKING:
    import docker

# Disk that a target takes, as a multiple of its wheels: BuildKit's copy of them, what they install, the compressed
# layers, and the image unpacked to run it (measured for v0.32, 3.98 GB of wheels: 15 GB to build, 8 GB to run).
TIMES_THE_WHEELS = 6
SMALL_BUILD = 1_000_000_000  # bytes; where only the last layers change


@dataclass(frozen=True, kw_only=True)
class Contexts:
    """The folders that BuildKit reads: the main one, and one for each layer of wheels."""

    main: Path
    layers: tuple[tuple[str, Path], ...]


def base_id(job: steps.Job) -> str:
    """The id of all that is below the patched files: two builds with the same one share it in BuildKit's cache."""
    return digest([job.rootfs.epoch, sorted(w.sha256 for w in job.lock.wheels)])


def disk_needed(job: steps.Job, known: Built | None) -> int:
    """Bytes of disk that a build needs, and the image's first run after it; little where only a patch changed.

    A builder of its own has that on its machine; here is at most what it sends back.
    """
    if known is not None and known.base == base_id(job):
        return SMALL_BUILD
    times = 1 if job.settings.builder else TIMES_THE_WHEELS
    return times * sum(wheel.size for wheel in job.lock.wheels) + SMALL_BUILD


def write(
    job: steps.Job, chain: str, patched: Mapping[str, Path], *, root_tar: Path, builder: Path, machine: str = ""
) -> Contexts:
    """Bring the contexts of a target up to date; only what changed is written.

    ``machine``: the architecture, by Debian's name, of the machine whose BuildKit will read them (default: this one's).
    """
    machine = machine or roots.host_architecture()
    root = job.settings.store / "contexts" / job.name
    entries: dict[str, bytes | Path] = {
        "Dockerfile": recipe.dockerfile(job, chain=chain).encode(),
        "builder.tar": builder,
        "rootfs.tar": root_tar,
        "uv": steps.uv_program(job.settings, job.uv_of(machine)),
        "manifest.json": _json(recipe.manifest(job, chain=chain)),
        **_folder(job.settings.repo / "dockerfiles" / "lane", "lane"),
        **_folder(job.settings.repo / "dockerfiles" / "image", "image"),
        **{f"profiles/{name}": content for name, content in recipe.baked(job).items()},
    }
    if job.target.native is not None:
        entries |= nativebuild.main_entries(job)
        if machine != roots.host_architecture():
            entries["compile.tar"] = roots.ensure_tar(job.settings.store, of_machine(job.compilers, machine))
    for name, said in _patched(job).items():
        entries[f"patched/{name}/patched.json"] = _json(said)
        entries |= {f"patched/{name}/files/{path}": patched[path] for path in said["paths"]}
    contexts.sync(root / "main", entries)
    verify(job, root)
    layers = nativebuild.named(job, root) if job.target.native is not None else []
    for plan in recipe.planned(job):
        contexts.sync(root / plan.name, {**_wheels(job, plan), "plan.json": _json(plan.as_dict())})
        layers.append((f"layer-{plan.name}", root / plan.name))
    return Contexts(main=root / "main", layers=tuple(layers))


def of_machine(debsets: Sequence[DebSet], machine: str) -> DebSet:
    """The set of packages that is for a machine, named as Debian names it."""
    return next(debset for debset in debsets if debset.arch == machine)


def verify(job: steps.Job, root: Path | None = None) -> None:
    """Read wheels again and compare them with the lock: all, or those that the contexts in ``root`` lack."""
    suspects = []
    for plan in recipe.grouped(job):
        fresh = contexts.changes(root / plan.name, _wheels(job, plan)) if root else None
        suspects += [(w.file, w.sha256) for w in plan.wheels if fresh is None or w.file in fresh]
    store.verify_all(job.settings.store, suspects)


def _wheels(job: steps.Job, plan: LayerPlan) -> dict[str, bytes | Path]:
    return {wheel.file: store.blob(job.settings.store, wheel.sha256) for wheel in plan.wheels}


def _patched(job: steps.Job) -> dict[str, dict[str, Any]]:
    """What ``dockerfiles/lane/patched.py`` is told of each distribution: patched paths, changed requirements."""
    return {
        item.distribution: {
            "paths": [file.installed for file in item.files if file.installed],
            "requires": _edits(job, item),
            "compiled": recipe.is_compiled(job, item),
        }
        for item in job.lock.components
        if recipe.is_patched(item) or recipe.is_compiled(job, item)
    }


def _edits(job: steps.Job, item: Component) -> tuple[tuple[str, str], ...]:
    if not item.requires:
        return ()
    wheel = next(wheel for wheel in job.lock.wheels if wheel.name == item.distribution)
    said = metadata.of_wheel(store.blob(job.settings.store, wheel.sha256))
    return requirements.edits(said.requires, item.requires)


def _folder(root: Path, name: str) -> dict[str, bytes | Path]:
    return {f"{name}/{key}": Path(path).read_bytes() for key, path in tree_files(root)}


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def request(job: steps.Job, made: Contexts, chain: str, *, output: str | None) -> Request:
    """What to ask of BuildKit for a target. ``output``: where the image goes, if not into the engine's own store."""
    logs = job.settings.store / "logs"
    names = (image_name(job.name), f"{image_name(job.name)}-{chain[:12]}")
    annotations = recipe.oci_annotations(job)
    return Request(
        context=made.main,
        named=made.layers,
        epoch=job.lock.epoch,
        output=buildspecs.output(output, annotations) if output else image_output(names, annotations),
        metadata=job.settings.store / "scratch" / f"metadata-{job.name}-{os.getpid()}.json",
        log=logs / f"build-{job.name}.log",
        builder=job.settings.builder,
    )


def image_name(target: str) -> str:
    """The name of a target's image in the engine.

    >>> image_name("v0.32")
    'spark-runtime:v0.32'
    """
    return f"{steps.LABEL}:{target}"


def _state(root: Path, target: str) -> Path:
    return root / "built" / f"{target}.json"


def read_built(root: Path, target: str) -> Built | None:
    """What the last build of a target gave; None where there was none."""
    try:
        return Built(**json.loads(_state(root, target).read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def forget_base(note: Path) -> None:
    """The build cache is gone: the next build of this target needs the room of a first one."""
    known = json.loads(note.read_text(encoding="utf-8"))
    note.write_text(json.dumps({**known, "base": ""}, indent=1) + "\n", encoding="utf-8")


def is_there(client: docker.DockerClient, engine: Engine, known: Built, chain: str) -> bool:
    """Whether the engine still holds the image of this chain id, under its name, by its digest."""
    if known.chain_id != chain or known.engine != engine.url:
        return False
    found = images.facts(client, known.image)
    return found is not None and found.digest == known.digest


def result(job: steps.Job, engine: Engine, client: docker.DockerClient, built: Built) -> results.Result:
    """What a build gave, to be compared. A user's own engine shows the layers' diff ids and the manifest's digest."""
    found = images.facts(client, built.image)
    if found is None:
        raise UsageError(f"the engine does not hold {built.image} any more", todo="build it again")
    rows = [results.LayerResult(diff_id=diff_id, digest="", size=0) for diff_id in found.layers]
    config, canonical = "", ""
    if engine.private:
        content = private.places(job.settings.store).content
        made = images.blob(content, built.digest)
        config = str(made["config"]["digest"])
        canonical = results.canonical_config(images.blob(content, config))
        rows = [
            results.LayerResult(diff_id=row.diff_id, digest=layer["digest"], size=layer["size"])
            for row, layer in zip(rows, made["layers"], strict=True)
        ]
    return results.Result(
        target=job.name,
        chain_id=built.chain_id,
        engine=private_engine(job) if engine.private else f"Docker Engine {engine.version}",
        buildkit=engine.buildkit,
        rootfs=file_sha256(rootfs.place(job.settings.store, job.rootfs)),
        config=config,
        canonical_config=canonical,
        manifest=built.digest,
        layers=tuple(rows),
    )


def result_of(job: steps.Job, image: Image, *, engine: str, buildkit: str) -> results.Result:
    """What a build gave, of an image that lies in a file. ``engine`` and ``buildkit`` say who built it."""
    return results.Result(
        target=job.name,
        chain_id=image.labels.get(f"{steps.LABEL}.chain-id", ""),
        engine=engine,
        buildkit=buildkit,
        rootfs=file_sha256(rootfs.place(job.settings.store, job.rootfs)),
        config=image.config_digest,
        canonical_config=results.canonical_config(image.config),
        manifest=image.manifest,
        layers=tuple(
            results.LayerResult(diff_id=layer.diff_id, digest=layer.digest, size=layer.size) for layer in image.layers
        ),
    )


def private_engine(job: steps.Job) -> str:
    """The package of the private engine, whose BuildKit does not tell a version: the package's source fixes it."""
    version = next(deb.version for deb in job.tools.debs if deb.name == "docker.io")
    return f"docker.io {results.source_version(version)}"


def record(
    job: steps.Job, engine: Engine, client: docker.DockerClient, chain: str, metadata: Mapping[str, object]
) -> Built:
    """Note what a build gave, so that the next one knows that nothing is to be done."""
    content = private.places(job.settings.store).content
    made = str(metadata["containerimage.digest"])
    name = image_name(job.name)
    found = images.facts(client, name)
    if found is None or found.digest != made:
        raise ImageBuildError(
            f"the engine does not hold {name} as it was built",
            why=f"BuildKit made {made}, the engine has {found.digest if found else 'no such image'}",
            todo="run the same command again; if it stays so, look at the engine's log",
        )
    built = Built(
        target=job.name,
        image=name,
        digest=made,
        chain_id=chain,
        base=base_id(job),
        engine=engine.url,
        layers=images.compressed_layers(content, made) if engine.private else (),
    )
    path = _state(job.settings.store, job.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}")
    partial.write_text(json.dumps(asdict(built), indent=1) + "\n", encoding="utf-8")
    os.replace(partial, path)
    return built
