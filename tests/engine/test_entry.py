"""The entry point and its watchdog as process 1 of the real image tiny, with a stand-in vLLM and a faked meminfo.

The image is built in a store of its own, by an engine of its own: what others have built is not touched.
"""

import json
import os
import shutil
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

import pytest

from build import assemble, dockerapi, emulation, host, private
from build.settings import REPO
from tests import servekit
from tests.engine.kit import own_settings

SITE = "/opt/venv/lib/python3.13/site-packages/vllm"
HEALTH = ["/usr/bin/python3.13", "-I", "-S", "/opt/spark/serve", "health"]
PATIENCE_SECONDS = 90  # everything here is emulated
STATES = """
import os
for pid in filter(str.isdigit, os.listdir("/proc")):
    try:
        print(open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[0])
    except OSError:
        pass
"""
LOW, PLENTY = 90_000, 1_000_000
SECOND = 1_000_000_000  # nanoseconds


@dataclass(frozen=True)
class Place:
    client: object
    image: str
    store: Path


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    settings = own_settings(tmp_path_factory.mktemp("entry"))
    emulation.ensure(settings.store, host.tools(settings))
    done = subprocess.run(
        [sys.executable, "-m", "build", "build", "--target", "tiny"], cwd=REPO, capture_output=True, text=True,
        env={**os.environ, "SPARK_RUNTIME_STORE": str(settings.store), "DOCKER_HOST": ""}, check=False,
    )  # fmt: skip
    try:
        assert done.returncode == 0, done.stderr
        known = assemble.read_built(settings.store, "tiny")
        client = dockerapi.connect(known.engine)
        yield Place(client, known.image, settings.store)
        client.close()
    finally:
        private.remove(settings.store)


class World:
    """A container that serves, with all that it sees of this machine below the engine's own store."""

    def __init__(self, tiny):
        self.client, self.image = tiny.client, tiny.image
        self.folder = tiny.store / "worlds" / uuid.uuid4().hex[:8]
        self.folder.mkdir(parents=True)
        self.folder.parent.chmod(0o755)
        (self.folder / "out").mkdir()
        (self.folder / "out").chmod(0o777)
        (self.folder / "small.toml").write_text(servekit.PROFILE)
        servekit.write_model(self.folder / "model")
        servekit.write_meminfo(self.folder / "meminfo", PLENTY)
        servekit.write_package(self.folder)
        program = self.folder / "program"
        program.write_text(f"#!/usr/bin/python3.13\n{servekit.STAND_IN.read_text()}")
        program.chmod(0o755)
        self.behaviour = {"log": "/out/log", "meminfo": "/proc/meminfo"}
        self.containers, self.volumes = [], []

    def change(self, old, new):
        text = (self.folder / "small.toml").read_text()
        assert old in text
        (self.folder / "small.toml").write_text(text.replace(old, new))

    def mounts(self):
        places = {
            "small.toml": "/profiles/small.toml", "model": "/models/model", "meminfo": "/proc/meminfo", "vllm": SITE,
            "program": "/opt/venv/bin/vllm",
        }  # fmt: skip
        found = {str(self.folder / name): {"bind": there, "mode": "ro"} for name, there in places.items()}
        return {**found, str(self.folder / "out"): {"bind": "/out", "mode": "rw"}}

    def start(self, *more, cache=True, **settings):
        """As `nox -s serve` starts it, less the GPU; the health check is asked each second."""
        volumes = self.mounts()
        if cache:
            self.volumes.append(f"entry-{uuid.uuid4().hex[:8]}")
            volumes[self.volumes[-1]] = {"bind": "/cache", "mode": "rw"}
        made = self.client.containers.run(
            self.image, ["serve", "--profile", "/profiles/small.toml", "--model", "/models/model", *more],
            detach=True, platform="linux/arm64", read_only=True, tmpfs={"/tmp": "exec,mode=1777"}, volumes=volumes,
            environment={"STAND_IN": json.dumps(self.behaviour)}, user="1000:1000", cap_drop=["ALL"],
            security_opt=["no-new-privileges"], network_mode="none", healthcheck={"interval": SECOND}, **settings,
        )  # fmt: skip
        self.containers.append(made)
        return Running(self, made)

    def close(self):
        for container in self.containers:
            container.remove(force=True, v=True)
        for volume in self.volumes:
            self.client.volumes.get(volume).remove()
        shutil.rmtree(self.folder)


