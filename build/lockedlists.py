"""What the list of a locked wheel or .deb says of its files, from the locked file itself: to compare an image's with.

The digests of :func:`build.records.digest_of` and :func:`build.debclaims.digest_of`, made from what an installer makes
of a package: uv's programs for entry points, and its first line of scripts. Formats: PEP 427, entry points
specification, deb(5).
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import lzma
import tarfile
import zipfile
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import IO, Any, cast

from build import unpack, wheels
from build.debclaims import digest_of as digest_of_deb
from build.records import VENV, Rows, hex_of
from build.records import digest_of as digest_of_rows

POINT = "entry point="  # how build.wheels says what a program calls
PLACEHOLDER, INTERPRETER = b"#!python", f"#!/{VENV}/bin/python".encode()
PROGRAM = """\
#!/{venv}/bin/python
# -*- coding: utf-8 -*-
import sys
from {module} import {name}
if __name__ == "__main__":
    if sys.argv[0].endswith("-script.pyw"):
        sys.argv[0] = sys.argv[0][:-11]
    elif sys.argv[0].endswith(".exe"):
        sys.argv[0] = sys.argv[0][:-4]
    sys.exit({attribute}())
"""  # as uv writes it


def of_wheel(wheel: Path, without: Collection[str]) -> str:
    """The digest for a wheel, less the paths that do not enter the image or are another's there."""
    return digest_of_rows({path: value for path, value in installed_rows(wheel).items() if path not in without})


def installed_rows(wheel: Path) -> Rows:
    """The RECORD of a wheel as it is installed: path → sha256 in hex."""
    rows = {}
    for path, value in wheels.record(wheel).items():
        point = value.removeprefix(POINT)
        rows[path] = hex_of(value) if point == value else hashlib.sha256(program(point).encode()).hexdigest()
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            head, found, script = name.partition(".data/scripts/")
            if found and script and "/" not in head and f"{wheels.BIN}/{script}" in rows:
                with archive.open(name) as stream:
                    if stream.read(len(PLACEHOLDER)) == PLACEHOLDER:
                        content = INTERPRETER + stream.read()
                        rows[f"{wheels.BIN}/{script}"] = hashlib.sha256(content).hexdigest()
    return rows


def program(point: str) -> str:
    """The program that uv makes for an entry point like ``pkg.mod:main``."""
    module, _, attribute = point.partition("[")[0].partition(":")
    attribute = attribute.strip()
    return PROGRAM.format(
        venv=VENV, module=module.strip(), name=attribute.partition(".")[0], attribute=attribute
    )  # fmt: skip


def contradictions(wheel: Path) -> dict[str, str]:
    """The files of a wheel that its own RECORD does not fit: path below site-packages → their sha256."""
    rows = {path: hex_of(value) for path, value in wheels.record(wheel).items()}
    found = {}
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if rows.get(name):
                with archive.open(name) as stream:
                    actual = hashlib.file_digest(cast("Any", stream), "sha256").hexdigest()
                if actual != rows[name]:
                    found[name] = actual
    return found


def of_deb(deb: Path) -> str:
    """The digest for a Debian package. Raises what :mod:`tarfile`, :mod:`lzma` do for a package that is damaged."""
    listed: dict[str, bytes] = {}
    with _tar(deb, "control.tar") as archive:
        for entry in archive:
            name = entry.name.removeprefix("./")
            if name in ("md5sums", "conffiles"):
                listed[name] = archive.extractfile(entry).read()  # type: ignore[union-attr]
    md5 = {}
    for line in listed.get("md5sums", b"").decode().splitlines():
        value, _, path = line.partition("  ")
        md5[path] = value
    conffiles = {line.split()[-1].strip("/") for line in listed.get("conffiles", b"").decode().splitlines() if line}
    paths = []
    with _tar(deb, "data.tar") as archive:
        for entry in archive:
            path = entry.name.removeprefix("./").strip("/")
            paths.append(path)
            if path in conffiles and entry.isreg():
                content = archive.extractfile(entry)
                assert content is not None
                md5[path] = hashlib.md5(content.read(), usedforsecurity=False).hexdigest()
    return digest_of_deb(paths, md5)


@contextlib.contextmanager
def _tar(deb: Path, prefix: str) -> Iterator[tarfile.TarFile]:
    with open(deb, "rb") as stream:
        found = next(member for member in unpack.members(stream) if member.name.startswith(prefix))
        stream.seek(found.offset)
        raw = io.BytesIO(stream.read(found.size))
    with _plain(raw, found.name.removeprefix(prefix)) as plain, tarfile.open(fileobj=plain, mode="r|") as archive:
        yield archive


def _plain(raw: IO[bytes], suffix: str) -> IO[bytes]:
    if suffix == ".xz":
        return lzma.LZMAFile(raw)
    if suffix == ".gz":
        return cast("IO[bytes]", gzip.GzipFile(fileobj=raw))
    if suffix == ".zst":
        import zstandard  # noqa: PLC0415

        return cast("IO[bytes]", zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True))
    return raw
