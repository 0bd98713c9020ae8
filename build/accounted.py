"""Whose every file of an image is, and whether its bytes are what its owner's list says: all that nothing explains.

**What this shows.** Every layer is read once, from its first byte to its last, and compared with its digests. Each
path is a locked wheel's, by a RECORD in the image, with that sha256; or a locked Debian package's, by dpkg's lists,
with that MD5; or a patched file, with the sha256 that the lock gives; or ours; or one of a short table of files that
Debian's scripts write. There is no package that is not named, none is missing or of another version, and no whiteout,
device, file capability, set-id bit or second version of a path that is not accounted for.

**What it cannot show.** The lists are in the image and are no better than it: who changes a file and its row in RECORD
(or in ``md5sums``, and MD5 resists nobody) is seen only where ``Named.lists`` has the digest of that list, taken from
the locked wheel or .deb itself. dpkg lists neither modes nor where links lead: within the packages' own paths these are
not compared, but for the special bits. Of bytecode, the driver's stub, ``ld.so.cache`` and packages' scripts the place
is known and not the digest (``Share.compared`` counts what was compared). All that is shown by building the image
again: ``nox -s verify -- IMAGE --rebuild``; and by layers of the digests that a signed record has. The image's
configuration (its environment, what it runs) is no file of it, and is compared elsewhere.
"""

from __future__ import annotations

import os
import posixpath
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import IO, Any, cast

from build import debclaims, imageview, layertar, ocisource, ourclaims, pyclaims, records, sidebyside
from build.claims import KINDS, Accounted, Finding, Named, Share, Verdict
from build.imageview import FOLDER, Seen, View
from build.layertar import FILE, Index
from build.ociimage import Image, Layer

Progress = Callable[[int], None]  # told the compressed bytes that were read, from several threads


def account(image: Image, named: Named, *, progress: Progress = lambda _: None) -> Accounted:
    """Account for every path of an image. Each layer is opened once and read through, several at a time.

    Raises :class:`HashMismatchError` where a layer is not what its digests say, or is no tar.
    """
    indexes = read(image, progress=progress)
    patched = {f"{site}/{path}" for site in _sites(indexes) for path in named.patched}
    view, findings = imageview.stack(indexes, patched)
    debian = debclaims.Debian(view, named.debs, named.lists)
    python = pyclaims.Python(view, named)
    released = {name: item.released for name, item in python.distributions.items() if item.released is not None}
    ours = ourclaims.Ours(view, named, python.site, released, python.is_listed)
    verdicts = {
        path: (ours.of(seen) or python.of(seen)) if path.startswith("opt/") else debian.of(seen)
        for path, seen in view.paths.items()
    }
    findings += [*debian.findings, *python.findings, *ours.findings]
    findings += _faults(view, verdicts)
    return Accounted(
        shares=_shares(view, verdicts),
        folders=sum(seen.kind == FOLDER for seen in view.paths.values()),
        packages=len(debian.packages) + len(python.distributions),
        lists=debian.compared + python.compared,
        unexplained=tuple(sorted(set(findings))),
        missing=tuple(sorted({*debian.missing, *python.missing, *ours.missing})),
        excused=tuple(
            Finding(view.paths[path].layer, path, verdict.fault)
            for path, verdict in sorted(verdicts.items()) if verdict and verdict.excused
        ),
    )  # fmt: skip


def read(image: Image, *, progress: Progress = lambda _: None) -> list[Index]:
    """The layers' indexes, lowest first, with the contents that tell of owners. The largest are begun first."""
    stop = threading.Event()

    def one(layer: Layer) -> Index:
        what = f"layer {layer.number}{f' ({layer.name})' if layer.name else ''} of {image.name}"
        with ocisource.open_blob(image.source, layer.file, what) as raw:
            return layertar.read(
                cast("IO[bytes]", _Counted(raw, progress, stop)),
                digest=layer.digest,
                diff_id=layer.diff_id,
                what=what,
                keep=is_kept,
                md5=debclaims.wants_md5,
            )

    order = sorted(image.layers, key=lambda layer: -layer.size)
    workers = max(2, len(os.sched_getaffinity(0)))  # zstd and hashes leave Python's lock
    made = sidebyside.each(one, order, workers=workers, stop=stop)
    found = {layer.number: index for layer, index in zip(order, made, strict=True)}
    return [found[layer.number] for layer in image.layers]


def is_kept(path: str) -> bool:
    """Whether the contents of the file there are needed to tell whose others are."""
    if path.startswith("opt/"):
        return pyclaims.is_kept(path) or ourclaims.is_kept(path)
    return debclaims.is_kept(path)


class _Counted:
    """Bytes on their way, counted, until nobody wants them any more."""

    def __init__(self, raw: IO[bytes], progress: Progress, stop: threading.Event) -> None:
        self.raw = raw
        self.progress = progress
        self.stop = stop

    def read(self, count: int) -> bytes:
        sidebyside.heed(self.stop)
        data = self.raw.read(count)
        self.progress(len(data))
        return data


def _sites(indexes: Iterable[Index]) -> set[str]:
    return {found[1] for index in indexes for path in index.kept if (found := records.INFO.fullmatch(path))}


def _faults(view: View, verdicts: Mapping[str, Verdict | None]) -> list[Finding]:
    """What is wrong with single paths. A folder that nobody has is told only where nothing below it is."""
    found = [
        Finding(view.paths[path].layer, path, verdict.fault)
        for path, verdict in verdicts.items() if verdict and verdict.fault and not verdict.excused
    ]  # fmt: skip
    nobody = [path for path, verdict in verdicts.items() if verdict is None]
    filled: set[str] = set()
    for path, verdict in verdicts.items():
        if verdict is not None or view.paths[path].kind != FOLDER:
            while (path := posixpath.dirname(path)) and path not in filled:
                filled.add(path)
    for path in nobody:
        seen = view.paths[path]
        if seen.kind != FOLDER:
            where = f" to {seen.link}" if seen.link else ""
            found.append(Finding(seen.layer, path, f"a {seen.kind}{where} that nobody lists"))
        elif path not in filled:
            found.append(Finding(seen.layer, path, "an empty folder that nobody lists"))
    return found


def _shares(view: View, verdicts: Mapping[str, Verdict | None]) -> dict[str, Share]:
    """What is of which kind, of what is explained."""
    sums: dict[str, dict[str, Any]] = {kind: dict.fromkeys(Share.__dataclass_fields__, 0) for kind in KINDS}
    for path, verdict in verdicts.items():
        seen: Seen = view.paths[path]
        if verdict is None or (verdict.fault and not verdict.excused) or seen.kind == FOLDER:
            continue
        row = sums[verdict.kind]
        if seen.kind != FILE:
            row["links"] += 1
            continue
        row["files"] += 1
        row["bytes"] += seen.size
        row["compared"] += verdict.compared
        row["compared_bytes"] += seen.size if verdict.compared else 0
    return {kind: Share(**row) for kind, row in sums.items()}
