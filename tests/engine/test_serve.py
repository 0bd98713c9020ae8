"""`nox -s serve` for real: an engine, the image's own program and watchdog, and a stand-in where vLLM would be."""

import contextlib
import hashlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import urllib.error
from dataclasses import replace

import pytest

from build import dockerapi, published, servercontainer
from tests.engine import registrykit, serverkit
from tests.engine.serverkit import IMAGE, Bench

CACHE = "spark-runtime-cache-"


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """An engine with a bridge, as people have one, that has the image; and a model beside it."""
    with serverkit.engine(tmp_path_factory.mktemp("bridged"), bridged=True) as (settings, url):
        serverkit.build(settings)
        yield settings, url, serverkit.lay_model(settings)


@pytest.fixture
def bench(served, tmp_path):
    settings, url, size = served
    made = Bench(settings=settings, url=url, folder=tmp_path, bytes=size)
    yield made
    made.verb("stop", "--prune")


@pytest.fixture
def client(bench):
    with contextlib.closing(dockerapi.connect(bench.url)) as found:
        yield found


def test_it_serves_until_it_is_stopped(bench, client):
    bench.behaviour = {"shards": 3, "pace": 0.5}
    done = bench.start("--json", HF_TOKEN="hf_secret")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["url"], told["model"], told["target"]) == (f"http://127.0.0.1:{bench.port}", "Tiny", "tiny")
    assert "loading weights: 3 of 3 shards" in done.stderr
    assert "arm64 code is emulated" in done.stderr
    assert "no GPU is wanted" in done.stderr

    inside = bench.get("/v1/seen")
    assert inside["uid"] == 1000
    assert {"config.json", "model-00001-of-00003.safetensors"} <= set(inside["model"])
    model = "/models/someone--Tiny-V4-d663e8fb1680"
    assert inside["may"] == {
        "/": "Read-only file system", model: "Read-only file system", "/home/spark": "Read-only file system",
        "/cache": "write", "/tmp": "write", "/dev/shm": "write",
    }  # fmt: skip
    assert re.search(r"CapEff:\s+0+$", inside["status"], re.MULTILINE)
    assert re.search(r"NoNewPrivs:\s+1$", inside["status"], re.MULTILINE)
    assert re.search(r"Max stack size\s+67108864\s+67108864", inside["limits"])
    assert inside["environment"]["HF_HUB_OFFLINE"] == "1"
    assert inside["environment"]["TRITON_CACHE_DIR"].startswith("/cache/")
    assert "hf_secret" not in json.dumps(inside)

    (row,) = bench.status()["servers"]
    assert (row["profile"], row["status"], row["answers"], row["url"]) == ("tiny-server", "running", "yes", told["url"])
    second = bench.start()
    assert (second.returncode, "a server runs already: tiny-server" in second.stderr) == (72, True), second.stderr
    assert "Starting vLLM server on" in bench.verb("logs").stdout
    assert len(bench.verb("logs", "--tail", "1").stdout.splitlines()) == 1

    ended = bench.verb("stop")
    assert (ended.returncode, "it ended as it was told to" in ended.stderr) == (0, True), ended.stderr
    assert client.containers.list(all=True) == []
    (volume,) = client.volumes.list()
    assert volume.name == told["cache"] == CACHE + client.images.get(IMAGE).id[7:19]
    assert f"caches that belong to no server: {volume.name}" in bench.verb("status").stdout
    pruned = json.loads(bench.verb("stop", "--prune", "--json").stdout)
    assert (pruned, client.volumes.list()) == ({"ended": [], "caches_removed": [volume.name]}, [])
    assert "no server of ours is there" in bench.verb("logs").stderr


@pytest.mark.skipif(shutil.which("docker") is None, reason="there is no docker command here")
def test_the_command_that_is_shown_makes_the_same_container(bench, client):
    """`docker create` with the words of --dry-run, beside the container that the API made."""
    done = bench.start("--dry-run", "--json", "--vllm=--seed=1", VLLM_API_KEY="key")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert client.containers.list(all=True) == []
    words = told["docker_run"]
    assert words[:3] == ["docker", "run", "--detach"]
    assert "vllm serve /models/someone--Tiny-V4-d663e8fb1680" in told["vllm"]
    assert "key" not in words
    assert words[3:5] == ["--name", servercontainer.NAME]
    assert bench.start("--vllm=--seed=1", VLLM_API_KEY="key").returncode == 0
    assert "--seed=1" in bench.get("/v1/seen", "key")["argv"]
    command = ["docker", "--host", bench.url, "create", "--name", "by-hand", *words[5:]]
    made = subprocess.run(
        command, capture_output=True, text=True, check=False, env={"PATH": os.environ["PATH"], "VLLM_API_KEY": "key"}
    )
    assert made.returncode == 0, made.stderr
    try:
        ours, by_hand = (comparable(client, name) for name in (servercontainer.NAME, "by-hand"))
        assert ours == by_hand
    finally:
        client.containers.get("by-hand").remove(force=True)


