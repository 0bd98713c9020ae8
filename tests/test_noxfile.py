"""The sessions, through nox: exit codes, streams, and time to clean up after Ctrl-C."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parent.parent

# Stands in for the launcher: says what it was started with, then does what the test asks for.
LAUNCHER = """\
import os, sys, time
print("argv", sys.argv[1:], flush=True)
print("talk", file=sys.stderr, flush=True)
try:
    time.sleep(float(os.environ.get("SLEEP", "0")))
except KeyboardInterrupt:
    time.sleep(1)
    print("cleaned up", flush=True)
    sys.exit(130)
sys.exit(int(os.environ.get("STATUS", "0")))
"""


@pytest.fixture
def start(tmp_path):
    shutil.copy(REPO / "noxfile.py", tmp_path)
    (tmp_path / "nox").write_text(LAUNCHER)

    def start(*argv, **env):
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "nox", "-f", str(tmp_path / "noxfile.py"), *argv],
            env={**os.environ, "PYTHONSAFEPATH": "1", **env}, cwd="/", start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    return start


def end(child):
    out, err = child.communicate(timeout=30)
    return child.returncode, out, err


@pytest.mark.parametrize("status", [0, 2, 11, 42, 130])
def test_a_verbs_exit_code_is_noxs(start, status):
    assert end(start("-s", "build", "--", "--target", "x y", STATUS=str(status)))[0] == status


def test_results_and_talk_stay_apart(start):
    _, out, err = end(start("-s", "build", "--", "--target", "x y"))
    assert out == "argv ['--exec', '-m', 'build', 'build', '--target', 'x y']\n"
    assert "talk\n" in err


def test_the_first_failure_ends_the_run(start):
    status, out, _ = end(start("-s", "fetch", "build", STATUS="21"))
    assert (status, out.count("argv")) == (21, 1)


def test_ctrl_c_waits_for_the_clean_up(start):
    child = start("-s", "build", SLEEP="30")
    assert child.stdout.readline().startswith("argv")
    time.sleep(0.2)
    os.killpg(child.pid, signal.SIGINT)  # as a terminal does it
    status, out, _ = end(child)
    assert (status, out) == (130, "cleaned up\n")


def test_a_polite_kill_reaches_the_verb(start):
    child = start("-s", "build", SLEEP="30")
    assert child.stdout.readline().startswith("argv")
    child.terminate()
    assert end(child)[0] == 128 + signal.SIGTERM


def test_the_default_session_only_tells(start):
    assert end(start())[1] == "argv ['--exec', '-m', 'build', 'plan']\n"


def test_the_list_reads_as_a_table_of_contents(start):
    status, out, _ = end(start("-l"))
    assert status == 0
    rows = [line[2:].split(" -> ") for line in out.splitlines() if " -> " in line]
    names = [row[0] for row in rows]
    assert (
        names.index("plan") < names.index("lock") < names.index("fetch") < names.index("build") < names.index("smoke")
    )
    assert all(row[1].endswith(".") for row in rows)
