"""Do the patches of a target do what they are for? Each behaviour asked of the sources without and with the series.

Composes. On this machine's CPU, in seconds: smoke asks the same of the installed packages, inside the image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from build import behaviours, patchwork, store
from build.behaviours import Answer, Question, Staged, staged
from build.models import Settings
from build.patchwork import Work
from build.series import Series

WITHOUT, WITH = "the sources without the series", "the sources with the series"


@dataclass(frozen=True, kw_only=True)
class Proof:
    """A behaviour, the patches whose headers name it, and its answers.

    ``idle``: those of the patches without which it holds already, with the patches that come before them.
    """

    behaviour: str
    patches: tuple[str, ...]
    without: Answer
    with_series: Answer
    idle: tuple[str, ...]

    @property
    def faults(self) -> tuple[str, ...]:
        """What is wrong, in words: a case that fails, or a behaviour that no patch is needed for."""
        found = [f"{self.behaviour}: {case.name}: {case.evidence}" for case in self.with_series.failed]
        if not found and not self.with_series.holds:
            found.append(f"{self.behaviour}: nothing that a patch is for could be asked")
        if self.without.holds:
            found.append(f"{self.behaviour}: it holds without {', '.join(self.patches)} too: upstream may have it")
        elif not found:
            found += [f"{self.behaviour}: it holds without {name}, with the patches before it" for name in self.idle]
        return tuple(found)

    @property
    def verdict(self) -> str:
        """In a word or two."""
        return "wrong" if self.faults else "proven"

    def as_dict(self) -> dict[str, Any]:
        """Plain data, with every case."""
        return {
            "behaviour": self.behaviour,
            "patches": list(self.patches),
            "verdict": self.verdict,
            "faults": list(self.faults),
            "without": [asdict(case) for case in self.without.cases],
            "with": [asdict(case) for case in self.with_series.cases],
        }


def prove(settings: Settings, series: Series, works: Sequence[Work]) -> tuple[Proof, ...]:
    """Ask every behaviour that the series names, of the trees as they are and as it makes them.

    And each patch's behaviour of what the patches before it make: it must not hold yet. Raises :class:`PatchError`
    where a file is not the locked one.
    """
    for work in works:
        patchwork.check_preimages(work)
    ends = {
        WITHOUT: 0,
        **{_before(patch.name): at for at, patch in enumerate(series.patches)},
        WITH: len(series.patches),
    }
    asked = {_before(patch.name): (patch.behaviour,) for patch in series.patches}
    with store.scratch(settings.store, "prove") as folder:
        questions = [
            Question(
                id=name,
                components=tuple(_staged(work, series, end, folder / str(number)) for work in works),
                behaviours=asked.get(name, series.behaviours),
            )
            for number, (name, end) in enumerate(ends.items())
        ]
        answers = behaviours.ask(settings, questions)
    return tuple(
        Proof(
            behaviour=name,
            patches=tuple(patch.name for patch in series.patches if patch.behaviour == name),
            without=answers[WITHOUT][name],
            with_series=answers[WITH][name],
            idle=tuple(
                patch.name
                for patch in series.patches
                if patch.behaviour == name and answers[_before(patch.name)][name].holds
            ),
        )
        for name in series.behaviours
    )


def _before(patch: str) -> str:
    return f"the sources with the patches before {patch}"


def _staged(work: Work, series: Series, end: int, folder: Path) -> Staged:
    """A component's tree as the first so many patches of the series make it."""
    names = {patch.name for patch in series.patches[:end]}
    some = replace(work, changes=tuple(change for change in work.changes if change.name in names))
    return staged(work.tree, work.component.paths, patchwork.changed(some), folder / work.component.name)
