"""Images as files: an OCI layout in a folder, in a tar or in an engine's content store; a `docker save` of old; a tar.

Formats: OCI image-spec (image-layout.md, image-index.md, manifest.md, config.md); `docker save` before Engine 25
(manifest.json). Nothing is trusted: each blob that is read is compared with its digest, and a name from an image
opens nothing but a blob.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, cast

from build import ocisource
from build.canonical import file_sha256
from build.errors import HashMismatchError, ImageNotFoundError
from build.ocisource import Archive, Folder, Source

PLATFORM = ("linux", "arm64")
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
JSON_LIMIT = 16 << 20  # bytes; a manifest or a config is some kB
DEPTH = 4  # of an index in an index
ATTESTATION = "vnd.docker.reference.type"  # BuildKit's annotation of what is no image


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A layer. ``number`` counts from 1, the lowest; ``file``: its name in the source; ``name``: what made it.

    ``digest`` and ``size`` are of the bytes as they are kept and pulled, ``packed`` says how: zstd, gzip or not.
    """

    number: int
    name: str
    diff_id: str
    digest: str
    size: int
    packed: str = ""
    file: str = ""


@dataclass(frozen=True, kw_only=True)
class Image:
    """An image and where its bytes are. ``manifest`` is empty where there is none (a tar, a `docker save` of old)."""

    name: str
    manifest: str
    config: Mapping[str, Any] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    config_digest: str = ""
    overhead: int = 0  # bytes of manifest and config
    layers: tuple[Layer, ...]
    source: Source

    @property
    def labels(self) -> Mapping[str, str]:
        told = self.config.get("config")
        labels = told.get("Labels") if isinstance(told, dict) else None
        return labels if isinstance(labels, dict) else {}

    @property
    def id(self) -> str:
        """A digest that names it: the manifest's, else the last layer's."""
        return self.manifest or self.config_digest or (self.layers[-1].diff_id if self.layers else "sha256:none")


def read(name: str, path: Path) -> Image:
    """The image in a folder or tar; a tar that is no image counts as one layer, as a root file system is.

    Raises :class:`ImageNotFoundError` where there is none, :class:`HashMismatchError` where it is not whole.
    """
    if not path.exists():
        raise _no_image(name, "there is no such file or folder")
    if path.is_dir():
        if not (path / "index.json").is_file():
            raise _no_image(name, "the folder has no index.json, as an OCI layout has")
        return _of_layout(name, Folder(path))
    try:
        archive = ocisource.archive(path)
    except (tarfile.TarError, EOFError) as error:
        raise _no_image(name, f"it is no tar ({error}); one that is compressed must be decompressed first") from error
    if archive.has("index.json"):
        return _of_layout(name, archive)
    if archive.has("manifest.json"):
        return _of_old_save(name, archive)
    sha256 = f"sha256:{file_sha256(path)}"
    size = path.stat().st_size
    whole = Archive(path, {"": (0, size)})
    layer = Layer(number=1, name=path.name, diff_id=sha256, digest=sha256, size=size)
    return Image(name=name, manifest="", layers=(layer,), source=whole)


def of_digest(name: str, source: Source, digest: str) -> Image:
    """The image whose manifest, or index with one for linux/arm64, has this digest."""
    document, size = _json_blob(source, digest, name)
    for _ in range(DEPTH):
        if "manifests" not in document:
            break
        digest = str(_chosen(document["manifests"], name)["digest"])
        document, size = _json_blob(source, digest, name)
    try:
        config_digest = str(document["config"]["digest"])
        config, config_size = _json_blob(source, config_digest, name)
        rows = document["layers"]
        files = [(str(row["digest"]), int(row["size"]), _file(str(row["digest"]))) for row in rows]
        layers = _layers(config, files, [str(row.get("mediaType")) for row in rows])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise _no_image(name, f"{digest} is no manifest of an image ({error!r})") from error
    return Image(
        name=name,
        manifest=digest,
        config=config,
        annotations=dict(document.get("annotations") or {}),
        config_digest=config_digest,
        overhead=size + config_size,
        layers=layers,
        source=source,
    )


def _of_layout(name: str, source: Source) -> Image:
    index = _json(source.open("index.json"), f"index.json of {name}")
    return of_digest(name, source, str(_chosen(index.get("manifests"), name).get("digest")))


def _of_old_save(name: str, source: Archive) -> Image:
    """A `docker save` before Engine 25: layers are uncompressed tars, whose digests the config tells."""
    try:
        (told,) = cast("list[Any]", _json(source.open("manifest.json"), f"manifest.json of {name}", of=list))
        with source.open(str(told["Config"])) as stream:
            data = stream.read(JSON_LIMIT)
        config = _json(io.BytesIO(data), f"the config of {name}")
        ids = config["rootfs"]["diff_ids"]
        names = [str(file) for file in told["Layers"]]
        files = [(str(diff_id), source.members[file][1], file) for diff_id, file in zip(ids, names, strict=True)]
        layers = _layers(config, files)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise _no_image(name, f"its manifest.json does not tell of one image ({error!r})") from error
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    return Image(name=name, manifest="", config=config, config_digest=digest, layers=layers, source=source)


