"""The entry point's other two ways, as the image runs them: a command as it was given, and the health check."""

import os
import subprocess
import sys
import time

import pytest

from tests import servekit

ENTRY = [sys.executable, "-I", "-S", "-B", str(servekit.IMAGE / "serve")]


def entry(*command, environment=None, **more):
    return subprocess.run(
        [*ENTRY, *command], env=environment if environment is not None else {"PATH": os.environ["PATH"]},
        capture_output=True, text=True, check=False, **more,
    )  # fmt: skip


def python(code):
    return [sys.executable, "-I", "-S", "-c", code]


def test_it_is_the_program_itself_with_the_same_environment():
    """No process in between, and nothing that Python adds: it puts LC_CTYPE into an environment without a locale."""
    done = entry(
        *python("import os; print(os.getppid()); print(open('/proc/self/environ').read())"), environment={"A": "b=c"}
    )
    parent, environment = done.stdout.split("\n", 1)
    assert int(parent) == os.getpid()
    assert environment.strip("\n\0") == "A=b=c"


def test_signals_are_not_ignored():
    code = "print([line for line in open('/proc/self/status') if line.startswith(('SigIgn', 'SigBlk'))])"
    done = entry("cat", "/proc/self/status")
    assert "SigIgn:\t0000000000000000" in done.stdout, code
    assert "SigBlk:\t0000000000000000" in done.stdout


def test_its_exit_status_and_its_arguments():
    assert entry(*python("import sys; sys.exit(int(sys.argv[1]))"), "37").returncode == 37
    assert (
        entry(*python("import sys; print(sys.argv[1:])"), "--", "--profile", "x").stdout == "['--', '--profile', 'x']\n"
    )


@pytest.mark.parametrize(
    ("command", "status", "said"),
    [
        (["no-such-program"], 127, "no-such-program: there is no such program in the image\n"),
        (["--profile", "x"], 127, "to serve a model: serve --profile NAME --model FOLDER"),
        ([], 127, "no command"),
        (["/etc"], 126, "/etc: Permission denied"),
    ],
)
def test_what_cannot_be_run(command, status, said):
    done = entry(*command)
    assert done.returncode == status
    assert said in done.stderr


def test_what_python_would_read_changes_nothing(tmp_path):
    """Isolated: neither the environment nor the working folder has a say in what process 1 runs."""
    for name in ("os.py", "serve.py", "sitecustomize.py", "signal.py"):
        (tmp_path / name).write_text("raise SystemExit(99)\n")
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(tmp_path), "PYTHONHOME": "/nowhere"}
    done = entry("echo", "hi", environment=environment, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "hi\n"), done.stderr


# Health


def health(tmp_path, text=None):
    place = tmp_path / "health"
    if text is not None:
        place.write_text(text.ljust(256))
    done = entry("health", environment={"SPARK_HEALTH": str(place)})
    return done.returncode, done.stdout.strip()


def test_well_and_not_well(tmp_path):
    now = time.monotonic()
    assert health(tmp_path, f"serving\t{now}\t\n") == (0, "serving: well")
    assert health(tmp_path, f"serving\t{now}\tmemory is low\n") == (1, "serving: memory is low")
    assert health(tmp_path, f"start-up\t{now}\tthe server is starting\n")[0] == 1


def test_a_watchdog_that_stands_still(tmp_path):
    status, said = health(tmp_path, f"serving\t{time.monotonic() - 60}\t\n")
    assert status == 1
    assert "the watchdog has said nothing for 60 s" in said


def test_one_of_before_the_machine_was_started(tmp_path):
    assert health(tmp_path, f"serving\t{time.monotonic() + 1e6}\t\n")[0] == 1


@pytest.mark.parametrize("text", [None, "", "nonsense", "a\tb"])
def test_where_nothing_is_served(tmp_path, text):
    assert health(tmp_path, text) == (0, "nothing is served here")
