"""What a compiling step tells through BuildKit: shown while it runs, collected after, and made into errors."""

import json
import os
import sys
from dataclasses import replace

import pytest

from build import assemble, buildx, making, nativereport
from build.errors import CompileError, ImageBuildError, MemoryShortError, SpaceError
from build.models import Settings

JOBS = {"ordinary": 4, "heavy": 1, "reason": "20.0 GiB of memory by MemAvailable; 4 cores"}
FAULT = {
    "kind": "compiler", "file": "/src/app/csrc/one.cu", "command": "cd /src/build && nvcc one.cu",
    "lines": ["one.cu(3): error"], "others": 0, "kills": 0,
}  # fmt: skip
WHOLE = [
    {"network": "none"}, {"jobs": JOBS}, {"configure": {"seconds": 60.0, "cpu": 55.0}}, {"says": "3 of 9 after 30 s"},
    {"says": "9 of 9 after 70 s"}, {"compile": {"seconds": 70.2, "cpu": 250.0}}, {"cache": {"hits": 0, "misses": 9}},
    {"ninja-log": "# ninja log v5\n1\t2\t3\tone.o\tab\n"}, {"libraries": {"app/_C.so": {"bytes": 3, "code": ["sm_120"]}}},
]  # fmt: skip


@pytest.fixture
def request_(tmp_path):
    return buildx.Request(
        context=tmp_path, named=(), epoch=7, output="type=cacheonly", metadata=tmp_path / "metadata.json",
        log=tmp_path / "logs" / "build.log",
    )  # fmt: skip


def lines(*facts, vertex=12):
    return [f"#{vertex} {number}.5 LANE {json.dumps(fact)}" for number, fact in enumerate(facts)]


@pytest.fixture
def printing(tmp_path, monkeypatch):
    """A program for buildx that prints these lines and ends with this status, as command line."""
    monkeypatch.setenv("PYTHONIOENCODING", "utf-8")

    def program(*printed, status=0):
        path = tmp_path / "buildx.py"
        (tmp_path / "printed").write_text("".join(f"{line}\n" for line in printed), encoding="utf-8")
        path.write_text(
            "import pathlib, sys\n"
            f"sys.stdout.buffer.write(pathlib.Path({str(tmp_path / 'printed')!r}).read_bytes())\n"
            "path = sys.argv[sys.argv.index('--metadata-file') + 1]\n"
            f"{'' if status else 'pathlib.Path(path).write_text(chr(123) + chr(125))'}\n"
            f"sys.exit({status})\n"
        )
        return [sys.executable, os.fspath(path)]

    return program


# --- the command line ----------------------------------------------------------------------------------------------


def pairs(argv, option):
    return [argv[number + 1] for number, word in enumerate(argv) if word == option]


def test_secrets_fresh_stages_and_the_last_stage_are_asked_for(request_, tmp_path):
    more = replace(
        request_, secrets=(("asked", tmp_path / "a b.json"), ("x", tmp_path / "x")), fresh=("native-amd64", "native-arm64"),
        stage="units",
    )  # fmt: skip
    argv = buildx.arguments(more)
    assert pairs(argv, "--secret") == [f"id=asked,src={tmp_path}/a b.json", f"id=x,src={tmp_path}/x"]
    assert pairs(argv, "--no-cache-filter") == ["native-amd64", "native-arm64"]
    assert pairs(argv, "--target") == ["units"]
    assert "--no-cache" not in argv
    assert argv[-1] == str(tmp_path)


def test_nothing_of_it_is_asked_for_by_itself(request_):
    argv = buildx.arguments(request_)
    assert not {"--secret", "--no-cache-filter", "--target", "--no-cache"} & set(argv)


# --- facts ---------------------------------------------------------------------------------------------------------


def test_facts_are_collected_by_name_the_last_one_counting(request_, printing):
    before = ["#12 [native-amd64 1/1] RUN x", "#12 3.2 -- Configuring done"]
    after = ["#12 DONE 130.2s", "LANE {}", '#1 x LANE {"no": 1}']
    buildx.build(printing(*before, *lines(*WHOLE), *after), {}, request_)
    found = buildx.facts(request_.log)
    assert found == {name: value for fact in WHOLE for name, value in fact.items()}
    assert found["says"] == "9 of 9 after 70 s"
    assert nativereport.figures(found).misses == 9


def test_a_build_that_ran_no_such_step_told_nothing(request_, printing):
    buildx.build(printing("#12 [native-amd64 1/1] RUN x", "#12 CACHED"), {}, request_)
    assert buildx.facts(request_.log) == {}


