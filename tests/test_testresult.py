"""Smoke reports as in-toto test results, and back."""

import copy
import hashlib
import json
from dataclasses import replace

import pytest

from build import report, testresult
from build.canonical import canonical_json
from build.errors import SmokeError
from build.report import Check, Report
from build.settings import REPO

PASSED = Check(name="elf", status="passed", seconds=1.0, evidence={"files": 12, "who": "Zoë"}, excepted=(("a", "b"),))
SKIPPED = Check(name="gpu-driver", status="skipped", reason="no NVIDIA driver in the container")
FAILED = Check(name="record", status="failed", reason="it lies", seconds=0.25)
DRIVER = Check(name="gpu-driver", status="passed", evidence={"devices": 1, "device 0": "NVIDIA GB10"})
TORCH = Check(name="gpu-torch", status="passed", evidence={"device": "NVIDIA GB10", "capability": [12, 1]})
REPORT = Report(
    image="spark-runtime:v0.32", digest=f"sha256:{'5e' * 32}", platform="linux/arm64", target="v0.32",
    chain_id="ab" * 32, series_id="cd" * 32, foreign=False, checks_set="vllm", execution="emulated",
    engine="Docker Engine 26.1.5", gpu_required=False, started="2026-11-26T16:28:00+00:00", seconds=12.5,
    checks=(PASSED, SKIPPED),
)  # fmt: skip


def data(*checks, **changes):
    return report.to_json(replace(REPORT, **({"checks": checks} if checks else {}), **changes)).encode()


def through_go(predicate):
    """What cosign makes of it: members sorted, a float without a fraction written as an integer."""
    return json.loads(canonical_json(predicate).replace(b"1.0", b"1").replace(b"0.0", b"0"))


def test_a_green_report():
    found = testresult.predicate(data())
    assert found["result"] == "PASSED"
    assert (found["passedTests"], found["warnedTests"], found["failedTests"]) == (["elf"], ["gpu-driver"], [])
    assert found["report"] == json.loads(data())
    assert testresult.report_sha256(found) == hashlib.sha256(data()).hexdigest()
    assert testresult.predicate(data()) == found


def test_a_red_report():
    found = testresult.predicate(data(PASSED, FAILED))
    assert (found["result"], found["failedTests"]) == ("FAILED", ["record"])


def test_the_configuration_is_a_resource_descriptor():
    (found,) = testresult.predicate(data())["configuration"]
    assert found["uri"] == "urn:spark-runtime:checks:vllm"
    assert found["annotations"] == {
        "chain_id": "ab" * 32, "engine": "Docker Engine 26.1.5", "execution": "emulated", "foreign": False,
        "gpu_required": False, "platform": "linux/arm64", "series_id": "cd" * 32, "target": "v0.32",
    }  # fmt: skip


@pytest.mark.parametrize("checks", [(PASSED,), (PASSED, SKIPPED, FAILED), (DRIVER, TORCH)])
def test_a_report_comes_back_as_it_was(checks):
    found = through_go(testresult.predicate(data(*checks)))
    assert testresult.report_of(found) == json.loads(data(*checks))


@pytest.mark.parametrize(
    "bad",
    [
        b"", b"null", b"5", b"[]", b"{}", b"\xff", b'{"schema": 1}', data()[:200],
        data().replace(b'"schema": 1', b'"schema": 99'), data().replace(b'"passed"', b'"perhaps"'),
        data().replace(b'"checks_set"', b'"set"'), data().replace(b'"chain_id"', b'"chain"'),
        report.to_json(replace(REPORT, checks=())).encode(),
    ],
)  # fmt: skip
def test_what_is_no_report(bad):
    with pytest.raises(SmokeError, match="no smoke report") as caught:
        testresult.predicate(bad)
    assert caught.value.why


@pytest.mark.parametrize(
    "change",
    [
        lambda found: found.update(result="FAILED"),
        lambda found: found.update(result="WARNED"),
        lambda found: found["passedTests"].append("gpu-driver"),
        lambda found: found["warnedTests"].clear(),
        lambda found: found.pop("passedTests"),
        lambda found: found["failedTests"].append("elf"),
        lambda found: found.pop("report"),
        lambda found: found.update(report="text"),
        lambda found: found["report"]["checks"][0].update(status="failed"),
        lambda found: found["report"]["checks"].pop(),
        lambda found: found.clear(),
    ],
)
def test_one_that_contradicts_itself(change):
    found = copy.deepcopy(testresult.predicate(data()))
    assert testresult.report_of(found)
    change(found)
    with pytest.raises(SmokeError):
        testresult.report_of(found)


def test_no_list_and_an_empty_one_are_the_same():
    found = testresult.predicate(data(PASSED))
    del found["failedTests"], found["warnedTests"]
    assert testresult.report_of(found) == json.loads(data(PASSED))


@pytest.mark.parametrize("digest", [None, "x", {}, {"sha512": "x"}])
def test_a_digest_that_is_not_told(digest):
    assert testresult.report_sha256({"reportDigest": digest}) == ""


@pytest.mark.parametrize(
    ("checks", "name"),
    [
        ((PASSED,), ""),
        ((PASSED, SKIPPED), ""),
        ((DRIVER, TORCH), "NVIDIA GB10"),
        ((TORCH,), "NVIDIA GB10"),
        ((DRIVER, replace(TORCH, status="failed", reason="wrong")), "NVIDIA GB10"),
        ((replace(SKIPPED, evidence=DRIVER.evidence),), ""),  # skipped is skipped, whatever it holds
        ((*report.require_gpu([SKIPPED]), PASSED), ""),
        ((Check(name="elf", status="passed", evidence={"device": "NVIDIA GB10"}),), ""),
    ],
)
def test_the_gpu_is_what_the_driver_or_torch_names(checks, name):
    assert testresult.gpu(json.loads(data(*checks))) == name


def test_the_checks_of_the_image_give_that_evidence():
    checks = REPO / "dockerfiles/image/checks"
    plan, source = ((checks / name).read_text(encoding="utf-8") for name in ("plan.py", "gpu.py"))
    assert '"gpu-driver": ("tools", "gpu", "check_driver")' in plan
    assert '"gpu-torch": ("vllm", "gpu", "check_torch")' in plan
    assert '"device 0": name.value.decode()' in source
    assert '"device": torch.cuda.get_device_name(0)' in source
