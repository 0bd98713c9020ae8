"""Do machines run the same image? Asked of each pair of engines, of what :mod:`build.nodes` saw in them.

The rule: equal configs are equal images, as a config names its layers by their content (OCI image-spec, config.md).
Where no config is known on one side, the same manifest says the same, and equal layers and settings say it but for
what a builder wrote of itself.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from build.nodes import Held, Node

SAME, ALIKE, DIFFERENT = "the same image", "the same layers and settings", "different images"
NOT_RUNNING, UNTOLD = "not running", "cannot be told"
FINE = (SAME, ALIKE)
ORDER = (SAME, ALIKE, UNTOLD, DIFFERENT)  # what is true of two machines is the worst of what is true of their images


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two engines by their URLs, whether they run the same, and why."""

    a: str
    b: str
    verdict: str
    why: str

    @property
    def fine(self) -> bool:
        return self.verdict in FINE


def same(nodes: Sequence[Node]) -> tuple[Pair, ...]:
    """A verdict for each pair of engines that answered: the first with each other, and so on."""
    return tuple(_pair(a, b) for a, b in itertools.combinations([node for node in nodes if not node.lack], 2))


def _pair(a: Node, b: Node) -> Pair:
    idle = [node for node in (a, b) if not node.running]
    if idle:
        who = "neither runs" if len(idle) == 2 else f"{_called(idle[0])} does not run"
        return Pair(a=a.url, b=b.url, verdict=NOT_RUNNING, why=f"{who} an image of ours")
    was, now = (tuple(dict.fromkeys(item.image for item in node.running)) for node in (a, b))
    found = [_best(image, now) for image in was] + [_best(image, was) for image in now]
    verdict, why = max(found, key=lambda told: ORDER.index(told[0]))
    return Pair(a=a.url, b=b.url, verdict=verdict, why=why)


def _called(node: Node) -> str:
    return f"{node.name} ({node.url})" if node.name else node.url


def _best(image: Held, others: Iterable[Held]) -> tuple[str, str]:
    """The most equal one among what the other machine runs."""
    return min((compare(image, other) for other in others), key=lambda told: ORDER.index(told[0]))


def compare(a: Held, b: Held) -> tuple[str, str]:
    """Whether two images are the same one, and what says so."""
    if a.config and a.config == b.config:
        return SAME, f"the same config, {a.config}"
    if both := [name for name in a.manifests if name in b.manifests]:
        return SAME, f"the same manifest, {both[0]}"
    told = " and ".join(dict.fromkeys(map(_named, (a, b))))
    if not a.layers or not b.layers:
        gone = " and ".join(image.id for image in (a, b) if not image.layers)
        return UNTOLD, f"{told}: {gone} is gone from its engine, and no record knows its config"
    if a.layers != b.layers:
        return DIFFERENT, f"{told}: other layers"
    one, two = dict(a.settings), dict(b.settings)
    if other := sorted(name for name in one.keys() | two.keys() if one.get(name) != two.get(name)):
        return DIFFERENT, f"{told}: the same layers, another config: {', '.join(other)}"
    if a.config and b.config:
        return ALIKE, f"{told}: configs {a.config} and {b.config} differ in what engines do not tell, as their history"
    return ALIKE, f"{told}: the config of one is not known"


def _named(image: Held) -> str:
    return f"{image.target} {image.chain_id[:12]}".strip()
