"""Locked Debian packages out of a registry: where `push` attached them, they outlive the mirrors.

Composes. A package is a blob under its sha256 there, which the lock knows: no list is needed, and none is trusted.
"""

from __future__ import annotations

import hashlib
import os
import threading

from build import credentials, debmirror, download, registry, sidebyside, steps, store
from build.console import human_bytes, step, transfer
from build.download import Download, Progress
from build.errors import HashMismatchError, ImageNotFoundError
from build.models import Settings
from build.registry import Repository
from build.registryhttp import PIECE

WORKERS = 4


def take(settings: Settings, job: steps.Job, repository: str, machines: tuple[str, ...]) -> int:
    """Bring what the store lacks of a target's packages in from a repository; the bytes that came.

    What is not there is left to the mirrors.
    """
    reference = registry.parse(repository)
    wanted = [item for debset in job.debsets(machines) for item in debmirror.downloads(debset, ())]
    lacking = download.missing(settings.store, wanted)
    if not lacking:
        return 0
    size = sum(item.size for item in lacking)
    title = f"look for {len(lacking)} Debian packages in {reference.repository}"
    store.require_space(settings.store, size, f"{len(lacking)} packages")
    with (
        Repository(reference.host, reference.name, credentials.find(reference.host)) as there,
        step(f"{title} ({human_bytes(size)})"),
        transfer(title, size) as progress,
    ):
        there.tags()  # logs in once, before all of them would
        stop = threading.Event()

        def one(item: Download) -> int:
            return _take(settings, there, item, progress, stop)

        return sum(sidebyside.each(one, lacking, workers=WORKERS, stop=stop))


def _take(settings: Settings, there: Repository, item: Download, progress: Progress, stop: threading.Event) -> int:
    try:
        stream = there.open_blob(f"sha256:{item.sha256}", item.size)
    except ImageNotFoundError:
        return 0
    hasher = hashlib.sha256()
    with store.scratch(settings.store, "deb") as folder, stream, open(folder / "deb", "wb") as file:
        while piece := stream.read(PIECE):
            if stop.is_set():
                return 0
            hasher.update(piece)
            file.write(piece)
            progress(len(piece))
        file.flush()
        os.fsync(file.fileno())
        if hasher.hexdigest() != item.sha256:
            raise HashMismatchError(
                f"{there.reference} has other bytes for {item.file}",
                why=f"expected sha256 {item.sha256}, found {hasher.hexdigest()}",
                todo="leave out --published, or name another repository",
            )
        store.admit(settings.store, folder / "deb", item.sha256)
    return item.size
