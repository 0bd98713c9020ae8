"""`nox -s plan` of a target of the source lane: what compiling would take, and why it may not be known or not be done."""

import argparse
import json
import os
import shutil
from dataclasses import replace

import pytest

from build import assemble, costs, jobs, nativebuild, nativeplan, recipe, roots, steps, units
from build.canonical import digest
from build.commands import plan
from build.jobs import GIB, Memory
from build.models import Built, Settings
from build.nativereport import Figures
from build.settings import REPO


@pytest.fixture
def memory(monkeypatch):
    """Call it to say how much memory there is."""

    def there_is(gib):
        found = Memory(available=int(gib * GIB), said_by="a test", unified=False)
        monkeypatch.setattr(jobs, "memory", lambda: found)

    there_is(64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(4)))
    return there_is


@pytest.fixture
def job(tmp_path, memory):
    return steps.load(Settings(repo=REPO, store=tmp_path / "store"), "canary")


@pytest.fixture
def without_list(tmp_path, memory):
    """The same in a repository where nobody recorded a list."""
    ignored = shutil.ignore_patterns("__pycache__", "units")
    for name in ("lock", "patches", "dockerfiles"):
        shutil.copytree(REPO / name, tmp_path / "repo" / name, ignore=ignored)
    return steps.load(Settings(repo=tmp_path / "repo", store=tmp_path / "store"), "canary")


def step(job):
    (found,) = plan.compile_steps(job, recipe.chain_id(job))
    assert (found.name, found.id, found.download) == ("compile", digest(nativebuild.inputs(job)), 0)
    return found


def know(job, chain):
    """Note that an image of this chain was built."""
    note = assemble._state(job.settings.store, job.name)
    note.parent.mkdir(parents=True, exist_ok=True)
    built = Built(target=job.name, image="i", digest="sha256:1", chain_id=chain, base="", engine="x", layers=())
    note.write_text(json.dumps(built.__dict__))


def test_nothing_is_compiled_in_the_wheel_lane(tmp_path):
    job = steps.load(Settings(repo=REPO, store=tmp_path), "tiny")
    assert plan.compile_steps(job, recipe.chain_id(job)) == []
    assert nativeplan.elsewhere(job) == []


@pytest.mark.parametrize(
    ("machine", "how"),
    [("amd64", "by this machine's own compilers (amd64) for aarch64"), ("arm64", "by the image's own compilers")],
)
def test_with_a_list_the_time_is_told_and_what_it_rests_on(job, monkeypatch, machine, how):
    monkeypatch.setattr(roots, "host_architecture", lambda: machine)
    found = step(job)
    wanted = [unit for unit in units.read(REPO, "canary").units if unit.target in job.target.native.targets]
    assert found.todo
    assert how in found.why
    assert f"{len(wanted)} files" in found.why
    assert "4 at once; " in found.why
    longest = max(costs.cpu_seconds(unit) for unit in wanted)
    total = sum(costs.cpu_seconds(unit) for unit in wanted)
    assert max(longest, total / 4) < found.seconds < total + 200


def test_files_that_the_target_does_not_compile_take_no_time(job):
    everything = job.target.native.model_copy(update={"targets": ("_C", "_moe_C", "cumem_allocator", "spinloop")})
    assert step(replace(job, target=job.target.model_copy(update={"native": everything}))).seconds > step(job).seconds


def test_less_memory_is_fewer_jobs_and_more_time(job, memory):
    quick = step(job)
    memory(7)
    slow = step(job)
    assert "1 at once" in slow.why
    assert slow.seconds > quick.seconds


def test_with_too_little_memory_it_cannot_be_done_and_the_numbers_are_told(job, memory):
    memory(3)
    found = step(job)
    assert found.todo
    assert found.seconds == 0
    assert found.why.startswith("it cannot, here: one compiler takes up to 4.5 GiB and 1.0 GiB may be used")


def test_without_a_list_the_way_to_one_is_told(without_list):
    found = step(without_list)
    assert found.todo
    assert found.seconds == 0
    assert "`nox -s configure -- --record --target canary`" in found.why
    assert nativeplan.elsewhere(without_list) == []


def test_what_was_built_is_not_compiled_again(job, memory):
    know(job, recipe.chain_id(job))
    memory(3)
    found = step(job)
    assert (found.todo, found.seconds, found.why) == (False, 0, "done for the image that was built")


def test_another_image_of_the_target_tells_nothing(job):
    know(job, "ab" * 32)
    assert step(job).todo


def test_machines_that_people_have_are_told_with_their_doubt(job):
    told = nativeplan.elsewhere(job)
    assert [line.rpartition(" on ")[2] for line in told] == [
        f"{machine.name}, which nobody measured yet" for machine in costs.KNOWN
    ]
    assert all(line.startswith("predicted  ") and " to " in line for line in told)


def test_the_whole_plan_has_the_step_before_the_image(job, capsys):
    parsed = argparse.Namespace(target="canary")
    assert plan.run(parsed, replace(job.settings, json=True)) == 0
    said = json.loads(capsys.readouterr().out)
    names = [item["name"] for item in said["steps"]]
    assert names[-2:] == ["compile", "image"]
    assert plan.run(parsed, job.settings) == 0
    shown = capsys.readouterr().out
    assert "compile" in shown
    assert shown.count("which nobody measured yet") == len(costs.KNOWN)


def test_of_an_empty_store_every_file_is_lacking(job):
    found = plan.fetch_step(job)
    lacking, _, rest = found.why.partition(" of ")
    assert lacking == rest.split()[0]


def test_the_compile_root_is_planned_too(job, capsys):
    plan.run(argparse.Namespace(target="canary"), replace(job.settings, json=True))
    ids = [item["id"] for item in json.loads(capsys.readouterr().out)["steps"]]
    assert roots.root_id(job.compiler) in ids


# --- afterwards ----------------------------------------------------------------------------------------------------


def figures(**more):
    shared = {"jobs": 2, "heavy": 0, "reason": "r", "configure_seconds": 60, "compile_seconds": 300, "cpu_seconds": 600}
    return Figures(**shared, **{"hits": 0, "misses": 3, "log": "# ninja log v5\n", **more})


def log(job, seconds):
    """Ninja's log of a build whose files all took as long."""
    rows = [
        f"0\t{seconds * 1000 + number}\t0\tCMakeFiles/{unit.target}.dir/{unit.source}.o\tab"
        for number, unit in enumerate(nativeplan.compiled(job))
    ]
    return "# ninja log v5\n" + "\n".join(rows) + "\n"


def test_what_happened_is_set_beside_what_was_predicted(job):
    told = "\n".join(nativeplan.compared(job, figures(log=log(job, 50))))
    assert "CUDA" in told
    assert told != "\n".join(nativeplan.compared(job, figures(log=log(job, 500))))


def test_what_the_cache_helped_with_or_has_no_log_or_list_is_not_compared(job, without_list):
    assert nativeplan.compared(job, figures(log=log(job, 50), hits=1)) == []
    assert nativeplan.compared(job, figures(log="")) == []
    assert nativeplan.compared(without_list, figures(log=log(job, 50))) == []
