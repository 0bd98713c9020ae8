"""Two images compared: which layers must be read, whose each path is, and the files that diffoscope is asked about.

One of the modules that compose others; the story is in ``build/commands/diff.py``.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from build import configdiff, diffoscope, host, imagediff, layertar, ocisource, owners, packagediff, store
from build.console import human_bytes, step, warn
from build.diffoscope import Told
from build.errors import BuildError
from build.imagediff import Change, ImageDiff, LayerDiff, Pair
from build.layertar import Entry, Index
from build.models import Settings
from build.ociimage import Image, Layer

LISTS_LIMIT = 200_000_000  # compressed bytes of an equal layer that is read for its lists of packages, where one lacks
Indexes = tuple[Index | None, Index | None]


@dataclass(frozen=True, kw_only=True)
class Explained:
    """What diffoscope said of one change of one layer."""

    layer: LayerDiff
    change: Change
    told: Told


def compare(a: Image, b: Image) -> ImageDiff:
    """All that differs. Layers of equal diff ids are not read, but small ones where a path's package is not known.

    So an image is believed when it states the diff id of another's layer; an engine compares when it unpacks it.
    """
    if a.manifest and a.manifest == b.manifest:
        return ImageDiff(a=a, b=b)
    pairs = imagediff.align(a.layers, b.layers)
    other = [pair for pair in pairs if imagediff.differs(pair)]
    known = (owners.Owners(), owners.Owners())
    read = {pair: _read(a, b, pair, known) for pair in other}

    def package(path: str) -> str:
        found = (of.of(path) for of in known)
        return next((name for name in found if name != owners.NOBODY), owners.NOBODY)

    def layers() -> tuple[LayerDiff, ...]:
        return tuple(
            imagediff.layer(pair, *read[pair], package) for pair in other
        )  # fmt: skip

    found = layers()
    nobody = any(change.package == owners.NOBODY for layer in found for change in layer.changes)
    if nobody or packagediff.lacks(*_contents(pairs, read)):
        for one, two in pairs:
            if one and two and one.diff_id == two.diff_id and one.size <= LISTS_LIMIT:
                with step(f"read {names((one, two))} for its lists of packages"), _open(a, one, "A") as raw:
                    index = _index(raw, one, "A")
                _take_in(known[0], index)
                read[one, two] = index, index
        found = layers()
    return ImageDiff(
        a=a,
        b=b,
        layers=found,
        recompressed=tuple(
            (one, two) for one, two in pairs if one and two and one.diff_id == two.diff_id and one.digest != two.digest
        ),
        config=configdiff.configs(a, b),
        form=configdiff.forms(a, b),
        versions=_versions(found, *known),
        told=packagediff.compare((a, b), *_contents(pairs, read)),
    )


def _contents(pairs: Sequence[Pair], read: Mapping[Pair, Indexes]) -> tuple[packagediff.Contents, packagediff.Contents]:
    """What the layers of both say that were read, from the lowest to the highest."""
    sides = (packagediff.Contents(), packagediff.Contents())
    for pair in pairs:
        for side, index in zip(sides, read.get(pair, (None, None)), strict=True):
            if index:
                side.take(index)
    return sides


def _read(a: Image, b: Image, pair: Pair, known: tuple[owners.Owners, owners.Owners]) -> Indexes:
    """Both layers at once: what takes the time, decompressing and digesting, leaves Python's lock."""
    size = sum(layer.size for layer in pair if layer)
    with (
        step(f"read {names(pair)} ({human_bytes(size)})"),
        ThreadPoolExecutor(2) as pool,
        contextlib.ExitStack() as opened,  # closed first: what still reads ends then, whatever ended us
    ):
        jobs = [
            pool.submit(_index, opened.enter_context(_open(image, layer, side)), layer, side) if layer else None
            for image, layer, side in zip((a, b), pair, "AB", strict=True)
        ]
        first, second = (job.result() if job else None for job in jobs)
    for of, index in zip(known, (first, second), strict=True):
        if index:
            _take_in(of, index)
    return first, second


def _open(image: Image, layer: Layer, side: str) -> IO[bytes]:
    return ocisource.open_blob(image.source, layer.file, _what(layer, side))


