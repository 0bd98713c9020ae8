"""Small Debian packages, written byte by byte, for the tests that unpack them."""

import hashlib
import io
import tarfile

from build import store as stores
from build.models import Deb, DebSet

EPOCH = 1_700_000_000


def tar_of(entries, compression="xz"):
    """A tar of (name, kind, content or link target, mode)."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=f"w:{compression}") as archive:
        for name, kind, content, mode in entries:
            info = tarfile.TarInfo(name)
            info.type, info.mode, info.mtime = kind, mode, EPOCH
            if kind == tarfile.REGTYPE:
                data = content.encode()
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
            else:
                info.linkname = content or ""
                archive.addfile(info)
    return buffer.getvalue()


def file(name, content="text", mode=0o644):
    return (f"./{name}", tarfile.REGTYPE, content, mode)


def folder(name, mode=0o755):
    return (f"./{name}/", tarfile.DIRTYPE, None, mode)


def link(name, target):
    return (f"./{name}", tarfile.SYMTYPE, target, 0o777)


def hard(name, target):
    return (f"./{name}", tarfile.LNKTYPE, f"./{target}", 0o644)


def deb_bytes(entries, *, name="thing", mtime=EPOCH, compression="xz", control=""):
    """The bytes of a package with these files; ``control``: the text of its control file."""
    suffix = f".{compression}" if compression else ""
    control = control or f"Package: {name}\nVersion: 1\nArchitecture: all\nDescription: a thing\n of a test\n"
    members = [
        ("debian-binary", b"2.0\n"),
        (f"control.tar{suffix}", tar_of([file("control", control)], compression)),
        (f"data.tar{suffix}", tar_of(entries, compression)),
    ]
    out = b"!<arch>\n"
    for member, data in members:
        header = f"{member:<16}{mtime:<12}{0:<6}{0:<6}{'100644':<8}{len(data):<10}`\n"
        out += header.encode() + data + (b"\n" if len(data) % 2 else b"")
    return out


def put(store, data, *, name="thing"):
    """The package in the store, and its entry in a lock."""
    sha256 = hashlib.sha256(data).hexdigest()
    path = stores.blob(store, sha256)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    file_name = f"{name}_1_all.deb"
    return Deb(
        file=file_name,
        sha256=sha256,
        size=len(data),
        name=name,
        version="1",
        arch="all",
        path=f"pool/main/t/{name}/{file_name}",
    )


def set_of(*debs, root="builder", epoch=EPOCH, released=EPOCH):
    return DebSet(root=root, suite="trixie", arch="amd64", epoch=epoch, released=released, debs=tuple(debs))