def _layers(
    config: Mapping[str, Any], files: Sequence[tuple[str, int, str]], media: Sequence[str] = ()
) -> tuple[Layer, ...]:
    """The layers of a config, given each one's digest, bytes and file, and its media type where that is known."""
    ids = [_known(str(diff_id)) for diff_id in config["rootfs"]["diff_ids"]]
    made = [str(row.get("created_by") or row.get("comment") or "") for row in _filled(config)]
    names = made if len(made) == len(ids) else [""] * len(ids)
    packed = [re.sub(r".*tar[.+]?", "", text) for text in media] or [""] * len(ids)
    rows = zip(ids, files, names, packed, strict=True)
    return tuple(
        Layer(
            number=number, name=step_name(step), diff_id=diff_id, digest=digest, size=size, packed=packed, file=file
        )
        for number, (diff_id, (digest, size, file), step, packed) in enumerate(rows, start=1)
    )  # fmt: skip


def _filled(config: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [row for row in config.get("history") or [] if not row.get("empty_layer")]


def step_name(step: str) -> str:
    """A layer's name from its step in the history: ours by what our scripts do, others as they were written.

    >>> step_name("RUN /mnt/builder/ld.so … /mnt/lane/patched.py /mnt/patched jinja2 3.13 spark # buildkit")
    'patched jinja2'
    >>> step_name("ADD rootfs.tar / # buildkit"), step_name("/bin/sh -c #(nop) COPY file:1 in /x")
    ('rootfs', 'COPY file:1 in /x')
    """
    if ours := re.search(r"/mnt/lane/(\w+)\.py(?: /mnt/patched (\S+))?", step):
        script, distribution = ours.groups()
        return f"patched {distribution}" if distribution else {"install": "wheels"}.get(script, script)
    if step.startswith("ADD rootfs.tar / "):
        return "rootfs"
    plain = " ".join(re.sub(r"^/bin/sh -c (#\(nop\) *)?| # buildkit$|^\|\d+ ", "", step).split())
    return plain if len(plain) <= 60 else f"{plain[:59]}…"


def _chosen(manifests: Any, name: str) -> Mapping[str, Any]:
    """The image of an index: what is no attestation; of several, the one for linux/arm64."""
    if not isinstance(manifests, list) or not all(isinstance(row, dict) for row in manifests):
        raise _no_image(name, "its index lists no manifests")
    images = [row for row in manifests if ATTESTATION not in (row.get("annotations") or {})]
    platforms = [row.get("platform") or {} for row in images]
    if len(images) != 1:
        images = [
            row for row, told in zip(images, platforms, strict=True)
            if (told.get("os"), told.get("architecture")) == PLATFORM
        ]  # fmt: skip
    if len(images) != 1:
        raise _no_image(name, f"its index has {len(images)} images for {'/'.join(PLATFORM)} among {len(platforms)}")
    return cast("Mapping[str, Any]", images[0])


def _file(digest: str) -> str:
    return f"blobs/{_known(digest).replace(':', '/')}"


def _known(digest: str) -> str:
    if not DIGEST.fullmatch(digest):
        raise ValueError(f"{digest!r} is no digest that we know")
    return digest


def _json_blob(source: Source, digest: str, name: str) -> tuple[dict[str, Any], int]:
    try:
        file = _file(digest)
    except ValueError as error:
        raise _no_image(name, str(error)) from error
    with ocisource.open_blob(source, file, name) as stream:
        data = stream.read(JSON_LIMIT)
    found = f"sha256:{hashlib.sha256(data).hexdigest()}"
    if found != digest:
        raise HashMismatchError(
            f"{name} is damaged", why=f"the digest of {file} is {found}", todo="export, pull or build it again"
        )
    return _json(io.BytesIO(data), f"{file} of {name}"), len(data)


def _json(stream: IO[bytes], what: str, of: type = dict) -> dict[str, Any]:
    with stream:
        try:
            found = json.loads(stream.read(JSON_LIMIT))
        except (ValueError, RecursionError) as error:
            raise _no_image(what, f"no JSON: {error}") from error
    if not isinstance(found, of):
        raise _no_image(what, f"JSON of another kind than {of.__name__}")
    return cast("dict[str, Any]", found)


def _no_image(name: str, why: str) -> ImageNotFoundError:
    return ImageNotFoundError(
        f"{name} is no image",
        why=why,
        todo="name an image of the engine, a target, an OCI layout (a folder with index.json) or a tar of one",
    )
