"""build/dockerlogin.py: credentials of the environment, for a program that knows only Docker's configuration."""

import base64
import json
import stat

import pytest

from build import dockerlogin
from build.errors import DeniedError

HOST = "127.0.0.1:5000"


@pytest.fixture
def ask(tmp_path, monkeypatch):
    """The configuration that a child gets, for a user's own and an environment; None where it gets none."""
    user, folder = tmp_path / "docker", tmp_path / "given"
    user.mkdir()
    folder.mkdir(mode=0o700)
    monkeypatch.setenv("DOCKER_CONFIG", str(user))
    for name in ("REGISTRY_TOKEN", "REGISTRY_USER", "GITHUB_TOKEN", "GITHUB_ACTOR"):
        monkeypatch.delenv(name, raising=False)

    def run(*hosts, config=None, contexts=False, **environment):
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        if config is not None:
            (user / "config.json").write_text(config if isinstance(config, str) else json.dumps(config))
        if contexts:
            (user / "contexts/meta").mkdir(parents=True)
        found = dockerlogin.environment(hosts, user, folder)
        assert found in ({}, {"DOCKER_CONFIG": str(folder)})
        return folder if found else None

    return run


def auth(user, secret):
    return {"auth": base64.b64encode(f"{user}:{secret}".encode()).decode()}


def test_where_docker_knows_us_or_nobody_does_nothing_is_made(ask, tmp_path):
    assert ask(HOST, "ghcr.io") is None
    assert ask(HOST, config={"auths": {HOST: auth("me", "pw")}}) is None
    assert list((tmp_path / "given").iterdir()) == []


def test_a_token_of_the_environment_is_added_to_the_users_own(ask):
    own = {"auths": {"quay.io": auth("me", "pw")}, "HttpHeaders": {"A": "b"}}
    made = ask("ghcr.io", HOST, config=own, contexts=True, GITHUB_TOKEN="t0ken", GITHUB_ACTOR="ann")
    told = json.loads((made / "config.json").read_text())
    assert told["auths"] == {"quay.io": auth("me", "pw"), "ghcr.io": auth("ann", "t0ken")}
    assert told["HttpHeaders"] == {"A": "b"}
    assert stat.S_IMODE((made / "config.json").stat().st_mode) == 0o600
    assert (made / "contexts/meta").is_dir(), "builders may be contexts"


def test_githubs_token_is_for_github_alone(ask):
    assert ask(HOST, "docker.io", GITHUB_TOKEN="t0ken") is None


def test_a_helper_is_still_asked_for_the_others_and_not_for_ours(ask):
    own = {"credsStore": "no-such-store", "auths": {"quay.io": {}}, "credHelpers": {"ghcr.io": "gone", "a.io": "mine"}}
    made = ask(HOST, config=own, REGISTRY_TOKEN="t0ken", REGISTRY_USER="ann")
    told = json.loads((made / "config.json").read_text())
    assert "credsStore" not in told, "with it the file's own would not be looked at"
    assert told["credHelpers"] == {"quay.io": "no-such-store", "ghcr.io": "gone", "a.io": "mine"}
    assert told["auths"][HOST] == auth("ann", "t0ken")


def test_docker_hub_has_a_name_of_its_own(ask):
    made = ask("docker.io", REGISTRY_TOKEN="t0ken")
    assert list(json.loads((made / "config.json").read_text())["auths"]) == ["https://index.docker.io/v1/"]


def test_a_configuration_that_is_none_is_told_without_its_words(ask):
    with pytest.raises(DeniedError) as caught:
        ask(HOST, config='{"auths": s3cret', REGISTRY_TOKEN="t0ken")
    assert "s3cret" not in str(caught.value)
