"""The locked releases that our series patch, read from the user's own store (a test has a store of its own)."""

import functools
import tarfile
import zipfile

import pytest

from build import series, udiffparse
from build.lockfile import read_lock
from build.settings import REPO, default_store
from build.store import blob

STORE = default_store()  # before a test's own store replaces it


def component(target):
    """The one component of a target's lock, and its wheel."""
    lock = read_lock(REPO, target)
    (found,) = lock.components
    return found, next(wheel for wheel in lock.wheels if wheel.name == found.distribution)


def patches(target):
    found, _ = component(target)
    listed = series.read(REPO, target, (found.name,))
    return tuple(udiffparse.parse(patch.name, patch.data) for patch in listed.patches)


@functools.cache
def sources(target):
    """Repository path → bytes, for each file that the target's series touches and that the release has."""
    found, _ = component(target)
    archive = blob(STORE, found.archive.sha256)
    if not archive.exists():
        pytest.skip(f"{found.archive.file} is not in the store: nox -s fetch -- --target {target}")
    wanted = {change.path for patch in patches(target) for change in patch.files}
    files = {}
    with tarfile.open(archive) as tar:
        for member in tar:
            path = member.name.partition("/")[2]
            if path in wanted:
                files[path] = tar.extractfile(member).read()
    return files


def from_wheel(target, prefix):
    """Installed path → bytes, for the files of the target's wheel that begin so."""
    _, wheel = component(target)
    path = blob(STORE, wheel.sha256)
    if not path.exists():
        pytest.skip(f"{wheel.file} is not in the store: nox -s fetch -- --target {target}")
    with zipfile.ZipFile(path) as whole:
        return {name: whole.read(name) for name in whole.namelist() if name.startswith(prefix)}


def patched(target):
    """The files of :func:`sources` with the whole series applied."""
    files = dict(sources(target))
    for patch in patches(target):
        files |= patch.apply(files.get)
    return files
