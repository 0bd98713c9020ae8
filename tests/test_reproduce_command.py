"""The story of `reproduce` without its build: what it demands first, what it tells in the end."""

import argparse
import json
from dataclasses import replace

import pytest

from build import recipe, results, steps
from build.commands import reproduce
from build.conditions import Varied
from build.errors import ReproduceError, UsageError
from build.models import Settings
from build.settings import REPO
from tests.test_elsewhere import plan
from tests.test_results import RESULT

VARIED = (Varied(name="tz", here="UTC", there="Pacific/Kiritimati"),)


@pytest.fixture
def settings(tmp_path):
    return Settings(repo=REPO, store=tmp_path / "store")


@pytest.mark.parametrize("recorded", [None, RESULT])
def test_without_a_result_of_these_inputs_there_is_nothing_to_compare_with(settings, monkeypatch, recorded):
    job = steps.load(settings, "tiny")
    monkeypatch.setattr(results, "read", lambda repo, target: recorded)
    with pytest.raises(ReproduceError) as caught:
        reproduce.expected(job)
    assert caught.value.exit_code == 52
    assert recipe.chain_id(job)[:12] in caught.value.why
    assert "--record --target tiny" in caught.value.todo


def test_what_this_clone_records_of_its_targets_is_of_its_own_inputs(settings):
    """So that whoever changes what enters an image records it again."""
    for target in ("tiny", "v0.22", "v0.32"):
        assert reproduce.expected(steps.load(settings, target)).target == target


def test_an_equal_image_is_told_with_what_was_varied(settings, capsys):
    assert reproduce.tell(settings, RESULT, RESULT, VARIED, None, 1.0) == 0
    out = capsys.readouterr().out
    assert "Pacific/Kiritimati" in out
    assert "tiny: the same manifest" in out


def test_a_difference_is_an_error_that_says_how_it_is_explained(settings, capsys, tmp_path):
    found = replace(RESULT, rootfs="s" * 64, manifest="sha256:n")
    with pytest.raises(ReproduceError) as caught:
        reproduce.tell(replace(settings, json=True), RESULT, found, VARIED, tmp_path / "kept", 1.0)
    assert "rootfs: " in caught.value.why
    assert f"nox -s diff -- spark-runtime:tiny {tmp_path}/kept" in caught.value.todo
    told = json.loads(capsys.readouterr().out)
    assert told["equal"] is False
    assert told["differences"] == list(results.differences(RESULT, found))
    assert told["varied"] == [{"name": "tz", "here": "UTC", "there": "Pacific/Kiritimati"}]


def test_a_differing_image_takes_the_place_of_the_one_that_was_kept_before(tmp_path):
    made = plan(tmp_path)
    assert reproduce.keep(made.image, tmp_path / "out/tiny") is None
    for number in (1, 2):
        (made.image / "blobs").mkdir(parents=True, exist_ok=True)
        (made.image / "blobs" / f"b{number}").write_text("x")
        assert reproduce.keep(made.image, tmp_path / "out/tiny") == tmp_path / "out/tiny"
        (made.image / "blobs" / f"b{number}").unlink()
    assert [path.name for path in (tmp_path / "out/tiny/blobs").iterdir()] == ["b2"]


@pytest.mark.parametrize("target", ["canary", "g27"])
def test_what_is_compiled_is_not_built_as_another_machine_would(settings, monkeypatch, target):
    """BuildKit runs here, and would take this machine's compilers."""
    monkeypatch.setattr(reproduce, "expected", lambda job: RESULT)
    monkeypatch.setattr(reproduce, "as_machine", lambda *given: pytest.fail("it was built"))
    args = argparse.Namespace(target=target, vary=None, machine="arm64", output=None)
    with pytest.raises(UsageError) as caught:
        reproduce.run(args, settings)
    assert caught.value.what == f"--machine cannot be had for {target}, which is compiled"
    assert "build -- --expect" in caught.value.todo


def test_what_is_made_of_wheels_is(settings, monkeypatch):
    monkeypatch.setattr(reproduce, "expected", lambda job: RESULT)
    monkeypatch.setattr(reproduce, "as_machine", lambda args, job, recorded, start: (job.name, recorded))
    args = argparse.Namespace(target="tiny", vary=None, machine="arm64", output=None)
    assert reproduce.run(args, settings) == ("tiny", RESULT)
