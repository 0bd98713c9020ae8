"""What `reproduce` varies: how it is named, told, and laid out. That it takes hold: tests/engine/test_conditions.py."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from build import conditions
from build.errors import UsageError
from build.settings import REPO


def test_all_is_every_condition_of_the_help_in_its_order():
    assert conditions.chosen("all") == conditions.NAMES
    assert conditions.chosen("order, path,tz") == ("path", "tz", "order")


@pytest.mark.parametrize(
    ("text", "says"), [("unmask", "did you mean 'umask'?"), ("all,tz", "all, or some of"), ("", "")]
)
def test_what_is_no_condition_is_an_error_that_names_them(text, says):
    with pytest.raises(UsageError) as caught:
        conditions.chosen(text)
    assert says in caught.value.todo
    assert "path,umask,tz,locale,host,user,clock,cores,order" in caught.value.todo


def test_both_sides_differ_for_every_condition():
    found = conditions.compared(conditions.NAMES, Path("/here"), Path("/there"))
    assert [item.name for item in found] == list(conditions.NAMES)
    assert all(item.here != item.there for item in found if item.name != "cores")


def test_looking_at_the_umask_leaves_it():
    before = os.umask(0o027)
    try:
        (found,) = conditions.compared(("umask",), Path("/a"), Path("/b"))
        assert found.here == "027"
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(before)


def test_only_the_chosen_conditions_change_the_environment(tmp_path):
    assert conditions.environment(("umask", "host"), tmp_path) == {"HOME": str(tmp_path)}
    assert conditions.environment(("tz",), tmp_path)["TZ"] == conditions.ZONE
    env = conditions.environment(conditions.NAMES, tmp_path)
    shown = "import json,locale,sys; print(json.dumps([locale.getpreferredencoding(), sys.getfilesystemencoding()]))"
    asked = subprocess.run([sys.executable, "-c", shown], env={**os.environ, **env}, stdout=subprocess.PIPE, check=True)
    assert "UTF-8" not in json.loads(asked.stdout)[0]
    assert json.loads(asked.stdout)[1] == "ascii"


@pytest.mark.programs("git")
def test_the_home_of_somebody_else_has_settings_that_programs_listen_to(tmp_path):
    conditions.make_home(("tz",), tmp_path / "plain")
    assert list((tmp_path / "plain").iterdir()) == []
    conditions.make_home(("user",), tmp_path / "home")
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path / "home")}
    git = ["git", "config", "--global", "core.autocrlf"]
    assert subprocess.run(git, env=env, cwd=tmp_path, stdout=subprocess.PIPE, check=True).stdout == b"true\n"


def test_the_clock_moves_for_this_process_alone():
    code = (
        "import time; before = time.time()\n"
        "from build import conditions; conditions.become(('clock',))\n"
        "print(round((time.time() - before) / conditions.SHIFT, 3), round((time.time_ns() / 1e9 - time.time()), 1))"
    )
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=True, cwd=REPO)
    assert [abs(float(figure)) for figure in done.stdout.split()] == [1.0, 0.0]
