"""The private engine's state, as far as it shows without one: places, configuration, stale files."""

import os
from pathlib import Path

import pytest

from build import engine, host, jail, private
from build.errors import EngineError
from build.models import Settings


def test_the_socket_path_is_short_and_follows_the_store(tmp_path):
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    assert len(str(private.places(deep).socket)) < 100  # a Unix socket's path ends at 107 bytes
    assert private.places(deep) == private.places(deep)
    assert private.places(deep).run != private.places(tmp_path).run
    assert private.places(deep).home == deep / "engine"


def test_the_same_store_by_another_name_has_the_same_engine(tmp_path):
    (tmp_path / "store").mkdir()
    (tmp_path / "link").symlink_to("store")
    assert private.places(tmp_path / "link").run == private.places(tmp_path / "store").run


def test_the_daemon_disturbs_nobody_and_collects_nothing(tmp_path):
    config = private.daemon_json(private.places(tmp_path), 0)
    assert config["features"] == {"containerd-snapshotter": True}
    assert config["builder"] == {"gc": {"enabled": False}}
    assert config["bridge"] == "none"
    assert not any(config[name] for name in ("iptables", "ip6tables", "ip-forward", "ip-masq"))


def test_a_stale_pid_file_is_not_believed(tmp_path, monkeypatch):
    monkeypatch.setattr(private, "RUN", tmp_path / "run")
    where = private.places(tmp_path)
    where.run.mkdir(parents=True)
    assert private.status(tmp_path).running is False
    for text in (str(os.getpid()), "999999999", "", "x"):  # alive but not ours, dead, cut, nonsense
        where.pid_file.write_text(text)
        found = private.status(tmp_path)
        assert (found.running, found.pid, found.engine) == (False, None, None)


def test_nothing_to_stop(tmp_path, monkeypatch):
    monkeypatch.setattr(private, "RUN", tmp_path / "run")
    assert private.down(tmp_path) is False
    private.remove(tmp_path)


def test_no_running_engine_is_found_without_starting_one(tmp_path, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    settings = Settings(repo=tmp_path, store=tmp_path)
    with pytest.raises(EngineError) as caught:
        engine.find(settings, start=False)
    assert "no engine answers" in caught.value.why
    assert "nox -s engine -- up" in caught.value.todo


def test_without_root_and_sudo_the_lack_and_the_way_out_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr(private, "RUN", tmp_path / "run")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    monkeypatch.setattr(host, "tools", lambda _: tmp_path)
    with pytest.raises(EngineError) as caught:
        engine.find(Settings(repo=tmp_path, store=tmp_path))
    assert caught.value.exit_code == 40
    assert "no engine answers" in caught.value.why
    assert "needs root" in caught.value.why
    assert "there is no sudo" in caught.value.why
    assert "as root" in caught.value.todo
    assert "containerd-snapshotter" in caught.value.todo


def test_the_jails_command_line(tmp_path):
    box = jail.Jail(root=tmp_path, binds=((Path("/a:b"), "/mnt"),), tmpfs=("/tmp",), env=(("A", "x=y"),))
    argv = jail.command(box, ["echo", "--", "hi"], log=tmp_path / "log")
    assert argv[argv.index("--") + 1 :] == ["echo", "--", "hi"]
    assert "--bind=/a:b:/mnt" in argv
    assert "--env=A=x=y" in argv
    assert argv[1:3] == ["-I", "-B"]
