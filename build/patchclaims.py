"""What a series changes in an image: patched files, and the dist-info that tells of them, against what the wheels had.

The two RECORDs of a patched distribution, its own and its wheel's in ``opt/spark/released``, may differ in what is
patched or compiled and in METADATA (``dockerfiles/lane/patched.py``).
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection, Iterator

from build.claims import Named
from build.imageview import View
from build.layertar import FILE
from build.records import COMPILED_LIST, RELEASED, Distribution, Rows, is_of_info

CHANGES = re.compile(r"Version: |Requires-Dist: ")  # lines of METADATA
Fault = tuple[str, str]  # path, reason


class Patches:
    """The patches of one image. ``compiled``: the paths below site-packages that the image says were compiled."""

    def __init__(self, view: View, named: Named, site: str, compiled: Collection[str]) -> None:
        self.view = view
        self.named = named
        self.site = site
        self.compiled = frozenset(compiled)

    def of_file(self, path: str, owner: str) -> Iterator[str]:
        """What is wrong with a patched file that is there; ``owner``: the distribution that lists it."""
        patch, place = self.named.patched[path], f"{self.site}/{path}"
        seen, below = self.view.paths[place], self.view.under.get(place)
        if seen.sha256 != patch.after:
            yield "its bytes are not those that the patches of the lock make"
        if owner != patch.distribution:
            yield f"it is a patched file of {patch.distribution}, and {owner} lists it"
        if below is None and patch.before:
            yield "it is patched, and the released file is in no layer below"
        if below is not None and (below.kind != FILE or below.sha256 != patch.before):
            yield f"layer {below.layer} has another file there than the one that is patched"

    def of_distribution(self, item: Distribution) -> Iterator[Fault]:
        """What is wrong with the lists of a distribution: of one that is patched, and of one that is not."""
        changed = {path: patch for path, patch in self.named.patched.items() if patch.distribution == item.name}
        record = f"{self.site}/{item.info}/RECORD"
        if item.name != self.named.native and (strays := self.compiled & item.rows.keys()):
            yield record, f"{min(strays)} was compiled, and is not of a distribution that is"
        if item.released is None:
            if changed or item.name == self.named.native:
                yield record, f"it is patched, and there is no {RELEASED}/{item.name}/RECORD"
            return
        moved = _moved(item)
        if moved is None:
            yield record, f"{item.version} is no patched version of what {RELEASED}/{item.name} is of"
            return
        free = {f"{item.info}/METADATA", *self.compiled, *changed}
        for path in sorted(moved.keys() | item.rows.keys()):
            if path not in free and moved.get(path) != item.rows.get(path):
                yield record, f"it tells of {path} otherwise than the wheel's RECORD, and no patch changes it"
        if both := self.compiled & moved.keys():
            yield COMPILED_LIST, f"{min(both)} is in the wheel already"
        for path, patch in changed.items():
            if moved.get(path, "") != patch.before:
                yield f"{RELEASED}/{item.name}/RECORD", f"it has another {path} than the one that is patched"
        texts = (f"{RELEASED}/{item.name}/METADATA", f"{self.site}/{item.info}/METADATA")
        was, now = ([line for line in self.view.text(path).split("\n") if not CHANGES.match(line)] for path in texts)
        if was != now:
            yield texts[1], "it differs from the wheel's in more than version and requirements"


def _moved(item: Distribution) -> Rows | None:
    """The rows of the wheel's RECORD with the dist-info of the patched version; None where it is of something else."""
    assert item.released is not None
    folders = {posixpath.dirname(path) for path in item.released if is_of_info(path, ("RECORD",))}
    was = folders.pop() if len(folders) == 1 else ""
    version = was.removesuffix(".dist-info").rpartition("-")[2]
    if not version or not item.version.startswith((f"{version}+", f"{version}.")):
        return None
    return {
        f"{item.info}/{path.removeprefix(f'{was}/')}" if path.startswith(f"{was}/") else path: value
        for path, value in item.released.items()
    }
