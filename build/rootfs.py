"""The root file system of an image: locked arm64 .debs, installed by the tools root's mmdebstrap into a tar.

mmdebstrap sees one repository: the locked packages themselves, hard-linked from the store, so that nothing else can
come in. Owners, order and times in the tar are mmdebstrap's reproducible ones (SOURCE_DATE_EPOCH is the lock's
epoch). ``rootfs_hook.sh`` beside this file does the installing.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from build import jail, proc, unpack
from build import store as stores
from build.canonical import digest
from build.console import step
from build.determinism import ENVIRONMENT, UMASK
from build.models import DebSet

FORM = 1  # counts changes of the recipe that the values below and the hook do not show
HOOK = Path(__file__).with_name("rootfs_hook.sh")
EXCLUDED = (
    "/usr/share/doc/*", "/usr/share/info/*", "/usr/share/lintian/*", "/usr/share/locale/*", "/usr/share/man/*",
    "/usr/share/bug/*",
)  # fmt: skip
INCLUDED = ("/usr/share/doc/*/copyright",)  # the licences stay with what they license
# No script that runs before its package is unpacked needs these; they are most of the bytes.
LATER_SECTION = re.compile(r"^Section: (devel|libdevel|javascript|python)$", re.MULTILINE)
# By the start of their names: dpkg knows its own architecture, the others write caches of it.
KEPT_FOREIGN = ("dpkg", "ldconfig", "iconvconfig", "localedef")
PYTHONS = ("python3.13", "python3.13-minimal", "libpython3.13-minimal", "libpython3.13-stdlib")
WORK_BYTES = 3_000_000_000


def rootfs_id(debset: DebSet) -> str:
    """The id of the root file system that these packages make."""
    steps = [line for line in HOOK.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    recipe = [FORM, EXCLUDED, INCLUDED, steps, dict(ENVIRONMENT), UMASK]
    debs = sorted(deb.sha256 for deb in debset.debs)
    return digest({"recipe": recipe, "debs": debs, "epoch": debset.epoch, "suite": debset.suite, "arch": debset.arch})


def place(store: Path, debset: DebSet) -> Path:
    """Where the tar of these packages is, or would be."""
    return store / "rootfs" / f"{rootfs_id(debset)}.tar"


def ensure(store: Path, debset: DebSet, *, tools: Path, native: Sequence[str], verbose: bool = False) -> Path:
    """The root file system's tar, made if it is not there. The .debs must be in the store; needs root or sudo.

    ``tools``: the tools root. ``native``: see :func:`native_programs`; with none, everything inside is emulated.
    Emulation must be there already on a foreign machine.
    """
    made = place(store, debset)
    if made.is_file():
        return made
    with stores.locked(store, f"rootfs-{debset.root}-{debset.arch}"):
        if made.is_file():
            return made
        stores.require_space(store, WORK_BYTES, f"the root file system '{debset.root}'")
        with step(f"make the root file system '{debset.root}' ({len(debset.debs)} packages)"):
            _make(store, debset, made, tools=tools, native=native, verbose=verbose)
    return made


def native_programs(tools: Path, tools_debs: DebSet, debset: DebSet) -> tuple[str, ...]:
    """Programs of the tools root that may stand in for those of a foreign root while its packages are configured.

    Its ELF files in usr/bin and usr/sbin, but those that write what depends on the architecture, and Python only
    where it is the same version (what it writes names it). Empty where no emulation would be needed.
    """
    if tools_debs.arch == debset.arch:
        return ()
    kept = KEPT_FOREIGN if _pythons(tools_debs) == _pythons(debset) else (*KEPT_FOREIGN, "python3")
    return tuple(
        f"{folder}/{path.name}"
        for folder in ("usr/bin", "usr/sbin")
        for path in sorted((tools / folder).iterdir())
        if not path.name.startswith(kept) and path.is_file() and not path.is_symlink() and _is_elf(path)
    )


def _pythons(debset: DebSet) -> dict[str, str]:
    return {deb.name: deb.version for deb in debset.debs if deb.name in PYTHONS}


def _is_elf(path: Path) -> bool:
    with open(path, "rb") as stream:
        return stream.read(4) == b"\x7fELF"


def _make(store: Path, debset: DebSet, made: Path, *, tools: Path, native: Sequence[str], verbose: bool) -> None:
    with stores.scratch(store, f"rootfs-{debset.root}") as work:
        _prepare(store, debset, work)
        (work / "native").write_text("".join(f"{name}\n" for name in native), encoding="utf-8")
        box = jail.Jail(
            root=tools,
            binds=((work, "/mnt"),),
            tmpfs=("/tmp",),  # noqa: S108 - a path in the jail
            env=(("TMPDIR", "/mnt/tmp"), ("SOURCE_DATE_EPOCH", str(debset.epoch))),
        )
        argv = proc.as_root(jail.command(box, _mmdebstrap(debset)), purpose="making a root file system")
        try:
            proc.run(argv, verbose=verbose, capture=not verbose)
            _take_over(work / "out.tar")
            made.parent.mkdir(parents=True, exist_ok=True)
            os.replace(work / "out.tar", made)
        finally:
            _remove_roots_files(work)


def _mmdebstrap(debset: DebSet) -> list[str]:
    return [
        "mmdebstrap",
        "--mode=root",
        "--variant=custom",
        "--format=tar",
        f"--architectures={debset.arch}",
        "--skip=check/qemu,check/empty,output/dev,cleanup/mmdebstrap",
        "--setup-hook=/mnt/hook.sh",
        "--customize-hook=/mnt/hook.sh",
        debset.suite,
        "/mnt/out.tar",
        "deb [trusted=yes] copy:/mnt/repo ./",  # trusted: every byte was compared with the lock
    ]


def _prepare(store: Path, debset: DebSet, work: Path) -> None:
    """The repository of exactly the locked packages, and what the hook reads."""
    repo = work / "repo"
    repo.mkdir()
    (work / "tmp").mkdir()
    records, first = [], []
    for deb in debset.debs:
        stores.verify(store, deb.file, deb.sha256)
        blob = stores.blob(store, deb.sha256)
        os.link(blob, repo / deb.file)
        text = unpack.control(blob).rstrip("\n")
        records.append(f"{text}\nFilename: ./{deb.file}\nSize: {deb.size}\nSHA256: {deb.sha256}\n")
        if not LATER_SECTION.search(text):
            first.append(f"{deb.file}\n")
    packages = "\n".join(records).encode()
    (repo / "Packages").write_bytes(packages)
    (repo / "Release").write_text(  # mmdebstrap finds the essential packages of a suite by its name
        f"Suite: {debset.suite}\nCodename: {debset.suite}\nArchitectures: {debset.arch}\n"
        "Date: Thu, 01 Jan 1970 00:00:00 UTC\n"
        f"SHA256:\n {hashlib.sha256(packages).hexdigest()} {len(packages)} Packages\n",
        encoding="utf-8",
    )
    expected = sorted(f"{deb.name} {deb.version} {deb.arch} installed\n" for deb in debset.debs)
    (work / "expected").write_text("".join(expected), encoding="utf-8")
    options = [f"--path-exclude={path}\n" for path in EXCLUDED] + [f"--path-include={path}\n" for path in INCLUDED]
    (work / "first").write_text("".join(first), encoding="utf-8")
    (work / "exclude").write_text("".join(options), encoding="utf-8")
    shutil.copyfile(HOOK, work / "hook.sh")
    (work / "hook.sh").chmod(0o755)


def _take_over(tar: Path) -> None:
    """Make what root made ours: the kernel lets nobody make links to another's files (protected_hardlinks)."""
    if os.geteuid() != 0:
        owner = f"{os.getuid()}:{os.getgid()}"
        proc.run(proc.as_root(["chown", owner, str(tar)], purpose="making a root file system"))


def _remove_roots_files(work: Path) -> None:
    """What root left in the scratch folder, where we are not root ourselves."""
    if os.geteuid() != 0:
        proc.run(proc.as_root(["rm", "-rf", "--one-file-system", str(work)], purpose="clearing up"), check=False)