class Running(servekit.Said):
    def __init__(self, world, container):
        self.world, self.container = world, container

    @property
    def err(self):
        return self.container.logs().decode()

    def until(self, condition, what=""):
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not condition():
            assert time.monotonic() < deadline, f"{what or 'it'} never came:\n{self.err}"
            time.sleep(0.2)

    def until_said(self, name):
        self.until(lambda: name in self.names, name)

    def health(self):
        self.container.reload()
        return self.container.attrs["State"]["Health"]["Status"]

    def memory(self, kb):
        servekit.write_meminfo(self.world.folder / "meminfo", kb)

    def end(self):
        return self.container.wait(timeout=PATIENCE_SECONDS)["StatusCode"]

    def inside(self, code):
        """What a Python in the container prints."""
        done = self.container.exec_run(["/usr/bin/python3.13", "-I", "-S", "-c", code])
        assert done.exit_code == 0, done.output
        return done.output.decode().strip()

    def logged(self):
        path = self.world.folder / "out" / "log"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.fixture
def world(tiny):
    made = World(tiny)
    yield made
    made.close()


# Any other command


def given(tiny, command, **more):
    """Exit status and everything said."""
    container = tiny.client.containers.create(tiny.image, command, platform="linux/arm64", network_mode="none", **more)
    try:
        container.start()
        status = container.wait(timeout=PATIENCE_SECONDS)["StatusCode"]
        return status, container.logs().decode()
    finally:
        container.remove(force=True, v=True)


def test_any_other_command_runs_as_given(tiny):
    assert given(tiny, ["echo", "hi"]) == (0, "hi\n")
    assert given(tiny, ["bash", "-c", "exit 37"])[0] == 37
    status, said = given(tiny, ["bash", "-c", "echo $$; id -u; env | sort"], environment={"A": "b"})
    number, user, *environment = said.splitlines()
    assert (status, number, user) == (0, "1", "1000"), "it is process 1 itself, not a child of it"
    assert {line.split("=")[0] for line in environment} - {"HOSTNAME", "PWD", "SHLVL", "_"} == {
        "A", "HOME", "LANG", "PATH", "VIRTUAL_ENV",
    }  # fmt: skip
    assert given(tiny, ["no-such-program"])[0] == 127


def test_without_a_command_it_is_a_shell(tiny):
    assert given(tiny, None, stdin_open=False) == (0, "")
    config = tiny.client.api.inspect_image(tiny.image)["Config"]
    assert config["Cmd"] == ["bash"]
    assert config["Entrypoint"] == HEALTH[:-1]


def test_the_health_check_is_in_the_image(tiny):
    """BuildKit keeps it in an OCI image's configuration, though the specification has it not."""
    told = tiny.client.api.inspect_image(tiny.image)["Config"]["Healthcheck"]
    assert told["Test"] == ["CMD", *HEALTH]
    assert told["Interval"] == 10 * SECOND
    status, said = given(tiny, ["health"])
    assert (status, said) == (0, "nothing is served here\n")


# The life of a server


def test_ready_healthy_and_stopped(world):
    running = world.start()
    running.until_said("ready")
    running.until(lambda: running.health() == "healthy", "healthy")
    command = running.inside("print(open('/proc/1/cmdline').read().split('\\0'))")
    assert "'/opt/spark/serve', 'serve', '--profile'" in command, "after what emulates it, where something does"
    (first, *_) = running.logged()
    assert first["environment"]["TRITON_CACHE_DIR"] == "/cache/triton"
    assert first["oom"] == "500"
    kept = running.inside("import os; print(os.listdir('/cache/spark-serve'))")
    assert ".json" in kept, "the volume belongs to whoever runs: what vLLM knows is kept there"
    began = time.monotonic()
    running.container.stop(timeout=60)
    assert time.monotonic() - began < 20
    assert running.end() == 0
    assert running.names == ["started", "ready", "told-to-end", "ended"]
    assert running.event("told-to-end")["signal"] == "SIGTERM"


