"""How two images differ, as values: layers side by side, entry by entry, fact by fact. Pure: reads no image.

The rule that this keeps: layers whose diff ids differ are never said to be equal. Where their entries say the same,
their order differs, or how they are written down, and that is said.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from build.layertar import FILE, Entry, Index
from build.ociimage import Image, Layer
from build.packagediff import Summary

SAME, EQUIVALENT, DIFFERENT = "the same, to the byte", "the same, written otherwise", "different"
ONLY_A, ONLY_B = "only in A", "only in B"
EMPTY = Index(kept={})


@dataclass(frozen=True, kw_only=True)
class Fact:
    """One thing that differs: its name, and what it is in A and in B (empty where it is not there)."""

    name: str
    a: str
    b: str


@dataclass(frozen=True, kw_only=True)
class Change:
    """A path that differs, whose package's it is, and in what; the entries tell all else. One is None."""

    path: str
    package: str
    facts: tuple[Fact, ...]
    a: Entry | None
    b: Entry | None

    @property
    def has_other_content(self) -> bool:
        return any(fact.name == "content" for fact in self.facts)


@dataclass(frozen=True, kw_only=True)
class LayerDiff:
    """Two layers that face each other, or one that faces none. ``form``: what differs apart from facts, in words."""

    a: Layer | None
    b: Layer | None
    changes: tuple[Change, ...] = ()
    form: str = ""


@dataclass(frozen=True, kw_only=True)
class ImageDiff:
    """All that differs. ``recompressed``: layers of one content and other compressed bytes.

    ``form``: what differs in how the same is written down; no part of an image's identity. ``versions``: package →
    its versions in A and B, where the images tell. ``told``: what differs above files; None where images are the same.
    """

    a: Image
    b: Image
    layers: tuple[LayerDiff, ...] = ()
    recompressed: tuple[tuple[Layer, Layer], ...] = ()
    config: tuple[Fact, ...] = ()
    form: tuple[str, ...] = ()
    versions: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    told: Summary | None = None

    @property
    def verdict(self) -> str:
        if self.layers or self.config:
            return DIFFERENT
        return EQUIVALENT if self.form or self.recompressed else SAME


Pair = tuple[Layer | None, Layer | None]


def align(a: Sequence[Layer], b: Sequence[Layer]) -> list[Pair]:
    """Which layers face each other, in their order: as many of one diff id as can be, then of one name, then any.

    >>> layer = lambda n, name, diff_id: Layer(number=n, name=name, diff_id=diff_id, digest="", size=0)
    >>> was = [layer(1, "rootfs", "r"), layer(2, "other", "o"), layer(3, "ours", "x")]
    >>> now = [layer(1, "rootfs", "r"), layer(2, "new", "n"), layer(3, "other", "p"), layer(4, "ours", "x")]
    >>> [(one and one.number, two and two.number) for one, two in align(was, now)]
    [(1, 1), (None, 2), (2, 3), (3, 4)]
    """
    best = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]  # of what is left of both
    for i in reversed(range(len(a))):
        for j in reversed(range(len(b))):
            best[i][j] = max(best[i + 1][j + 1] + _likeness(a[i], b[j]), best[i + 1][j], best[i][j + 1])
    pairs: list[Pair] = []
    i = j = 0
    while i < len(a) and j < len(b):
        if best[i][j] == best[i + 1][j + 1] + _likeness(a[i], b[j]):
            pairs.append((a[i], b[j]))
            i, j = i + 1, j + 1
        elif best[i][j] == best[i + 1][j]:
            pairs.append((a[i], None))
            i += 1
        else:
            pairs.append((None, b[j]))
            j += 1
    return [*pairs, *((one, None) for one in a[i:]), *((None, two) for two in b[j:])]


def _likeness(a: Layer, b: Layer) -> int:
    """Weights so far apart that no number of layers makes up for a better kind of likeness."""
    if a.diff_id == b.diff_id:
        return 1_000_000_000
    return 10_000 if a.name and a.name == b.name else 1


