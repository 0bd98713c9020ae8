"""Real images in small: layers from entries, as OCI layouts in folders or tars, or as a `docker save` of old."""

import gzip
import hashlib
import io
import json
import tarfile
from dataclasses import dataclass, field
from pathlib import Path

import zstandard

SITE = "opt/venv/lib/python3.13/site-packages"


def entry(name, content=b"", **facts):
    """A tar's entry: a file, or what ``type`` says; ``pax``: further headers."""
    info = tarfile.TarInfo(name)
    info.mode, info.mtime = 0o644, 315532800
    pax = facts.pop("pax", {})
    for key, value in facts.items():
        setattr(info, key, value)
    info.size = len(content)
    info.pax_headers = pax
    return info, content


def folder(name, **facts):
    return entry(name, type=tarfile.DIRTYPE, mode=0o755, **facts)


def link(name, target, **facts):
    return entry(name, type=tarfile.SYMTYPE, linkname=target, **{"mode": 0o777, **facts})


def tar(*entries, form=tarfile.PAX_FORMAT):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=form) as archive:
        for info, content in entries:
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def zstd(data):
    return zstandard.ZstdCompressor().compress(data)


def gz(data):
    return gzip.compress(data, mtime=0)


def sha(data):
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


MEDIA = {zstd: "tar+zstd", gz: "tar+gzip", bytes: "tar"}


@dataclass
class Made:
    """The files of a layout, to be changed before they are written."""

    files: dict[str, bytes] = field(default_factory=dict)

    def blob(self, data):
        self.files[f"blobs/{sha(data).replace(':', '/')}"] = data
        return {"digest": sha(data), "size": len(data)}

    def json(self, value):
        return self.blob(json.dumps(value).encode())

    def folder(self, path):
        for name, data in self.files.items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(data)
        return path

    def archive(self, path):
        path.write_bytes(tar(*(entry(name, data) for name, data in self.files.items())))
        return path


def image(*layers, names=(), packed=zstd, config=None, annotations=None, history=True):
    """An OCI layout of layers (uncompressed tars), each named by its step in the history."""
    made = Made()
    names = names or [f"COPY {n} /" for n in range(len(layers))]
    told = {
        "architecture": "arm64", "os": "linux", "config": {"Env": ["A=1"]},
        "rootfs": {"type": "layers", "diff_ids": [sha(data) for data in layers]},
        **({"history": [*({"created_by": name} for name in names), {"empty_layer": True}]} if history else {}),
        **(config or {}),
    }  # fmt: skip
    media = "application/vnd.oci.image.layer.v1."
    rows = [{"mediaType": media + MEDIA[packed], **made.blob(packed(data))} for data in layers]
    manifest = {"schemaVersion": 2, "config": made.json(told), "layers": rows}
    if annotations:
        manifest["annotations"] = annotations
    row = {**made.json(manifest), "platform": {"os": "linux", "architecture": "arm64"}}
    made.files["index.json"] = json.dumps({"schemaVersion": 2, "manifests": [row]}).encode()
    made.files["oci-layout"] = b'{"imageLayoutVersion":"1.0.0"}'
    return made


def old_save(*layers):
    """What `docker save` wrote before Engine 25."""
    config = json.dumps({"rootfs": {"diff_ids": [sha(data) for data in layers]}, "os": "linux"}).encode()
    files = {f"{n}/layer.tar": data for n, data in enumerate(layers)}
    told = [{"Config": "c.json", "RepoTags": ["x:1"], "Layers": list(files)}]
    return Made({"c.json": config, "manifest.json": json.dumps(told).encode(), **files})


def record(name, version, *paths):
    """A distribution's RECORD as an entry."""
    info = f"{name}-{version}.dist-info/RECORD"
    return entry(f"{SITE}/{info}", "".join(f"{path},,\n" for path in (*paths, info)).encode())


def written(path: Path, made: Made) -> Path:
    """The layout at a path: a tar where the name ends so, else a folder."""
    return made.archive(path) if path.suffix == ".tar" else made.folder(path)
