"""What the machine that builds needs, brought together: locked .debs fetched, roots unpacked, root file systems made.

One of the few modules that compose others; the stories in ``build/commands`` call it.
"""

from __future__ import annotations

from pathlib import Path

from build import deblock, debmirror, download, emulation, rootfs, roots
from build.console import human_bytes, step, transfer
from build.errors import GoneError
from build.models import DebSet, Settings

TOOLS = "tools"
BUILDER = "builder"
DIFFOSCOPE = "diffoscope"
PUBLISH = "publish"
REGISTRY = "registry"
IMAGE_ARCHITECTURE = "arm64"


def locked_debs(settings: Settings, root: str, arch: str) -> DebSet:
    """The locked packages of a root; :class:`LockError` where there is no lock."""
    return deblock.read(deblock.path_of(settings.repo, root, arch)).debset


def fetch_debs(settings: Settings, debset: DebSet) -> int:
    """Bring a root's packages into the store, bytes that came in; no mirror is looked for where all are at hand.

    Exported folders first, then the mirrors; what no mirror has any more is asked of the snapshot archive.
    :class:`GoneError` names all that is nowhere.
    """
    wanted = download.missing(settings.store, debmirror.downloads(debset, ()))
    if not wanted:
        return 0
    size = sum(item.size for item in wanted)
    title = f"fetch {len(wanted)} Debian packages of {debset.root}-{debset.arch}"
    with step(f"{title} ({human_bytes(size)})"), transfer(title, size) as progress:
        if settings.offline:
            download.fetch(settings.store, wanted, folders=settings.exported, offline=True, progress=progress)
        else:
            download.take_in(settings.store, wanted, settings.exported, progress=progress)
            _fetch_from_mirrors(settings, debset, progress)
    return size


def _fetch_from_mirrors(settings: Settings, debset: DebSet, progress: download.Progress) -> None:
    if not download.missing(settings.store, debmirror.downloads(debset, ())):
        return
    mirrors = debmirror.mirrors(settings.store)
    snapshot = debmirror.snapshot()
    try:
        download.fetch(settings.store, debmirror.downloads(debset, mirrors, snapshot), progress=progress)
    except GoneError:
        named = "" if snapshot else debmirror.named_snapshot(mirrors, debset.suite)
        if not named:
            raise
        download.fetch(settings.store, debmirror.downloads(debset, (), named), progress=progress)


def tools(settings: Settings) -> Path:
    """The tools root of this machine's architecture: engine, buildx, mmdebstrap, QEMU."""
    return _root(settings, TOOLS)


def builder(settings: Settings) -> Path:
    """The builder root of this machine's architecture: Python for the stages of a build."""
    return _root(settings, BUILDER)


def builder_tar(settings: Settings) -> Path:
    """The builder root as a tar that a Dockerfile adds to ``scratch``: the same bytes for the same lock."""
    builder(settings)
    return roots.ensure_tar(settings.store, locked_debs(settings, BUILDER, roots.host_architecture()))


def compile_tar(settings: Settings) -> Path:
    """Compilers for aarch64 that run on this machine, as a tar for the stages that compile."""
    _root(settings, "compile")
    return roots.ensure_tar(settings.store, locked_debs(settings, "compile", roots.host_architecture()))


def diffoscope(settings: Settings) -> Path:
    """The root that diffoscope runs in, of this machine's architecture."""
    return _root(settings, DIFFOSCOPE)


def publish(settings: Settings) -> Path:
    """The root that cosign runs in, of this machine's architecture."""
    return _root(settings, PUBLISH)


def registry(settings: Settings) -> Path:
    """The root with a registry and others' clients, for tests."""
    return _root(settings, REGISTRY)


def _root(settings: Settings, name: str) -> Path:
    debset = locked_debs(settings, name, roots.host_architecture())
    made = roots.place(settings.store, debset)
    if made.is_dir():
        return made
    fetch_debs(settings, debset)
    with step(f"unpack the {name} root ({len(debset.debs)} packages)"):
        return roots.ensure(settings.store, debset)


def rootfs_tar(settings: Settings, name: str) -> Path:
    """The root file system's tar of a ``rootfs`` table, made (and its packages fetched) if it is not there."""
    debset = locked_debs(settings, name, IMAGE_ARCHITECTURE)
    made = rootfs.place(settings.store, debset)
    if made.is_file():
        return made
    fetch_debs(settings, debset)
    root = tools(settings)
    emulation.ensure(settings.store, root)
    native = rootfs.native_programs(root, locked_debs(settings, TOOLS, roots.host_architecture()), debset)
    return rootfs.ensure(settings.store, debset, tools=root, native=native, verbose=settings.verbose)
