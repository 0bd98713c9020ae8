"""The compile cache as one tar: what of it is carried, packed and unpacked. Runs in a step of BuildKit's as it is.

Usage: ``ccachetar.py``, with what to do in the environment. ``DO`` is ``look``, ``take`` (add what the tar in /mnt/seed
holds) or ``give`` (write /out/ccache.tar, unless the cache has the figures ``KNOWN``). It prints ``CCACHE`` and the
cache's figures, as JSON. Standard library only: the builder root has no more.

Names are ccache's (its 4.x, ``core/CacheEntry`` and ``storage/local``): one folder for each of the first digits of a
key, with entries, their counters and a tag for backup programs. Locks and temporary files are not carried. An entry
holds a checksum of itself, which ccache compares when it reads it: a damaged one is compiled anew.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import stat
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

MOUNT, SEED, OUT = Path("/mnt/ccache"), Path("/mnt/seed"), Path("/out")
FILE = "ccache.tar"
CARRIED = re.compile(r"([0-9a-f]/)+([0-9a-z]+[A-Z]|stats|CACHEDIR\.TAG)")
PARTIAL = ".tmp.carried"  # what has .tmp. in its name ccache removes, and never reads


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What a compile cache holds. ``newest``: when it was last used, in seconds since 1970; 0 where it is empty."""

    files: int
    bytes: int
    newest: int


class DamagedError(Exception):
    """A tar that is not whole, or holds what is no compile cache."""


def main() -> None:
    if os.environ["DO"] == "take":
        take(SEED / FILE, MOUNT)
    there = look(MOUNT)
    if os.environ["DO"] == "give" and there.files and json.dumps(asdict(there)) != os.environ["KNOWN"]:
        OUT.mkdir()
        there = give(MOUNT, OUT / FILE)
    print(f"CCACHE {json.dumps(asdict(there))}", flush=True)


def look(mount: Path) -> Figures:
    """What is in the folder of a compile cache."""
    return _figures((there.st_size, int(there.st_mtime)) for _, there in _files(mount))


def listed(tar: Path) -> tuple[tarfile.TarInfo, ...]:
    """The entries of a tar that :func:`give` wrote. Raises :class:`DamagedError`."""
    try:
        with tarfile.open(tar, "r:") as stream:
            members = tuple(stream)
            end = stream.offset
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise DamagedError(str(error)) from error
    if tar.stat().st_size < end + tarfile.BLOCKSIZE:
        raise DamagedError("its end is lacking")
    for member in members:
        if not member.isreg() or not CARRIED.fullmatch(member.name):
            raise DamagedError(f"{member.name!r} is no file of a compile cache")
    return members


def figures(members: Iterable[tarfile.TarInfo]) -> Figures:
    """What a tar holds, by its entries."""
    return _figures((member.size, int(member.mtime)) for member in members)


def take(tar: Path, mount: Path) -> None:
    """Add what the folder lacks; what it has is used as lately as the tar says. Whole files or none, whatever happens.

    Counters of the folder's own stay, and count too little until ccache cleans up and counts anew. Raises
    :class:`DamagedError`.
    """
    members = listed(tar)
    with tarfile.open(tar, "r:") as stream:
        for member in members:
            target = mount / member.name
            if target.exists():
                if target.stat().st_mtime < member.mtime:
                    os.utime(target, (member.mtime, member.mtime))
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            partial = target.with_name(target.name + PARTIAL)
            content = stream.extractfile(member)
            assert content is not None
            with content, open(partial, "wb") as out:
                shutil.copyfileobj(content, out)
            os.utime(partial, (member.mtime, member.mtime))
            os.replace(partial, target)


def give(mount: Path, tar: Path) -> Figures:
    """Write the folder as a tar, which is the same to the byte for the same files; what is in it.

    Others may compile meanwhile: a file is as it was when it was opened, and one that has gone is left out.
    """
    packed = []
    with tarfile.open(tar, "w:", format=tarfile.USTAR_FORMAT) as stream:
        for name, _ in _files(mount):
            with contextlib.suppress(FileNotFoundError), open(mount / name, "rb") as content:
                there, member = os.fstat(content.fileno()), tarfile.TarInfo(name)
                member.size, member.mtime, member.mode = there.st_size, int(there.st_mtime), 0o644
                stream.addfile(member, content)
                packed.append(member)
    return figures(packed)


def _files(mount: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Each file that is carried, by its name below the folder, in the order of the names."""
    found = []
    for folder, _, names in os.walk(mount):
        below = os.path.relpath(folder, mount)
        found += [f"{below}/{name}" for name in names if CARRIED.fullmatch(f"{below}/{name}")]
    for name in sorted(found):
        try:
            there = os.lstat(mount / name)
        except FileNotFoundError:
            continue
        if stat.S_ISREG(there.st_mode):
            yield name, there


def _figures(rows: Iterable[tuple[int, int]]) -> Figures:
    sizes, times = [], [0]
    for size, time in rows:
        sizes.append(size)
        times.append(time)
    return Figures(files=len(sizes), bytes=sum(sizes), newest=max(times))


if __name__ == "__main__":
    main()
