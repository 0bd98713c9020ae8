"""Reproducing, for real: a build that depends on its moment is caught and named; nothing is left, whatever happens.

That everything varied at once gives the recorded image, .ci/run shows.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from build import private, results, roots, workplace
from build.settings import REPO, default_store
from tests.engine.test_build import verb

# What people add to a build, each not the same twice: a time, an order that depends on the run, a race of two writers.
PLANTED = """
import random, threading, time

def planted() -> None:
    (SPARK / "built-at.txt").write_text(f"built at {time.time_ns()}\\n", encoding="utf-8")
    names = [f"name-{number}" for number in range(50)]
    random.shuffle(names)
    (SPARK / "names.json").write_text(json.dumps(names), encoding="utf-8")
    def write(text: str) -> None:
        time.sleep(random.random() / 100)
        (SPARK / "winner.txt").write_text(text * 10 + str(random.random()), encoding="utf-8")
    writers = [threading.Thread(target=write, args=(text,)) for text in "ab"]
    [writer.start() for writer in writers]
    [writer.join() for writer in writers]

"""
LAST = "    settle(entries() - before)\n"  # the last line of the step


@pytest.fixture
def clone(tmp_path):
    """A copy of the repository to spoil; tiny as it is here is built again afterwards."""
    copy = tmp_path / "repo"
    for name in ("build", "dockerfiles", "lock", "patches", "nox", "noxfile.py", "pyproject.toml"):
        ignored = shutil.ignore_patterns("__pycache__", ".*")
        if (REPO / name).is_dir():
            shutil.copytree(REPO / name, copy / name, ignore=ignored)
        else:
            shutil.copy2(REPO / name, copy / name)
    yield copy
    assert verb("build", "--target", "tiny").status == 0


def left_behind():
    """Work folders, mount points, engines and loop devices of `reproduce` that are still there."""
    points = workplace.points(default_store())
    return [
        *(default_store() / "scratch").glob("reproduce-*"),
        *(points.iterdir() if points.exists() else ()),
        *(line for line in Path("/proc/mounts").read_text().splitlines() if str(points) in line),
    ]


def test_a_build_that_depends_on_its_moment_is_caught_and_named(clone):
    ours = clone / "dockerfiles/lane/ours.py"
    text = ours.read_text()
    assert text.count(LAST) == 1
    ours.write_text(text.replace("def main(", f"{PLANTED}\ndef main(", 1).replace(LAST, f"    planted()\n{LAST}", 1))
    recorded = verb("build", "--target", "tiny", "--record", repo=clone)
    assert recorded.status == 0, recorded.err
    ended = verb("reproduce", "--target", "tiny", "--vary", "cores", "--json", repo=clone)
    assert ended.status == 52, ended.err
    told = ended.json
    assert told["equal"] is False
    layers = [item for item in told["differences"] if item.startswith("layer")]
    assert [item.partition(":")[0] for item in layers] == ["layer 3"]  # ours, and not the rootfs or the wheels
    assert f"nox -s diff -- spark-runtime:tiny {told['image']}" in ended.err
    compared = verb("diff", "spark-runtime:tiny", told["image"], repo=clone)
    assert compared.status == 53, compared.err
    for name in ("built-at.txt", "names.json", "winner.txt"):
        assert name in compared.out
    assert "markupsafe" not in compared.out
    assert left_behind() == []


def test_a_result_of_something_else_is_not_reproduced(clone):
    result = results.read(clone, "tiny")
    wrong = results.Result(**{**result.__dict__, "rootfs": "0" * 64})
    results.write(clone, wrong)
    ended = verb("reproduce", "--target", "tiny", "--vary", "tz", repo=clone)
    assert ended.status == 52, ended.err
    assert f"rootfs: {'0' * 64} was recorded, {result.rootfs} is here" in ended.err
    expected = verb("build", "--target", "tiny", "--expect", repo=clone)
    assert expected.status == 52, expected.err


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGKILL])
def test_a_run_that_is_ended_leaves_nothing_to_the_next(sign):
    child = subprocess.Popen(
        [sys.executable, "-m", "build", "reproduce", "--target", "tiny", "--vary", "order,host"],
        cwd=REPO, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    for line in child.stderr:
        if "make the root file system" in line:
            break
    os.kill(child.pid, sign)
    child.communicate(timeout=120)
    assert child.returncode == (130 if sign != signal.SIGKILL else -signal.SIGKILL)
    deadline = time.monotonic() + 60
    if sign == signal.SIGKILL:  # what it started notices, and the next run sweeps the folder
        while (
            any(str(workplace.points(default_store())) in line for line in all_mounts()) and time.monotonic() < deadline
        ):
            time.sleep(0.5)
        workplace.sweep(default_store())
    assert left_behind() == []
    assert private.status(default_store()).engine is not None  # the engine of the store is another


def all_mounts():
    """The mounts of every process on this machine: a place is in a name space of its own."""
    for path in Path("/proc").glob("[0-9]*/mounts"):
        with contextlib.suppress(OSError):
            yield from path.read_text().splitlines()


@pytest.mark.slow
@pytest.mark.skipif(roots.host_architecture() == "arm64", reason="this machine is an arm64 one")
def test_an_arm64_machine_makes_the_same_image():
    ended = verb("reproduce", "--target", "tiny", "--machine", "arm64", "--json")
    assert ended.status == 0, ended.err
    assert ended.json["equal"] is True
    assert "the same manifest" in ended.json["held"]
