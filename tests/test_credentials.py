"""Who we are to a registry: Docker's files and real helper programs, tokens of the environment, and who sees which."""

import base64
import contextlib
import json
import shlex

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from build import credentials
from build.errors import DeniedError
from tests import registryserver
from tests.guard import GUARD

HOST = "registry.example:5000"
PLAIN = base64.b64encode(b"anna:pass:word").decode()


@pytest.fixture(autouse=True)
def _nobody(monkeypatch, tmp_path):
    registryserver.quick(monkeypatch)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))


def config(tmp_path, **told):
    (tmp_path / "config.json").write_text(json.dumps(told))


def helper(tmp_path, monkeypatch, script):
    """A credential helper on PATH; it hears of the host by standard input."""
    program = tmp_path / "bin" / "docker-credential-toy"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\nread host\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    monkeypatch.setattr(GUARD, "programs", frozenset({program.name}))


def answer(user, secret):
    return f"echo {shlex.quote(json.dumps({'ServerURL': 'x', 'Username': user, 'Secret': secret}))}"


def found(host=HOST):
    who = credentials.find(host)
    return (who.user, who.secret, who.source) if who else None


def test_nobody_has_any():
    assert credentials.find(HOST) is None


def test_docker_knows_a_host_and_no_other(tmp_path):
    config(tmp_path, auths={HOST: {"auth": PLAIN}, "https://other.example/v1/": {"auth": PLAIN}})
    assert found() == ("anna", "pass:word", "Docker's configuration")
    assert found("other.example")[0] == "anna"
    assert found("registry.example") is None
    assert "pass" not in repr(credentials.find(HOST))


def test_a_helper_program_is_asked_for_its_host(tmp_path, monkeypatch):
    config(tmp_path, credHelpers={HOST: "toy"})
    helper(tmp_path, monkeypatch, f'echo "$host" >> {tmp_path}/asked\n{answer("eva", "s3cret")}')
    assert found() == ("eva", "s3cret", "Docker's configuration")
    assert found("other.example") is None
    assert (tmp_path / "asked").read_text() == f"{HOST}\n"


def test_a_helper_may_have_a_refresh_token(tmp_path, monkeypatch):
    config(tmp_path, credsStore="toy")
    helper(tmp_path, monkeypatch, answer("<token>", "refresh-me"))
    who = credentials.find(HOST)
    assert (who.secret, who.identity) == ("", "refresh-me")
    assert "refresh-me" not in repr(who)


def test_a_helper_that_knows_nothing_is_no_error(tmp_path, monkeypatch):
    config(tmp_path, credsStore="toy")
    helper(tmp_path, monkeypatch, "echo credentials not found in native keychain; exit 1")
    assert credentials.find(HOST) is None
    monkeypatch.setenv("REGISTRY_TOKEN", "t0ken")
    assert found() == ("token", "t0ken", "REGISTRY_TOKEN")


@pytest.mark.parametrize(
    "script", ["echo s3cret; exit 3", "echo s3cret", "echo '{\"s3cret\": 1}'", "echo '[\"s3cret\"]'", "echo null"]
)
def test_a_helper_that_fails_is_named_without_what_it_said(tmp_path, monkeypatch, script):
    config(tmp_path, credsStore="toy")
    helper(tmp_path, monkeypatch, script)
    with pytest.raises(DeniedError) as caught:
        credentials.find(HOST)
    assert HOST in str(caught.value)
    assert "s3cret" not in str(caught.value)
    monkeypatch.setenv("REGISTRY_TOKEN", "t0ken")
    assert found() == ("token", "t0ken", "REGISTRY_TOKEN")  # as the message advises


def test_a_helper_that_is_not_installed_is_an_error(tmp_path, monkeypatch):
    config(tmp_path, credsStore="not-here")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DeniedError, match="cannot be read"):
        credentials.find(HOST)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["auth", "x", HOST]), inner, max_size=2)
    ),
    max_leaves=4,
)
KEYS = st.sampled_from(["auths", "credsStore", "credHelpers", HOST])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(told=JSON | st.dictionaries(KEYS, JSON, max_size=3))
def test_whatever_the_file_says_it_is_an_answer_or_our_error(tmp_path, told):
    (tmp_path / "config.json").write_text(json.dumps(told))
    with contextlib.suppress(DeniedError):
        assert credentials.find(HOST) is None or isinstance(credentials.find(HOST), credentials.Credentials)


def test_docker_comes_first_then_the_environment(tmp_path, monkeypatch):
    config(tmp_path, auths={HOST: {"auth": PLAIN}})
    monkeypatch.setenv("REGISTRY_TOKEN", "t0ken")
    assert found()[2] == "Docker's configuration"
    assert found("other.example") == ("token", "t0ken", "REGISTRY_TOKEN")
    monkeypatch.setenv("REGISTRY_USER", "otto")
    assert found("other.example") == ("otto", "t0ken", "REGISTRY_TOKEN")
    monkeypatch.setenv("GITHUB_TOKEN", "ghs")
    assert found("ghcr.io") == ("otto", "t0ken", "REGISTRY_TOKEN")


@pytest.mark.parametrize(
    "host",
    ["registry.example", "ghcr.io.example", "ghcr.io:5000", "xghcr.io", "pkg.ghcr.io", "127.0.0.1:5000", "GHCR.IO", ""],
)
def test_githubs_token_is_for_githubs_registry_alone(monkeypatch, host):
    monkeypatch.setenv("GITHUB_TOKEN", "ghs")
    monkeypatch.setenv("GITHUB_ACTOR", "octocat")
    assert found("ghcr.io") == ("octocat", "ghs", "GITHUB_TOKEN")
    assert credentials.find("ghcr.io").only == "ghcr.io"
    assert credentials.find(host) is None
