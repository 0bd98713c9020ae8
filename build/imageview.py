"""The files of an image as they lie in the end, and what no layer of ours brings, whoever's it is. Pure.

Reported here: a path in two layers that no patch declares, whiteouts, devices, extended attributes (file capabilities
are some), owners and modes that are not the usual ones, paths that are no plain ones or lead through a link.
"""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from build.claims import Finding
from build.layertar import FILE, REMOVAL, Entry, Index

FOLDER, SYMLINK, HARDLINK = "folder", "symbolic link", "hard link"
ROOT = "0:0"
# What may have another mode than u=rwX,go=rX, or another owner than root: exactly these, and why.
MODES: dict[str, tuple[int, str]] = {
    "root": (0o700, ROOT),  # base-files
    "tmp": (0o1777, ROOT),  # everybody's, as everywhere
    "var/tmp": (0o1777, ROOT),
    "cache": (0o1777, ROOT),  # for a volume (dockerfiles/lane/ours.py)
    "home/spark": (0o755, "1000:1000"),  # of the user that the image runs as (rootfs_hook.sh)
    "var/mail": (0o2775, "0:8"),  # base-files; group mail
    "usr/bin/su": (0o4755, ROOT),  # util-linux
    "usr/sbin/unix_chkpwd": (0o2755, "0:42"),  # libpam-modules-bin; group shadow
    "etc/security/opasswd": (0o600, ROOT),  # libpam-modules: old passwords; empty
    "etc/ssl/private": (0o700, ROOT),  # openssl; empty
    "var/lib/dpkg/triggers/Lock": (0o600, ROOT),  # dpkg; empty
}
STEPS = 400  # of a path with all its links; those of an attacker may go in a circle
FILE_MODES = (0o644, 0o755)


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """What lies at a path. A hard link is the file that it is of, without a size of its own."""

    layer: int
    path: str
    kind: str
    size: int
    link: str
    sha256: str
    md5: str


@dataclass(frozen=True, kw_only=True)
class View:
    """Path → what is there; ``under``: what patched files lie over; ``kept``: contents, of the lists of packages."""

    paths: Mapping[str, Seen]
    under: Mapping[str, Seen]
    kept: Mapping[str, bytes]

    def text(self, path: str) -> str:
        """A kept file's text; empty where it is not there, lenient where it is none."""
        return self.kept.get(path, b"").decode("utf-8", "replace")

    def pointed(self, seen: Seen) -> str:
        """Where a symbolic link leads: a path of the image without links on its way, but maybe one itself.

        Empty for the root, and for what leads in circles.
        """
        start = seen.link if seen.link.startswith("/") else posixpath.join(posixpath.dirname(seen.path), seen.link)
        todo = start.split("/")[::-1]
        done: list[str] = []
        for _ in range(STEPS):
            if not todo:
                return "/".join(done)
            part = todo.pop()
            if part == "..":
                done = done[:-1]
            elif part not in ("", "."):
                done.append(part)
                there = self.paths.get("/".join(done))
                if there and there.kind == SYMLINK and any(item not in ("", ".") for item in todo):
                    done = [] if there.link.startswith("/") else done[:-1]
                    todo += there.link.split("/")[::-1]
        return ""

    def plain(self, path: str) -> str:
        """A path without the links of a merged /usr.

        >>> View(paths={}, under={}, kept={}).plain("bin/ls")
        'bin/ls'
        """
        top, slash, rest = path.partition("/")
        link = self.paths.get(top)
        return f"{link.link}{slash}{rest}" if link and link.kind == SYMLINK and link.link == f"usr/{top}" else path


def stack(indexes: Iterable[Index], patched: Collection[str]) -> tuple[View, list[Finding]]:
    """Lay the layers over each other, lowest first. ``patched``: the paths that may be in two of them."""
    paths: dict[str, Seen] = {}
    under: dict[str, Seen] = {}
    kept: dict[str, bytes] = {}
    findings: list[Finding] = []
    for number, index in enumerate(indexes, start=1):
        here: set[str] = set()
        for entry in index.entries:
            found = _seen(number, entry, index, here, paths)
            faults = list(_faults(entry, found, here, paths, under, patched))
            findings += [Finding(number, entry.path, fault) for fault in faults]
            here.add(entry.path)
            if found is None or entry.path == ".":
                continue
            if (below := paths.get(entry.path)) and below.kind != FOLDER:
                under[entry.path] = below
            paths[entry.path] = found
            if entry.kind == FILE and entry.path in index.kept:
                kept[entry.path] = index.kept[entry.path]
            else:
                kept.pop(entry.path, None)
    return View(paths=paths, under=under, kept=kept), findings


def _seen(number: int, entry: Entry, index: Index, here: Collection[str], paths: Mapping[str, Seen]) -> Seen | None:
    """None for what is no file, folder or link, and for a hard link to what is no file of its own layer."""
    if entry.kind == HARDLINK:
        target = entry.link.removeprefix("./").strip("/")
        of = paths.get(target) if target in here else None
        if of is None or of.kind != FILE:
            return None
        return Seen(layer=number, path=entry.path, kind=FILE, size=0, link="", sha256=of.sha256, md5=of.md5)
    if entry.kind not in (FILE, FOLDER, SYMLINK):
        return None
    return Seen(
        layer=number,
        path=entry.path,
        kind=entry.kind,
        size=entry.size,
        link=entry.link,
        sha256=entry.sha256,
        md5=index.md5.get(entry.number, ""),
    )


def _faults(
    entry: Entry,
    found: Seen | None,
    here: Collection[str],
    paths: Mapping[str, Seen],
    under: Collection[str],
    patched: Collection[str],
) -> Iterable[str]:
    if entry.kind == REMOVAL:
        yield "a whiteout: it removes what a layer below has"
        return
    if found is None:
        yield "a hard link to no file of its layer" if entry.kind == HARDLINK else f"a {entry.kind}"
        return
    if entry.path != "." and any(part in ("", ".", "..") for part in entry.path.split("/")):
        yield "its name is no plain path"
    if entry.path in here:
        yield "it is twice in this layer"
    elif (below := paths.get(entry.path)) and not below.kind == found.kind == FOLDER:
        if entry.path not in patched:
            yield f"it is in layer {below.layer} too, and no patch is said to change it"
        elif entry.path in under:
            yield "it is in more than two layers"
    if through := _through(entry.path, paths):
        yield f"it lies below {through}, which is no folder"
    if entry.extra:
        yield f"it has {', '.join(name for name, _ in entry.extra)}"
    yield from _mode_faults(entry)


def _through(path: str, paths: Mapping[str, Seen]) -> str:
    """What a path leads through that is no folder. Folders that nobody wrote down are made by who unpacks."""
    while (path := posixpath.dirname(path)) != "":
        if above := paths.get(path):
            return path if above.kind != FOLDER else ""
    return ""


def _mode_faults(entry: Entry) -> Iterable[str]:
    """A hard link's too: engines set what its own entry says."""
    owner = entry.owner.split(" ")[0]
    mode, wanted = MODES.get(entry.path, (None, ROOT))
    if owner != wanted:
        yield f"its owner is {owner} and should be {wanted}"
    if entry.kind == SYMLINK:
        return
    usual = (mode,) if mode is not None else (0o755,) if entry.kind == FOLDER else FILE_MODES
    if entry.mode not in usual:
        yield f"its mode is {entry.mode:04o} and should be {' or '.join(f'{item:04o}' for item in usual)}"
