"""`nox -s build` with another builder, another place for the image, a cache: what is refused, what leads there."""

import argparse
import hashlib

import pytest

from build import engine, host
from build.commands import build
from build.errors import UsageError
from build.models import Engine, Settings
from build.settings import REPO

FILE = ("--output", "type=oci,dest=x.tar")


def args(*words):
    parser = argparse.ArgumentParser()
    build.add_arguments(parser)
    return parser.parse_args(words)


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("--builder", "farm"), "--builder needs --output"),
        (("--machine", "arm64"), "--machine is of a builder"),
        (("--record", "--builder", "farm", *FILE), "--record and --expect need the image in the engine"),
        (("--expect", *FILE), "--record and --expect need the image in the engine"),
        (("--expect", "--builder", "farm", "--output", "type=local,dest=x"), "--expect cannot see the image there"),
        (("--expect", "--builder", "farm", "--output", "x"), "--expect cannot see the image there"),
        (("--no-cache", "--cache-from", "h:1/c"), "--no-cache reuses nothing"),
        (("--cache-to", "team/cache"), "--cache-to: team/cache is not HOST/NAME"),
        (("--cache-from", "type=gha,token=x"), "--cache-from carries a secret"),
        (("--builder", "farm", "--expect", "--output", 'type=oci,"dest=x'), "--output is not one line"),
    ],
)
def test_options_that_cannot_be_meant_are_refused_before_any_work(words, what, tmp_path):
    with pytest.raises(UsageError, match=what):
        build.run(args("--target", "tiny", *words), Settings(repo=REPO, store=tmp_path / "store"))
    assert not (tmp_path / "store/contexts").exists()


def test_a_machine_is_one_that_there_are_programs_for(capsys):
    with pytest.raises(SystemExit):
        args("--builder", "farm", "--machine", "riscv64")
    assert "amd64" in capsys.readouterr().err


# --- what buildx finds in its environment ---------------------------------------------------------------------------

LED = {
    "DOCKER_HOST": "tcp://x", "DOCKER_CERT_PATH": "/c", "DOCKER_TLS_VERIFY": "1", "SSH_AUTH_SOCK": "/agent", "KUBECONFIG": "/k",
}  # fmt: skip


@pytest.fixture
def led(tmp_path, monkeypatch):
    """The environment of buildx for a builder, with a user's variables; there is the Docker context ``farm``."""
    root, config = tmp_path / "root", tmp_path / "docker"
    loader = root / "usr/lib/x/ld-linux-x.so.2"
    loader.parent.mkdir(parents=True)
    loader.touch()
    meta = config / "contexts/meta" / hashlib.sha256(b"farm").hexdigest()
    meta.mkdir(parents=True)
    (meta / "meta.json").write_text("{}")
    monkeypatch.setattr(host, "tools", lambda _: root)
    monkeypatch.delenv("BUILDX_CONFIG", raising=False)
    for name, value in {**LED, "DOCKER_CONFIG": str(config)}.items():
        monkeypatch.setenv(name, value)

    def ask(builder, **more):
        for name, value in more.items():
            monkeypatch.setenv(name, value)
        settings = Settings(repo=REPO, store=tmp_path / "store", builder=builder)
        chosen = Engine(url="tcp://x", private=False, version="")
        _, found = engine.buildx(chosen, settings)
        return found, config

    return ask


def test_a_docker_context_is_led_to_by_its_name_alone(led):
    found, config = led("farm")
    assert found["DOCKER_CONTEXT"] == "farm"
    assert not {"DOCKER_HOST", "DOCKER_CERT_PATH", "DOCKER_TLS_VERIFY"} & found.keys(), "those of another engine"
    assert (found["SSH_AUTH_SOCK"], found["DOCKER_CONFIG"]) == ("/agent", str(config))


def test_a_builder_of_the_users_is_looked_up_where_buildx_keeps_it(led):
    found, config = led("cluster")
    assert "DOCKER_CONTEXT" not in found
    assert {name: found[name] for name in LED} == LED
    assert found["BUILDX_CONFIG"] == str(config / "buildx")
    found, _ = led("cluster", BUILDX_CONFIG="/elsewhere")
    assert found["BUILDX_CONFIG"] == "/elsewhere"


def test_without_a_builder_nothing_of_the_users_builders_counts(led, tmp_path):
    found, _ = led(None, BUILDX_CONFIG="/elsewhere")
    assert found["BUILDX_CONFIG"] == str(tmp_path / "store/buildx")
    assert found["DOCKER_HOST"] == "tcp://x"
    assert "DOCKER_CONTEXT" not in found
