"""What becomes of series on other trees: each patch fitted, and its behaviour asked before and after.

Composes. A patch whose behaviour holds on the tree as it is, is not applied: upstream has its change, in this form or
another. What fits is applied in order; what clashes is left out, and told.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from build import behaviours, store
from build.bases import Base, tables
from build.behaviours import Answer, Answers, Question, Staged, staged
from build.carry import Carried, Fit, carry, conflict
from build.homes import Owner
from build.intent import Intent
from build.models import Settings
from build.overlay import Overlay, content
from build.series import SeriesPatch
from build.udiff import Patch
from build.udiffparse import parse


@dataclass(frozen=True, kw_only=True)
class Carriage:
    """A series to carry, and where to."""

    owner: Owner
    base: Base

    @property
    def work(self) -> tuple[object, ...]:
        """What decides the outcome: the same patches, made for the same trees, on the same base."""
        return (self.owner.series.id, tuple(sorted(self.owner.trees.items())), self.base.label)


@dataclass(frozen=True, kw_only=True)
class Row:
    """What became of one patch. ``before``, ``after``: its behaviour on the tree as it is, and with what fits."""

    patch: SeriesPatch
    carried: Carried
    before: Answer
    after: Answer

    @property
    def green(self) -> bool:
        """Whether the tree does what the patch is for, with the patch or without needing it."""
        return self.carried.fit is not Fit.CONFLICT and self.after.holds

    @property
    def why(self) -> str:
        """What is wrong, in words; empty for a green one."""
        if self.green:
            return ""
        if self.carried.fit is Fit.CONFLICT:
            return self.carried.why
        found = "its change is there already" if self.carried.fit is Fit.UPSTREAM else "it fits"
        bad = self.after.failed
        return f"{found}, but {f'{bad[0].name}: {bad[0].evidence}' if bad else 'nothing of it could be asked'}"


@dataclass(frozen=True, kw_only=True)
class Result:
    """A whole series on a base."""

    carriage: Carriage
    rows: tuple[Row, ...]

    @property
    def green(self) -> bool:
        return all(row.green for row in self.rows)


@dataclass(frozen=True, kw_only=True)
class _Fitted:
    """A series' patches on a base, and each component's files as those that fit leave them."""

    carriage: Carriage
    carried: tuple[Carried, ...]
    files: Mapping[str, Overlay]

    @property
    def label(self) -> str:
        """What the trees are called where something cannot be asked of them."""
        return f"{self.carriage.base.label} with the series of {self.carriage.owner.name}"


def run(settings: Settings, intent: Intent, carriages: Sequence[Carriage]) -> tuple[Result, ...]:
    """Carry every series: the trees as they are asked first, then what fits applied, then the results asked."""
    before = _pristine(settings, intent, carriages)
    works = {item.work: item for item in carriages}  # two series of the same patches are carried once
    fitted = {work: _fit(item, before[item.base.label]) for work, item in works.items()}
    after = _patched(settings, intent, list(fitted.values()))
    return tuple(
        Result(
            carriage=item,
            rows=tuple(
                Row(
                    patch=patch,
                    carried=carried,
                    before=before[item.base.label][patch.behaviour],
                    after=after[fitted[item.work].label][patch.behaviour],
                )
                for patch, carried in zip(item.owner.series.patches, fitted[item.work].carried, strict=True)
            ),
        )
        for item in carriages
    )


# Fitting


def _fit(item: Carriage, before: Mapping[str, Answer]) -> _Fitted:
    """Each patch of a series on a base, in order, over what those before it made."""
    files = {name: Overlay(tree=tree) for name, tree in item.base.trees.items()}
    found = []
    for patch, parsed, home in _at_home(item.owner):
        component = patch.ref.component
        if before[patch.behaviour].holds:
            carried = Carried(name=patch.name, fit=Fit.UPSTREAM)
        elif component not in files:
            carried = conflict(patch.name, "", item.base.lacking[component])
        else:
            carried = carry(parsed, files[component], home)
            files[component] = files[component].after(carried.edits)
        found.append(carried)
    return _Fitted(carriage=item, carried=tuple(found), files=files)


def _at_home(owner: Owner) -> Iterator[tuple[SeriesPatch, Patch, Overlay | None]]:
    """Each patch with the files that it was made for, as its predecessors leave them.

    None from the first of a component's patches on that does not fit there: what those after it were made for is not
    known.
    """
    files: dict[str, Overlay | None] = {name: Overlay(tree=tree) for name, tree in owner.trees.items()}
    for patch in owner.series.patches:
        parsed = parse(patch.name, patch.data)
        home = files.get(patch.ref.component)
        after = _after(parsed, home) if home is not None else None
        yield patch, parsed, home if after is not None else None
        files[patch.ref.component] = after


def _after(patch: Patch, home: Overlay) -> Overlay | None:
    """What a patch makes of the files that it was made for; None where it does not fit them."""
    fitted = carry(patch, home, home)
    return None if fitted.fit is Fit.CONFLICT else home.after(fitted.edits)


# Asking


def _pristine(settings: Settings, intent: Intent, carriages: Sequence[Carriage]) -> Answers:
    """Label of a base → behaviour → its answer without any patch."""
    wanted: dict[str, dict[str, None]] = {}
    trees = {item.base.label: item.base.trees for item in carriages}
    for item in carriages:
        wanted.setdefault(item.base.label, {}).update(dict.fromkeys(item.owner.series.behaviours))
    return behaviours.ask(
        settings,
        [
            Question(
                id=label,
                components=tuple(Staged(tree=tree, paths=_paths(intent, name)) for name, tree in trees[label].items()),
                behaviours=tuple(names),
            )
            for label, names in wanted.items()
        ],
    )


def _patched(settings: Settings, intent: Intent, fitted: Sequence[_Fitted]) -> Answers:
    """Label of what was carried → behaviour → its answer with what fits."""
    with store.scratch(settings.store, "rebase") as folder:
        questions = []
        for number, item in enumerate(fitted):
            components = tuple(
                staged(
                    files.tree,
                    _paths(intent, name),
                    {path: content(file) for path, file in files.changed.items()},
                    folder / str(number) / name,
                )
                for name, files in item.files.items()
            )
            asked = item.carriage.owner.series.behaviours
            questions.append(Question(id=item.label, components=components, behaviours=asked))
        return behaviours.ask(settings, questions)


def _paths(intent: Intent, component: str) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(tables(intent)[component].paths.items()))
