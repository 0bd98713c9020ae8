"""What is looked at before a start: each item good, bad, warned of or skipped, and all that is bad told at once."""

import socket

import pytest

from build import preflight, profiles
from build.errors import EngineError, ModelError, ServeError, SpaceError, UsageError
from build.nvidia import Driver
from build.preflight import Preflight
from build.servermemory import Memory
from build.settings import REPO

GB = 10**9


def failing(error):
    def check():
        raise error

    return check


def test_everything_is_looked_at_and_told(capsys):
    checks = Preflight()
    assert checks.ask("a", lambda: (7, "seven")) == 7
    assert checks.ask("b", failing(SpaceError("no room", why="1 GB is free", todo="free some"))) is None
    checks.skip("c", "not asked for")
    checks.warn("d", "odd")
    assert checks.ask("e", failing(ModelError("no model", todo="get it"))) is None
    assert capsys.readouterr().err.splitlines() == [
        "  ✓ a: seven", "  ✗ b: no room: 1 GB is free", "  - c: not asked for", "  ! d: odd", "  ✗ e: no model",
    ]  # fmt: skip
    with pytest.raises(ServeError) as caught:
        checks.demand()
    assert caught.value.what == "2 things are in the way of a server here"
    assert caught.value.why == "b: no room: 1 GB is free\n       e: no model"
    assert caught.value.todo == "b: free some\n       e: get it"


def test_one_thing_is_told_as_what_it_is():
    checks = Preflight()
    checks.ask("a", lambda: (None, ""))
    checks.ask("b", failing(SpaceError("no room")))
    with pytest.raises(SpaceError):
        checks.demand()


def test_in_spite_of_what_may_be_doubted():
    checks = Preflight(anyway=("disk",))
    checks.ask("disk", failing(SpaceError("no room")))
    checks.demand()
    assert checks.findings[0].status == preflight.WARNED


def test_the_machine():
    assert preflight.architecture("aarch64", foreign=False) == (False, "aarch64")
    assert preflight.architecture("x86_64", foreign=True)[0] is True
    with pytest.raises(ServeError, match="x86_64"):
        preflight.architecture("x86_64", foreign=False)


def test_the_driver():
    assert preflight.driver(Driver(version="580.95.05", cuda=(13, 0)))[1] == "580.95.05, CUDA 13.0"
    with pytest.raises(ServeError, match="no NVIDIA driver"):
        preflight.driver(None)
    with pytest.raises(ServeError, match="too old") as caught:
        preflight.driver(Driver(version="570.1", cuda=(12, 8)))
    assert "580" in caught.value.todo


def test_the_toolkit():
    assert "by CDI" in preflight.toolkit("Docker", "by CDI", private=False)[1]
    for private, todo in ((False, "install the NVIDIA container toolkit"), (True, "start this machine's own Docker")):
        with pytest.raises(EngineError) as caught:
            preflight.toolkit("Docker", "", private=private)
        assert todo in caught.value.todo


@pytest.fixture(scope="module")
def known():
    return list(profiles.read_all(REPO, ("g27", "v0.22", "v0.32")).values())


def test_memory_that_is_enough(known):
    there = Memory(total=128 * GB, available=120 * GB)
    assert preflight.memory(known[0], there, known)[1] == "120.00 GB of 128.00 GB are available, 117.62 GB are needed"


@pytest.mark.parametrize(
    ("total", "available", "todo"),
    [
        (128, 117, "this would fit now: k160-mtp2-200k"),
        (128, 60, "with all memory free k144-nospec-200k, k160-mtp2-200k would"),
        (64, 60, "nor ever here"),
    ],
)
def test_memory_that_is_not_says_what_would_fit(known, total, available, todo):
    with pytest.raises(ServeError) as caught:
        preflight.memory(known[0], Memory(total=total * GB, available=available * GB), known)
    assert "not enough memory for k144-nospec-200k" in caught.value.what
    assert "94.00 GB model, 15.03 GB KV cache, 8.59 GB that stay free" in caught.value.why
    assert todo in caught.value.todo


def test_a_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        number = taken.getsockname()[1]
        taken.listen()
        with pytest.raises(ServeError, match="is taken"):
            preflight.port("127.0.0.1", number)
    assert preflight.port("127.0.0.1", number) == (number, f"{number} of 127.0.0.1 is free")


@pytest.mark.parametrize(
    ("host", "number", "kind"),
    [
        ("127.0.0.1", 70000, UsageError),
        ("127.0.0.1", 0, UsageError),
        ("192.0.2.1", 8000, ServeError),
        ("not an address", 8000, UsageError),
    ],
)
def test_what_cannot_be_listened_at(host, number, kind, monkeypatch):
    from tests.guard import GUARD

    monkeypatch.setattr(GUARD, "check_host", lambda _: None)  # nothing is connected to: a name is looked up, in vain
    with pytest.raises(kind):
        preflight.port(host, number)


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "model"
    for name in ("config.json", "tokenizer/a.json", ".spark-runtime/model.json"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}")
    (folder / ".spark-runtime").chmod(0o700)
    return folder


def test_a_model_that_the_server_may_read(model):
    assert preflight.readable(model)[0] == model


@pytest.mark.parametrize(
    ("name", "mode"), [("config.json", 0o600), ("tokenizer", 0o700), ("tokenizer/a.json", 0o640), (".", 0o750)]
)
def test_a_model_that_the_server_may_not_read(model, monkeypatch, name, mode):
    monkeypatch.setattr(preflight, "UID", model.stat().st_uid + 1)
    (model / name).chmod(mode)
    with pytest.raises(ModelError) as caught:
        preflight.readable(model)
    assert caught.value.todo == f"chmod -R a+rX {model}"
    monkeypatch.setattr(preflight, "UID", model.stat().st_uid)
    assert preflight.readable(model), "which is its owner's to read"


@pytest.mark.parametrize(
    ("host", "who"),
    [
        ("127.0.0.1", ""),
        ("::1", ""),
        ("localhost", ""),
        ("0.0.0.0", "anyone who reaches this machine"),
        ("192.0.2.7", "anyone who reaches 192.0.2.7"),
    ],
)
def test_who_can_reach_it(host, who):
    assert preflight.reach(host) == who
