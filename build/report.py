"""The smoke report: what was checked in which image, as JSON, as JUnit XML and as a table's rows."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

SCHEMA = 1
PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"


@dataclass(frozen=True, kw_only=True)
class Check:
    """One check's end. ``excepted``: findings that the target explains, as pairs of finding and reason."""

    name: str
    status: str
    reason: str = ""
    seconds: float = 0.0
    evidence: Mapping[str, Any] = field(default_factory=dict)
    excepted: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Report:
    """A whole run, bound to the digest of the image it was made in. Seconds are wall-clock.

    ``target``, ``chain_id`` and ``series_id`` are the image's own labels, empty for a foreign image; ``execution`` is
    "native" or "emulated"; ``started`` is UTC, ISO 8601.
    """

    image: str
    digest: str
    platform: str
    target: str
    chain_id: str
    series_id: str
    foreign: bool
    checks_set: str
    execution: str
    engine: str
    gpu_required: bool
    started: str
    seconds: float
    checks: tuple[Check, ...]

    @property
    def failed(self) -> tuple[Check, ...]:
        return tuple(check for check in self.checks if check.status == FAILED)


def end(event: Mapping[str, Any]) -> Check:
    """The check that an ``end`` event of the image's own checks tells (see ``checks/events.py``)."""
    return Check(
        name=str(event["name"]),
        status=str(event["status"]),
        reason=str(event["reason"]),
        seconds=float(event["seconds"]),
        evidence=dict(event["evidence"]),
        excepted=tuple((item["finding"], item["reason"]) for item in event["excepted"]),
    )


def require_gpu(checks: Sequence[Check]) -> tuple[Check, ...]:
    """The checks under ``--require-gpu``: one that wanted a GPU and was skipped is a failure."""
    return tuple(
        Check(name=check.name, status=FAILED, reason=f"a GPU is required: {check.reason}", seconds=check.seconds)
        if check.status == SKIPPED and check.name.startswith("gpu-")
        else check
        for check in checks
    )


def counts(report: Report) -> str:
    """One line: how many passed, failed and were skipped.

    >>> from types import SimpleNamespace as S
    >>> counts(S(checks=[S(status="passed", excepted=()), S(status="skipped", excepted=())]))
    '1 passed, 0 failed, 1 skipped'
    """
    by = Counter(check.status for check in report.checks)
    said = ", ".join(f"{by[status]} {status}" for status in (PASSED, FAILED, SKIPPED))
    excepted = sum(len(check.excepted) for check in report.checks)
    return f"{said}, {excepted} findings excepted" if excepted else said


def to_json(report: Report) -> str:
    """The report as JSON; ``schema`` counts the versions of its form."""
    body = asdict(report)
    for check in body["checks"]:
        check["excepted"] = [{"finding": finding, "reason": reason} for finding, reason in check["excepted"]]
    return json.dumps({"schema": SCHEMA, "summary": counts(report), **body}, indent=1, ensure_ascii=False) + "\n"


def to_junit(report: Report) -> str:
    """The report as JUnit XML, in the form that CI services read: one suite, a case per check."""
    statuses = Counter(check.status for check in report.checks)
    totals = {
        "name": f"smoke {report.target or 'foreign'}",
        "tests": str(len(report.checks)),
        "failures": str(statuses[FAILED]),
        "skipped": str(statuses[SKIPPED]),
        "errors": "0",
        "time": f"{report.seconds:.2f}",
    }
    root = ET.Element("testsuites")
    suite = ET.SubElement(root, "testsuite", {**totals, "timestamp": report.started})
    properties = ET.SubElement(suite, "properties")
    for name in ("image", "digest", "platform", "chain_id", "execution", "engine"):
        ET.SubElement(properties, "property", name=name, value=str(getattr(report, name)))
    for check in report.checks:
        _case(suite, check, f"smoke.{report.target or 'foreign'}")
    ET.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _case(suite: ET.Element, check: Check, classname: str) -> None:
    case = ET.SubElement(suite, "testcase", classname=classname, name=check.name, time=f"{check.seconds:.2f}")
    if check.status == FAILED:
        fault = ET.SubElement(case, "failure", message=_printable(check.reason))
        fault.text = _printable(json.dumps(check.evidence, indent=1, ensure_ascii=False))
    elif check.status == SKIPPED:
        ET.SubElement(case, "skipped", message=_printable(check.reason))
    if check.excepted:
        lines = [f"excepted: {finding} ({reason})" for finding, reason in check.excepted]
        ET.SubElement(case, "system-out").text = _printable("\n".join(lines))


def _printable(text: str) -> str:
    """Text without the control characters that XML 1.0 forbids."""
    return "".join(char for char in text if char in "\t\n" or char >= " ")


def rows(report: Report) -> list[tuple[str, str, str, str]]:
    """The table's rows: check, status, seconds, and what a person should know of it."""
    return [(check.name, check.status, f"{check.seconds:.1f}", remark(check)) for check in report.checks]


def remark(check: Check) -> str:
    """A failed or skipped check's reason; the excepted findings of a passed one."""
    if check.reason:
        return check.reason
    return "; ".join(f"excepted: {finding} ({reason})" for finding, reason in check.excepted)
