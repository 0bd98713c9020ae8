"""What `bench` says of a build: seconds and bytes over several runs, and how two ways of doing the same compare."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from build.console import human_bytes


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One thing that was done, ``len(times)`` times.

    ``times``: wall seconds of each run. ``engine_cpu``: seconds of CPU that the engine and its steps took in the
    first one; it says more than the wall where others share the machine. ``new_bytes``: the median of the compressed
    bytes of layers that the image before did not have; ``record_bytes``: of these, RECORD files. ``peak_bytes``: the
    most memory that our own process held. Zero is said where nothing is to be told.
    """

    name: str
    times: tuple[float, ...]
    engine_cpu: float = 0.0
    new_bytes: int = 0
    record_bytes: int = 0
    peak_bytes: int = 0

    @property
    def seconds(self) -> float:
        """The median."""
        return statistics.median(self.times)

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "seconds": self.seconds, "runs": len(self.times)}


COLUMNS = ("what", "median", "runs", "new layers", "of it RECORD", "engine's CPU", "our memory")


def row(measure: Measure) -> list[str]:
    """A line of the table with :data:`COLUMNS`.

    >>> row(Measure(name="one line", times=(2.0, 1.0, 1.5), new_bytes=283_592, record_bytes=270_100))
    ['one line', '1.50 s', '3', '283.6 kB', '270.1 kB', '', '']
    """
    sizes = [human_bytes(size) if size else "" for size in (measure.new_bytes, measure.record_bytes)]
    cpu = f"{measure.engine_cpu:.1f} s" if measure.engine_cpu else ""
    memory = human_bytes(measure.peak_bytes) if measure.peak_bytes else ""
    return [measure.name, f"{measure.seconds:.2f} s", str(len(measure.times)), *sizes, cpu, memory]


@dataclass(frozen=True, kw_only=True)
class Pair:
    """The same done in two ways, in one run on one machine."""

    name: str
    ours: Measure
    usual: Measure

    @property
    def ratio(self) -> float:
        """How many times our time the usual way takes."""
        return self.usual.seconds / self.ours.seconds

    @property
    def bytes_ratio(self) -> float | None:
        """How many times our new bytes the usual way makes; None where either makes none."""
        if not self.ours.new_bytes or not self.usual.new_bytes:
            return None
        return self.usual.new_bytes / self.ours.new_bytes


PAIR_COLUMNS = ("what", "ours", "the usual way", "ratio", "new layers: ours", "the usual way", "ratio")


def pair_row(pair: Pair) -> list[str]:
    """A line of the table with :data:`PAIR_COLUMNS`; ratios are the usual way's figure over ours.

    >>> ours, usual = Measure(name="", times=(2.0,), new_bytes=10), Measure(name="", times=(5.0,), new_bytes=15)
    >>> pair_row(Pair(name="one line", ours=ours, usual=usual))
    ['one line', '2.00 s', '5.00 s', '2.5', '10 B', '15 B', '1.5']
    """
    both = (pair.ours, pair.usual)
    return [
        pair.name,
        *(f"{item.seconds:.2f} s" for item in both),
        _times(pair.ratio),
        *(human_bytes(item.new_bytes) if item.new_bytes else "" for item in both),
        _times(pair.bytes_ratio),
    ]


def ratios(pairs: Sequence[Pair]) -> Mapping[str, Mapping[str, float | None]]:
    """Name → the ratios of its time and of its new bytes, for programs."""
    return {pair.name: {"seconds": pair.ratio, "new_bytes": pair.bytes_ratio} for pair in pairs}


def _times(ratio: float | None) -> str:
    """A ratio with as many digits as it is worth.

    >>> _times(None), _times(0.456), _times(2.51), _times(12657.3)
    ('', '0.46', '2.5', '12657')
    """
    if ratio is None:
        return ""
    return f"{ratio:.{2 if ratio < 1 else 1 if ratio < 100 else 0}f}"
