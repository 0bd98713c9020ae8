"""The documents that go with a published image, each from its own module, as `push` and `verify` want them.

Composes :mod:`build.sbom`, :mod:`build.provenance` and :mod:`build.testresult`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from build import cosign, provenance, report, sbom, spdxjson, testresult
from build.attaching import Claim
from build.canonical import canonical_json
from build.errors import SmokeError, VerifyError
from build.published import Record, Tested
from build.steps import Job

SPDX = "https://spdx.dev/Document"
PROVENANCE = provenance.PREDICATE_TYPE
TEST_RESULT = testresult.PREDICATE_TYPE


def claims(job: Job, record: Record, smoked: bytes, attached: Mapping[str, str]) -> list[Claim]:
    """What is stated of an image: that it is ours, what is in it, what it was made from, how it was tested.

    ``attached``: what is attached besides, kind → digest, which the provenance names.
    """
    (place,) = record.places
    run = provenance.Run(
        chain_id=record.chain_id, commit=place.commit, engine=record.engine, buildkit=record.buildkit
    )  # fmt: skip
    bill = sbom.make(job, digest=record.manifest, commit=place.commit, known=sbom.read_licences(job))
    made = provenance.predicate(job, run, attached)
    return [
        Claim(kind="signature", predicate_type=cosign.SIGNATURE, predicate=b"{}"),
        Claim(kind="sbom", predicate_type=SPDX, predicate=bill),
        Claim(kind="provenance", predicate_type=PROVENANCE, predicate=canonical_json(made)),
        Claim(kind="smoke", predicate_type=TEST_RESULT, predicate=test_result(smoked)),
    ]


def test_result(data: bytes) -> bytes:
    """A smoke report (its JSON) as the predicate of a test result."""
    return canonical_json(testresult.predicate(data))


def tested(data: bytes) -> Tested:
    """What a record keeps of a smoke report."""
    told = testresult.parsed(data)
    return Tested(
        sha256=testresult.report_sha256(testresult.predicate(data)),
        time=str(told["started"]),
        execution=str(told["execution"]),
        gpu=testresult.gpu(told),
        summary=str(told["summary"]),
        skipped=tuple(str(row["name"]) for row in told["checks"] if row["status"] == report.SKIPPED),
    )


def report_of(predicate: Mapping[str, Any]) -> dict[str, Any]:
    """The smoke report in a predicate; :class:`VerifyError` for what is none."""
    try:
        return testresult.report_of(predicate)
    except SmokeError as error:
        raise VerifyError(error.what, why=error.why) from error


def gpu(told: Mapping[str, Any]) -> str:
    """The GPU that a report was made on; empty where there was none."""
    try:
        return testresult.gpu(told)
    except (KeyError, TypeError, AttributeError):
        return ""


@dataclass(frozen=True, kw_only=True)
class Built:
    """What a provenance says. ``attached``: kind → digest of what goes with it; ``locks``: lock file → sha256."""

    target: str
    chain_id: str
    commit: str
    builder: str
    attached: Mapping[str, str]
    locks: Mapping[str, str]


def built(predicate: Mapping[str, Any]) -> Built:
    """Read a provenance of ours; :class:`VerifyError` for another's."""
    try:
        definition, details = predicate["buildDefinition"], predicate["runDetails"]
        dependencies: list[Any] = definition["resolvedDependencies"] if _is_ours(definition) else []
        ours, *others = dependencies
        names = {str(row["name"]): row["digest"] for row in others}
        return Built(
            target=str(definition["externalParameters"]["target"]),
            chain_id=str(definition["internalParameters"]["chain_id"]),
            commit=str(ours["digest"]["gitCommit"]),
            builder=str(details["builder"]["id"]),
            attached={str(row["name"]): f"sha256:{row['digest']['sha256']}" for row in details["byproducts"]},
            locks={name: str(digest["sha256"]) for name, digest in names.items() if name.startswith("lock/")},
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise VerifyError("the provenance is none of ours", why=repr(error)) from error


def _is_ours(definition: Mapping[str, Any]) -> bool:
    return bool(definition["buildType"] == provenance.BUILD_TYPE)


def bill_faults(document: Mapping[str, Any], digest: str) -> tuple[str, ...]:
    """What is wrong with a bill of materials by itself: as SPDX, or as one of this image."""
    images = [item for item in sbom.packages(document).values() if item.kind == sbom.IMAGE]
    if [f"sha256:{item.sha256}" for item in images] != [digest]:
        told = ", ".join(item.sha256[:12] for item in images) or "no image"
        return (f"it is of {told}, not of {digest}",)
    return spdxjson.faults(json.loads(json.dumps(document)))
