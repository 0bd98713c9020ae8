"""Trees in tars: written so that the same tree gives the same bytes, unpacked so that nothing leaves the folder."""

from __future__ import annotations

import os
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path


def write(folder: Path, path: Path) -> None:
    """The folder's content as a tar at ``path``: sorted, no owner, no time, the modes of a checkout."""
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as tar:
        for name, place in _entries(os.fspath(folder), ""):
            info = tar.gettarinfo(place, name)
            info.uid = info.gid = info.mtime = 0
            info.uname = info.gname = ""
            info.mode = 0o755 if info.isdir() or info.mode & 0o100 else 0o644
            if info.isreg() or info.islnk():  # a second name of a file is one more file, as in a git tree
                info.type, info.linkname = tarfile.REGTYPE, ""
                info.size = os.stat(place).st_size
                with open(place, "rb") as stream:
                    tar.addfile(info, stream)
            else:
                tar.addfile(info)


def _entries(folder: str, below: str) -> Iterator[tuple[str, str]]:
    """(path below the folder, path) of all that is in it, a folder before what it holds."""
    for name in sorted(os.listdir(folder)):
        place = os.path.join(folder, name)
        yield below + name, place
        if os.path.isdir(place) and not os.path.islink(place):
            yield from _entries(place, f"{below}{name}/")


def unpack(tar: tarfile.TarFile, folder: Path) -> None:
    """Files, folders and links that stay inside; the modes of a checkout (tarfile's own filters need Python 3.11.4).

    ``folder`` is made. Raises ``tarfile.TarError`` for a member that leaves it, is there twice, or is of another kind.
    """
    folder.mkdir()
    root = os.path.realpath(folder)
    for member in tar:
        target = os.path.join(root, member.name)
        if not is_below(root, os.path.dirname(target)) or ".." in member.name.split("/"):
            raise tarfile.TarError(f"{member.name} leaves the archive's folder")
        try:
            _place(tar, member, target)
        except (FileExistsError, NotADirectoryError) as error:  # never written through: it may be a link
            raise tarfile.TarError(f"{member.name} is there twice") from error
    if link := stray_link(folder):
        raise tarfile.TarError(f"{link} links out of the archive's folder")


def _place(tar: tarfile.TarFile, member: tarfile.TarInfo, target: str) -> None:
    if member.isdir():
        os.makedirs(target, exist_ok=True)
        return
    os.makedirs(os.path.dirname(target), exist_ok=True)
    if member.issym():
        os.symlink(member.linkname, target)
    elif (stream := tar.extractfile(member)) is not None and member.isfile():
        with open(target, "xb") as out:
            shutil.copyfileobj(stream, out)
        os.chmod(target, 0o755 if member.mode & 0o100 else 0o644)
    else:
        raise tarfile.TarError(f"{member.name} is no file, folder or symbolic link")


def stray_link(folder: Path) -> str | None:
    """A symbolic link in the folder that leads out of it (its path below the folder), if there is one."""
    root = os.path.realpath(folder)
    for place, folders, files in os.walk(root):
        for name in (*folders, *files):
            path = os.path.join(place, name)
            if os.path.islink(path) and not is_below(root, path):
                return os.path.relpath(path, root)
    return None


def is_below(root: str, path: str) -> bool:
    """Whether a path, its links followed, is the folder ``root`` (a real path) or in it."""
    return os.path.commonpath([root, os.path.realpath(path)]) == root
