"""The conditions of `reproduce` take hold, on this process and on what it starts, and the machine does not notice."""

import json
import os
import platform
import subprocess
import sys

import pytest

from build import conditions
from build.settings import REPO

ASK = """
import json, os, subprocess, sys, tempfile, threading, time
from build import conditions
names = sys.argv[1].split(",")
conditions.leave(names)
conditions.become(names)
show = 'import json,os; print(json.dumps([os.umask(0), os.uname().nodename, len(os.sched_getaffinity(0)), os.geteuid()]))'
child = json.loads(subprocess.run([sys.executable, "-c", show], stdout=subprocess.PIPE, check=True).stdout)
os.mkdir(sys.argv[2] + "/theirs")
owners = []
def write(name):
    open(f"{sys.argv[2]}/theirs/{name}", "w").close()
    owners.append(os.stat(f"{sys.argv[2]}/theirs/{name}").st_uid)
thread = threading.Thread(target=write, args=("a",))
thread.start(); thread.join()
write("b")
try:
    open(sys.argv[3] + "/not-ours", "w").close()
    wrote = True
except PermissionError:
    wrote = False
print(json.dumps({"child": child, "owners": owners, "wrote": wrote, "read": open(sys.argv[3] + "/secret").read()}))
"""


def test_every_condition_takes_hold(tmp_path):
    theirs, ours = tmp_path / "theirs", tmp_path / "ours"
    theirs.mkdir()
    os.chown(theirs, conditions.USER, conditions.USER)
    ours.mkdir(mode=0o700)
    (ours / "secret").write_text("read")
    before = (platform.node(), os.sched_getaffinity(0))
    done = subprocess.run(
        [sys.executable, "-c", ASK, ",".join(conditions.NAMES), str(theirs), str(ours)],
        cwd=REPO, stdout=subprocess.PIPE, check=True,
    )  # fmt: skip
    told = json.loads(done.stdout)
    assert told["child"] == [conditions.UMASK, conditions.HOST, 1, 0]
    assert told["owners"] == [conditions.USER, conditions.USER]
    assert told["wrote"] is False
    assert told["read"] == "read"
    assert (platform.node(), os.sched_getaffinity(0)) == before


def test_none_takes_hold_that_was_not_asked_for(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("needs root")
    (tmp_path / "secret").write_text("read")
    done = subprocess.run(
        [sys.executable, "-c", ASK, "tz", str(tmp_path), str(tmp_path)], cwd=REPO, stdout=subprocess.PIPE, check=True
    )
    told = json.loads(done.stdout)
    assert told["child"] == [os.umask(0o022), platform.node(), len(os.sched_getaffinity(0)), 0]
    assert told["owners"] == [0, 0]
    assert told["wrote"] is True
