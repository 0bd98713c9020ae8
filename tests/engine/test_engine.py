"""The private engine, for real: its life, its deaths, and that it minds its own business."""

import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

from build import engine, host, private, proc, processes
from build.settings import REPO
from tests.engine.kit import own_settings


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    found = own_settings(tmp_path_factory.mktemp("engine"))
    host.tools(found)
    yield found
    private.remove(found.store)


@pytest.fixture
def running(settings):
    return engine.up(settings)


def build_verb(settings, *argv):
    command = [sys.executable, "-m", "build", *argv, "--store", str(settings.store)]
    return subprocess.Popen(command, cwd=REPO, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def context(folder):
    """A build context: an image of one file."""
    folder.mkdir()
    (folder / "a").write_text("a")
    with tarfile.open(folder / "root.tar", "w") as archive:
        archive.add(folder / "a", "a")
    (folder / "Dockerfile").write_text("FROM scratch\nADD root.tar /\n")
    return folder


def build(running, settings, folder, tag):
    argv, env = engine.buildx(running, settings)
    proc.run([*argv, "build", "--network=none", "--provenance=false", "-t", tag, folder], env=env)


def test_two_starts_at_once_make_one_engine(settings):
    private.down(settings.store)
    starts = [build_verb(settings, "engine", "up", "--json") for _ in range(2)]
    answers = [start.communicate(timeout=120) for start in starts]
    assert [start.returncode for start in starts] == [0, 0], answers
    assert len({json.loads(out)["url"] for out, _ in answers}) == 1
    mine = private._ours(private.places(settings.store))
    assert len([pid for pid in mine if "dockerd" in processes.arguments(pid)[0]]) == 1


def test_it_can_do_the_work(running, settings):
    assert running.private
    client = engine.client(running)
    info = client.info()
    assert ["driver-type", "io.containerd.snapshotter.v1"] in info["DriverStatus"]
    argv, env = engine.buildx(running, settings)
    assert "GC Policy" not in proc.run([*argv, "inspect", "default"], env=env).stdout
    client.close()


def test_builder_runs_python_in_a_build_without_network(running, settings, tmp_path):
    folder = context(tmp_path / "context")
    os.link(host.builder_tar(settings), folder / "builder.tar")
    (folder / "Dockerfile").write_text(
        "FROM scratch\nADD builder.tar /\n"
        'RUN ["python3", "-c", "import ssl, lzma, os; assert not os.path.exists(\'/sys/class/net/eth0\')"]\n'
    )
    build(running, settings, folder, "test-builder")


def test_an_engine_of_the_users_own_is_taken_if_it_can_do_the_work(running, tmp_path, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", running.url)
    found = engine.find(own_settings(tmp_path), start=False)
    assert (found.url, found.private) == (running.url, False)
    argv, env = engine.buildx(found, own_settings(tmp_path / "other"))
    assert "Status:           running" in proc.run([*argv, "inspect", "default"], env=env).stdout


def test_images_survive_a_stop_and_a_murder(settings, tmp_path):
    running = engine.up(settings)
    build(running, settings, context(tmp_path / "context"), "test-survivor")
    assert private.down(settings.store) is True
    assert private.down(settings.store) is False
    assert private.status(settings.store).running is False
    assert private._ours(private.places(settings.store)) == []

    running = engine.up(settings)
    pid = private.status(settings.store).pid
    os.kill(pid, signal.SIGKILL)
    while processes.arguments(pid):
        time.sleep(0.05)
    assert private.status(settings.store).running is False
    running = engine.up(settings)
    assert private.status(settings.store).pid != pid
    client = engine.client(running)
    assert client.images.get("test-survivor").attrs["Architecture"]
    client.close()


def test_a_stale_pid_file_of_a_living_stranger(settings):
    private.down(settings.store)
    where = private.places(settings.store)
    where.run.mkdir(parents=True, exist_ok=True)
    where.pid_file.write_text(str(os.getpid()))
    assert private.status(settings.store).running is False
    assert engine.up(settings).private


def test_an_engine_that_lost_its_root_is_started_anew(settings):
    engine.up(settings)
    before = private.status(settings.store)
    before.places.root_file.write_text("/removed/while/it/ran")
    lost = private.status(settings.store)
    assert (lost.running, lost.engine) == (True, None)
    engine.up(settings)
    after = private.status(settings.store)
    assert after.pid != before.pid
    assert after.places.root_file.read_text() == str(host.tools(settings))


def test_a_broken_start_says_its_last_words_and_leaves_nothing(settings, monkeypatch):
    private.down(settings.store)
    monkeypatch.setattr(private, "daemon_json", lambda *_: {"no-such-key": True})
    with pytest.raises(private.EngineError, match="did not start") as caught:
        engine.up(settings)
    assert "no-such-key" in caught.value.why
    assert private._ours(private.places(settings.store)) == []
    monkeypatch.undo()
    assert engine.up(settings).private


def test_the_hosts_network_and_mounts_are_as_before(settings):
    def seen():
        forward = Path("/proc/sys/net/ipv4/ip_forward").read_text()
        mounts = Path("/proc/self/mountinfo").read_text().count(str(settings.store))
        return sorted(os.listdir("/sys/class/net")), forward, mounts

    private.down(settings.store)
    before = seen()
    engine.up(settings)
    assert seen() == before


def test_rm_leaves_no_trace(settings):
    engine.up(settings)
    done = build_verb(settings, "engine", "rm", "--json")
    out, _ = done.communicate(timeout=120)
    assert json.loads(out) == {"removed": True}
    where = private.places(settings.store)
    assert not where.home.exists()
    assert not where.run.exists()
    assert private._ours(where) == []
