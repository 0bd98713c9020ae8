"""Do the patches of a target do what they are for? Each behaviour asked of the sources without and with the series.

Composes. On this machine's CPU, in seconds: smoke asks the same of the installed packages, inside the image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from build import behaviours, patchwork, store
from build.behaviours import Answer, Question, Staged, staged
from build.models import Settings
from build.patchwork import Work
from build.series import Series

WITHOUT, WITH = "without the series", "with it"


@dataclass(frozen=True, kw_only=True)
class Proof:
    """A behaviour, the patches whose headers name it, and its answers."""

    behaviour: str
    patches: tuple[str, ...]
    without: Answer
    with_series: Answer

    @property
    def faults(self) -> tuple[str, ...]:
        """What is wrong, in words: a case that fails, or a behaviour that no patch is needed for."""
        found = [f"{self.behaviour}: {case.name}: {case.evidence}" for case in self.with_series.failed]
        if not found and not self.with_series.holds:
            found.append(f"{self.behaviour}: nothing that a patch is for could be asked")
        if self.without.holds:
            found.append(f"{self.behaviour}: it holds without {', '.join(self.patches)} too: upstream may have it")
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

    Raises :class:`PatchError` where a file is not the locked one.
    """
    for work in works:
        patchwork.check_preimages(work)
    with store.scratch(settings.store, "prove") as folder:
        pristine = tuple(Staged(tree=work.tree, paths=work.component.paths) for work in works)
        patched = tuple(
            staged(work.tree, work.component.paths, patchwork.changed(work), folder / work.component.name)
            for work in works
        )
        answers = behaviours.ask(
            settings,
            [
                Question(id=WITHOUT, components=pristine, behaviours=series.behaviours),
                Question(id=WITH, components=patched, behaviours=series.behaviours),
            ],
        )
    return tuple(
        Proof(
            behaviour=name,
            patches=tuple(patch.name for patch in series.patches if patch.behaviour == name),
            without=answers[WITHOUT][name],
            with_series=answers[WITH][name],
        )
        for name in series.behaviours
    )
