"""`nox -s configure`: what CMake would compile beside what is stored. Only the build of the stage by the engine is faked."""

import argparse
import json
import shutil
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from build import assemble, engine, lockform, making, units
from build.commands import configure
from build.errors import CommandError, InconsistentLockError, LockError, NewerLockError, UsageError
from build.intent import read_intent
from build.models import Lane, Settings
from build.settings import REPO
from build.units import Unit

RECORD = "`nox -s configure -- --record --target {}`, and commit the result"
HEAVY = Unit(target="_C", source="csrc/quantization/c3x/scaled_mm_sm120_fp8.cu", architectures=("sm_120f",))
HEAVY_LEFT_OUT = replace(HEAVY, target="_C_stable_libtorch")
NEW = Unit(target="_moe_C", source="csrc/moe/newer.cu", architectures=("sm_120",))


@pytest.fixture
def repo(tmp_path):
    """A copy of what a job is made of."""
    for name in ("lock", "patches", "dockerfiles"):
        shutil.copytree(REPO / name, tmp_path / "repo" / name, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path / "repo"


@pytest.fixture
def bench(repo, tmp_path, monkeypatch, capsys):
    return Bench(repo, tmp_path, monkeypatch, capsys)


class Bench:
    """Runs of the command. ``listed``: what CMake would compile now; ``asked``: the requests that the engine got."""

    def __init__(self, repo, folder, monkeypatch, capsys):
        self.settings, self.capsys = Settings(repo=repo, store=folder / "store"), capsys
        self.listed = list(units.read(REPO, "canary").units)
        self.asked = []
        monkeypatch.setattr(engine, "find", lambda _: None)
        monkeypatch.setattr(engine, "buildx", lambda *_: (["buildx"], {}))
        monkeypatch.setattr(making, "prepare", self.prepare)
        monkeypatch.setattr(making, "image", self.image)

    def prepare(self, job, chain, known, *, whole=True):
        assert not whole, "no image is made, so that it takes less disk"
        return assemble.Contexts(main=self.settings.store / "main", layers=())

    def image(self, job, argv, env, request):
        """What BuildKit would write: one stage's files into a folder."""
        assert argv == ["buildx"]
        secrets = {name: json.loads(file.read_text()) for name, file in request.secrets}
        self.asked.append((request.stage, secrets, request.fresh))
        kind, _, place = request.output.partition(",dest=")
        assert kind == "type=local"
        (Path(place) / "compile_commands.json").write_text(json.dumps([*map(command, self.listed)]))
        return {}

    def run(self, target="canary", *, record=False, json=False, **more):
        self.capsys.readouterr()
        args = argparse.Namespace(target=target, record=record, **{"list": False, **more})
        status = configure.run(args, replace(self.settings, json=json))
        assert status == 0
        return self.capsys.readouterr()

    def refused(self, kind=InconsistentLockError, **asked):
        with pytest.raises(kind) as caught:
            self.run(**asked)
        return caught.value, self.capsys.readouterr()

    @property
    def stored(self):
        return units.path_of(self.settings.repo, "canary")


def command(unit):
    """A unit as CMake writes it."""
    place = {"deps": "/src/deps", "build": "/src/build"}.get(unit.source.split("/")[0])
    file = f"/src/vllm/{unit.source}"
    if place:
        rest = unit.source.split("/", 1)[1]
        file = f"{place}/{rest}" if place.endswith("build") else f"{place}/{rest.replace('/', '-src/', 1)}"
    codes = [f"-gencode arch={name.replace('sm_', 'compute_')},code={name}" for name in unit.architectures]
    program = "nvcc" if unit.architectures else "g++"
    options = [] if unit.architectures in ((), ("default",)) else codes
    made = f"CMakeFiles/{unit.target}.dir/{unit.source}.o"
    return {"directory": "/src/build", "file": file, "command": f"{program} {' '.join(options)} -c {file} -o {made}"}


# --- usage ---------------------------------------------------------------------------------------------------------


def test_a_target_of_the_wheel_lane_is_a_mistake(bench):
    error, _ = bench.refused(UsageError, target="tiny")
    assert "nothing of tiny is compiled" in error.what
    names = [name for name, target in read_intent(REPO).targets.items() if target.lane is Lane.SOURCE]
    assert "canary" in names
    assert error.todo == f"name a target of the lane 'source': {', '.join(names)}"
    assert bench.asked == []


def test_the_command_line_has_its_options():
    parser = argparse.ArgumentParser()
    configure.add_arguments(parser)
    assert vars(parser.parse_args([])) == {"target": None, "record": False, "list": False}
    assert vars(parser.parse_args(["--target", "canary", "--record", "--list"]))["record"] is True


# --- compared ------------------------------------------------------------------------------------------------------


def test_what_is_as_stored_is_said_to_be(bench):
    before = bench.stored.read_bytes()
    shown = bench.run()
    assert "as stored in lock/units/" in shown.err
    assert "canary: what its project compiles (not complete" in shown.out
    assert "absent  cutlass: substitute: CUTLASS 4.4.2's headers" in shown.out
    assert bench.stored.read_bytes() == before


def test_the_engine_makes_one_stage_with_one_job_and_leaves_nothing(bench):
    bench.run()
    assert bench.asked == [("units", {"asked": {"jobs": 1, "cold": False}}, ())]
    assert list((bench.settings.store / "scratch").iterdir()) == []


def test_what_is_no_longer_so_is_listed_and_an_error_with_its_way_out(bench):
    before = bench.stored.read_bytes()
    gone = next(unit for unit in bench.listed if unit.source == "csrc/moe/topk_softmax_kernels.cu")
    bench.listed.remove(gone)
    bench.listed.append(NEW)
    error, shown = bench.refused()
    assert error.what == "canary would compile something else than what is stored"
    assert error.todo == f"if that is meant: {RECORD.format('canary')}"
    assert "  + csrc/moe/newer.cu (sm_120)" in shown.out.splitlines()
    assert f"  - {gone.source} (sm_120)" in shown.out.splitlines()
    assert bench.stored.read_bytes() == before


def test_another_architecture_is_a_difference(bench):
    bench.listed = [replace(unit, architectures=("sm_121a",)) if unit.target == "_moe_C" and unit.architectures == ("sm_120",)
                    else unit for unit in bench.listed]  # fmt: skip
    _, shown = bench.refused()
    assert "  ~ csrc/moe/topk_softmax_kernels.cu: sm_120 -> sm_121a" in shown.out.splitlines()


def test_without_a_list_the_way_to_one_is_told(bench):
    bench.stored.unlink()
    error, _ = bench.refused()
    assert (error.what, error.todo) == ("no list is stored for canary", RECORD.format("canary"))
    assert not bench.stored.exists()


def test_every_file_is_printed_where_that_is_asked(bench):
    plain, listed = bench.run().out, bench.run(list=True).out
    line = "_moe_C  csrc/moe/topk_softmax_kernels.cu  sm_120"
    assert line in listed.splitlines()
    assert line not in plain.splitlines()
    assert len(listed.splitlines()) == len(plain.splitlines()) + len(bench.listed)


def test_as_json_it_is_one_object(bench):
    said = json.loads(bench.run(json=True).out)
    assert (said["target"], said["complete"], said["changes"]) == ("canary", False, [])
    assert len(said["units"]) == len(bench.listed)
    bench.listed.append(NEW)
    _, shown = bench.refused(json=True)
    assert json.loads(shown.out)["changes"][1:] == ["  + csrc/moe/newer.cu (sm_120)"]


def test_a_list_that_cannot_be_read_ends_it(bench):
    bench.listed = []
    error, _ = bench.refused(CommandError)
    assert "it has no entry" in error.why


# --- recorded ------------------------------------------------------------------------------------------------------


def test_to_record_writes_the_list_and_nothing_else(bench):
    others = {path: path.read_bytes() for path in bench.settings.repo.rglob("*") if path.is_file()}
    bench.listed.append(NEW)
    shown = bench.run(record=True)
    assert "noted in lock/units/canary.toml" in shown.err
    assert NEW in units.read(bench.settings.repo, "canary").units
    now = {path: path.read_bytes() for path in bench.settings.repo.rglob("*") if path.is_file()}
    assert {path for path in now if now[path] != others.get(path)} == {bench.stored}
    assert "as stored" in bench.run().err


def test_to_record_the_same_writes_nothing(bench):
    before = bench.stored.read_bytes()
    assert "noted" not in bench.run(record=True).err
    assert bench.stored.read_bytes() == before


def test_the_first_list_is_recorded_where_none_was(bench):
    before = bench.stored.read_bytes()
    bench.stored.unlink()
    bench.run(record=True)
    assert bench.stored.read_bytes() == before, "the stored list is what a run of this version writes"


@pytest.mark.parametrize("damage", ["edited", "no TOML", "older"])
def test_a_list_that_cannot_be_read_may_be_written_over_and_not_compared_with(bench, damage):
    good = bench.stored.read_text()
    bench.stored.write_text(
        {"edited": good.replace("_moe_C", "_mow_C"), "no TOML": "[", "older": lockform.text("", 0, {})}[damage]
    )
    broken = bench.stored.read_bytes()
    bench.refused(LockError)
    assert bench.stored.read_bytes() == broken
    bench.run(record=True)
    assert bench.stored.read_text() == good


def test_a_list_of_a_newer_version_is_not_written_over(bench):
    bench.stored.write_text(lockform.text("", units.SCHEMA + 1, {"target": "canary"}))
    newer = bench.stored.read_bytes()
    bench.refused(NewerLockError, record=True)
    assert bench.stored.read_bytes() == newer


# --- memory --------------------------------------------------------------------------------------------------------


def test_large_files_of_a_target_that_is_not_heavy_are_an_error_and_not_recorded(bench):
    bench.listed = [*units.read(REPO, "canary").units, HEAVY]
    before = bench.stored.read_bytes()
    with heavy(bench, compiles=("_moe_C", "_C")):
        error, _ = bench.refused(record=True)
    assert error.what == "canary would compile too many large files at once"
    assert "files of _C take more than 4.5 GiB each" in error.why
    assert "native.heavy" in error.todo
    assert bench.stored.read_bytes() == before


def test_large_files_of_a_heavy_target_are_fine(bench):
    bench.listed.append(HEAVY)
    with heavy(bench, compiles=("_moe_C", "_C"), says=("_C",)):
        bench.run(record=True)


def test_large_files_of_what_is_not_compiled_take_no_memory(bench):
    bench.listed.append(HEAVY_LEFT_OUT)
    bench.run(record=True)


@contextmanager
def heavy(bench, *, compiles, says=()):
    """Meanwhile the canary compiles other targets, some of them heavy."""
    load = configure.steps.load

    def changed(settings, name):
        job = load(settings, name)
        native = job.target.native.model_copy(update={"targets": compiles, "heavy": says})
        return replace(job, target=job.target.model_copy(update={"native": native}))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(configure.steps, "load", changed)
        yield