def differs(pair: Pair) -> bool:
    """Whether two layers that face each other have another content."""
    a, b = pair
    return a is None or b is None or a.diff_id != b.diff_id


def layer(pair: Pair, a: Index | None, b: Index | None, package: Callable[[str], str]) -> LayerDiff:
    """What differs between two layers, by their indexes (None where there is no such layer)."""
    was, now = _by_path(a or EMPTY), _by_path(b or EMPTY)
    changes = []
    for path in sorted(was.keys() | now.keys()):
        if facts := _facts(was.get(path), now.get(path)):
            one, two = was.get(path), now.get(path)
            changes.append(Change(path=path, package=package(path), facts=facts, a=one, b=two))
    form = _form(a, b, changed=bool(changes)) if a and b else ""
    return LayerDiff(a=pair[0], b=pair[1], changes=tuple(changes), form=form)


def _by_path(index: Index) -> dict[str, Entry]:
    """The entries by path; where a tar names one twice, the last one is what is installed."""
    return {entry.path: entry for entry in index.entries}


def _facts(a: Entry | None, b: Entry | None) -> tuple[Fact, ...]:
    if a is None or b is None:
        there = a or b
        assert there is not None
        return (Fact(name=ONLY_B if a is None else ONLY_A, a=a.kind if a else "", b=b.kind if b else ""),)
    found = [("kind", a.kind, b.kind), ("mode", f"{a.mode:04o}", f"{b.mode:04o}"), ("owner", a.owner, b.owner)]
    if a.mtime != b.mtime:
        found.append(("mtime", shown_time(a.mtime), shown_time(b.mtime)))
    found += [("link", a.link, b.link)]
    if a.kind == b.kind == FILE and a.sha256 != b.sha256:
        found.append(("content", f"{a.size} bytes, sha256 {a.sha256[:12]}", f"{b.size} bytes, sha256 {b.sha256[:12]}"))
    one, two = dict(a.extra), dict(b.extra)
    found += [(name, one.get(name, ""), two.get(name, "")) for name in sorted(one.keys() | two.keys())]
    return tuple(Fact(name=name, a=was, b=now) for name, was, now in found if was != now)


def _form(a: Index, b: Index, *, changed: bool) -> str:
    """What differs in how entries are written down. Empty only where facts differ anyway."""
    was, now = ([entry.path for entry in index.entries] for index in (a, b))
    common = set(was) & set(now)
    order = [[path for path in paths if path in common] for paths in (was, now)]
    if order[0] != order[1]:
        place = next((i for i, (one, two) in enumerate(zip(*order, strict=False)) if one != two), None)
        if place is None:
            return "an entry is there more often in one than in the other"
        return f"the entries come in another order: first {order[0][place]} in A where B has {order[1][place]}"
    if changed:
        return ""
    heads = [(one.path, one.head != two.head) for one, two in zip(a.entries, b.entries, strict=True)]
    other = [path for path, is_other in heads if is_other]
    if other:
        return (
            f"{len(other)} of {len(heads)} entries say the same in other bytes (the tar's dialect, padding, an entry "
            f"that a later one replaces): first {other[0]}"
        )
    if a.tail != b.tail:
        return "the entries are equal, and what follows the last one (the tar's end, padding) is not"
    return "an entry that a later one of its path replaces has another content"


def shown_time(seconds: str) -> str:
    """A time as people read it, with what is below a second as it was written.

    >>> shown_time("315532800"), shown_time("1.5"), shown_time("-9e99")
    ('1980-01-01T00:00:00Z', '1970-01-01T00:00:01.5Z', '-9e99')
    """
    whole, dot, part = seconds.partition(".")
    try:
        return f"{datetime.fromtimestamp(int(whole), UTC):%Y-%m-%dT%H:%M:%S}{dot}{part}Z"
    except (ValueError, OverflowError, OSError):
        return seconds
