"""Waiting for a server: an engine's answers over a real socket, a server on loopback, and a clock that is real."""

import contextlib
import http.server
import json
import threading
import time

import pytest

from build import dockerapi, readiness, serverstate
from build.errors import ServeError
from tests import containerkit, enginekit
from tests.containerkit import Container, event

ID = "f" * 64
SHARD = "Loading safetensors checkpoint shards: {}% Completed | {}/{} [00:01<00:01,  1.00it/s]"


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(readiness, "POLL_SECONDS", 0.01)


@pytest.fixture
def api(tmp_path):
    """Ask an engine with that container."""
    with contextlib.ExitStack() as kept:

        def api(container):
            engine = containerkit.Engine(container)
            url = kept.enter_context(enginekit.served(engine, tmp_path / "engine.sock"))
            return kept.enter_context(contextlib.closing(dockerapi.connect(url))).api

        yield api


class Api(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append((self.path, self.headers.get("Authorization")))
        status, body = self.server.answers.get(self.path, (404, b""))
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    """A server; ``answers``: path → status and body."""
    made = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Api)
    made.answers, made.asked = {}, []
    made.url = f"http://127.0.0.1:{made.server_port}"
    threading.Thread(target=made.serve_forever, args=(0.01,), daemon=True).start()
    yield made
    made.shutdown()
    made.server_close()


def wait(api, container, url="http://127.0.0.1:1", timeout=20.0):
    container.labels = {"spark-runtime.serve": "p", "spark-runtime.serve.url": url}
    engine = api(container)
    return readiness.wait(engine, serverstate.look(engine, ID, "unix://x"), timeout=timeout)


def test_it_is_ready_when_it_answers(api, server, capsys):
    def step(container):
        count = len(container.lines) + 1
        if count <= 4:
            container.say(SHARD.format(25 * count, count, 4))
        elif count == 5:
            container.say("INFO [api_server.py:1] Starting vLLM server on http://0.0.0.0:8000")
        else:
            server.answers["/health"] = (200, b"")

    assert wait(api, Container(step=step), server.url) < 20
    said = capsys.readouterr().err.splitlines()
    assert said == ["  loading weights: 1 of 4 shards", "  loading weights: 4 of 4 shards", "  opening the port"]


@pytest.mark.parametrize("status", [503, 404, 500])
def test_another_answer_is_not_ready(api, server, status):
    server.answers["/health"] = (status, b"")
    with pytest.raises(ServeError) as caught:
        wait(api, Container(), server.url, timeout=0.3)
    assert "did not become ready: nothing new for" in caught.value.what
    assert len(server.asked) > 3


def test_what_makes_progress_may_take_its_time(api, server):
    started = time.monotonic()

    def step(container):
        container.say(f"line {len(container.lines)}")
        if time.monotonic() - started > 1.5:
            server.answers["/health"] = (200, b"")

    assert wait(api, Container(step=step), server.url, timeout=0.5) >= 1.4


def test_what_says_nothing_for_too_long(api):
    container = Container()
    container.say("Starting to load model /models/x...", "and then it hung")
    with pytest.raises(ServeError) as caught:
        wait(api, container, timeout=0.2)
    assert "it was last seen loading weights; its last lines:" in caught.value.why
    assert "and then it hung" in caught.value.why
    assert "--timeout" in caught.value.todo


def test_a_server_that_ends_is_told_with_its_reason(api):
    def step(container):
        container.say("RuntimeError: no", event("memory-short", 9_000_000, 8_000_000, 7_000_000), event("ended"))
        container.end(80)

    with pytest.raises(ServeError) as caught:
        wait(api, Container(step=step))
    assert caught.value.what == "the server ended: the watchdog ended it for lack of memory while it started"
    assert "available memory: 9.22 GB 2 s before, 7.17 GB at least, 7.17 GB then; 8.59 GB must stay" in caught.value.why
    assert "RuntimeError: no" in caught.value.why
    assert "spark" not in caught.value.why
    assert "a profile that needs less" in caught.value.todo


def test_a_container_that_the_kernel_killed_or_that_is_gone(api):
    with pytest.raises(ServeError, match="the kernel killed it for lack of memory"):
        wait(api, Container(step=lambda it: it.end(137, OOMKilled=True)))


def test_a_container_that_somebody_removed(api):
    container = Container()

    def step(it):
        it.gone = len(it.asked) > 4

    container.step = step
    with pytest.raises(ServeError, match="gone"):
        wait(api, container)


def test_the_watchdog_s_warnings_are_told(api, server, capsys):
    def step(container):
        if not container.lines:
            container.say(event("started", 9_000_000), event("memory-warning", 9_000_000))
        server.answers["/health"] = (200, b"")

    wait(api, Container(step=step), server.url)
    assert capsys.readouterr().err == "  warning: the watchdog says memory-warning: 9.22 GB are available\n"


def test_each_line_is_heard_once_and_bars_as_lines(api):
    container = Container()
    log = readiness.Log(api(container), ID)
    container.say("a", "a")
    container.say("b", "c", same_moment=True)
    assert log.fresh() == ["a", "a", "b", "c"]
    assert log.fresh() == []
    container.say("d", same_moment=True)
    container.say("1/3\r2/3\r3/3", "", "e")
    assert log.fresh() == ["d", "1/3", "2/3", "3/3", "e"]
    assert log.fresh() == []


def test_a_server_that_compiles_in_silence_is_spoken_of(monkeypatch, capsys):
    monkeypatch.setattr(readiness, "QUIET_SECONDS", 0.05)
    listener = readiness.Listener()
    listener("Compiling a graph for compile range (1, 8192) takes 1 s")
    listener.quiet(0.01)
    time.sleep(0.06)
    listener.quiet(0.06)
    listener.quiet(0.06)
    assert capsys.readouterr().err.splitlines() == [
        "  compiling the model",
        "  compiling the model; nothing new for 0 s",
    ]


@pytest.mark.parametrize(
    ("answer", "named"),
    [
        ((200, json.dumps({"data": [{"id": "Spark"}]}).encode()), "Spark"),
        ((401, b"{}"), None),
        ((200, b"no JSON"), None),
        ((200, b'{"data": []}'), None),
        ((200, b'{"data": 1}'), None),
    ],
)
def test_what_a_server_serves(server, answer, named):
    server.answers["/v1/models"] = answer
    assert readiness.served(server.url, "key") == named
    assert server.asked == [("/v1/models", "Bearer key")]


def test_without_a_key_none_is_sent(server):
    readiness.served(server.url, "")
    assert server.asked == [("/v1/models", None)]
    assert readiness.served("http://127.0.0.1:1", "") is None
