import os
import sys

import pytest

from build import proc
from build.errors import CommandError, EngineError, SpaceError


def python(code, **options):
    return proc.run([sys.executable, "-c", code], **options)


def test_both_streams_are_kept_apart():
    done = python("import sys; print('out'); print('err', file=sys.stderr)")
    assert (done.returncode, done.stdout, done.stderr) == (0, "out\n", "err\n")


def test_a_child_gets_a_fixed_environment_and_what_is_passed(monkeypatch):
    monkeypatch.setenv("SECRET_TOKEN", "s3cret")
    monkeypatch.setenv("LANG", "de_DE.UTF-8")
    done = python("import os; print(sorted(os.environ.items()))", env={"EXTRA": "1"})
    assert "s3cret" not in done.stdout
    assert "('EXTRA', '1')" in done.stdout
    assert "('LC_ALL', 'C.UTF-8')" in done.stdout
    assert "('TZ', 'UTC')" in done.stdout


def test_network_settings_are_the_users_own(monkeypatch):
    for name in list(os.environ):
        if name in proc.NETWORK_NAMES or name.startswith(proc.NETWORK_PREFIXES):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.invalid:3128")
    monkeypatch.setenv("UV_INDEX_URL", "https://mirror.invalid/simple")
    monkeypatch.setenv("SECRET_TOKEN", "s3cret")
    assert proc.network_env() == {
        "HTTPS_PROXY": "http://proxy.invalid:3128",
        "UV_INDEX_URL": "https://mirror.invalid/simple",
    }


def test_standard_input_is_closed_unless_given():
    assert python("import sys; print(repr(sys.stdin.read()))").stdout == "''\n"
    assert python("import sys; print(sys.stdin.read())", stdin="hello").stdout == "hello\n"


def test_a_failure_can_be_replayed_and_shows_the_last_lines():
    with pytest.raises(CommandError) as caught:
        python("import sys; [print(n) for n in range(100)]; sys.exit('the cause')")
    message = str(caught.value)
    assert "failed with exit status 1" in message
    assert "replay: " in message
    assert "the cause" in message
    assert "\n       99\n" in message
    assert "\n       9\n" not in message
    assert caught.value.returncode == 1


def test_a_failure_may_be_asked_for():
    assert python("raise SystemExit(3)", check=False).returncode == 3


def test_a_signal_is_named():
    with pytest.raises(CommandError, match="was ended by SIGKILL"):
        python("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")


def test_a_missing_program_is_named():
    with pytest.raises(CommandError, match="no-such-program is not there") as caught:
        proc.run([os.path.join(os.path.dirname(sys.executable), "no-such-program")])
    assert caught.value.returncode == 127


def test_a_full_disk_has_its_own_error():
    with pytest.raises(SpaceError, match="the disk filled up while python"):
        python("import errno, os, sys; sys.exit(os.strerror(errno.ENOSPC))")


def test_time_runs_out():
    with pytest.raises(CommandError, match="took longer than"):
        python("import time; time.sleep(60)", timeout=0.2)


def test_odd_bytes_are_no_reason_to_fail():
    assert python("import sys; sys.stdout.buffer.write(b'a\\xffb')").stdout == "a\ufffdb"


def test_root_runs_things_itself(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert proc.as_root(["mount", "x"], purpose="mounting") == ["mount", "x"]


def test_sudo_is_asked_where_we_are_not_root(monkeypatch, tmp_path):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    (tmp_path / "sudo").write_text("#!/bin/sh\n")
    (tmp_path / "sudo").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert proc.as_root(["mount", "x"], purpose="mounting") == [str(tmp_path / "sudo"), "--", "mount", "x"]


def test_neither_root_nor_sudo_is_said_with_the_command_to_run(monkeypatch, tmp_path):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EngineError) as caught:
        proc.as_root(["mount", "a b"], purpose="mounting the root")
    assert "mounting the root needs root" in str(caught.value)
    assert "mount 'a b'" in str(caught.value)


def test_credentials_are_in_no_message():
    secret = "https://me:hunter2@index.example/simple"
    with pytest.raises(CommandError) as caught:
        proc.run([sys.executable, "-c", "import sys; print(sys.argv[1]); sys.exit(3)", secret])
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in caught.value.output
    assert "index.example" in str(caught.value)


def test_what_is_not_captured_goes_to_standard_error(capfd):
    proc.run([sys.executable, "-c", "import sys; print('out'); print('err', file=sys.stderr)"], capture=False)
    told = capfd.readouterr()
    assert told.out == ""
    assert sorted(told.err.split()) == ["err", "out"]
