"""A smoke report as an in-toto test result: the predicate https://in-toto.io/attestation/test-result/v0.1.

``warnedTests`` are the checks that were skipped. Two fields are ours: ``report``, all that the report says, and
``reportDigest``, of its bytes as they were written.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from build import report
from build.errors import SmokeError

PREDICATE_TYPE = "https://in-toto.io/attestation/test-result/v0.1"
CHECKS = "urn:spark-runtime:checks:"
CONFIGURATION = ("chain_id", "engine", "execution", "foreign", "gpu_required", "platform", "series_id", "target")
STATUSES = (report.PASSED, report.FAILED, report.SKIPPED)


def predicate(data: bytes) -> dict[str, Any]:
    """The predicate of a report, given as the bytes of its JSON; :class:`SmokeError` for what is no report."""
    told = parsed(data)
    names = {
        status: [str(row["name"]) for row in told["checks"] if row["status"] == status] for status in STATUSES
    }  # fmt: skip
    return {
        "result": "FAILED" if names[report.FAILED] else "PASSED",
        "configuration": [
            {
                "name": "checks",
                "uri": f"{CHECKS}{told['checks_set']}",
                "annotations": {name: told[name] for name in CONFIGURATION},
            }
        ],
        "passedTests": names[report.PASSED],
        "warnedTests": names[report.SKIPPED],
        "failedTests": names[report.FAILED],
        "report": told,
        "reportDigest": {"sha256": hashlib.sha256(data).hexdigest()},
    }


def parsed(data: bytes) -> dict[str, Any]:
    """What a report says, of the form that we write today; :class:`SmokeError` for anything else."""
    try:
        told = json.loads(data)
        if fault := _fault(told):
            raise SmokeError("this is no smoke report", why=fault, todo="run `nox -s smoke`")
    except (ValueError, KeyError, TypeError) as error:
        why = f"{type(error).__name__}: {error}"
        raise SmokeError("this is no smoke report", why=why, todo="run `nox -s smoke`") from error
    return dict(told)


def _fault(told: Any) -> str:
    if told["schema"] != report.SCHEMA:
        return f"its form is {told['schema']}, ours {report.SCHEMA}"
    strays = {str(row["status"]) for row in told["checks"]} - set(STATUSES)
    if strays or not told["checks"]:
        return f"a check ended as {', '.join(sorted(strays))}" if strays else "it names no check"
    lacking = [name for name in (*CONFIGURATION, "checks_set", "digest", "image") if name not in told]
    return f"it does not say {', '.join(lacking)}" if lacking else ""


def report_of(predicate: Mapping[str, Any]) -> dict[str, Any]:
    """The report in a predicate, which says what the predicate says; :class:`SmokeError` where it does not."""
    told = parsed(json.dumps(predicate.get("report")).encode())
    lists = {report.PASSED: "passedTests", report.SKIPPED: "warnedTests", report.FAILED: "failedTests"}
    for status, field in lists.items():
        if [row["name"] for row in told["checks"] if row["status"] == status] != list(predicate.get(field) or ()):
            raise SmokeError("a test result contradicts the report in it", why=f"in {field}")
    if predicate.get("result") != ("FAILED" if predicate.get("failedTests") else "PASSED"):
        raise SmokeError("a test result contradicts the report in it", why=f"it says {predicate.get('result')!r}")
    return told


def report_sha256(predicate: Mapping[str, Any]) -> str:
    """sha256 of the report's bytes, as it was written; empty where the predicate does not tell."""
    digest = predicate.get("reportDigest")
    return str(digest.get("sha256", "")) if isinstance(digest, Mapping) else ""


def gpu(told: Mapping[str, Any]) -> str:
    """The GPU that checks of a report ran on, as the driver or torch names it; empty where none did."""
    seen = {str(row["name"]): row["evidence"] for row in told["checks"] if row["status"] != report.SKIPPED}
    driver, torch = seen.get("gpu-driver", {}), seen.get("gpu-torch", {})
    return str(driver.get("device 0") or torch.get("device") or "")