def comparable(client, name):
    """What was asked for, without what the engine adds by itself, and without what this machine's engine may not do."""
    told = client.api.inspect_container(name)
    host, config = told["HostConfig"], told["Config"]
    host["Ulimits"] = [item for item in host["Ulimits"] if item["Name"] != "memlock"]
    host["Mounts"] = sorted(host["Mounts"], key=lambda item: item["Target"])
    for mount in host["Mounts"]:
        mount.pop("BindOptions", None)
        if "VolumeOptions" in mount:
            mount["VolumeOptions"] = mount["VolumeOptions"]["Labels"]
    for key in ("ConsoleSize", "ContainerIDFile", "Init"):
        host.pop(key, None)
    config["Env"].sort()
    for key in ("Hostname", "AttachStdout", "AttachStderr"):
        config.pop(key)
    return {key: value or None for key, value in {**host, **config}.items()}


def test_a_server_that_dies_while_it_starts(bench):
    bench.behaviour = {"shards": 2, "pace": 0.2, "ready": None, "crash": [3, 7]}
    done = bench.start()
    assert done.returncode == 72, done.stderr
    assert "the server ended: vLLM failed while it started" in done.stderr
    assert "RuntimeError: CUDA error: out of memory" in done.stderr
    assert "available memory: " in done.stderr, "as the watchdog's last event has it"
    (row,) = bench.status()["servers"]
    assert (row["status"], row["exit_status"], row["lives"]) == ("exited", 83, False)
    shown = " ".join(bench.verb("status").stdout.split())
    assert "vLLM failed while it started" in shown
    assert "CUDA error: out of memory" in shown
    assert "CUDA error: out of memory" in bench.verb("logs").stdout
    bench.behaviour = {}
    again = bench.start()
    assert again.returncode == 0, again.stderr
    assert "remove the container of tiny-server, which ended: vLLM failed while it started" in again.stderr


def test_a_server_that_never_becomes_ready(bench):
    bench.behaviour = {"shards": 1, "ready": None}
    done = bench.start("--timeout", "6")
    assert done.returncode == 72, done.stderr
    assert "did not become ready: nothing new for" in done.stderr
    assert "it was last seen weights are loaded" in done.stderr
    (row,) = bench.status()["servers"]
    assert (row["lives"], row["exit_status"]) == (False, 0), "it was ended, and stays for its log"


def test_ctrl_c_while_it_starts(bench, client):
    bench.behaviour = {"ready": None}
    with bench.starting() as process:
        bench.until_said("loading weights")
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130, bench.said
    assert "end it (at most 20 s)" in bench.said
    assert client.containers.list(all=True) == []


def test_a_server_that_does_not_end_is_killed_by_its_watchdog(bench):
    bench.behaviour, bench.drain = {"drain": 600}, 2
    assert bench.start().returncode == 0
    ended = json.loads(bench.verb("stop", "--json").stdout)["ended"]
    assert [(row["exit_status"], row["end"]) for row in ended] == [
        (85, "it did not end within its drain time, and was killed")
    ]


def test_all_that_is_in_the_way_is_told_at_once(bench):
    bench.bytes = 10**15
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", bench.port))
        taken.listen()
        done = bench.start("--models", str(bench.folder / "models"))
    assert done.returncode == 72, done.stderr
    assert "3 things are in the way of a server here" in done.stderr
    for text in (
        f"port {bench.port} of 127.0.0.1 is taken",
        "is not here",
        "there is not enough memory for tiny-server",
    ):
        assert text in done.stderr
    one = bench.start("--models", str(bench.folder / "models"), "--anyway")
    assert one.returncode == 71, "the one that is left, by its own kind"


def test_an_image_that_the_profile_is_not_for(bench):
    bench.targets = '"v0.32"'
    done = bench.start()
    assert (done.returncode, "is not for the target tiny" in done.stderr) == (70, True), done.stderr


