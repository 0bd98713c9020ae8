"""The image's check of a behaviour: what its cases come to. The cases themselves are in tests/patches."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "dockerfiles" / "image"))

from checks import behaviour, cases
from checks.events import Context, Failed, Skipped

MANIFEST = {"patches": [{"file": "app/0001.patch", "behaviour": "thing"}, {"file": "app/0002.patch", "behaviour": ""}]}


@pytest.fixture
def told(monkeypatch, tmp_path):
    """Ask with these cases: (kind, status), each."""

    def asked(*ends, gpu=False, manifest=MANIFEST):
        found = [
            {"name": f"case-{number}", "kind": kind, "status": status, "evidence": f"evidence {number}", "seconds": 0.0}
            for number, (kind, status) in enumerate(ends)
        ]
        monkeypatch.setattr(cases, "run", lambda _: found)
        monkeypatch.setattr(behaviour, "device_count", lambda: 1)
        context = Context(manifest=manifest, scratch=tmp_path)
        if gpu:
            return behaviour.on_gpu("gpu-thing", "thing", context)
        return behaviour.check("behaviour-thing", context)

    return asked


FIXED, KEPT = (cases.FIXES, cases.PASSED), (cases.KEEPS, cases.PASSED)
BROKEN, LACKING = (cases.FIXES, cases.FAILED), (cases.FIXES, cases.ABSENT)


def test_the_series_says_which_are_asked():
    assert behaviour.names(MANIFEST) == ["behaviour-thing"]
    assert behaviour.names({}) == []


def test_the_evidence_names_patches_and_cases(told):
    evidence = told(FIXED, KEPT).evidence
    assert evidence["patches"] == ["app/0001.patch"]
    assert [case["name"] for case in evidence["cases"]] == ["case-0", "case-1"]


@pytest.mark.parametrize("gpu", [False, True])
def test_one_that_fails_is_told_with_all_evidence(told, gpu):
    with pytest.raises(Failed, match="1 of 2 cases; case-1: evidence 1") as caught:
        told(FIXED, BROKEN, LACKING, gpu=gpu)
    assert len(caught.value.evidence["cases"]) == 3


@pytest.mark.parametrize("ends", [(), (LACKING,), (KEPT, LACKING)])
def test_where_nothing_that_a_patch_is_for_could_be_asked_it_fails(told, ends):
    with pytest.raises(Failed, match="nothing that a patch is for could be asked"):
        told(*ends)


@pytest.mark.parametrize("ends", [(LACKING, LACKING), (LACKING, KEPT)])
def test_on_a_gpu_it_is_skipped_then_with_the_reason(told, ends):
    """Which is a failure where a GPU was required."""
    with pytest.raises(Skipped, match="evidence 0"):
        told(*ends, gpu=True)


def test_on_a_gpu_only_what_the_series_has_is_asked(told):
    with pytest.raises(Skipped, match="no patch of the series names the behaviour thing"):
        told(FIXED, gpu=True, manifest={"patches": []})
    assert told(FIXED, gpu=True).evidence["cases"]