def _index(raw: IO[bytes], layer: Layer, side: str) -> Index:
    return layertar.read(
        raw, digest=layer.digest, diff_id=layer.diff_id, what=_what(layer, side), keep=packagediff.is_told
    )  # fmt: skip


def _what(layer: Layer, side: str) -> str:
    return f"layer {layer.number}{f' ({layer.name})' if layer.name else ''} of {side}"


def _take_in(known: owners.Owners, index: Index) -> None:
    known.add(index.kept, owners.sites(entry.path for entry in index.entries))


def _versions(
    layers: Sequence[LayerDiff], a: owners.Owners, b: owners.Owners
) -> dict[str, tuple[str, str]]:  # fmt: skip
    packages = {change.package for layer in layers for change in layer.changes}
    return {
        name: (a.versions.get(name, ""), b.versions.get(name, ""))
        for name in sorted(packages)
        if name in a.versions or name in b.versions
    }


def names(pair: Pair) -> str:
    """The two layers in words: their numbers, and names where they have some."""
    one, two = pair
    there = [layer for layer in pair if layer]
    numbers = " and ".join(dict.fromkeys(str(layer.number) for layer in there))
    told = " / ".join(dict.fromkeys(layer.name for layer in there if layer.name))
    side = "" if one and two else " of A alone" if one else " of B alone"
    return f"layer {numbers}{f' ({told})' if told else ''}{side}"


def explain(settings: Settings, found: ImageDiff, most: int) -> list[Explained]:
    """Ask diffoscope about at most ``most`` of the files whose content differs, some of each package.

    Where it cannot be had or run, a warning says why, and there is nothing.
    """
    asked, explained = _chosen(found, most)
    if not asked:
        return explained
    try:
        root = host.diffoscope(settings)
        size = sum(entry.size for _, change in asked for entry in (change.a, change.b) if entry)
        store.require_space(settings.store, size, "the files that differ")
        with store.scratch(settings.store, "diff") as folder, step(f"explain {len(asked)} files by diffoscope"):
            _extract(found, asked, folder)
            for number, (layer, change) in enumerate(asked):
                suffix = diffoscope.harmless_suffix(change.path)
                shown = (f"A: {change.path}", f"B: {change.path}")
                told = diffoscope.explain(
                    root, folder / str(number), (f"a{suffix}", f"b{suffix}"), shown, verbose=settings.verbose
                )
                explained.append(Explained(layer=layer, change=change, told=told))
    except BuildError as error:
        warn(f"without diffoscope's report: {error}")
    return explained


def _chosen(found: ImageDiff, most: int) -> tuple[list[tuple[LayerDiff, Change]], list[Explained]]:
    """What to ask about: of each package one, then of each a second. What is too big is said."""
    seen: Counter[str] = Counter()
    ranked = []
    left_out = []
    for layer in found.layers:
        for change in layer.changes:
            if not change.has_other_content or not change.a or not change.b:
                continue
            if (size := max(change.a.size, change.b.size)) > diffoscope.SIZE_LIMIT:
                note = f"{human_bytes(size)}: too big for diffoscope"
                left_out.append(Explained(layer=layer, change=change, told=Told(note=note)))
                continue
            ranked.append((seen[change.package], layer, change))
            seen[change.package] += 1
    ranked.sort(key=lambda item: item[0])
    return [(layer, change) for _, layer, change in ranked[:most]], left_out


def _extract(found: ImageDiff, asked: Sequence[tuple[LayerDiff, Change]], folder: Path) -> None:
    """Write both contents of each file under names of our own: nothing of an image says where."""
    for number in range(len(asked)):
        (folder / str(number)).mkdir()
    for layer in found.layers:
        wanted = [(number, change) for number, (of, change) in enumerate(asked) if of is layer]
        if not wanted:
            continue
        for image, side, there in ((found.a, "a", layer.a), (found.b, "b", layer.b)):
            assert there is not None
            with contextlib.ExitStack() as kept:
                targets: dict[int, IO[bytes]] = {}
                for number, change in wanted:
                    entry: Entry | None = getattr(change, side)
                    assert entry is not None
                    target = folder / str(number) / f"{side}{diffoscope.harmless_suffix(change.path)}"
                    targets[entry.number] = kept.enter_context(open(target, "xb"))
                raw = kept.enter_context(_open(image, there, side.upper()))
                layertar.contents(raw, _what(there, side.upper()), targets)
