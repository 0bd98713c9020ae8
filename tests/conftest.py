"""What every test gets: options for the slow kinds, and a guard around the fast ones (tests/guard.py)."""

import shutil
import signal
import sys

import pytest

from tests import gitkit, indexkit, lockkit, patchkit
from tests.guard import GUARD

KINDS = ("engine", "slow")


def pytest_addoption(parser):
    parser.addoption("--engine", action="store_true", help="also run the tests that build and run containers, for real")
    parser.addoption("--slow", action="store_true", help="also run the tests that take minutes")


def pytest_configure(config):
    config.addinivalue_line(
        "markers", "programs(*names): the programs that a fast test runs; skipped where one is missing"
    )
    sys.addaudithook(GUARD)
    # Where we run in a shell's background Ctrl-C is ignored, and would be in every child: tests press it on purpose.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_report_header(config):
    left_out = [f"--{kind}" for kind in KINDS if not config.getoption(kind)]
    return f"left out without {' and '.join(left_out)}: the tests of that mark" if left_out else None


def pytest_collection_modifyitems(config, items):
    """Leave out the kinds that were not asked for; a test in tests/engine is an engine test without saying so."""
    wanted, left_out = [], []
    for item in items:
        if "engine" in item.path.parts:
            item.add_marker("engine")
        kinds = [kind for kind in KINDS if item.get_closest_marker(kind)]
        (wanted if all(config.getoption(kind) for kind in kinds) else left_out).append(item)
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = wanted


@pytest.fixture(autouse=True)
def _world(request, monkeypatch, tmp_path_factory):
    """Fast tests run under the guard, with a store and a home of their own."""
    marker = request.node.get_closest_marker("programs")
    programs = frozenset(marker.args if marker else ())
    if missing := sorted(name for name in programs if shutil.which(name) is None):
        pytest.skip(f"not installed here: {', '.join(missing)}")
    if request.node.get_closest_marker("engine"):
        yield
        return
    base = tmp_path_factory.getbasetemp()
    monkeypatch.setenv("SPARK_RUNTIME_STORE", str(base / "store"))
    monkeypatch.setenv("HOME", str(base / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(base / "home" / ".cache"))
    monkeypatch.setattr(GUARD, "programs", programs)
    monkeypatch.setattr(GUARD, "writable", (f"{base}/",))
    monkeypatch.setattr(GUARD, "active", True)
    yield


@pytest.fixture
def world(tmp_path, monkeypatch, capsys):
    with indexkit.serve() as index:
        for name, value in indexkit.environment(index, tmp_path).items():
            monkeypatch.setenv(name, value)
        yield lockkit.World(tmp_path, index, capsys)


@pytest.fixture
def hostile(tmp_path, monkeypatch):
    """The test's user has a git that spoils everything; gives the home, where ``was-run`` tells of a program run."""
    for name, value in gitkit.hostile(tmp_path / "hostile").items():
        monkeypatch.setenv(name, value)
    return tmp_path / "hostile"


@pytest.fixture
def bench(tmp_path, capsys):
    return patchkit.Bench(tmp_path, capsys)


@pytest.fixture
def remote(tmp_path):
    """A repository with the tag v1 at its older commit."""
    made = gitkit.repository(tmp_path / "srv/a", {"pkg/a.py": b"a = 1\n", "run.sh": b"#!/bin/sh\n"}).tag("v1")
    return made.commit({"pkg/a.py": b"a = 2\n"}, "newer")


@pytest.fixture
def nested(tmp_path):
    """A repository with a submodule in a submodule, by relative URLs, the inner one with a program in it."""
    inner = gitkit.repository(tmp_path / "srv/org/inner", {"inner.txt": b"i\n"})
    middle = gitkit.repository(tmp_path / "srv/org/middle", {"middle.txt": b"m\n"}).submodule(
        "deps/in", "../inner", inner
    )
    outer = gitkit.repository(tmp_path / "srv/outer", {"outer.txt": b"o\n"})
    return outer.submodule("third/mid", "../org/middle", middle).tag("v1"), middle, inner
