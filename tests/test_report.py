import json
import xml.etree.ElementTree as ET

import pytest

from build import report
from build.report import Check, Report

CHECKS = (
    Check(name="elf", status="passed", seconds=1.5, evidence={"files": 7}),
    Check(name="metadata", status="passed", excepted=(("one wants two", "known"),)),
    Check(name="record", status="failed", reason="a.py \x1b is not as in its RECORD", evidence={"first": ["a.py"]}),
    Check(name="gpu-driver", status="skipped", reason="no driver"),
)


@pytest.fixture
def made():
    return Report(
        image="spark-runtime:tiny", digest="sha256:" + "1" * 64, platform="linux/arm64", target="tiny",
        chain_id="2" * 64, series_id="3" * 64, foreign=False, checks_set="tiny", execution="emulated",
        engine="Docker Engine 26.1.5", gpu_required=False, started="2026-11-23T16:00:00+00:00", seconds=12.5,
        checks=CHECKS,
    )  # fmt: skip


def test_json_is_bound_to_the_digest_and_says_what_was_skipped(made):
    told = json.loads(report.to_json(made))
    assert told["schema"] == report.SCHEMA
    assert (told["digest"], told["chain_id"], told["execution"]) == (made.digest, made.chain_id, "emulated")
    assert [check["name"] for check in told["checks"] if check["status"] == "skipped"] == ["gpu-driver"]
    assert told["checks"][1]["excepted"] == [{"finding": "one wants two", "reason": "known"}]
    assert told["summary"] == "2 passed, 1 failed, 1 skipped, 1 findings excepted"


def test_junit_is_what_ci_services_read(made):
    suite = ET.fromstring(report.to_junit(made).encode()).find("testsuite")
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("4", "1", "1")
    cases = {case.get("name"): case for case in suite.iter("testcase")}
    assert cases["record"].find("failure").get("message") == "a.py  is not as in its RECORD"
    assert "a.py" in cases["record"].find("failure").text
    assert cases["gpu-driver"].find("skipped").get("message") == "no driver"
    assert "one wants two (known)" in cases["metadata"].find("system-out").text
    assert cases["elf"].get("classname") == "smoke.tiny"
    properties = {item.get("name"): item.get("value") for item in suite.iter("property")}
    assert properties["digest"] == made.digest


def test_rows_tell_what_a_person_should_know(made):
    assert [row[3] for row in report.rows(made)] == [
        "", "excepted: one wants two (known)", "a.py \x1b is not as in its RECORD", "no driver",
    ]  # fmt: skip


def test_a_required_gpu_turns_its_skips_into_failures():
    checks = (*CHECKS, Check(name="patches", status="skipped", reason="the target has no patched file"))
    ended = {check.name: check for check in report.require_gpu(checks)}
    assert ended["gpu-driver"].status == "failed"
    assert "no driver" in ended["gpu-driver"].reason
    assert ended["patches"].status == "skipped"
    assert ended["elf"].status == "passed"


def test_an_end_event_becomes_a_check():
    event = {
        "event": "end", "name": "metadata", "status": "passed", "reason": "", "seconds": 1, "evidence": {"a": 1},
        "findings": ["f"], "excepted": [{"finding": "f", "reason": "r"}],
    }  # fmt: skip
    assert report.end(event).excepted == (("f", "r"),)