def test_facts_of_the_build_before_are_not_taken_for_this_one_s(request_, printing):
    """They have one log: else a cached build would tell what the last one's compilers took."""
    buildx.build(printing(*lines(*WHOLE)), {}, request_)
    assert buildx.facts(request_.log) != {}
    buildx.build(printing("#12 CACHED"), {}, request_)
    assert buildx.facts(request_.log) == {}


def test_bytes_that_are_no_text_do_not_hide_facts(request_, printing, tmp_path):
    argv = printing(*lines({"cache": {"hits": 1, "misses": 2}}))
    (tmp_path / "printed").write_bytes(b"#12 1.0 caf\xe9 \xff\n" + (tmp_path / "printed").read_bytes())
    buildx.build(argv, {}, request_)
    assert buildx.facts(request_.log) == {"cache": {"hits": 1, "misses": 2}}


def test_people_see_how_far_it_is_and_not_the_rest(request_, printing, capsys):
    buildx.build(printing("#12 [native-amd64 1/1] RUN x", *lines(*WHOLE), "#12 DONE 130.2s"), {}, request_)
    shown = capsys.readouterr().err.splitlines()
    assert shown == [
        "  4 compilers at once, 1 of them heavy: 20.0 GiB of memory by MemAvailable; 4 cores",
        "  3 of 9 after 30 s", "  9 of 9 after 70 s", "  [native-amd64 1/1] RUN x (130.2 s)",
    ]  # fmt: skip


def test_without_heavy_files_nothing_is_said_of_them(request_, printing, capsys):
    buildx.build(printing(*lines({"jobs": {**JOBS, "heavy": 0}})), {}, request_)
    assert capsys.readouterr().err == "  4 compilers at once: 20.0 GiB of memory by MemAvailable; 4 cores\n"


def test_who_wants_everything_sees_every_line(request_, printing, capsys):
    printed = lines(*WHOLE)
    buildx.build(printing(*printed), {}, request_, verbose=True)
    assert capsys.readouterr().err.splitlines() == printed


@pytest.mark.parametrize("said", ["{what a program of the project prints}", '{"says": "cut off {}'])
def test_a_line_that_only_looks_like_a_fact_is_none(request_, printing, said):
    """A long line may be broken by another step's, and a project's own programs print what they like."""
    buildx.build(printing(f"#12 1.0 LANE {said}", *lines({"cache": {}})), {}, request_)
    assert buildx.facts(request_.log) == {"cache": {}}


# --- errors --------------------------------------------------------------------------------------------------------


@pytest.fixture
def failing(request_, printing, monkeypatch, tmp_path):
    """Let a build fail after these facts; the error. ``verified``: whether the store's wheels were looked at again."""
    verified = []
    monkeypatch.setattr(assemble, "verify", verified.append)

    class Job:
        settings = Settings(repo=tmp_path, store=tmp_path / "store")

    def fail(*facts, last="ERROR: process did not complete successfully: exit code: 1"):
        argv = printing("#12 [native-amd64 1/1] RUN x", *lines(*facts), f"#12 {last}", status=1)
        with pytest.raises((CompileError, ImageBuildError, MemoryShortError, SpaceError)) as caught:
            making.image(Job(), argv, {}, request_)
        return caught.value

    fail.verified = verified
    return fail


def test_a_source_that_does_not_compile_is_the_error(failing, request_):
    error = failing({"jobs": JOBS}, {"fault": FAULT})
    assert isinstance(error, CompileError)
    assert "/src/app/csrc/one.cu does not compile" in error.what
    assert str(request_.log) in error.todo
    assert isinstance(error.__cause__, ImageBuildError)
    assert failing.verified == []  # the cause is known


def test_too_little_memory_is_the_error(failing):
    error = failing({"no-room": "one compiler takes up to 9.5 GiB and 3.0 GiB may be used"})
    assert isinstance(error, MemoryShortError)
    assert "9.5 GiB" in error.why


def test_killed_compilers_are_the_error(failing):
    error = failing({"jobs": JOBS}, {"fault": {**FAULT, "kind": "memory", "kills": 2}})
    assert isinstance(error, MemoryShortError)
    assert "--jobs 2" in error.todo


def test_a_configure_that_fails_is_the_error(failing):
    error = failing({"unconfigured": ["CMake Error at hook.cmake:18", "", "  native.drop: there is no target x"]})
    assert isinstance(error, CompileError)
    assert "native.drop: there is no target x" in error.why


def test_any_other_failure_is_buildkit_s(failing):
    error = failing({"jobs": JOBS})
    assert isinstance(error, ImageBuildError)
    assert "did not complete successfully" in error.why


def test_a_full_disk_is_told_as_such(failing):
    assert isinstance(failing({"jobs": JOBS}, last="ERROR: write /x: no space left on device"), SpaceError)
