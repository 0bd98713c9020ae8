"""What the words of `nox -s diff -- A B` stand for: a target, a file or folder, a name or digest in the engine, a
published digest.

One of the modules that compose others; the story is in ``build/commands/diff.py``.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from build import assemble, engine, ociimage, ocisource, private, published, recipe, reference, results, steps, store
from build.console import human_bytes, step
from build.errors import BuildError, ImageNotFoundError, NetworkError, UsageError
from build.intent import read_intent
from build.models import Engine, Settings
from build.ociimage import Image
from build.published import Record

if TYPE_CHECKING:
    import docker

WHEELS = "wheels"  # what history knows of a layer of wheels
DIGEST = re.compile(r"sha256:[0-9a-f]{12,64}|[0-9a-f]{12,64}")  # what names a record: a digest, or its first 12 digits


@contextlib.contextmanager
def opened(settings: Settings, word: str) -> Iterator[Image]:
    """The image that a word stands for, its bytes readable meanwhile; its layers named as the target's are.

    A target's name comes first, then a path, then a digest that a record of `lock/published/` has, then what the
    engine knows (pulled where it does not and may be).
    """
    with contextlib.ExitStack() as kept:
        if is_target(settings, word):
            image = _in_engine(settings, word, assemble.image_name(word), kept, pull=False)
        elif _is_path(word):
            image = ociimage.read(word, Path(word).expanduser())
        elif record := record_of(settings, word):
            image = _published(settings, word, record, kept)
        else:
            image = _in_engine(settings, word, word, kept)
        yield named(settings, image)


def is_target(settings: Settings, word: str) -> bool:
    return word in read_intent(settings.repo).targets


def recorded(settings: Settings, word: str) -> results.Result | Record | None:
    """What `lock/results/` says of a target, or `lock/published/` of a digest; None where there is no record."""
    return results.read(settings.repo, word) if is_target(settings, word) else record_of(settings, word)


def record_of(settings: Settings, word: str) -> Record | None:
    """The record of a published digest, or of its first 12 or more digits; :class:`UsageError` where two begin so."""
    if not DIGEST.fullmatch(word):
        return None
    start = f"sha256:{word.removeprefix('sha256:')}"
    found = [record for record in published.read_all(settings.repo) if record.manifest.startswith(start)]
    if len(found) > 1:
        raise UsageError(
            f"'{word}' stands for {len(found)} published images",
            why=", ".join(record.manifest for record in found),
            todo="write more of the digest",
        )
    return found[0] if found else None


def layer_names(settings: Settings, target: str) -> tuple[str, ...]:
    """The names of a target's layers, lowest first, as its lock gives them now; none where it cannot tell."""
    if not is_target(settings, target):
        return ()
    try:
        job = steps.load(settings, target)
    except BuildError:  # a stale lock: the image is another one's
        return ()
    patched = (f"patched {name}" for name in recipe.patched_distributions(job))
    return ("rootfs", *(plan.name for plan in recipe.grouped(job)), "ours", *patched, "manifest")


def named(settings: Settings, image: Image) -> Image:
    """Layers of wheels by their own names, where the target that the image is of has the same layers today."""
    names = layer_names(settings, image.labels.get(f"{steps.LABEL}.target", ""))
    if len(names) != len(image.layers):
        return image
    if any(layer.name not in (WHEELS, name) for layer, name in zip(image.layers, names, strict=True)):
        return image
    layers = tuple(replace(layer, name=name) for layer, name in zip(image.layers, names, strict=True))
    return replace(image, layers=layers)


def _is_path(word: str) -> bool:
    return os.path.exists(word) or word.startswith(("/", "./", "../", "~")) or word.endswith((".tar", ".gz", ".zst"))


def _in_engine(
    settings: Settings, word: str, name: str, kept: contextlib.ExitStack, *, pull: bool = True
) -> Image:  # fmt: skip
    chosen = engine.find(settings)
    client = engine.client(chosen)
    kept.callback(client.close)
    try:
        found = reference.find(client, name, offline=settings.offline or not pull)
    except ImageNotFoundError as error:
        mine = is_target(settings, word)
        build = f"run `nox -s build -- --target {word}`" if mine else "name an image of the engine, or a file"
        raise ImageNotFoundError(error.what, why=error.why, todo=build) from error
    content = private.places(settings.store).content
    if chosen.private and _is_readable(content, found.digest):
        return ociimage.of_digest(word, ocisource.Folder(content.parent), found.digest)
    return ociimage.read(word, _saved(settings, chosen, client, found.digest, kept))


def _published(settings: Settings, word: str, record: Record, kept: contextlib.ExitStack) -> Image:
    """A published image: as the engine has it under whatever name, else from the first place that still has it."""
    names = [f"{place.repository}@{record.manifest}" for place in record.places]
    try:
        return _in_engine(settings, word, record.manifest, kept, pull=False)
    except ImageNotFoundError:
        for name in names[:-1]:
            with contextlib.suppress(ImageNotFoundError, NetworkError):
                return _in_engine(settings, word, name, kept)
        return _in_engine(settings, word, names[-1], kept)


def _is_readable(content: Path, digest: str) -> bool:
    return os.access(content / digest.replace(":", "/"), os.R_OK)


def _saved(
    settings: Settings, chosen: Engine, client: docker.DockerClient, digest: str, kept: contextlib.ExitStack
) -> Path:
    """The image as the engine exports it, in a file that is gone afterwards: its own store is not ours to read."""
    api: Any = client.api
    size = int(api.inspect_image(digest).get("Size") or 0)
    store.require_space(settings.store, size, f"a copy of {digest}")
    folder = kept.enter_context(store.scratch(settings.store, "saved"))
    title = f"export {digest[:19]} from the engine at {chosen.url} ({human_bytes(size)})"
    with step(title), open(folder / "image.tar", "wb") as stream:
        stream.writelines(api.get_image(digest))
    return folder / "image.tar"
