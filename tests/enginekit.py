"""Docker Engines in small: what they answer about images and containers, over a Unix socket or TCP, in either store."""

import http.server
import json
import socketserver
import threading
import urllib.parse
from contextlib import contextmanager
from dataclasses import dataclass, field

CONTAINERD, CLASSIC = "containerd", "classic"
DRIVERS = {
    CONTAINERD: [["driver-type", "io.containerd.snapshotter.v1"]],
    CLASSIC: [["Backing Filesystem", "extfs"], ["Supports d_type", "true"]],
}


def digest(text):
    """A digest that can be read: sha256:aaaa… for "a"."""
    return f"sha256:{(text * 64)[:64]}"


@dataclass(frozen=True)
class Image:
    """An image as both stores know it; ``pulled``: the classic store too knows the manifest that it was pulled by."""

    manifest: str = digest("a")
    config: str = digest("c")
    target: str = "tiny"
    chain: str = "1" * 64
    layers: tuple = (digest("d"), digest("e"))
    env: tuple = ("A=1",)
    tags: tuple = ("spark-runtime:tiny",)
    pulled: bool = False
    gone: bool = False

    @property
    def labels(self):
        return {"spark-runtime.target": self.target, "spark-runtime.chain-id": self.chain} if self.target else {}


@dataclass
class Engine:
    """What an engine holds and runs: containers by name. ``answers``: in place of what would be told, by path's end."""

    store: str = CONTAINERD
    name: str = "head"
    images: list = field(default_factory=list)
    running: dict = field(default_factory=dict)
    labels: dict = field(default_factory=dict)  # of containers, beside their images'
    answers: dict = field(default_factory=dict)
    asked: list = field(default_factory=list)

    def id(self, image):
        return image.manifest if self.store == CONTAINERD else image.config

    def _row(self, image):
        digests = [f"spark-runtime@{image.manifest}"] if self.store == CONTAINERD or image.pulled else []
        return {"Id": self.id(image), "RepoTags": list(image.tags), "RepoDigests": digests, "Labels": image.labels}

    def _inspected(self, image):
        """The classic store writes out what is not set; the other one has members of its own."""
        empty = {"Volumes": None, "Entrypoint": None} if self.store == CLASSIC else {"ArgsEscaped": True, "Volumes": {}}
        config = {"Env": list(image.env), "Cmd": ["bash"], "Labels": image.labels, "WorkingDir": "/", **empty}
        row = self._row(image)
        del row["Labels"]
        return {
            **row, "Config": config, "Os": "linux", "Architecture": "arm64",
            "RootFS": {"Type": "layers", "Layers": list(image.layers)},
        }  # fmt: skip

    def answer(self, path, query):
        """The status and the JSON of an answer."""
        self.asked.append(path)
        labels = json.loads(query.get("filters", ["{}"])[0]).get("label", [])
        for end, told in self.answers.items():
            if path.endswith(end):
                return told
        if path.endswith("/version"):
            return 200, {"Version": "26.1.5", "ApiVersion": "1.45", "MinAPIVersion": "1.24"}
        if path.endswith("/info"):
            return 200, {"Name": self.name, "ServerVersion": "26.1.5", "DriverStatus": DRIVERS[self.store]}
        if path.endswith("/images/json"):
            kept = [image for image in self.images if not image.gone]
            return 200, [self._row(image) for image in kept if all(label in image.labels for label in labels)]
        if path.endswith("/containers/json"):
            rows = [
                {
                    "Id": "f" * 64, "Names": [f"/{name}"], "Image": image.tags[0], "ImageID": self.id(image),
                    "Status": "Up 2 hours", "Labels": {**image.labels, **self.labels.get(name, {})},
                }
                for name, image in self.running.items()
            ]  # fmt: skip
            return 200, [row for row in rows if all(label in row["Labels"] for label in labels)]
        for image in self.images:
            if path.endswith(f"/images/{self.id(image)}/json") and not image.gone:
                return 200, self._inspected(image)
        return 404, {"message": f"no such thing: {path}"}


def running(*images, **more):
    """An engine with images, each run by a container: c0, c1, …"""
    return Engine(images=list(images), running={f"c{n}": image for n, image in enumerate(images)}, **more)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        path, _, query = self.path.partition("?")
        status, told = self.server.engine.answer(urllib.parse.unquote(path), urllib.parse.parse_qs(query))
        body = told if isinstance(told, bytes) else json.dumps(told).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self):
        return "socket"

    def log_message(self, *_):
        pass


@contextmanager
def served(engine, socket=None):
    """The URL of an engine: of a Unix socket at that path, else of a port of this machine."""
    kind = socketserver.ThreadingUnixStreamServer if socket else socketserver.ThreadingTCPServer
    server = kind(str(socket) if socket else ("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    server.engine = engine
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"unix://{socket}" if socket else "tcp://{}:{}".format(*server.server_address)
    finally:
        server.shutdown()
        server.server_close()
