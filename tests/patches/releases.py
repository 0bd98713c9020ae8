"""The locked releases that our series patch, from the user's own store (a test has a store of its own)."""

import functools
import json
import subprocess
import tarfile
from dataclasses import dataclass

import pytest

from build import series, sourcetree, torchenv, treetar, udiffparse
from build.lockfile import read_lock
from build.models import Settings
from build.settings import REPO, default_store
from build.store import blob

STORE = default_store()  # before a test's own store replaces it
TARGETS = ("v0.32", "v0.22", "tiny")


@dataclass(frozen=True)
class Patch:
    """A patch of a series, parsed; ``file`` is its base name."""

    component: str
    file: str
    behaviour: str
    change: udiffparse.Patch


def components(target):
    return {item.name: item for item in read_lock(REPO, target).components}


@functools.cache
def patches(target):
    return tuple(
        Patch(patch.ref.component, patch.ref.file, patch.behaviour, udiffparse.parse(patch.name, patch.data))
        for patch in series.read(REPO, target, tuple(components(target))).patches
    )


def archive(target, component):
    """The path of a component's source archive; the test is skipped where it was not fetched."""
    found = components(target)[component].archive
    path = blob(STORE, found.sha256)
    if not path.exists():
        pytest.skip(f"{found.file} is not in the store: nox -s fetch -- --target {target}")
    return path


def unpacked(target, component, folder):
    """The whole tree of a component's archive, below a folder; as the store has it, where it has."""
    kept = STORE / "trees" / sourcetree.tree_id(components(target)[component], git=False)
    if kept.is_dir():
        return kept
    place = folder / f"{target}-{component}"
    if not place.exists():
        with tarfile.open(archive(target, component)) as tar:
            treetar.unpack(tar, place)
    return next(place.iterdir())


def read(tree, path):
    return (tree / path).read_bytes() if (tree / path).is_file() else None


def patched(target, trees, without=()):
    """Component → path → what a series makes of it. ``without``: patches (base names) that are left out."""
    made = {component: {} for component in components(target)}
    for patch in patches(target):
        if patch.file not in without:
            tree, state = trees[patch.component], made[patch.component]
            state |= patch.change.apply(lambda path, tree=tree, state=state: state.get(path, read(tree, path)))
    return made


def python():
    """The interpreter that behaviours are asked with; the test is skipped where nobody made it."""
    settings = Settings(repo=REPO, store=STORE)
    if not torchenv.is_ready(settings):
        pytest.skip("no environment for behaviours: ./nox -s patch -- --check makes it")
    return torchenv.place(settings) / "bin" / "python"


@functools.cache
def declared_real(behaviours):
    """Behaviour → the modules that it declares real, asked of the checks themselves."""
    script = (
        "import json, sys; sys.path.insert(0, sys.argv[1]); from checks import cases; "
        "print(json.dumps({name: cases.declared(name).real for name in sys.argv[2:]}))"
    )
    done = subprocess.run(
        [python(), "-c", script, REPO / "dockerfiles" / "image", *behaviours],
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)
