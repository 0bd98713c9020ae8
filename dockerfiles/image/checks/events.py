"""What a check gives, and how it is told: one JSON object a line.

``plan`` opens a run with the names of the checks to come, in no order; ``begin`` and ``end`` enclose each; ``done`` is
the last line of a whole run. An end event has: name, status (passed, failed or skipped), reason, seconds, evidence
(what was seen, free in form), findings, and excepted (the findings that the target explains, each with its reason).
"""

from __future__ import annotations

import json
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

SAID = 3  # findings in a reason
LISTED = 40  # entries of a list in evidence; its full length is always told


class Failed(Exception):  # noqa: N818 - a verdict, not an error
    """The check ran and what it looks at is not so."""

    def __init__(self, reason: str, evidence: dict[str, Any] | None = None) -> None:
        super().__init__(reason)
        self.evidence = evidence or {}


class Skipped(Exception):  # noqa: N818 - a verdict, not an error
    """The check cannot be run here, for a reason that is no fault of the image."""


@dataclass(frozen=True)
class Context:
    """What a check may look at. ``uv``: a uv mounted for the run, or None. ``scratch``: writable and executable."""

    manifest: dict[str, Any]
    scratch: Path
    uv: str | None = None
    stub_driver: bool = False
    stub_nvml: bool = False


@dataclass
class Outcome:
    """A check's evidence, and findings that fail it unless the target names each with a reason."""

    evidence: dict[str, Any] = field(default_factory=dict)
    findings: list[str] = field(default_factory=list)


CheckFunction = Callable[[Context], Outcome]


def emit(stream: IO[str], **event: Any) -> None:
    """Write one event and flush it, so that the host shows it as it happens."""
    stream.write(json.dumps(event, default=str) + "\n")
    stream.flush()


def listed(items: list[Any]) -> dict[str, Any]:
    """A list as evidence: its length and its first entries."""
    return {"count": len(items), "first": items[:LISTED]}


def perform(name: str, check: CheckFunction, context: Context, stream: IO[str]) -> None:
    """Run one check and tell its end; nothing that it raises passes through."""
    emit(stream, event="begin", name=name)
    start = time.monotonic()
    status, why, outcome = "passed", "", Outcome()
    try:
        outcome = check(context)
        if outcome.findings:
            status, why = "failed", reason(outcome.findings)
    except Failed as error:
        status, why, outcome = "failed", str(error), Outcome(error.evidence)
    except Skipped as error:
        status, why = "skipped", str(error)
    except Exception as error:  # noqa: BLE001 - a check that breaks is a failed check, told with its place
        last = "".join(traceback.format_exc(limit=-6))
        status, why, outcome = "failed", f"{type(error).__name__}: {error}", Outcome({"traceback": last})
    emit(
        stream, event="end", name=name, status=status, reason=why, evidence=outcome.evidence,
        findings=outcome.findings, excepted=[], seconds=round(time.monotonic() - start, 2),
    )  # fmt: skip


def reason(findings: list[str]) -> str:
    """The first findings in one line, and how many more there are."""
    more = f"; and {len(findings) - SAID} more" if len(findings) > SAID else ""
    return "; ".join(findings[:SAID]) + more
