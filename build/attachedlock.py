"""The lock that is attached to a published image: read as the clone that it came from would read it.

Composes. It is text from a registry whose hashes a signed provenance gave; paths in it are checked before any is used.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from build import deblock, lockfile, sbom
from build.errors import VerifyError
from build.intent import Intent, read_intent
from build.models import DebSet, Lock
from build.tables import TargetIntent


@dataclass(frozen=True, kw_only=True)
class AttachedLock:
    """A target's lock, its intent and the packages of its root file system."""

    intent: Intent
    target: TargetIntent
    lock: Lock
    rootfs: DebSet


def read(files: Mapping[str, str], target: str) -> AttachedLock:
    """Read it. ``files``: path below the repository → text.

    Raises :class:`LockError` for one that another version of this project wrote, :class:`VerifyError` for files that
    are no lock.
    """
    for name in files:
        path = PurePosixPath(name)
        if path.is_absolute() or path.parts[:1] != ("lock",) or ".." in path.parts:
            raise VerifyError("what is attached as the lock is none", why=f"it has a file {name!r}")
    with tempfile.TemporaryDirectory(prefix="lock-") as folder:
        repo = Path(folder)
        for name, text in files.items():
            (repo / name).parent.mkdir(parents=True, exist_ok=True)
            (repo / name).write_text(text, encoding="utf-8")
        intent = read_intent(repo)
        chosen, table = intent.target(target)
        rootfs = deblock.read(deblock.path_of(repo, table.rootfs, "arm64")).debset
        return AttachedLock(intent=intent, target=table, lock=lockfile.read_lock(repo, chosen), rootfs=rootfs)


def named(attached: AttachedLock) -> set[sbom.Named]:
    """What its bill of materials must name: wheels, Debian packages, sources and patches."""
    lock = attached.lock
    found = {sbom.Named(sbom.WHEEL, wheel.name, wheel.version, wheel.sha256) for wheel in lock.wheels}
    found |= {sbom.Named(sbom.DEB, deb.name, deb.version, deb.sha256) for deb in attached.rootfs.debs}
    found |= {
        sbom.Named(sbom.PATCH, f"patches/{ref.series}/{ref.component}/{ref.file}", "", ref.sha256)
        for ref in lock.patches
    }
    archives = (item.archive for item in lock.components if item.archive is not None)
    return found | {sbom.Named(sbom.SOURCE, item.file, item.version, item.sha256) for item in archives}
