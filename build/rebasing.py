"""What becomes of series on other trees: each patch fitted, and its behaviour asked before and after.

Composes. A patch whose behaviour holds on the tree as it is, is not applied: upstream has its change, in this form or
another. What fits is applied in order; what clashes is left out, and told.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from build import behaviours, store
from build.bases import Base, tables
from build.behaviours import Answer, Question, Staged, staged
from build.carry import Carried, Fit, HunkFit, carry, unknown
from build.errors import PatchError
from build.intent import Intent
from build.models import Settings
from build.relocate import relocate
from build.series import Series, SeriesPatch
from build.udiff import Patch
from build.udiffparse import parse

Content = Mapping[str, Mapping[str, "bytes | None"]]
"""Component → repository path → what a series makes of it."""


@dataclass(frozen=True, kw_only=True)
class Home:
    """What a series was made for. ``files``: component → path → sha256 before it; ``trees``: component → folder.

    Either is empty where it is not at hand.
    """

    files: Mapping[str, Mapping[str, str]]
    trees: Mapping[str, Path]


@dataclass(frozen=True, kw_only=True)
class Carriage:
    """A series to carry, where to, and where from."""

    series: Series
    base: Base
    home: Home


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
        bad = self.after.failed
        return f"it fits, but {bad[0].name}: {bad[0].evidence}" if bad else "it fits, but nothing of it could be asked"


@dataclass(frozen=True, kw_only=True)
class Result:
    """A whole series on a base. ``content``: what the patches that fit make of the files."""

    carriage: Carriage
    rows: tuple[Row, ...]
    content: Content

    @property
    def green(self) -> bool:
        return all(row.green for row in self.rows)


def run(settings: Settings, intent: Intent, carriages: Sequence[Carriage]) -> tuple[Result, ...]:
    """Carry every series: the trees as they are asked first, then what fits applied, then the results asked."""
    before = _pristine(settings, intent, carriages)
    fitted = [_fit(item, before[item.base.label]) for item in carriages]
    after = _patched(settings, intent, carriages, [content for _, content in fitted])
    results = []
    for number, (item, (carried, content)) in enumerate(zip(carriages, fitted, strict=True)):
        rows = tuple(
            Row(
                patch=patch,
                carried=found,
                before=before[item.base.label][patch.behaviour],
                after=after[str(number)][patch.behaviour],
            )
            for patch, found in zip(item.series.patches, carried, strict=True)
        )
        results.append(Result(carriage=item, rows=rows, content=content))
    return tuple(results)


def _pristine(settings: Settings, intent: Intent, carriages: Sequence[Carriage]) -> behaviours.Answers:
    """Base → behaviour → its answer without any patch."""
    wanted: dict[str, dict[str, None]] = {}
    trees = {item.base.label: item.base.trees for item in carriages}
    for item in carriages:
        wanted.setdefault(item.base.label, {}).update(dict.fromkeys(item.series.behaviours))
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


def _patched(
    settings: Settings, intent: Intent, carriages: Sequence[Carriage], contents: Sequence[Content]
) -> behaviours.Answers:
    """The place of a carriage → behaviour → its answer with what fits."""
    with store.scratch(settings.store, "rebase") as folder:
        questions = []
        for number, (item, content) in enumerate(zip(carriages, contents, strict=True)):
            components = tuple(
                staged(tree, _paths(intent, name), content.get(name, {}), folder / str(number) / name)
                for name, tree in item.base.trees.items()
            )
            questions.append(Question(id=str(number), components=components, behaviours=item.series.behaviours))
        return behaviours.ask(settings, questions)


def _paths(intent: Intent, component: str) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(tables(intent)[component].paths.items()))


def _fit(item: Carriage, before: Mapping[str, Answer]) -> tuple[list[Carried], Content]:
    """Each patch of a series on a base, in order, over what those before it made."""
    here = {name: Files(tree) for name, tree in item.base.trees.items()}
    home = {name: Files(tree) for name, tree in item.home.trees.items()}
    found = []
    for patch in item.series.patches:
        component = patch.ref.component
        parsed = parse(patch.name, patch.data)
        made_for = home.get(component)
        if before[patch.behaviour].holds:
            carried = Carried(name=patch.name, fit=Fit.UPSTREAM, hunks=(), content={})
        elif component not in here:
            carried = _lacking(patch, item.base)
        else:
            is_home = partial(_is_home, item, component)
            carried = carry(parsed, here[component].read, is_home, made_for.read if made_for else unknown)
            here[component].made.update(carried.content)
        if made_for and not made_for.advance(parsed):
            del home[component]  # the series does not fit there any more: what it was made for is not known
        found.append(carried)
    return found, {name: files.made for name, files in here.items() if files.made}


class Files:
    """A tree's files, and what patches make of them one by one."""

    def __init__(self, tree: Path) -> None:
        self.tree = tree
        self.made: dict[str, bytes | None] = {}

    def read(self, path: str) -> bytes | None:
        """A file as the patches so far leave it; None where there is none."""
        return self.made[path] if path in self.made else read(self.tree, path)

    def advance(self, patch: Patch) -> bool:
        """Apply a patch that was made for these very files; whether it fits them."""
        try:
            self.made |= {
                change.path: relocate(patch.name, change, data, was=data).after
                for change in patch.files
                for data in (self.read(change.path),)
            }
        except PatchError:
            return False
        return True


def _lacking(patch: SeriesPatch, base: Base) -> Carried:
    why = f"{base.label} does not say which {patch.ref.component} it wants"
    return Carried(
        name=patch.name, fit=Fit.CONFLICT, hunks=(HunkFit(path="-", hunk=0, fit=Fit.CONFLICT, why=why),), content={}
    )


def read(tree: Path, path: str) -> bytes | None:
    try:
        return (tree / path).read_bytes()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None


def _is_home(item: Carriage, component: str, path: str) -> bool:
    """Whether the tree's own file is the one that the series was locked with."""
    data = read(item.base.trees[component], path)
    found = "" if data is None else hashlib.sha256(data).hexdigest()
    return item.home.files.get(component, {}).get(path) == found
