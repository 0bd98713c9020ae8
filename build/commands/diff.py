"""Explain how two images differ: packages, patches, layers and sizes in short; then each layer, package and file, and
what of it (kind, mode, time, owner, link, content), with diffoscope's report for files of other content. Layers with
the same content are not read.

A and B each: a target (its image in the engine), a published digest (or its first 12 digits: `images` shows them), a
name or digest in the engine, an OCI layout (a folder, or a tar as `build -- --output type=oci,dest=image.tar` writes
it), a `docker save`, or a root file system's tar. Ends with 0 where they are the same image: the same diff ids, and the
same config but for its history and what BuildKit writes of itself.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

from build import compared, comparing, diffjson, diffreport, pullcost
from build.console import human_bytes, outline, table
from build.diffreport import Explanation, Report
from build.errors import DifferentError, UsageError
from build.imagediff import DIFFERENT, ImageDiff
from build.models import Settings
from build.ociimage import Image
from build.pullcost import Cost, Pulled

FILES = 5  # of a package, shown first
EXPLAINED = 10  # files
LINES = 15  # of each of diffoscope's reports, shown
WIDTH = 200  # characters of each of those


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("a", metavar="A", help="an image: a target, a digest, a name, a layout, a tar")
    parser.add_argument("b", metavar="B", help="the image that it is compared with")
    parser.add_argument("--all", action="store_true", help=f"show every file, not the first {FILES} of each package")
    parser.add_argument(
        "--max-diffoscope", type=int, default=EXPLAINED, metavar="N",
        help=f"ask diffoscope about at most so many files (default: {EXPLAINED}; 0 leaves it out)",
    )  # fmt: skip
    parser.add_argument("--output", type=Path, metavar="DIR", help="where the reports go (default: out/diff)")
    parser.add_argument(
        "--bytes", action="store_true",
        help="only what pulling B costs who has A, in bytes; of targets and digests what is recorded of them in lock/",
    )  # fmt: skip


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Compare two images. Raises :class:`DifferentError`, after the report, where they differ."""
    if args.max_diffoscope < 0:
        raise UsageError("--max-diffoscope counts files: 0 or more")
    if args.bytes:
        return tell_cost(settings, cost(settings, args.a, args.b), args.a, args.b)
    with ExitStack() as kept:
        a, b = (kept.enter_context(compared.opened(settings, word)) for word in (args.a, args.b))
        found = comparing.compare(a, b)
        explained = comparing.explain(settings, found, args.max_diffoscope)
    folder = (args.output or settings.repo / "out" / "diff").absolute() / f"{_stem(a)}-{_stem(b)}"
    return tell(settings, write(found, explained, folder), folder, all_files=args.all)


def write(found: ImageDiff, explained: Sequence[comparing.Explained], folder: Path) -> Report:
    """Write what differs to a folder: `report.txt` and `report.json` with all of it, and diffoscope's reports."""
    if found.verdict != DIFFERENT:
        return Report(diff=found)
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("diffoscope-*.txt"):
        old.unlink()
    told = {}
    for number, item in enumerate(explained, start=1):
        lines = [diffreport.printable(line.replace("\t", "    ")) for line in item.told.text.splitlines()]
        file = folder / f"diffoscope-{number:02}-{re.sub('[^A-Za-z0-9._-]', '_', item.change.path)[-60:]}.txt"
        if lines:
            file.write_text("\n".join(lines) + "\n", encoding="utf-8")
        told[found.layers.index(item.layer), item.change.path] = Explanation(
            lines=tuple(clipped(line) for line in lines[:LINES]), file=str(file) if lines else "", note=item.told.note
        )
    report = Report(diff=found, explanations=told)
    text = diffreport.plain(diffreport.outline(report, files=None))
    (folder / "report.txt").write_text(f"{diffreport.summary(found)}\n{text}", encoding="utf-8")
    (folder / "report.json").write_text(diffjson.to_json(report), encoding="utf-8")
    return report


def tell(settings: Settings, report: Report, folder: Path, *, all_files: bool) -> int:
    """Print the difference, and fail for it."""
    diff = report.diff
    summary = diffreport.summary(diff)
    if settings.json:
        print(diffjson.to_json(report), end="")
    else:
        for side, image in (("A", diff.a), ("B", diff.b)):
            print(f"{side}: {image.name}  {image.id}")
        print(diffreport.printable(summary))
        outline(diffreport.outline(report, files=None if all_files else FILES))
    if diff.verdict != DIFFERENT:
        return 0
    raise DifferentError(
        f"{diff.a.name} and {diff.b.name} differ",
        why=diffreport.printable(summary),
        todo=f"all of it is in {folder}",
    )


def cost(settings: Settings, a: str, b: str) -> Cost:
    """What pulling B costs who has A. Of targets and published digests, what is recorded is enough."""
    with ExitStack() as kept:
        here, wanted = (_recorded(settings, word) or _opened(settings, word, kept) for word in (a, b))
    return pullcost.cost(here, wanted)


def _recorded(settings: Settings, word: str) -> Pulled | None:
    found = compared.recorded(settings, word)
    if found is None:
        return None
    names = compared.layer_names(settings, found.target)
    told = names if len(names) == len(found.layers) else ("",) * len(found.layers)
    rows = [(layer.digest, layer.size) for layer in found.layers]
    layers = tuple((name, *row) for name, row in zip(told, rows, strict=True))
    return Pulled(manifest=found.manifest, layers=layers)


def _opened(settings: Settings, word: str, kept: ExitStack) -> Pulled:
    image = kept.enter_context(compared.opened(settings, word))
    layers = tuple((layer.name, layer.digest, layer.size) for layer in image.layers)
    return Pulled(manifest=image.manifest, layers=layers, overhead=image.overhead)


def tell_cost(settings: Settings, found: Cost, a: str, b: str) -> int:
    """Print the bytes of each layer; 0 whatever they are."""
    if settings.json:
        print(json.dumps({"a": a, "b": b, "new": found.new, "total": found.total, **asdict(found)}, indent=1))
        return 0
    rows = [
        (str(part.number), part.name, f"{part.size:,}", f"{part.size:,}" if part.new else "", part.digest[7:19])
        for part in found.parts
    ]
    table(f"{b}, for who has {a}", ("layer", "name", "bytes", "new bytes", "digest"), rows)
    extra = f" (with {found.overhead} of manifest and config)" if found.overhead else ""
    print(f"{human_bytes(found.new)} new of {human_bytes(found.total)}{extra}: {found.new:,} of {found.total:,} bytes")
    return 0


def clipped(line: str) -> str:
    return line if len(line) <= WIDTH else f"{line[:WIDTH]}…"


def _stem(image: Image) -> str:
    return image.id.removeprefix("sha256:")[:12]
