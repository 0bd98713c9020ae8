"""The command: what it is asked for, and what it says where nothing can be started."""

import json

import pytest

from build import nvidia, private, serverengine
from build.__main__ import main
from tests import containerkit, enginekit
from tests.containerkit import Container, event

PROFILE = "k144-nospec-200k"


@pytest.fixture(autouse=True)
def _machine(tmp_path, monkeypatch):
    """A machine whose user's engine would be at this socket; nothing of this one's is looked at."""
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.delenv("VLLM_API_KEY", raising=False)
    monkeypatch.setattr(private, "RUN", tmp_path / "run")
    monkeypatch.setattr(serverengine.dockerapi, "user_url", lambda: f"unix://{tmp_path}/engine.sock")
    monkeypatch.setattr(nvidia, "driver", lambda: None)


@pytest.fixture
def engine(tmp_path):
    """It answers, and has that container."""

    def engine(container=None, **answers):
        told = {"/networks": (200, []), "/volumes": (200, {"Volumes": []}), **answers}
        made = containerkit.Engine(container, answers=told) if container else enginekit.Engine(answers=told)
        return enginekit.served(made, tmp_path / "engine.sock")

    return engine


def serve(*words):
    return main(["serve", *words])


def test_which_profile(capsys):
    assert serve() == 2
    assert PROFILE in capsys.readouterr().err


def test_an_unknown_profile(capsys):
    assert serve("--profile", "k144") == 70
    assert f"did you mean {PROFILE}?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("word", "why"),
    [
        ("--api-key=sesame", "VLLM_API_KEY"),
        ("--host=0.0.0.0", "an option of this command"),
        ("--served_model_name=x", "the profile says it"),
        ("--ssl-keyfile=x", "without TLS"),
    ],
)
def test_what_is_no_word_for_vllm(capsys, word, why):
    assert serve("--profile", PROFILE, f"--vllm={word}") == 2
    said = capsys.readouterr().err
    assert why in said
    assert "sesame" not in said


def test_another_machine_s_engine(monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    monkeypatch.setattr(serverengine.dockerapi, "user_url", lambda: "tcp://127.0.0.1:1")
    assert serve("status") == 2


@pytest.mark.parametrize("verb", ["stop", "status", "logs"])
def test_without_an_engine_there_is_nothing_to_tell(verb, capsys):
    assert serve(verb) == 40
    assert "no engine answers" in capsys.readouterr().err


def test_all_that_is_in_the_way_is_told(engine, capsys, monkeypatch):
    monkeypatch.setattr("build.starting.platform.machine", lambda: "x86_64")
    with engine():
        assert serve("--profile", PROFILE) == 72
    said = capsys.readouterr().err
    for text in (
        "✗ machine: this machine is x86_64", "✗ driver: there is no NVIDIA driver", "✗ image: there is no image",
        "✗ toolkit: Docker Engine 26.1.5 at unix://", "✓ server: no other of ours runs", "✗ model: 0xSero/DeepSeek-V4-Flash-162B",
    ):  # fmt: skip
        assert text in said
    assert "things are in the way of a server here" in said


def test_a_dry_run_shows_what_it_knows_and_fails_for_what_is_in_the_way(capsys, monkeypatch):
    monkeypatch.setattr("build.starting.platform.machine", lambda: "x86_64")
    assert serve("--profile", PROFILE, "--dry-run", "--json") == 72
    told = json.loads(capsys.readouterr().out)
    assert set(told) == {"preflight"}, "without an engine there is no container to show"
    assert {"item": "machine", "status": "BAD"}.items() <= told["preflight"][0].items()


LABELS = {
    "spark-runtime.serve": "p", "spark-runtime.target": "v0.32", "spark-runtime.serve.url": "http://127.0.0.1:1",
    "spark-runtime.serve.image": "sha256:ab", "spark-runtime.serve.stop-seconds": "45",
}  # fmt: skip


def test_the_status_of_one_that_runs(engine, capsys):
    container = Container(labels=LABELS)
    container.state = {
        "Status": "running", "StartedAt": "2026-11-26T18:00:00Z",
        "Health": {"Status": "unhealthy", "Log": [{"Output": "serving: memory is low\n"}]},
    }  # fmt: skip
    with engine(container):
        assert serve("status", "--json") == 0
        (row,) = json.loads(capsys.readouterr().out)["servers"]
        assert (row["lives"], row["answers"], row["end"], row["stop_seconds"]) == (True, "not now", "", 45)
        assert (row["health"], row["health_said"]) == ("unhealthy", "serving: memory is low")
        assert serve("status") == 0
        assert "serving: memory is low" in capsys.readouterr().out


def test_the_status_of_one_that_ended(engine, capsys):
    container = Container(labels=LABELS)
    container.say("vLLM said this", event("memory-short", 9_000_000, 8_000_000), event("ended", 1))
    container.end(81)
    with engine(container):
        assert serve("status", "--json") == 0
        (row,) = json.loads(capsys.readouterr().out)["servers"]
        assert row["end"] == "the watchdog ended it for lack of memory while it served"
        assert "8.19 GB at least" in row["memory"]
        assert row["words"] == "vLLM said this"


def test_its_log(engine, capsysbinary):
    container = Container(labels=LABELS)
    container.say("one", "two", "three")
    with engine(container):
        assert serve("logs") == 0
        assert capsysbinary.readouterr().out == b"one\ntwo\nthree\n"
        assert serve("logs", "--tail", "1") == 0
        assert capsysbinary.readouterr().out == b"three\n"


def test_nothing_is_there(engine, capsys):
    with engine():
        assert serve("logs") == 72
        assert serve("stop") == 0
        assert serve("status") == 0
    assert "no server of ours is there" in capsys.readouterr().out


def test_an_engine_that_fails_is_an_error(engine, capsys):
    with engine(**{"/containers/json": (500, {"message": "database is locked"})}):
        assert serve("status") == 40
    assert "database is locked" in capsys.readouterr().err
