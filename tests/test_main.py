"""Dispatch: help, unknown verbs, and each failure as a message and an exit code."""

import errno
import os
import subprocess
import sys
import types

import pytest

from build import __main__ as main_module
from build.errors import PatchError
from build.settings import REPO


@pytest.fixture
def story(monkeypatch, tmp_path):
    """Make `python -m build boom` do what the test says."""

    def install(run):
        module = types.ModuleType("build.commands.boom", "Goes boom.")
        module.add_arguments = lambda parser: parser.add_argument("--size", type=int, default=1)
        module.run = run
        (tmp_path / "boom.py").touch()
        monkeypatch.setattr(main_module, "COMMANDS", tmp_path)
        monkeypatch.setitem(sys.modules, "build.commands.boom", module)

    return install


def raising(error):
    def run(args, settings):
        raise error

    return run


def test_arguments_and_settings_reach_the_story(story, tmp_path):
    seen = []
    story(lambda args, settings: seen.append((args.size, settings)) or 0)
    assert main_module.main(["boom", "--size", "3", "--offline", "--store", str(tmp_path / "s")]) == 0
    size, settings = seen[0]
    assert (size, settings.offline, settings.store) == (3, True, tmp_path / "s")


def test_a_storys_own_status_is_kept(story):
    story(lambda args, settings: 7)
    assert main_module.main(["boom"]) == 7


def test_a_failure_is_one_message_on_standard_error(story, capsys):
    story(raising(PatchError("it does not apply", why="line 3 differs", todo="rebase it")))
    assert main_module.main(["boom"]) == 30
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "error: it does not apply\n  why: line 3 differs\n  do:  rebase it\n"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_said_as_such(story, capsys, number):
    story(raising(OSError(number, "no space", "/store/blob")))
    assert main_module.main(["boom"]) == 42
    assert "the disk is full" in capsys.readouterr().err


def test_ctrl_c_is_130(story, capsys):
    story(raising(KeyboardInterrupt()))
    assert main_module.main(["boom"]) == 130
    assert "interrupted" in capsys.readouterr().err


def test_a_defect_keeps_its_traceback(story):
    story(raising(ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        main_module.main(["boom"])


def test_an_unknown_option_is_2(story):
    story(lambda args, settings: 0)
    with pytest.raises(SystemExit) as caught:
        main_module.main(["boom", "--colour", "blue"])
    assert caught.value.code == 2


def test_help_names_the_session(story, capsys):
    story(lambda args, settings: 0)
    with pytest.raises(SystemExit) as caught:
        main_module.main(["boom", "--help"])
    assert caught.value.code == 0
    out = capsys.readouterr().out
    assert out.startswith("usage: nox -s boom -- ")
    assert "Goes boom." in out


@pytest.mark.parametrize("argv", [[], ["no-such-verb"]])
def test_an_unknown_verb_shows_the_known_ones(argv, capsys):
    assert main_module.main(argv) == 2
    assert "usage: python -m build {" in capsys.readouterr().err


def test_a_store_that_cannot_be_used_is_a_message(capsys):
    def story():
        raise NotADirectoryError(20, "Not a directory", "/dev/null/x")

    assert main_module.explain(story) == 44
    assert "/dev/null/x" in capsys.readouterr().err


def test_a_full_disk_is_a_message(capsys):
    def story():
        raise OSError(28, "No space left on device", "/store/x")

    assert main_module.explain(story) == 42
    assert "nox -s clean" in capsys.readouterr().err


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_leaves_is_no_traceback(unbuffered):
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "build", "lock", "--check"],
        cwd=REPO, env={**os.environ, "PYTHONUNBUFFERED": unbuffered}, stdout=writer, stderr=subprocess.PIPE, check=False,
    )  # fmt: skip
    os.close(writer)
    assert done.returncode == 141, done.stderr
    assert done.stderr == b""
