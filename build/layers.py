"""Which wheels go into which layer, in which order, and what each layer leaves to another.

The rule that this keeps: no path is in two layers but the declared patched ones. Where two wheels write the same
path, the winner is installed last, the loser's RECORD stops claiming the path, and both must be of one layer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from build.errors import OverlapError
from build.models import Wheel
from build.wheels import Overlap


@dataclass(frozen=True, kw_only=True)
class LayerPlan:
    """What one wheel stage does.

    ``steps``: wheels installed together, then those that overwrite them. ``disown``: distribution → paths its RECORD
    no longer claims. ``left_out``: distribution → its files that do not enter the image. ``bytecode``:
    sources to compile. ``defer``: distributions whose dist-info ships with the patched files.
    """

    name: str
    steps: tuple[tuple[Wheel, ...], ...]
    disown: tuple[tuple[str, tuple[str, ...]], ...]
    left_out: tuple[tuple[str, tuple[str, ...]], ...]
    bytecode: tuple[str, ...]
    defer: tuple[str, ...]

    @property
    def wheels(self) -> tuple[Wheel, ...]:
        return tuple(wheel for step in self.steps for wheel in step)

    def as_dict(self) -> dict[str, Any]:
        """The plan as the stage's script reads it (``plan.json``)."""
        return {
            "name": self.name,
            "steps": [
                [{"name": wheel.name, "version": wheel.version, "sha256": wheel.sha256} for wheel in step]
                for step in self.steps
            ],
            "disown": {name: list(paths) for name, paths in self.disown},
            "left_out": {name: list(paths) for name, paths in self.left_out},
            "bytecode": list(self.bytecode),
            "defer": list(self.defer),
        }


def plan_layers(
    wheels: Sequence[Wheel],
    order: Sequence[str],
    layer_of: Callable[[str], str],
    *,
    overlaps: Iterable[Overlap],
    winners: Mapping[str, str],
    left_out: Mapping[str, tuple[str, ...]],
    bytecode: Mapping[str, tuple[str, ...]],
    patched: Iterable[str],
) -> tuple[LayerPlan, ...]:
    """The layers in their order, empty ones left out.

    ``layer_of``: distribution → layer name. ``winners``: path → distribution, for every overlap. ``left_out``,
    ``bytecode``: distribution → paths. ``patched``: the distributions that the series patches. Raises
    :class:`OverlapError` where a path would be in two layers.
    """
    home = {wheel.name: layer_of(wheel.name) for wheel in wheels}
    disown: dict[str, set[str]] = {}
    late: set[str] = set()
    for overlap in overlaps:
        winner = winners[overlap.path]
        for loser in overlap.writers:
            if loser == winner:
                continue
            disown.setdefault(loser, set()).add(overlap.path)
            if home[loser] != home[winner]:
                raise _apart(overlap.path, (winner, home[winner]), (loser, home[loser]))
            if not overlap.same:
                late.add(winner)
    deferred = set(patched)
    plans = []
    for name in order:
        members = sorted((wheel for wheel in wheels if home[wheel.name] == name), key=lambda wheel: wheel.name)
        early = tuple(wheel for wheel in members if wheel.name not in late)
        last = tuple(wheel for wheel in members if wheel.name in late)
        if members:
            plans.append(
                LayerPlan(
                    name=name,
                    steps=tuple(step for step in (early, last) if step),
                    disown=tuple((w.name, tuple(sorted(disown[w.name]))) for w in members if w.name in disown),
                    left_out=tuple((w.name, left_out[w.name]) for w in members if w.name in left_out),
                    bytecode=tuple(sorted({path for w in members for path in bytecode.get(w.name, ())})),
                    defer=tuple(wheel.name for wheel in members if wheel.name in deferred),
                )
            )
    return tuple(plans)


def _apart(path: str, winner: tuple[str, str], loser: tuple[str, str]) -> OverlapError:
    return OverlapError(
        f"{path} would be in two layers",
        why=f"{winner[0]} (layer {winner[1]}) and {loser[0]} (layer {loser[1]}) both write it",
        todo="put both distributions into one [[layers]] table of lock/targets.toml",
    )
