"""A small image as an OCI layout in a folder, for tests of publishing that need no engine; a layer may be gigabytes.

Formats: OCI image-spec (image-layout.md, manifest.md, config.md).
"""

import hashlib
import json
import random
import tarfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import zstandard

from tests import imagekit

PIECE = 1 << 20
POOL = 32 << 20  # random bytes of which a large layer is cut, at random places: zstd and gzip find nothing twice in it
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = {
    "zstd": "application/vnd.oci.image.layer.v1.tar+zstd",
    "gzip": "application/vnd.oci.image.layer.v1.tar+gzip",
    "": "application/vnd.oci.image.layer.v1.tar",
}


@dataclass(frozen=True)
class Layout:
    """An OCI layout with one image. ``digest`` and ``size`` are its manifest's; ``layers`` as the manifest lists them."""

    folder: Path
    tag: str
    digest: str
    size: int
    manifest: dict
    config: dict

    @property
    def layers(self):
        return self.manifest["layers"]

    @property
    def diff_ids(self):
        return self.config["rootfs"]["diff_ids"]

    @property
    def bytes(self):
        """All that a first push uploads: config and layers, and the manifest."""
        return self.size + self.manifest["config"]["size"] + sum(layer["size"] for layer in self.layers)

    @property
    def oci(self):
        """What skopeo copies it from."""
        return f"oci:{self.folder}:{self.tag}"

    def blob(self, digest):
        """A blob's path: a layer's, the config's, the manifest's."""
        return self.folder / "blobs" / digest.replace(":", "/")


def layout(
    folder, layers=(b"one\n", b"two\n"), *, packed="zstd", tag="latest", labels=None, annotations=None, seed=0
) -> Layout:
    """Write an image for linux/arm64 into ``folder`` (which is made): the same bytes for the same arguments.

    ``layers``: each one's content. Bytes are a file of that content, a dict of names to bytes is several files, a
    number N is a file of N bytes that do not compress (about 600 MB/s, in little memory); ``seed``: other such bytes.
    ``packed``: "zstd", "gzip" or "" (plain tars). ``labels`` go to the config, ``annotations`` to the manifest.
    """
    folder = Path(folder)
    (folder / "blobs/sha256").mkdir(parents=True)
    made = [_layer(folder, number, content, packed, seed) for number, content in enumerate(layers)]
    config = {
        "architecture": "arm64",
        "os": "linux",
        "created": "1980-01-01T00:00:00Z",
        "config": {"Env": ["PATH=/usr/bin"], **({"Labels": labels} if labels else {})},
        "rootfs": {"type": "layers", "diff_ids": [diff_id for _, diff_id in made]},
        "history": [{"created_by": f"COPY {number} /"} for number in range(len(made))],
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": CONFIG, **_json(folder, config)},
        "layers": [row for row, _ in made],
        **({"annotations": annotations} if annotations else {}),
    }
    row = {
        "mediaType": MANIFEST,
        **_json(folder, manifest),
        "annotations": {"org.opencontainers.image.ref.name": tag},
        "platform": {"architecture": "arm64", "os": "linux"},
    }
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [row]}))
    (folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    return Layout(folder, tag, row["digest"], row["size"], manifest, config)


def big(folder, size, **more) -> Layout:
    """An image whose only layer is ``size`` bytes that do not compress, and a little."""
    return layout(folder, [size], **more)


def _json(folder, value):
    data = json.dumps(value).encode()
    digest = imagekit.sha(data)
    (folder / "blobs" / digest.replace(":", "/")).write_bytes(data)
    return {"digest": digest, "size": len(data)}


def _layer(folder, number, content, packed, seed):
    """A layer's descriptor and diff id."""
    files = content if isinstance(content, dict) else {f"layer-{number}": content}
    if isinstance(content, int):
        pieces = _tar_of_noise(f"layer-{number}", content, f"{seed} {number} {content}")
    else:
        pieces = [imagekit.tar(*(imagekit.entry(name, data) for name, data in files.items()))]
    plain, sent, size = hashlib.sha256(), hashlib.sha256(), 0
    packer = _packer(packed)
    temporary = folder / f"layer-{number}"
    with temporary.open("wb") as file:

        def write(data):
            nonlocal size
            size += len(data)
            sent.update(data)
            file.write(data)

        for piece in pieces:
            plain.update(piece)
            write(packer.compress(piece) if packer else piece)
        if packer:
            write(packer.flush())
    temporary.rename(folder / "blobs/sha256" / sent.hexdigest())
    row = {"mediaType": LAYER[packed], "digest": f"sha256:{sent.hexdigest()}", "size": size}
    return row, f"sha256:{plain.hexdigest()}"


def _packer(packed):
    if packed == "zstd":
        return zstandard.ZstdCompressor(level=1).compressobj()
    return zlib.compressobj(1, wbits=31) if packed else None  # 31: gzip, with no time in its header


def _tar_of_noise(name, size, seed):
    """A tar of one file, in pieces."""
    info, _ = imagekit.entry(name)
    info.size = size
    yield info.tobuf(tarfile.PAX_FORMAT)
    yield from _noise(size, seed)
    end = -size % tarfile.BLOCKSIZE + 2 * tarfile.BLOCKSIZE
    yield bytes(end)


def _noise(size, seed):
    chance = random.Random(seed)
    pool = memoryview(chance.randbytes(min(size, POOL)))
    if size <= POOL:
        yield pool
        return
    while size:
        piece = min(size, PIECE)
        start = chance.randrange(len(pool) - piece)
        yield pool[start : start + piece]
        size -= piece
