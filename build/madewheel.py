"""The wheel of a component's Python files, made from its source tree where what is native is compiled.

With it in the store all that is done with wheels is done with it too: what it installs, requires and overlaps. Its
hash is locked as every other; a machine whose store lacks it makes it again.
"""

from __future__ import annotations

import os
from dataclasses import replace

from build import sourcetree
from build import store as stores
from build.console import step
from build.errors import LockError
from build.models import Component, Lock, Settings, Wheel
from build.sourcetree import Obtain


def add(settings: Settings, lock: Lock, version: str, *, obtain: Obtain | None = None) -> Lock:
    """The lock with the wheel of its native component, made and put into the store."""
    component = compiled(lock)
    if component is None or lock.native is None:
        return lock
    from build import pywheel  # noqa: PLC0415 - 100 ms, and no build of the wheel lane needs it

    file = pywheel.file_name(component.distribution, version)
    sha256, size = _make(settings, lock, component, version, obtain)
    wheel = Wheel(name=component.distribution, version=version, file=file, sha256=sha256, size=size, made=True)
    others = [item for item in lock.wheels if item.name != wheel.name]
    return replace(lock, wheels=tuple(sorted([*others, wheel], key=lambda item: item.name)))


def compiled(lock: Lock) -> Component | None:
    """The component whose native code is compiled; None in the wheel lane."""
    if lock.native is None:
        return None
    return next(item for item in lock.components if item.name == lock.native.component)


def ensure(settings: Settings, lock: Lock, *, obtain: Obtain | None = None) -> None:
    """Bring the locked one into the store. ``LockError`` where the tree makes another one; raises as trees do."""
    wheel = next((item for item in lock.wheels if item.made), None)
    component = compiled(lock)
    if wheel is None or component is None or stores.has(settings.store, wheel.sha256, wheel.size):
        return
    found, _ = _make(settings, lock, component, wheel.version, obtain)
    if found != wheel.sha256:
        raise LockError(
            f"the Python files of {component.name} do not make the locked {wheel.file}",
            why=f"expected {wheel.sha256}, made {found}",
            todo="drop its tree from the store (`nox -s clean -- trees`); if it was meant to change: `nox -s lock`",
        )


def _make(settings: Settings, lock: Lock, component: Component, version: str, obtain: Obtain | None) -> tuple[str, int]:
    assert lock.native is not None
    from build import pywheel  # noqa: PLC0415 - as above

    tree = sourcetree.ensure(settings, component, obtain=obtain)
    with step(f"make the wheel of {component.name}'s Python files"), stores.scratch(settings.store, "wheel") as folder:
        made = folder / "made.whl"
        sha256 = pywheel.make(tree, component.distribution, version, component.paths, lock.native.requires, made)
        size = os.stat(made).st_size
        stores.admit(settings.store, made, sha256)
    return sha256, size
