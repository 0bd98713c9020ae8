"""A behaviour's cases: what each asks, whether a patch is needed for it, and how it ended.

A case returns its evidence in words, raises :class:`Wrong` (or anything else) where the answer is not the right one,
and :class:`Absent` where this version has nothing to ask.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

FIXES, KEEPS = "fixes", "keeps"
PASSED, FAILED, ABSENT = "passed", "failed", "absent"
REASON = 300  # characters of a failure that are told


class Wrong(Exception):  # noqa: N818 - what a case raises, shown by its name in evidence
    """The answer is not the right one."""


class Absent(Exception):  # noqa: N818 - a verdict, not an error
    """This version has nothing that the case could ask."""


@dataclass(frozen=True)
class Case:
    """A question. ``kind``: one that the unpatched code must get wrong ("fixes"), or must get right too ("keeps")."""

    ask: Callable[[], str]
    kind: str

    def __call__(self) -> str:
        return self.ask()

    @property
    def name(self) -> str:
        return self.ask.__name__.replace("_", "-")


def fixes(ask: Callable[[], str]) -> Case:
    """A case that fails without the patch."""
    return Case(ask, FIXES)


def keeps(ask: Callable[[], str]) -> Case:
    """A case that passes without the patch, and must not be broken by it."""
    return Case(ask, KEEPS)


def source(path: str) -> bytes | None:  # noqa: ARG001 - replaced where there are sources
    """A file of the source trees that are asked, by its path in the repository; None where installed packages are."""
    return None


@dataclass(frozen=True)
class Declared:
    """What a behaviour needs of a stage: modules that must be real, and what others must have (made when asked)."""

    real: tuple[str, ...]
    stand_ins: Mapping[str, Callable[[], Mapping[str, Any]]]


def declared(behaviour: str) -> Declared:
    """The ``REAL`` and ``STAND_INS`` of a behaviour's module."""
    module = _module(behaviour)
    return Declared(real=tuple(module.REAL), stand_ins=dict(getattr(module, "STAND_INS", {})))


def _module(behaviour: str) -> ModuleType:
    return importlib.import_module(f".behaviours.{behaviour.replace('-', '_')}", __package__)


def run(behaviour: str) -> list[dict[str, Any]]:
    """Ask every case of a behaviour (``router-kernel``); each with name, kind, status, evidence and seconds."""
    cases: Sequence[Case] = _module(behaviour).CASES
    return [_told(case) for case in cases]


def _told(case: Case) -> dict[str, Any]:
    start = time.monotonic()
    try:
        status, evidence = PASSED, case()
    except Absent as error:
        status, evidence = ABSENT, str(error)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever is raised is that case's answer
        status, evidence = FAILED, f"{type(error).__name__}: {error}"[:REASON]
    seconds = round(time.monotonic() - start, 3)
    return {"name": case.name, "kind": case.kind, "status": status, "evidence": evidence, "seconds": seconds}
