"""Which engine is taken: asked over a real socket, told apart by what it can do."""

import http.server
import json
import socketserver
import threading

import pytest

from build import dockerapi

GOOD = {
    "version": {"Version": "28.2.2", "ApiVersion": "1.50", "MinAPIVersion": "1.24"},
    "info": {"OSType": "linux", "DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]]},
}


@pytest.fixture
def engine(tmp_path):
    """An engine's socket that answers as told."""
    servers = []

    def serve(**changes):
        answers = {kind: {**GOOD[kind], **changes.get(kind, {})} for kind in GOOD}

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                body = json.dumps(answers.get(self.path.rsplit("/", 1)[-1], {})).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def address_string(self):
                return "socket"

            def log_message(self, *_):
                pass

        path = tmp_path / "docker.sock"
        server = socketserver.ThreadingUnixStreamServer(str(path), Handler)
        server.daemon_threads = True
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"unix://{path}"

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


def test_an_engine_that_can_do_the_work(engine):
    url = engine()
    answer = dockerapi.ask(url)
    assert answer.lacks == ()
    assert (answer.engine.url, answer.engine.version, answer.engine.private) == (url, "28.2.2", False)


@pytest.mark.parametrize(
    ("changes", "lack"),
    [
        ({"info": {"DriverStatus": [["Backing Filesystem", "extfs"]]}}, "does not use the containerd image store"),
        ({"info": {"DriverStatus": None}}, "does not use the containerd image store"),
        ({"version": {"Version": "20.10.24", "ApiVersion": "1.41"}}, "20.10.24 is too old"),
        ({"info": {"OSType": "windows"}}, "runs windows containers"),
    ],
)
def test_the_lack_is_named(engine, changes, lack):
    answer = dockerapi.ask(engine(**changes))
    assert answer.engine is None
    assert lack in "; ".join(answer.lacks)


def test_no_engine(tmp_path):
    answer = dockerapi.ask(f"unix://{tmp_path}/none.sock")
    assert answer.engine is None
    assert "no engine answers" in answer.lacks[0]
    assert "No such file" in answer.lacks[0]


def test_where_the_users_engine_is(monkeypatch, tmp_path):
    monkeypatch.setenv("DOCKER_HOST", "tcp://there.example:2375")
    assert dockerapi.user_url() == "tcp://there.example:2375"
    monkeypatch.delenv("DOCKER_HOST")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "none"))
    assert dockerapi.user_url() == dockerapi.DEFAULT_URL
