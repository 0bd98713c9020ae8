"""What an engine is told of a server's container. That both forms are one is asked of an engine: tests/engine/test_serve.py."""

import shlex
from pathlib import Path

import pytest

from build import entrycode, nvidia, servercontainer
from build.errors import EngineError, ServeError
from build.servercontainer import Plan
from build.settings import REPO

DIGEST = "sha256:" + 64 * "a"


def plan(**more):
    values = {
        "image": f"ghcr.io/owner/name@{DIGEST}", "digest": DIGEST, "target": "v0.32", "profile": "k144-nospec-200k",
        "profile_file": Path("/store/serve/k144.toml"), "model": Path("/store/models/0xSero--M-d663"), "host": "127.0.0.1",
        "port": 8000, "bridge": True, "gpus": None, "drain": 30,
    }  # fmt: skip
    return Plan(**{**values, **more})


def test_in_a_container_of_its_own_network():
    made = plan(port=9000, words=("--seed=1",))
    assert made.url == "http://127.0.0.1:9000"
    assert made.command == (
        "serve", "--profile", "/profiles/k144-nospec-200k.toml", "--model", "/models/0xSero--M-d663", "--", "--seed=1",
    )  # fmt: skip
    words = servercontainer.docker_run(made)
    assert words[words.index("--publish") + 1] == "127.0.0.1:9000:8000/tcp"
    assert "--network" not in words
    assert words[words.index(made.image) + 1 :] == list(made.command)


def test_in_the_host_s_network_it_is_told_where_to_listen():
    made = plan(bridge=False, port=9000, host="::1")
    assert made.command[5:] == ("--host", "::1", "--port", "9000")
    assert made.url == "http://[::1]:9000"
    words = servercontainer.docker_run(made)
    assert words[words.index("--network") + 1] == "host"
    assert "--publish" not in words


def test_an_address_of_ip_version_6_is_published_in_brackets():
    words = servercontainer.docker_run(plan(host="::"))
    assert words[words.index("--publish") + 1] == "[::]:8000:8000/tcp"


def test_the_caches_are_an_image_s():
    assert plan().volume == "spark-runtime-cache-aaaaaaaaaaaa"
    assert plan(digest="sha256:" + 64 * "b").volume != plan().volume
    assert (
        f"type=volume,src={plan().volume},dst=/cache,volume-label=spark-runtime.cache={DIGEST}"
        in servercontainer.docker_run(plan())
    )
    assert entrycode.module(REPO, "story").CACHE == servercontainer.CACHE, "where the image's program looks for it"
    assert entrycode.module(REPO, "compose").PORT == servercontainer.PORT


def test_it_gets_more_time_than_its_watchdog_takes():
    words = servercontainer.docker_run(plan(drain=100))
    assert int(words[words.index("--stop-timeout") + 1]) > 100


def test_no_secret_is_on_the_line_or_in_what_is_printed():
    made = plan(environment={"VLLM_API_KEY": "sesame", "OPENSSL_armcap": "0"})
    words = servercontainer.docker_run(made)
    assert "sesame" not in " ".join(words) + repr(made)
    assert words[words.index("VLLM_API_KEY") - 1] == "--env"
    assert "OPENSSL_armcap=0" in words


@pytest.mark.parametrize(
    ("info", "words"),
    [
        ({"DiscoveredDevices": [{"ID": "nvidia.com/gpu=0"}]}, ["--device", "nvidia.com/gpu=all"]),
        ({"Runtimes": {"nvidia": {}}}, ["--gpus", "all"]),
    ],
)
def test_the_gpus_as_words(info, words):
    line = servercontainer.docker_run(plan(gpus=nvidia.request(info)))
    assert line[line.index(words[0]) : line.index(words[0]) + 2] == words


def test_as_one_pastes_it():
    shown = servercontainer.shown(servercontainer.docker_run(plan(model=Path("/a b/model"))))
    assert shown.startswith("docker run \\\n  --detach \\\n  --name spark-runtime-serve \\\n")
    assert shlex.split(shown.replace("\\\n", " ")) == servercontainer.docker_run(plan(model=Path("/a b/model")))


def test_a_profile_is_kept_by_its_content(tmp_path):
    one = servercontainer.kept(tmp_path, "p", b"a")
    assert servercontainer.kept(tmp_path, "p", b"a") == one
    two = servercontainer.kept(tmp_path, "p", b"b")
    assert (one.read_bytes(), two.read_bytes()) == (b"a", b"b")
    assert one.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize(
    ("said", "kind", "what"),
    [
        ('Conflict. The container name "/spark-runtime-serve" is already in use by container "f"', ServeError, "being started"),
        ("invalid mount config for type: bind source path does not exist: /m", EngineError, "does not see a folder"),
        ("driver failed programming external connectivity: listen tcp4 127.0.0.1:8000: bind: address already in use", ServeError, "taken"),
        ('could not select device driver "" with capabilities: [[gpu]]', EngineError, "hand a GPU"),
        ("CDI device injection failed: unresolvable CDI devices nvidia.com/gpu=all", EngineError, "hand a GPU"),
        ("nvidia-container-cli: initialization error: load library failed", EngineError, "hand a GPU"),
        ("exec format error", ServeError, "does not start the container"),
    ],
)  # fmt: skip
def test_what_an_engine_refuses(said, kind, what):
    error = servercontainer.refused(said)
    assert isinstance(error, kind)
    assert what in error.what
    assert error.why == said


def test_a_limit_that_may_not_be_lifted():
    said = "error setting rlimits for ready process: error setting rlimit type 8: operation not permitted"
    assert servercontainer.forbids_memlock(servercontainer.refused(said))
    assert not servercontainer.forbids_memlock(servercontainer.refused("exec format error"))
    assert "memlock=-1:-1" in servercontainer.docker_run(plan())
    assert "memlock=-1:-1" not in servercontainer.docker_run(plan(memlock=False))
