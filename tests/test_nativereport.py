"""Figures and faults of a compiling step, from what it told."""

import json

import pytest

from build import buildx, nativereport
from build.errors import CompileError, MemoryShortError, SpaceError

JOBS = {"ordinary": 4, "heavy": 1, "reason": "20.0 GiB of memory by MemAvailable"}
WHOLE = {
    "jobs": JOBS,
    "configure": {"seconds": 61.2, "cpu": 60.0},
    "compile": {"seconds": 120.4, "cpu": 388.1},
    "cache": {"hits": 3, "misses": 7},
}
FAULT = {
    "kind": "compiler",
    "file": "csrc/moe/a.cu",
    "command": "cd /src/build && nvcc a.cu",
    "lines": ["a.cu(3): error: expected a ;"],
    "others": 2,
    "kills": 0,
}


def test_figures_of_a_step_that_ran():
    line = nativereport.figures(WHOLE).line
    assert "compiled in 120 s (388 processor seconds, 4 at once)" in line
    assert "configured in 61 s" in line
    assert "3 of 10 files out of the compile cache" in line


def test_a_cold_step_had_nothing_of_the_cache():
    assert "none of 7" in nativereport.figures({**WHOLE, "cache": {"hits": 0, "misses": 7}}).line


@pytest.mark.parametrize("lacking", WHOLE)
def test_no_figures_of_a_step_that_did_not_run_to_its_end(lacking):
    assert nativereport.figures({key: value for key, value in WHOLE.items() if key != lacking}) is None


def test_a_compiler_that_fails_names_file_command_and_last_lines():
    error = nativereport.fault({"jobs": JOBS, "fault": FAULT}, "/logs/build.log")
    assert isinstance(error, CompileError)
    assert "csrc/moe/a.cu does not compile (2 more failed)" in error.what
    assert "expected a ;" in error.why
    assert "cd /src/build && nvcc a.cu" in error.why
    assert "/logs/build.log" in error.todo


def test_killed_compilers_are_told_with_fewer_jobs():
    error = nativereport.fault({"jobs": JOBS, "fault": {**FAULT, "kind": "memory", "kills": 3}}, "log")
    assert isinstance(error, MemoryShortError)
    assert "3 compilers" in error.what
    assert "--jobs 2" in error.todo


def test_a_single_killed_compiler_needs_another_machine():
    error = nativereport.fault(
        {"jobs": {**JOBS, "ordinary": 1}, "fault": {**FAULT, "kind": "memory", "kills": 1}}, "log"
    )
    assert "more memory" in error.todo


def test_a_full_disk_is_no_fault_of_the_source():
    assert isinstance(nativereport.fault({"fault": {**FAULT, "kind": "space"}}, "log"), SpaceError)


def test_no_room_tells_its_numbers():
    error = nativereport.fault({"no-room": "one compiler takes up to 9.5 GiB and 3.0 GiB may be used"}, "log")
    assert isinstance(error, MemoryShortError)
    assert "9.5 GiB" in error.why


def test_a_failure_that_told_nothing_is_left_to_others():
    assert nativereport.fault({"jobs": JOBS}, "log") is None
    assert nativereport.fault({}, "log") is None


def test_a_step_that_was_killed_while_it_compiled_lacked_memory():
    error = nativereport.fault({"jobs": JOBS, "configure": WHOLE["configure"], "exit": 137}, "log")
    assert isinstance(error, MemoryShortError)
    assert "was killed" in error.what
    assert error.why == "4 compilers ran at once: 20.0 GiB of memory by MemAvailable"
    assert "fewer --jobs" in error.todo


@pytest.mark.parametrize(
    "facts",
    [
        {"exit": 137},  # it was not yet known how many run at once: nothing was compiled
        {"jobs": JOBS},
        {"jobs": JOBS, "exit": 1},
        {"jobs": JOBS, "exit": 143},
        {"jobs": JOBS, "compile": WHOLE["compile"], "exit": 137},  # of another step, after it
        {**WHOLE, "exit": 137},
    ],
)
def test_any_other_end_tells_nothing_of_memory(facts):
    assert nativereport.fault(facts, "log") is None


@pytest.mark.parametrize("kind", ["compiler", "space"])
def test_what_the_step_told_itself_counts_before_how_it_ended(kind):
    error = nativereport.fault({"jobs": JOBS, "fault": {**FAULT, "kind": kind}, "exit": 137}, "log")
    assert isinstance(error, CompileError if kind == "compiler" else SpaceError)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (['#9 ERROR: process "/bin/sh -c x" did not complete successfully: exit code: 137'], {"exit": 137}),
        (['ERROR: failed to solve: process "x" did not complete successfully: exit code: 1'], {"exit": 1}),
        (["#9 1.0 the test did not complete successfully: exit code: 3 of 4"], {}),
        (["#9 DONE 3.0s", "exit code: 137"], {}),
    ],
)
def test_how_a_step_ended_is_read_off_the_log(tmp_path, lines, expected):
    (tmp_path / "log").write_text("\n".join(lines) + "\n")
    assert buildx.facts(tmp_path / "log") == expected


def test_a_log_of_a_killed_step_is_an_error_about_memory(tmp_path):
    told = [f"#9 {number}.0 LANE {json.dumps({key: WHOLE[key]})}" for number, key in enumerate(("jobs", "configure"))]
    end = '#9 ERROR: process "/bin/sh -c x" did not complete successfully: exit code: 137'
    (tmp_path / "log").write_text("\n".join([*told, end]) + "\n")
    assert isinstance(nativereport.fault(buildx.facts(tmp_path / "log"), "log"), MemoryShortError)