def test_an_image_without_the_program(bench, client):
    container = client.containers.create("spark-runtime:tiny", ["bash"], platform="linux/arm64")
    try:
        container.commit("spark-runtime-test", "old", changes='ENTRYPOINT ["/bin/sh"]')
        done = bench.start(image="spark-runtime-test:old")
        assert (done.returncode, "has no program that serves" in done.stderr) == (72, True), done.stderr
    finally:
        container.remove()
        client.images.remove("spark-runtime-test:old")


def test_an_image_whose_vllm_lacks_an_option(bench):
    done = bench.start("--vllm=--unheard-of=1")
    assert done.returncode == 72, done.stderr
    assert "its vLLM does not know an option" in done.stderr
    assert "--unheard-of" in done.stderr


def test_the_image_that_was_built_here_has_no_vllm(bench):
    done = bench.start(image=None)
    assert "tiny: built here; nothing is published for this profile yet" in done.stderr
    assert (done.returncode, "there is no vLLM" in done.stderr) == (72, True), done.stderr


def test_an_api_key_is_the_server_s_alone(bench, client):
    done = bench.start(VLLM_API_KEY="sesame-opens")
    assert done.returncode == 0, done.stderr
    assert "sesame" not in done.stdout + done.stderr
    assert "Authorization: Bearer $VLLM_API_KEY" in done.stdout
    with pytest.raises(urllib.error.HTTPError) as refused:
        bench.get("/v1/models")
    refused.value.close()
    assert bench.get("/v1/models", "sesame-opens")["data"][0]["id"] == "Tiny"
    told = client.api.inspect_container(servercontainer.NAME)
    assert "sesame" not in json.dumps([told["Args"], told["Config"]["Labels"]])
    on_a_line = bench.start("--vllm=--api-key=x")
    assert on_a_line.returncode == 2


def test_what_answers_is_something_else(bench):
    bench.behaviour = {"name": "another-model"}
    done = bench.start()
    assert (done.returncode, "serves another-model" in done.stderr) == (72, True), done.stderr


def test_for_others_only_when_asked(bench, client):
    done = bench.start("--host", "0.0.0.0")
    assert done.returncode == 0, done.stderr
    assert "it can be used by anyone who reaches this machine, unencrypted, without any API key" in done.stderr
    (bound,) = client.api.inspect_container(servercontainer.NAME)["HostConfig"]["PortBindings"]["8000/tcp"]
    assert bound["HostIp"] == "0.0.0.0"
    assert bench.get("/v1/models")


@pytest.mark.slow
def test_a_server_that_hangs_becomes_unhealthy(bench):
    """Three questions of the watchdog's, ten seconds each, then two of Docker's."""
    bench.behaviour = {"hang": 8}
    assert bench.start().returncode == 0
    serverkit.until(lambda: bench.status()["servers"][0]["health"] == "unhealthy", "unhealthy")
    (row,) = bench.status()["servers"]
    assert (row["health_said"], row["answers"]) == ("serving: the server does not answer", "not now")


@pytest.fixture(scope="module")
def private_only(tmp_path_factory):
    """The private engine as it is: no bridge, so no published ports."""
    with serverkit.engine(tmp_path_factory.mktemp("private"), bridged=False) as (settings, url):
        serverkit.build(settings)
        yield settings, url, serverkit.lay_model(settings)


def test_an_engine_without_a_bridge(private_only, tmp_path):
    settings, url, size = private_only
    bench = Bench(settings=settings, url=url, folder=tmp_path, bytes=size)
    try:
        done = bench.start()
        assert done.returncode == 0, done.stderr
        argv = bench.get("/v1/seen")["argv"]
        assert argv[argv.index("--host") + 1 : argv.index("--host") + 4 : 2] == ["127.0.0.1", str(bench.port)]
    finally:
        assert bench.verb("stop", "--prune").returncode == 0


# -- from one engine into another, and out of a registry


def as_context(folder, url):
    """Docker's own configuration, with a context that leads to an engine."""
    meta = folder / "docker/contexts/meta" / hashlib.sha256(b"mine").hexdigest()
    meta.mkdir(parents=True)
    told = {"Name": "mine", "Metadata": {}, "Endpoints": {"docker": {"Host": url, "SkipTLSVerify": False}}}
    (meta / "meta.json").write_text(json.dumps(told))
    (folder / "docker/config.json").write_text(json.dumps({"currentContext": "mine"}))
    return str(folder / "docker")


