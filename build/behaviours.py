"""What source trees do: the behaviours of ``dockerfiles/image/checks/behaviours/``, asked on this machine's CPU.

:mod:`build.stage` does the asking, in an interpreter with torch; here are the questions and the answers as values.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from build import proc, torchenv
from build.console import step
from build.errors import BehaviourError
from build.models import Settings

CHECKS = Path("dockerfiles/image/checks")
STAGE = Path("build/stage.py")
LIMIT_SECONDS = 1800
FIXES = "fixes"  # as dockerfiles/image/checks/cases.py names them
PASSED, FAILED, ABSENT = "passed", "failed", "absent"


@dataclass(frozen=True, kw_only=True)
class Staged:
    """A component's tree on the stage.

    ``overlay``: a folder of patched files, at their places in the repository, which count instead of the tree's.
    ``gone``: files of the tree that do not count. ``paths``: repository prefix → installed prefix.
    """

    tree: Path
    paths: tuple[tuple[str, str], ...]
    overlay: Path | None = None
    gone: tuple[str, ...] = ()


def staged(
    tree: Path, paths: tuple[tuple[str, str], ...], changed: Mapping[str, bytes | None], overlay: Path
) -> Staged:
    """A tree as a series makes it: the changed files are written to ``overlay``, which must be empty."""
    for path, data in changed.items():
        if data is not None:
            target = overlay / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
    gone = tuple(path for path, data in changed.items() if data is None)
    return Staged(tree=tree, paths=paths, overlay=overlay if changed else None, gone=gone)


@dataclass(frozen=True, kw_only=True)
class Question:
    """Which behaviours to ask of which trees; ``id`` is the asker's name for the trees, in words."""

    id: str
    components: tuple[Staged, ...]
    behaviours: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class CaseResult:
    """How one case of a behaviour ended. ``kind``: whether a patch is needed for it ("fixes", "keeps")."""

    name: str
    kind: str
    status: str
    evidence: str
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A behaviour's cases, in order."""

    cases: tuple[CaseResult, ...]

    @property
    def asked(self) -> tuple[CaseResult, ...]:
        """Those that this version had an answer to."""
        return tuple(case for case in self.cases if case.status != ABSENT)

    @property
    def failed(self) -> tuple[CaseResult, ...]:
        return tuple(case for case in self.cases if case.status == FAILED)

    @property
    def holds(self) -> bool:
        """Every case that could be asked passed, and one that a patch is for was among them."""
        return not self.failed and any(case.kind == FIXES for case in self.asked)


Answers = Mapping[str, Mapping[str, Answer]]
"""Question id → behaviour → its answer."""


def file_of(repo: Path, behaviour: str) -> Path:
    """Where the behaviour of a name is written down.

    >>> str(file_of(Path(), "router-kernel"))
    'dockerfiles/image/checks/behaviours/router_kernel.py'
    """
    return repo / CHECKS / "behaviours" / f"{behaviour.replace('-', '_')}.py"


def ask(settings: Settings, questions: Sequence[Question]) -> Answers:
    """Ask all of it, in parallel.

    Raises :class:`BehaviourError` where there is no behaviour of a name, or where a question had no answer.
    """
    for name in dict.fromkeys(name for question in questions for name in question.behaviours):
        if not (place := file_of(settings.repo, name)).is_file():
            raise BehaviourError(
                f"there is no behaviour '{name}'",
                why=f"a patch's header names it, and {place.relative_to(settings.repo)} is not there",
                todo="write it, or correct the header's Behaviour-Test",
            )
    python = torchenv.ensure(settings)
    request = {
        "at_once": os.cpu_count() or 1,
        "jobs": [
            {
                "id": question.id,
                "checks": str(settings.repo / CHECKS),
                "behaviours": list(question.behaviours),
                "components": [_as_dict(item) for item in question.components],
            }
            for question in questions
        ],
    }
    names = {name for question in questions for name in question.behaviours}
    with step(f"ask {_count(len(questions), 'tree')} for {_count(len(names), 'behaviour')}"):
        done = proc.run(
            [python, settings.repo / STAGE],
            stdin=json.dumps(request),
            timeout=LIMIT_SECONDS,
            verbose=settings.verbose,
            env={"OMP_NUM_THREADS": "1"},
        )
    lines = _without_folders(done.stdout, questions).splitlines()
    return {said["id"]: _answers(said) for said in map(json.loads, lines)}


def _without_folders(text: str, questions: Sequence[Question]) -> str:
    """With paths as in the repository: where a tree was laid out this time says nothing."""
    staged = [item for question in questions for item in question.components]
    for folder in {*(item.tree for item in staged), *(item.overlay for item in staged if item.overlay)}:
        text = text.replace(f"{folder}/", "")
    return text


def _as_dict(item: Staged) -> dict[str, object]:
    said = asdict(item)
    return {**said, "tree": str(item.tree), "overlay": str(item.overlay or "")}


def _answers(said: Mapping[str, object]) -> dict[str, Answer]:
    told = said.get("told")
    if not isinstance(told, Mapping):
        raise BehaviourError(
            f"nothing could be asked of {said['id']}",
            why=str(said.get("error", "")).strip(),
            todo="look at what was patched or written there: it ended the process, or cannot be loaded",
        )
    return {behaviour: Answer(cases=tuple(CaseResult(**case) for case in cases)) for behaviour, cases in told.items()}


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def shortly(answer: Answer) -> str:
    """How many of the cases that could be asked passed, in a few characters.

    >>> case = CaseResult(name="a", kind="fixes", status="passed", evidence="", seconds=0.0)
    >>> shortly(Answer(cases=(case, case)))
    '2/2'
    """
    return f"{len(answer.asked) - len(answer.failed)}/{len(answer.asked)}"
