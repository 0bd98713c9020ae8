"""What a pull or push costs him who has another image already: the layers of B that A does not have, in bytes."""

from __future__ import annotations

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
    """``overhead``: bytes of B's manifest and config, 0 where they are not known; new unless B is A (``same``)."""

    parts: tuple[Part, ...]
    overhead: int
    same: bool

    @property
    def new(self) -> int:
        return (0 if self.same else self.overhead) + sum(part.size for part in self.parts if part.new)

    @property
    def total(self) -> int:
        return self.overhead + sum(part.size for part in self.parts)


@dataclass(frozen=True, kw_only=True)
class Pulled:
    """An image as a registry has it: its manifest's digest (empty where unknown), (name, digest, bytes) of layers."""

    manifest: str
    layers: tuple[tuple[str, str, int], ...]
    overhead: int = 0


def cost(here: Pulled, wanted: Pulled) -> Cost:
    """What pulling ``wanted`` costs who has ``here``.

    >>> here = Pulled(manifest="sha256:1", layers=(("rootfs", "sha256:a", 7),))
    >>> wanted = Pulled(manifest="sha256:2", layers=(("rootfs", "sha256:a", 7), ("ours", "sha256:b", 2)), overhead=1)
    >>> cost(here, wanted).new, cost(here, wanted).total
    (3, 10)
    """
    known = {digest for _, digest, _ in here.layers}
    parts = tuple(
        Part(number=number, name=name, digest=digest, size=size, new=digest not in known)
        for number, (name, digest, size) in enumerate(wanted.layers, start=1)
    )
    same = bool(wanted.manifest) and here.manifest == wanted.manifest
    return Cost(parts=parts, overhead=wanted.overhead, same=same)