def a_driver(folder):
    """A PATH with an nvidia-smi that answers as a GB10's does."""
    program = folder / "bin/nvidia-smi"
    program.parent.mkdir()
    program.write_text(
        '#!/bin/sh\n[ $# = 0 ] && echo "| NVIDIA-SMI 580.95.05   Driver Version: 580.95.05   CUDA Version: 13.0 |"\n'
        '[ $# = 0 ] || echo "580.95.05, 12.1, NVIDIA GB10"\n'
    )
    program.chmod(0o755)
    return f"{program.parent}:{os.environ['PATH']}"


def test_an_image_of_the_private_engine_is_copied_into_the_one_that_has_gpus(bench, client, tmp_path_factory):
    """It knows NVIDIA's runtime by name, as far as that goes here: in the end it cannot hand over what is not there."""
    more = {"runtimes": {"nvidia": {"path": "/usr/sbin/runc"}}}
    with serverkit.engine(tmp_path_factory.mktemp("users"), bridged=False, more=more) as (_, url):
        environment = {"DOCKER_CONFIG": as_context(bench.folder, url), "PATH": a_driver(bench.folder)}
        done = bench.start("--device", "gpu", **environment)
        assert "✓ driver: 580.95.05, CUDA 13.0, NVIDIA GB10 (compute capability 12.1)" in done.stderr
        assert f"at {url} hands over GPUs by NVIDIA's runtime" in done.stderr
        assert f"copy {IMAGE} from the engine at {bench.url} to that at {url}" in done.stderr
        assert (done.returncode, "the engine does not see a folder" in done.stderr) == (40, True), done.stderr
        with contextlib.closing(dockerapi.connect(url)) as theirs:
            assert theirs.images.get(IMAGE).attrs["RootFS"] == client.images.get(IMAGE).attrs["RootFS"]
        shown = bench.start("--device", "gpu", "--dry-run", "--json", **environment)
        words = json.loads(shown.stdout)["docker_run"]
        assert words[words.index("--gpus") + 1] == "all"


@pytest.mark.slow
def test_what_was_published_is_verified_and_pulled(served, tmp_path, tmp_path_factory):
    """From a clone with a record: by its digest, once its signature and documents were found good."""
    settings, url, size = served
    password = {"COSIGN_PASSWORD": "opens"}
    with registrykit.registry(tmp_path / "registry") as registry:
        repo = serverkit.clone(tmp_path / "repo")
        registrykit.cosign("generate-key-pair", cwd=tmp_path, env=password)
        bench = Bench(settings=settings, url=url, folder=tmp_path, bytes=size, repo=repo)
        place = f"{registry.place}/spark/tiny"
        for words in (
            ("build", "--target", "tiny", "--record"), ("smoke", "--target", "tiny"),
            ("push", "--target", "tiny", "--repo", place, "--allow-unfit", "--allow-dirty", "--key", str(tmp_path / "cosign.key")),
        ):  # fmt: skip
            done = serverkit.verb(settings, *words, repo=repo, **password)
            assert done.returncode == 0, done.stderr
        (record,) = published.read_all(repo)
        untold = replace(record, places=(replace(record.places[0], remarks=()),))  # as of a target that is for use
        done = bench.start(image=None)
        assert "nothing is published" in done.stderr, "what has remarks is for private tests"
        bench.verb("stop")
        published.write(repo, untold)
        with contextlib.closing(dockerapi.connect(url)) as client:
            for tag in client.images.get(record.manifest).tags:
                client.images.remove(tag, force=True)
        nobody = bench.start(image=None)
        assert (nobody.returncode, "is not in this clone" in nobody.stderr) == (2, True), nobody.stderr
        (repo / "docs/keys").mkdir(parents=True)
        shutil.copy(tmp_path / "cosign.pub", repo / "docs/keys/tests.pub")
        done = bench.start(image=None)
        assert f"verify {place}@{record.manifest[:19]}" in done.stderr
        assert f"pull {place}@{record.manifest}" in done.stderr
        assert "there is no vLLM in this image" in done.stderr, "it was started; tiny has none"
        (server,) = bench.status()["servers"]
        assert server["image"] == record.manifest
        again = bench.start("--offline", image=None)
        assert ("verify " in again.stderr, "pull " in again.stderr) == (False, False), "both are done once"
        assert "signed by the key" in again.stderr
        bench.verb("stop")
        serverkit.drop(settings.store / "serve/verified")
        offline = bench.start("--offline", image=None)
        assert (offline.returncode, "was never verified here" in offline.stderr) == (22, True), offline.stderr
        registry.blob(record.places[0].documents[0].digest).unlink()
        spoiled = bench.start(image=None)
        assert spoiled.returncode in (66, 63, 61), spoiled.stderr
