"""What an image ought to hold, for :mod:`build.accounted`: of a target of this clone, or of a lock.

One of the modules that compose others; the stories are in ``build/commands/push.py`` and ``verify.py``.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from build import lockedlists, recipe, store
from build.canonical import digest, tree_sha256
from build.claims import Named, Patch
from build.ourclaims import SPARK
from build.owners import normalised

if TYPE_CHECKING:
    from build.models import DebSet, Lock
    from build.steps import Job

FORM = 1  # of the digests that the store keeps
FALSE_RECORD = re.compile(r"\(([^()/]+)-[^-()/]+\.dist-info\) is not as in its RECORD")  # an exception of a target


def named(job: Job) -> Named:
    """What the image of a target ought to hold, as this clone and its lock say; nothing is read but the clone.

    Of an image of another chain id, ``own``, ``manifest`` and ``bytecode`` are another's: see :func:`of_lock`.
    """
    exceptions = [item.finding for item in job.target.exceptions]
    said = of_lock(job.lock, job.rootfs, local=job.target.local_version, exceptions=exceptions)
    own = dict(tree_sha256(job.settings.repo / "dockerfiles" / "image"))
    own |= {f"profiles/{name}": hashlib.sha256(content).hexdigest() for name, content in recipe.baked(job).items()}
    manifest = json.loads(json.dumps(recipe.manifest(job, chain=recipe.chain_id(job))))
    return replace(
        said,
        own={f"{SPARK}/{path}": sha256 for path, sha256 in own.items()},
        manifest=manifest,
        bytecode=tuple(job.target.bytecode),
    )


def of_lock(lock: Lock, debset: DebSet, *, local: str, exceptions: Iterable[str] = ()) -> Named:
    """What an image ought to hold as a lock says, which may be another clone's.

    ``local``: the label of patched versions; ``exceptions``: the findings that the target lets stand.
    """
    native = lock.native.component if lock.native else ""
    changed = {
        item.distribution for item in lock.components if recipe.is_patched(item) or item.name == native
    }  # fmt: skip
    patched = {
        file.installed: Patch(distribution=item.distribution, before=file.before, after=file.after)
        for item in lock.components for file in item.files if file.installed and file.after
    }  # fmt: skip
    return Named(
        wheels={
            wheel.name: recipe.labelled(wheel.version, local) if wheel.name in changed else wheel.version
            for wheel in lock.wheels
        },
        debs={deb.name: deb.version for deb in debset.debs},
        patched=patched,
        native=next((item.distribution for item in lock.components if item.name == native), ""),
        contradicted={
            normalised(found[1]): {} for text in exceptions if (found := FALSE_RECORD.search(text))
        },
    )  # fmt: skip


def anchored(job: Job, said: Named) -> Named:
    """The same with what the locked files themselves say: digests of their lists, and where a RECORD is known to lie.

    Only of wheels and .debs that are in the store: all of them where a build was made. Takes a second, and five more
    once for each set of Debian packages.
    """
    contradicted = dict(said.contradicted)
    for wheel in job.lock.wheels:
        path = store.blob(job.settings.store, wheel.sha256)
        if wheel.name in contradicted and path.is_file():
            if looked := lockedlists.contradictions(path):
                contradicted[wheel.name] = looked
            else:
                del contradicted[wheel.name]
    lists = {**_wheel_lists(job), **_deb_lists(job)}
    return replace(said, lists=lists, contradicted=contradicted)


def _wheel_lists(job: Job) -> dict[str, str]:
    wheels = [wheel for wheel in job.lock.wheels if store.blob(job.settings.store, wheel.sha256).is_file()]
    if len(wheels) != len(job.lock.wheels):  # what one leaves to another is known of all of them only
        return {}
    without: dict[str, set[str]] = {}
    for plan in recipe.planned(job):
        for name, paths in (*plan.disown, *plan.left_out):
            without.setdefault(name, set()).update(paths)
    return {
        f"wheel {wheel.name}": lockedlists.of_wheel(
            store.blob(job.settings.store, wheel.sha256), without.get(wheel.name, ())
        )
        for wheel in wheels
    }  # fmt: skip


def _deb_lists(job: Job) -> dict[str, str]:
    debs = {deb.name: store.blob(job.settings.store, deb.sha256) for deb in job.rootfs.debs}
    if not all(path.is_file() for path in debs.values()):
        return {}

    def made() -> dict[str, str]:
        with ThreadPoolExecutor(2) as pool:
            return dict(zip(debs, pool.map(lockedlists.of_deb, debs.values()), strict=True))

    return {f"deb {key}": value for key, value in _kept(job, deb_lists_name(job.rootfs), made).items()}


def deb_lists_name(debset: DebSet) -> str:
    """The name in ``trees/`` of what is known of a set of Debian packages."""
    return f"deb-lists-{digest([FORM, sorted(deb.sha256 for deb in debset.debs)])}.json"


def _kept(job: Job, name: str, make: Callable[[], Mapping[str, str]]) -> Mapping[str, str]:
    """Digests out of ``trees/`` in the store, made where they are not there."""
    path = job.settings.store / "trees" / name
    with suppress(OSError, ValueError):
        return {str(key): str(value) for key, value in json.loads(path.read_text(encoding="utf-8")).items()}
    made = make()
    path.parent.mkdir(parents=True, exist_ok=True)
    with store.scratch(job.settings.store, "lists") as folder:
        (folder / path.name).write_text(json.dumps(made), encoding="utf-8")
        os.replace(folder / path.name, path)
    return made
