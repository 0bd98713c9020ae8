"""The licences of what a lock names, told by the wheels and Debian packages themselves; read once for a set of them.

A wheel tells it in its METADATA, a Debian package in ``usr/share/doc/<package>/copyright``, where it must be; that
folder is often a link to that of another package of the same source (Debian policy 12.3).
"""

from __future__ import annotations

import concurrent.futures
import json
import os
import posixpath
import re
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import astuple
from pathlib import Path

from build import store as stores
from build import unpack
from build.canonical import digest
from build.console import step
from build.errors import HashMismatchError, StoreError
from build.licencewords import Licence, of_copyright, of_metadata
from build.models import Artifact, Deb, Lock, Wheel

FORM = 1  # counts the changes of what is made of the same files
DOC = "usr/share/doc"
AGAIN = "run `nox -s fetch -- --verify`, then `nox -s fetch`"


def wheels_of(lock: Lock) -> tuple[Wheel, ...]:
    """The wheels whose licences matter to an image: those in it, and those of which a folder is compiled into it."""
    substitutes = (item.wheel for item in lock.native.substitutes) if lock.native else ()
    return tuple({wheel.sha256: wheel for wheel in (*lock.wheels, *substitutes)}.values())


def of_wheels(store: Path, wheels: Sequence[Wheel]) -> dict[str, Licence]:
    """sha256 → licence, of wheels that the store has (else :class:`StoreError`)."""
    return _kept(store, wheels, lambda: {wheel.sha256: _of_wheel(store, wheel) for wheel in wheels})


def of_debs(store: Path, debs: Sequence[Deb]) -> dict[str, Licence]:
    """The same of the Debian packages of one root, some of which have the copyright file of another."""
    return _kept(store, debs, lambda: _of_debs(store, debs))


def name(files: Iterable[Artifact]) -> str:
    """The name in ``trees/`` of what is known of a set of wheels, or of packages."""
    return f"licences-{digest([FORM, sorted({item.sha256 for item in files})])}.json"


def _kept(store: Path, files: Sequence[Artifact], make: Callable[[], dict[str, Licence]]) -> dict[str, Licence]:
    path = store / "trees" / name(files)
    with suppress(OSError, ValueError, KeyError, TypeError):
        rows = json.loads(path.read_bytes())
        return {item.sha256: _licence(*rows[item.sha256]) for item in files}
    for item in files:
        if not stores.has(store, item.sha256, item.size):
            raise StoreError(
                f"{item.file} is not in the store", why="its licence is to be read from it", todo="run `nox -s fetch`"
            )
    made = make()
    path.parent.mkdir(parents=True, exist_ok=True)
    with stores.scratch(store, "licences") as folder:
        (folder / path.name).write_text(json.dumps({key: astuple(made[key]) for key in sorted(made)}), encoding="utf-8")
        os.replace(folder / path.name, path)
    return made


def _licence(expression: str, comment: str) -> Licence:
    return Licence(expression=expression, comment=comment)


def _of_wheel(store: Path, wheel: Wheel) -> Licence:
    try:
        with zipfile.ZipFile(stores.blob(store, wheel.sha256)) as archive:
            found = [n for n in archive.namelist() if n.endswith(".dist-info/METADATA") and n.count("/") == 1]
            return of_metadata(archive.read(found[0]).decode("utf-8", "replace") if found else "")
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError) as error:
        raise HashMismatchError(f"{wheel.file} cannot be read", why=str(error), todo=AGAIN) from error


def _of_debs(store: Path, debs: Sequence[Deb]) -> dict[str, Licence]:
    with (
        step(f"read the licences of {len(debs)} Debian packages"),
        stores.scratch(store, "copyright") as folder,
        concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool,  # decompressing leaves others the interpreter
    ):
        jobs = {deb.name: pool.submit(_copyright, store, deb, folder / deb.sha256) for deb in debs}
        texts = {package: job.result() for package, job in jobs.items()}
    return {deb.sha256: _followed(texts, deb.name) for deb in debs}


def _copyright(store: Path, deb: Deb, place: Path) -> tuple[str, str]:
    """The package's copyright file, or the name of the package that has it."""
    folder = f"{DOC}/{deb.name}"
    wanted = (folder, f"{folder}/copyright")
    place.mkdir()
    try:
        unpack.unpack(stores.blob(store, deb.sha256), place, wanted=wanted.__contains__)
    except ValueError as error:
        raise HashMismatchError(f"{deb.file} cannot be unpacked", why=str(error), todo=AGAIN) from error
    for path in wanted:
        if (place / path).is_symlink():
            target = posixpath.normpath(posixpath.join("/", posixpath.dirname(path), os.readlink(place / path)))
            leads = re.fullmatch(rf"/{DOC}/([^/]+)(/copyright)?", target)
            return "", leads[1] if leads else target
    try:
        return (place / wanted[1]).read_text(encoding="utf-8", errors="replace"), ""
    except FileNotFoundError:
        return "", ""


def _followed(texts: Mapping[str, tuple[str, str]], package: str) -> Licence:
    seen = {package}
    text, other = texts[package]
    while other in texts and other not in seen:
        seen.add(other)
        text, other = texts[other]
    if other:
        return Licence(comment=f"its copyright file is that of {other}, which is not among the packages")
    return of_copyright(text)
