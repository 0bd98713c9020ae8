"""What a pull or push costs him who has another image already: the layers of B that A does not have, in bytes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Part:
    """A layer of B as it is pulled: compressed bytes. ``new``: A has none of this digest."""

    number: int
    name: str
    digest: str
    size: int
    new: bool


@dataclass(frozen=True, kw_only=True)
class Cost:
    """``overhead``: bytes of B's manifest and config, 0 where they are not known; new wherever B is not A."""

    parts: tuple[Part, ...]
    overhead: int

    @property
    def new(self) -> int:
        return self.overhead + sum(part.size for part in self.parts if part.new)

    @property
    def total(self) -> int:
        return self.overhead + sum(part.size for part in self.parts)


def cost(here: Iterable[str], wanted: Sequence[tuple[str, str, int]], overhead: int = 0) -> Cost:
    """From digests that are here to (name, digest, bytes) of each layer that is wanted, lowest first.

    >>> cost(["sha256:a"], [("rootfs", "sha256:a", 7), ("ours", "sha256:b", 2)], 1).new
    3
    """
    known = set(here)
    parts = tuple(
        Part(number=number, name=name, digest=digest, size=size, new=digest not in known)
        for number, (name, digest, size) in enumerate(wanted, start=1)
    )
    return Cost(parts=parts, overhead=overhead)
