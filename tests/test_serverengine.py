"""The engines of this machine, asked over real sockets, and which of them a server is started with."""

import contextlib

import pytest

from build import private, serverengine
from build.errors import EngineError, UsageError
from build.models import Settings
from build.settings import REPO
from tests import enginekit

BRIDGED = {"/networks": (200, [{"Name": "bridge", "Driver": "bridge"}])}
PLAIN = {"/networks": (200, [])}


@pytest.fixture
def settings(tmp_path, monkeypatch):
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.setattr(private, "RUN", tmp_path / "run")
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "none"))
    return Settings(repo=REPO, store=tmp_path / "store")


@pytest.fixture
def engines(settings, tmp_path, monkeypatch):
    """The private engine and the user's, each where one is given."""
    with contextlib.ExitStack() as kept:

        def engines(*, ours=None, theirs=None):
            if ours:
                socket = private.places(settings.store).socket
                socket.parent.mkdir(parents=True)
                kept.enter_context(enginekit.served(ours, socket))
            socket = tmp_path / "theirs.sock"
            monkeypatch.setattr(serverengine.dockerapi, "user_url", lambda: f"unix://{socket}")
            if theirs:
                kept.enter_context(enginekit.served(theirs, socket))
            return serverengine.answering(settings)

        yield engines


def test_both_are_asked_and_ours_is_the_first(engines, settings):
    found = engines(ours=enginekit.Engine(answers=PLAIN), theirs=enginekit.Engine(answers=BRIDGED))
    ours, theirs = found.places
    assert (ours.private, ours.bridge, ours.url) == (True, False, private.places(settings.store).url)
    assert ours.data == settings.store / "engine/data"
    assert (theirs.private, theirs.bridge, theirs.version) == (False, True, "26.1.5")
    assert found.lacks == ()


def test_one_that_does_not_answer_is_no_place(engines):
    found = engines(theirs=enginekit.Engine(answers={"/info": (500, {"message": "broken"})}))
    assert found.places == ()
    assert "broken" in found.lacks[0]
    with pytest.raises(EngineError, match="no engine answers") as caught:
        found.demand()
    assert "broken" in caught.value.why


def test_there_is_none(engines):
    found = engines()
    assert found.places == ()
    assert "there is no such socket" in found.lacks[0]


def test_an_old_one(engines):
    old = {"/version": (200, {"Version": "19.03", "ApiVersion": "1.40", "MinAPIVersion": "1.12"}), **BRIDGED}
    found = engines(theirs=enginekit.Engine(answers=old))
    assert "too old (API 1.40)" in found.lacks[0]


def test_the_classic_image_store_will_do(engines):
    found = engines(theirs=enginekit.Engine(store=enginekit.CLASSIC, answers=BRIDGED))
    assert len(found.places) == 1


def test_docker_host_is_the_only_one(engines, monkeypatch, tmp_path):
    engines(ours=enginekit.Engine(answers=PLAIN))
    with enginekit.served(enginekit.Engine(answers=BRIDGED), tmp_path / "named.sock") as url:
        monkeypatch.setenv("DOCKER_HOST", url)
        monkeypatch.setattr(serverengine.dockerapi, "user_url", lambda: url)
        found = serverengine.answering(Settings(repo=REPO, store=tmp_path / "store"))
    assert [place.url for place in found.places] == [url]


@pytest.mark.parametrize("url", ["tcp://127.0.0.1:2375", "ssh://me@spark"])
def test_another_machine_is_not_served_on(settings, monkeypatch, url):
    monkeypatch.setenv("DOCKER_HOST", url)
    with pytest.raises(UsageError, match="not on this machine"):
        serverengine.answering(settings)


def test_the_one_with_gpus_then_the_one_with_the_image(engines):
    gpus = {"/info": (200, {"Runtimes": {"nvidia": {}}, "DriverStatus": []}), **BRIDGED}
    ours, theirs = engines(ours=enginekit.Engine(answers=PLAIN), theirs=enginekit.Engine(answers=gpus)).places
    assert (ours.gpus, theirs.gpus) == ("", "by NVIDIA's runtime")
    places = (ours, theirs)
    assert serverengine.best(places, gpu=True, holds=lambda place: place is ours) is theirs
    assert serverengine.best(places, gpu=False, holds=lambda place: place is ours) is ours
    assert serverengine.best(places, gpu=False, holds=lambda place: place is theirs) is theirs
    assert serverengine.best(places, gpu=False, holds=lambda _: False) is ours


def test_what_an_engine_refuses_is_an_error_of_ours(engines):
    (place,) = engines(
        theirs=enginekit.Engine(answers={"/volumes": (500, {"message": "no space left"}), **BRIDGED})
    ).places
    with pytest.raises(EngineError) as caught, serverengine.opened(place.url) as client:
        client.volumes.list()
    assert caught.value.why == "no space left"