def test_without_a_volume_it_serves_all_the_same(world):
    running = world.start(cache=False)
    running.until_said("ready")
    assert "what is compiled goes to /tmp/spark-cache and is lost" in running.err
    running.container.stop(timeout=60)
    assert running.end() == 0


def test_low_memory_turns_the_health_check_and_then_ends_it(world):
    world.change("patience-seconds = 2", "patience-seconds = 20")
    running = world.start()
    running.until_said("ready")
    running.until(lambda: running.health() == "healthy", "healthy")
    running.memory(LOW)
    running.until(lambda: running.health() == "unhealthy", "unhealthy")
    log = running.container.attrs["State"]["Health"]["Log"]
    assert "memory is low" in log[-1]["Output"]
    assert running.end() == 81
    assert running.names == ["started", "ready", "memory-low", "memory-short", "ended"]
    assert running.event("memory-short")["history_kb"][-1] == LOW


def test_low_memory_at_teardown_kills_nobody(world):
    world.change("drain-seconds = 1", "drain-seconds = 30")
    world.behaviour["drain"] = 5
    running = world.start()
    running.until_said("ready")
    running.memory(LOW)
    running.container.kill("SIGTERM")
    assert running.end() == 0
    assert not {"memory-short", "memory-critical"} & set(running.names)


def test_deaf_children_and_orphans_end_with_it(world):
    world.behaviour |= {"ignore": True, "orphans": 2, "children": 3}
    running = world.start()
    running.until_said("ready")
    running.until(lambda: "Z" not in running.inside(STATES), "nobody dead")
    began = time.monotonic()
    running.container.stop(timeout=60)
    assert time.monotonic() - began < 30, "the profile's drain of one second, not the engine's"
    assert running.end() == 85
    assert running.names[-2:] == ["drain-over", "ended"]
    assert running.event("ended")["orphans_reaped"] >= 3


def test_a_crash(world):
    world.behaviour["crash"] = [0, 3]
    world.behaviour["ready"] = None
    running = world.start()
    assert running.end() == 83
    assert running.event("ended")["code"] == 3


def test_the_memory_limit_of_the_container(world):
    """The real cgroup, of whatever version, and memory that is really taken: ended before the kernel has to."""
    world.behaviour["allocate"] = [3, 20_000_000]
    running = world.start(mem_limit="400m", memswap_limit="400m")
    assert running.end() == 81, running.err
    running.container.reload()
    assert not running.container.attrs["State"]["OOMKilled"]
    event = running.event("memory-short")
    assert event["source"] == "cgroup"
    assert event["available_kb"] < 100_000


def test_as_a_child_of_docker_init(world):
    """With --init it is not process 1, and does the same."""
    world.behaviour |= {"orphans": 1, "children": 2}
    running = world.start(init=True)
    running.until_said("ready")
    running.until(lambda: running.health() == "healthy", "healthy")
    running.container.stop(timeout=60)
    assert running.end() == 0
    assert running.event("ended")["leftovers_killed"] == 1


# What does not begin


def test_what_is_wrong_before(world):
    servekit.write_model(world.folder / "model", n_routed_experts=256)
    assert world.start().end() == 71
    servekit.write_model(world.folder / "model")
    assert world.start("--", "--no-such-option").end() == 74
    world.change("context = 1000", "contxt = 1000")
    assert world.start().end() == 70
    assert running_log(world) == []


def running_log(world):
    path = world.folder / "out" / "log"
    return path.read_text().splitlines() if path.exists() else []


def test_an_image_without_vllm(tiny, world):
    mounts = {place: mount for place, mount in world.mounts().items() if not place.endswith(("vllm", "program"))}
    command = ["serve", "--profile", "/profiles/small.toml", "--model", "/models/model"]
    status, said = given(tiny, command, volumes=mounts)
    assert status == 75
    assert "there is no vLLM in this image" in said
