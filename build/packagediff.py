"""What differs between two images above their files: packages, patches, and what pulling one costs who has the other.

Packages are told by what installs them: a wheel by its RECORD, a Debian package by dpkg's status; patches by what our
images say of themselves. Only layers that differ are taken in: what a layer of both says, it says of both.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from build import owners, pullcost
from build.layertar import REMOVAL, Index
from build.ociimage import Image
from build.pullcost import Cost, Pulled

MANIFEST = f"{owners.OUR_FOLDER}/manifest.json"
STATUS = "var/lib/dpkg/status"
STATUS_PART = f"{STATUS}.d/"  # a file for each package, as images without dpkg have it
INSTALLED = re.compile(r"(?m)^Status: \S+ \S+ installed$")
REMOVED = re.compile(r"(?:.*/)?(?:site|dist)-packages/([^/-]+)-([^/]+)\.dist-info(?:/RECORD|/\*)?")


@dataclass(frozen=True, kw_only=True)
class Changed:
    """Something named whose version (of a package) or hash (of a patch) differs; empty where it is not there."""

    name: str
    a: str
    b: str


@dataclass(frozen=True, kw_only=True)
class Series:
    """What an image says of its patches: the series, its id, (component/file, sha256) in their order."""

    name: str
    id: str
    patches: tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class Summary:
    """All of it. ``series``: of A and B, None where an image says nothing; ``cost`` is None where no image is pulled.

    ``patches``: those that differ; ``reordered``: they do not, and come in another order. ``size``: compressed bytes
    of A. ``notes``: what cannot be told, in words.
    """

    wheels: tuple[Changed, ...] = ()
    debs: tuple[Changed, ...] = ()
    patches: tuple[Changed, ...] = ()
    series: tuple[Series | None, Series | None] = (None, None)
    reordered: bool = False
    size: int = 0
    cost: Cost | None = None
    notes: tuple[str, ...] = ()


@dataclass(kw_only=True)
class Contents:
    """What the layers of an image say that were taken in, from the lowest to the highest.

    ``removed``: distributions that an upper layer takes away from a layer that was not taken in. ``debs`` and
    ``series`` are None where no layer said anything.
    """

    wheels: dict[str, set[str]] = field(default_factory=dict)
    removed: dict[str, set[str]] = field(default_factory=dict)
    debs: dict[str, str] | None = None
    series: Series | None = None

    def take(self, index: Index) -> None:
        """Take in one layer: first what it removes, which is below it, then what it brings."""
        gone = {entry.path for entry in index.entries if entry.kind == REMOVAL}
        for path in gone:
            if found := REMOVED.fullmatch(path):
                self._remove(owners.normalised(found[1]), found[2])
        for path, data in index.kept.items():
            if path in gone:  # kept for its path: a removal has no content
                continue
            if found := owners.RECORD.fullmatch(path):
                self.wheels.setdefault(owners.normalised(found[2]), set()).add(found[3])
            elif path == STATUS:
                self.debs = dict(_debs(data))
            elif path.startswith(STATUS_PART):
                self.debs = (self.debs or {}) | dict(_debs(data, listed=False))
            elif path == MANIFEST:
                self.series = series(data)

    def _remove(self, name: str, version: str) -> None:
        here = self.wheels.get(name, set())
        if version in here:
            here.discard(version)
        else:
            self.removed.setdefault(name, set()).add(version)

    def versions(self, name: str, other: Contents) -> str:
        """The version of a wheel. What the other image takes away from a common layer is here still."""
        below = other.removed.get(name, set()) - self.removed.get(name, set())
        return ", ".join(sorted(self.wheels.get(name, set()) | below))


def is_told(path: str) -> bool:
    """Whether a file's content is needed here."""
    return path == MANIFEST or owners.is_list(path)


def lacks(a: Contents, b: Contents) -> bool:
    """Whether a list of one image stands alone, so that the other's must be in a layer of both."""
    return (a.debs is None) != (b.debs is None)


def compare(images: tuple[Image, Image], a: Contents, b: Contents) -> Summary:
    """The differences, given what the layers say that differ."""
    notes = []
    if lacks(a, b):
        who = "A" if a.debs is None else "B"
        notes.append(f"which Debian packages {who} has is told by a layer that was not read")
    one, two = a.series, b.series
    patches = _patches(one.patches if one else (), two.patches if two else ()) if one and two else ()
    if (one is None) != (two is None):
        notes.append(f"{'A' if one is None else 'B'} does not say which patches it has")
    pulled = [Pulled(manifest=image.manifest, layers=_layers(image), overhead=image.overhead) for image in images]
    return Summary(
        wheels=_changed({name: (a.versions(name, b), b.versions(name, a)) for name in _names(a, b)}),
        debs=() if a.debs is None or b.debs is None else _changed(
            {name: (a.debs.get(name, ""), b.debs.get(name, "")) for name in a.debs.keys() | b.debs.keys()}
        ),
        patches=patches,
        series=(one, two),
        reordered=bool(one and two and not patches and one.patches != two.patches),
        size=pullcost.cost(pulled[0], pulled[0]).total,
        cost=pullcost.cost(*pulled) if all(image.manifest for image in images) else None,
        notes=tuple(notes),
    )  # fmt: skip


def _layers(image: Image) -> tuple[tuple[str, str, int], ...]:
    return tuple((layer.name, layer.digest, layer.size) for layer in image.layers)


def _names(a: Contents, b: Contents) -> set[str]:
    return {name for side in (a, b) for names in (side.wheels, side.removed) for name in names}


def _changed(found: Mapping[str, tuple[str, str]]) -> tuple[Changed, ...]:
    return tuple(Changed(name=name, a=was, b=now) for name, (was, now) in sorted(found.items()) if was != now)


def _debs(data: bytes, *, listed: bool = True) -> Iterable[tuple[str, str]]:
    """Names and versions of what is installed (deb822; dpkg's status file). ``listed``: each says whether it is."""
    for block in data.decode("utf-8", "replace").split("\n\n"):
        told = dict(re.findall(r"(?m)^(Package|Version): (.*)$", block))
        if len(told) == 2 and (not listed or INSTALLED.search(block)):
            yield told["Package"], told["Version"]


def series(data: bytes) -> Series | None:
    """What ``/opt/spark/manifest.json`` says of an image's patches; None where it says nothing that we understand."""
    try:
        said: dict[str, Any] = json.loads(data)
        patches = [(f"{row['component']}/{row['file']}", str(row["sha256"])) for row in said["patches"]]
        return Series(name=str(said["series"]), id=str(said["series_id"]), patches=tuple(patches))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None


def _patches(a: Sequence[tuple[str, str]], b: Sequence[tuple[str, str]]) -> tuple[Changed, ...]:
    """Patches by name; one that only got another name is told by both.

    >>> [change.name for change in _patches([("v/0001-a", "1"), ("v/0002-b", "2")], [("v/0001-b", "2")])]
    ['v/0001-a', 'v/0002-b → v/0001-b']
    """
    was, now = dict(a), dict(b)
    found = {name: (was.get(name, ""), now.get(name, "")) for name in [*was, *now]}
    gone = {was[name]: name for name in was if name not in now}
    for name in [name for name in now if name not in was and now[name] in gone]:
        old = gone.pop(now[name])
        del found[name], found[old]
        found[f"{old} → {name}"] = (was[old], now[name])
    return tuple(Changed(name=name, a=old, b=new) for name, (old, new) in found.items() if old != new or " → " in name)
