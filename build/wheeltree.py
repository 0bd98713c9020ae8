"""Folders out of wheels, for what a build reads and no image installs: kept in the store, whole or not there."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Sequence
from pathlib import Path

from build import store as stores
from build.canonical import digest
from build.errors import LockError
from build.models import Settings, Wheel

FORM = 1  # of what is kept: a new number makes every folder anew


def name(wheels: Sequence[Wheel], below: str = "") -> str:
    """The name in ``trees/`` of what is unpacked of these wheels."""
    return f"wheels-{digest([FORM, sorted(wheel.sha256 for wheel in wheels), below])}"


def ensure(settings: Settings, wheels: Sequence[Wheel], below: str = "") -> Path:
    """The folder with the files of the wheels, which must be in the store; of those ``below`` a folder only.

    Each wheel is compared with its lock before. Programs stay programs. Raises ``LockError`` where two wheels have
    the same path, one names a place outside, or there is nothing below.
    """
    final = settings.store / "trees" / name(wheels, below)
    if final.is_dir():
        return final
    with stores.locked(settings.store, final.name[:24]), stores.scratch(settings.store, "wheels") as folder:
        if final.is_dir():
            return final
        made = folder / "tree"
        made.mkdir()
        for wheel in wheels:
            stores.verify(settings.store, wheel.file, wheel.sha256)
            with zipfile.ZipFile(stores.blob(settings.store, wheel.sha256)) as archive:
                _unpack(archive, wheel.file, below, made)
        if not any(made.iterdir()):
            raise LockError(f"{', '.join(wheel.file for wheel in wheels)} has nothing below {below}/")
        final.parent.mkdir(parents=True, exist_ok=True)
        os.replace(made, final)
    return final


def _unpack(archive: zipfile.ZipFile, file: str, below: str, target: Path) -> None:
    prefix = f"{below}/" if below else ""
    for member in archive.infolist():
        if member.is_dir() or not member.filename.startswith(prefix):
            continue
        path = member.filename.removeprefix(prefix)
        parts = path.split("/")
        place = target.joinpath(*parts)
        if {"", ".", ".."} & set(parts):
            raise _refused(file, member.filename)
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            with open(place, "xb") as stream:
                stream.write(archive.read(member))
        except (FileExistsError, NotADirectoryError) as error:
            raise _refused(file, member.filename) from error
        place.chmod(0o755 if (member.external_attr >> 16) & 0o100 else 0o644)


def _refused(file: str, member: str) -> LockError:
    return LockError(f"{file} cannot be unpacked", why=f"it holds {member!r} a second time or outside")
