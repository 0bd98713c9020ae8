"""A layer's tar, read once from its first byte to its last: what each entry says, and that the digests are true.

Nothing is unpacked and nothing is held: contents pass by in pieces. Every byte counts into something that is compared:
an entry's facts, its content, its ``head`` (header blocks and padding as they were written), or the ``tail``, so that
two layers of different diff ids always differ in something that can be named.

Formats: pax and ustar (POSIX.1-2017), GNU tar, by Python's tarfile; whiteouts: OCI image-spec, layer.md.
"""

from __future__ import annotations

import hashlib
import posixpath
import tarfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import IO, Any, cast

from build.layerstream import LayerStream

KEPT_LIMIT = 64 << 20  # bytes of one file that is kept, see `read`
KINDS = {
    tarfile.DIRTYPE: "folder", tarfile.SYMTYPE: "symbolic link", tarfile.LNKTYPE: "hard link", tarfile.FIFOTYPE: "fifo",
    tarfile.CHRTYPE: "character device", tarfile.BLKTYPE: "block device",
}  # fmt: skip
FILE, REMOVAL = "file", "removal"
# What pax headers say besides facts that an entry has anyway: extended attributes, ACLs, other times.
PLAIN_PAX = {"path", "linkpath", "size", "uid", "gid", "uname", "gname", "mtime", "hdrcharset", "charset"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """What a layer says of a path. ``number`` is its place in the tar, from 0; ``mtime`` seconds, as written.

    ``owner``: ids, and names where there are some. ``head``: digest of how it was written down.
    """

    number: int
    path: str
    kind: str
    mode: int
    owner: str
    mtime: str
    size: int
    link: str
    sha256: str
    extra: tuple[tuple[str, str], ...]
    head: bytes


@dataclass(frozen=True, kw_only=True)
class Index:
    """A layer's entries in their order. ``kept``: the files that were asked for. ``tail``: digest of what follows.

    ``md5``: by number of the entry, of the files that it was asked for, in hex.
    """

    entries: tuple[Entry, ...] = ()
    kept: Mapping[str, bytes]
    tail: bytes = b""
    md5: Mapping[int, str] = field(default_factory=dict)


def read(
    raw: IO[bytes],
    *,
    digest: str,
    diff_id: str,
    what: str,
    keep: Callable[[str], bool] = lambda _: False,
    md5: Callable[[str], bool] = lambda _: False,
) -> Index:
    """Index a layer. ``keep`` is asked by path which files' contents to hand back, for lists of packages.

    ``md5`` likewise, which files' MD5 to compute too: Debian's packages say no other digest of theirs.

    Raises :class:`HashMismatchError` where bytes are not what ``digest`` (compressed) and ``diff_id`` say, or no tar.
    """
    found: list[Entry] = []
    kept: dict[str, bytes] = {}
    others: dict[int, str] = {}
    stream = LayerStream(raw, what)
    for info, head, stored in _entries(stream):
        path = _path(info)
        wanted = stored <= KEPT_LIMIT and keep(path)
        content = hashlib.sha256()
        other = hashlib.md5(usedforsecurity=False) if info.isreg() and md5(path) else None
        pieces = []
        for piece in stream.content(stored):
            content.update(piece)
            if other:
                other.update(piece)
            if wanted:
                pieces.append(piece)
        if wanted:
            kept[path] = b"".join(pieces)
        if other:
            others[len(found)] = other.hexdigest()
        found.append(_entry(len(found), path, info, content.hexdigest(), head))
    tail = stream.finish(digest, diff_id)
    return Index(entries=tuple(found), kept=kept, tail=tail, md5=others)


def contents(raw: IO[bytes], what: str, wanted: Mapping[int, IO[bytes]]) -> None:
    """Write the contents of the entries with these numbers to the given files; reads no further than needed."""
    last = max(wanted, default=-1)
    stream = LayerStream(raw, what)
    for number, (_, _, stored) in enumerate(_entries(stream)):
        target = wanted.get(number)
        for piece in stream.content(stored):
            if target is not None:
                target.write(piece)
        if number == last:
            return


def _entries(stream: LayerStream) -> Iterator[tuple[tarfile.TarInfo, bytes, int]]:
    """Each entry, the digest of its header blocks and of the padding before them, and its stored bytes.

    Those must be read before the next entry. Of a sparse file they are what is stored of it, without its holes.
    """
    try:
        archive = tarfile.TarFile(fileobj=cast("Any", stream))
    except tarfile.TarError as error:
        raise stream.bad(f"it is no tar: {error}") from error
    with archive:
        while True:
            try:
                info = archive.next()
            except (tarfile.TarError, ValueError, RecursionError) as error:
                raise stream.bad(f"there is no good tar header before byte {stream.position}: {error}") from error
            if info is None:
                break
            head, stream.head = stream.head.digest(), hashlib.sha256()
            cast("Any", archive).members.clear()  # or it keeps them all
            stored = archive.offset - stream.position if info.issparse() else info.size
            yield info, head, stored if info.isreg() else 0
    if stream.last.strip(b"\0"):  # tarfile takes a bad header for the end
        raise stream.bad(f"there is no tar header at byte {stream.position - len(stream.last)}")


def _path(info: tarfile.TarInfo) -> str:
    """Where it is, without a leading or closing slash or dot; a whiteout by what it removes. Only ever shown."""
    path = info.name.removeprefix("./").strip("/") or "."
    folder, name = posixpath.split(path)
    if name == ".wh..wh..opq":
        return posixpath.join(folder, "*")
    return posixpath.join(folder, name.removeprefix(".wh."))


def _entry(number: int, path: str, info: tarfile.TarInfo, sha256: str, head: bytes) -> Entry:
    kind = FILE if info.isreg() else KINDS.get(info.type, f"entry of type {info.type!r}")
    if posixpath.basename(info.name.rstrip("/")).startswith(".wh."):
        kind = REMOVAL
    extra = {name: value for name, value in info.pax_headers.items() if name not in PLAIN_PAX}
    if kind.endswith("device"):
        extra["device"] = f"{info.devmajor}:{info.devminor}"
    if info.issparse():
        extra["sparse"] = str(info.sparse)
    names = f" ({info.uname}:{info.gname})" if info.uname or info.gname else ""
    return Entry(
        number=number,
        path=path,
        kind=kind,
        mode=info.mode,
        owner=f"{info.uid}:{info.gid}{names}",
        mtime=_seconds(info),
        size=info.size if kind == FILE else 0,
        link=info.linkname if kind.endswith("link") else "",
        sha256=sha256 if kind == FILE else "",
        extra=tuple(sorted(extra.items())),
        head=head,
    )


def _seconds(info: tarfile.TarInfo) -> str:
    """Since 1970, exactly as a pax header has it: tarfile's own number is a float, which rounds nanoseconds."""
    told = info.pax_headers.get("mtime") or str(int(info.mtime))
    whole, _, part = told.partition(".")
    return f"{whole}.{part.rstrip('0')}".rstrip(".")
