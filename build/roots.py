"""Roots for the machine that builds: locked .debs unpacked into a folder, plus what their scripts would have made.

A root is a pure function of its lock and of the recipe below; its id is their digest, its place is
``<store>/roots/<id>/``. It is made under a scratch name and renamed, so that a folder there is always whole.
"""

from __future__ import annotations

import concurrent.futures
import os
import platform
import shutil
import tarfile
from pathlib import Path

from build import store as stores
from build import unpack
from build.canonical import digest
from build.errors import EngineError
from build.models import Deb, DebSet

FORM = 2  # counts changes of the recipe that the tables below do not show
UNPACKED_RATIO = 4  # bytes on disk to bytes of .debs, rounded up from what was seen
LEFT_OUT = ("usr/share/doc/", "usr/share/man/", "usr/share/info/", "usr/share/locale/", "usr/share/lintian/")
KEPT_QEMU = ("qemu-aarch64", "qemu-arm64")
FOLDERS = ("dev", "etc", "home", "mnt", "opt", "proc", "root", "run", "srv", "sys", "tmp", "var/lib", "var/tmp")
MERGED = ("bin", "sbin", "lib", "lib64")
COPIES = {  # what base-passwd and base-files copy when they are configured
    "etc/passwd": "usr/share/base-passwd/passwd.master",
    "etc/group": "usr/share/base-passwd/group.master",
    "etc/nsswitch.conf": "usr/share/base-files/nsswitch.conf",
}
TEXTS = {  # where there is nothing to copy, and what no package ships
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
    "etc/group": "root:x:0:\nnogroup:x:65534:\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
    "etc/hosts": "127.0.0.1\tlocalhost\n::1\tlocalhost\n",
    "etc/resolv.conf": "",
    "etc/machine-id": "",
    "var/lib/dpkg/status": "",
}
LINKS = {  # update-alternatives' choices; each where its target is there
    "usr/bin/awk": "mawk",
    "usr/sbin/iptables": "iptables-nft",
    "usr/sbin/iptables-restore": "iptables-nft-restore",
    "usr/sbin/iptables-save": "iptables-nft-save",
    "usr/sbin/ip6tables": "ip6tables-nft",
    "usr/sbin/ip6tables-restore": "ip6tables-nft-restore",
    "usr/sbin/ip6tables-save": "ip6tables-nft-save",
}
CA_BUNDLE = "etc/ssl/certs/ca-certificates.crt"
MACHINES = {"x86_64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


def host_architecture() -> str:
    """This machine's architecture by Debian's name; :class:`EngineError` for one that has no tools root."""
    machine = platform.machine()
    if machine not in MACHINES:
        raise EngineError(
            f"there are no tools for a {machine} machine",
            why=f"tools are locked for {', '.join(sorted(set(MACHINES.values())))}",
            todo="build on one of those",
        )
    return MACHINES[machine]


def root_id(debset: DebSet) -> str:
    """The id of the root that these packages make."""
    recipe = [FORM, LEFT_OUT, KEPT_QEMU, FOLDERS, MERGED, COPIES, TEXTS, LINKS, CA_BUNDLE]
    return digest({"recipe": recipe, "debs": sorted(deb.sha256 for deb in debset.debs)})


def place(store: Path, debset: DebSet) -> Path:
    """Where the root of these packages is, or would be."""
    return store / "roots" / root_id(debset)


def ensure(store: Path, debset: DebSet) -> Path:
    """The unpacked root, made if it is not there. The .debs must be in the store.

    Each .deb is read again and compared first: a damaged one is removed from the store and ends the work.
    """
    made = place(store, debset)
    if made.is_dir():
        return made
    with stores.locked(store, f"root-{debset.root}-{debset.arch}"):
        if made.is_dir():
            return made
        size = UNPACKED_RATIO * sum(deb.size for deb in debset.debs)
        stores.require_space(store, size, f"the {debset.root} root")
        with stores.scratch(store, f"root-{debset.root}") as folder:
            root = folder / "root"
            root.mkdir(mode=0o755)
            _unpack_all(store, debset.debs, root)
            _finish(root)
            made.parent.mkdir(parents=True, exist_ok=True)
            os.replace(root, made)
    return made


def ensure_tar(store: Path, debset: DebSet) -> Path:
    """The root as an uncompressed tar, the same bytes for the same packages: ``<store>/roots/<id>.tar``."""
    root = ensure(store, debset)
    made = root.with_name(f"{root.name}.tar")
    if made.is_file():
        return made
    with stores.locked(store, f"root-{debset.root}-{debset.arch}"), stores.scratch(store, "tar") as folder:
        partial = folder / made.name
        write_tar(root, partial, debset.epoch)
        os.replace(partial, made)
    return made


def write_tar(root: Path, target: Path, epoch: int) -> None:
    """Write the tree as a tar: sorted, owned by 0:0, readable by all, every time ``epoch``.

    Python's caches are left out: no package brings them, a Python that ran in the root left them.
    """

    def neutral(entry: tarfile.TarInfo) -> tarfile.TarInfo:
        entry.uid = entry.gid = 0
        entry.uname = entry.gname = ""
        entry.mtime = epoch
        entry.mode |= 0o755 if entry.isdir() else 0o444
        if not entry.mode & 0o7000:
            entry.mode &= ~0o022  # a folder that no package names, made under a user's umask
        return entry

    with tarfile.open(target, "w", format=tarfile.GNU_FORMAT) as archive:
        for folder, folders, files in os.walk(root):
            folders[:] = sorted(name for name in folders if name != "__pycache__")
            names = sorted([*files, *(name for name in folders if os.path.islink(os.path.join(folder, name)))])
            inside = os.path.relpath(folder, root)
            archive.add(folder, inside, recursive=False, filter=neutral)
            for name in names:
                archive.add(os.path.join(folder, name), os.path.join(inside, name), recursive=False, filter=neutral)


def _wanted(path: str) -> bool:
    if path.startswith("usr/bin/qemu-"):
        return path.removeprefix("usr/bin/") in KEPT_QEMU
    return not (path + "/").startswith(LEFT_OUT)


def _unpack_all(store: Path, debs: tuple[Deb, ...], root: Path) -> None:
    """Decompression leaves Python's lock, so two workers are worth it; base-files goes first for its links."""
    for link in MERGED[:-1]:
        (root / "usr" / link).mkdir(parents=True)
        os.symlink(f"usr/{link}", root / link)
    ordered = sorted(debs, key=lambda deb: -deb.size)

    def one(deb: Deb) -> None:
        stores.verify(store, deb.file, deb.sha256)
        unpack.unpack(stores.blob(store, deb.sha256), root, wanted=_wanted)

    with concurrent.futures.ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        jobs = [pool.submit(one, deb) for deb in ordered]
        try:
            for job in jobs:
                job.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _finish(root: Path) -> None:
    """The files that packages' scripts make when they are configured, as far as our tools need them."""
    for name in FOLDERS:
        (root / name).mkdir(parents=True, exist_ok=True)
    for name in ("tmp", "var/tmp"):
        (root / name).chmod(0o1777)
    for name in MERGED:
        if (root / "usr" / name).is_dir() and not os.path.lexists(root / name):
            os.symlink(f"usr/{name}", root / name)
    for name, text in TEXTS.items():
        target = root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        source = root / COPIES.get(name, "-")
        if source.is_file():
            shutil.copyfile(source, target)
        elif not target.exists():
            target.write_text(text, encoding="utf-8")
        target.chmod(0o644)
    for name, to in LINKS.items():
        link = root / name
        if (link.parent / to).exists() and not os.path.lexists(link):
            os.symlink(to, link)
    _ca_bundle(root)
    _native_names(root)


def _native_names(root: Path) -> None:
    """``/ld.so`` and ``/lib.native``: the loader and its libraries, by names that are the same on any machine.

    They run the root's programs from where the root is not ``/``: ``ld.so --library-path lib.native PROGRAM``.
    """
    for loader in sorted((root / "usr/lib").glob("*/ld-linux-*.so.*"))[:1]:
        os.symlink(loader.relative_to(root), root / "ld.so")
        os.symlink(loader.parent.relative_to(root), root / "lib.native")


def _ca_bundle(root: Path) -> None:
    certificates = sorted((root / "usr/share/ca-certificates/mozilla").glob("*.crt"))
    if certificates:
        bundle = root / CA_BUNDLE
        bundle.parent.mkdir(parents=True, exist_ok=True)
        bundle.write_bytes(b"".join(path.read_bytes().rstrip() + b"\n" for path in certificates))
        bundle.chmod(0o644)
