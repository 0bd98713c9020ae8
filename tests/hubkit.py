"""A small model hub on loopback, in memory, as huggingface_hub speaks with it: models by commit, large files elsewhere.

    with hubkit.serve() as hub:
        hub.put("someone/Tiny", REVISION, files)
        hub.fault("GET", "model-00001", cut=1000)

Large files are redirected to a second server, as a hub does it to its CDN: another origin, which must not see the token.
What goes wrong is told by :meth:`Hub.fault`. That huggingface_hub's own ``snapshot_download`` works with it is tested.
"""

import contextlib
import hashlib
import json
import re
import socket
import threading
import time
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PIECE = 1 << 16
ALWAYS = 10_000
LARGE = (".safetensors", ".bin")
XET = '<https://cas.invalid/auth>; rel="xet-auth"'  # what a hub offers besides; nobody is to go there


def blob_id(data):
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


@dataclass
class File:
    """``data`` is what comes; ``told`` what the list says of it, where that is to differ."""

    data: bytes
    large: bool
    told: dict = field(default_factory=dict)

    @property
    def sha256(self):
        return self.told.get("sha256", hashlib.sha256(self.data).hexdigest())

    @property
    def blob(self):
        return self.told.get("blob", blob_id(self.data))

    @property
    def size(self):
        return self.told.get("size", len(self.data))


@dataclass
class Asked:
    """A request as it came, and how many bytes of a body went out."""

    method: str
    path: str
    headers: dict[str, str]
    sent: int = 0
    cdn: bool = False


@dataclass
class Fault:
    """What goes wrong with the next requests whose method and path (a part of it) fit.

    ``status``, ``headers``, ``body``: an answer instead of the right one. ``cut``: the connection ends after so many
    bytes of the body. ``reset``: it does so by a reset. ``pace``: seconds before each piece of the body. ``other``: bytes
    in place of those asked for. ``ranges``: False to give all when a part is asked for. ``before``: called first.
    ``cdn``: only where large files come from (True), or only at the hub (False).
    """

    method: str
    path: str
    times: int = 1
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    cut: int | None = None
    reset: bool = False
    pace: float = 0.0
    other: bytes | None = None
    ranges: bool = True
    before: Callable | None = None
    cdn: bool | None = None


class Hub:
    """``asked``: each request, in order. ``token``: what opens ``private`` and ``gated`` repositories (by name)."""

    def __init__(self):
        self.repos: dict[str, dict[str, dict[str, File]]] = {}
        self.branches: dict[str, str] = {}
        self.private: set[str] = set()
        self.gated: set[str] = set()
        self.token = ""
        self.asked: list[Asked] = []
        self.faults: list[Fault] = []
        self.url = self.cdn_url = ""
        self.lock = threading.RLock()

    def put(self, repo, revision, files, *, large=LARGE):
        """A repository's files at a commit, path → bytes; names that end in ``large`` are LFS files."""
        made = {path: File(data, path.endswith(large)) for path, data in files.items()}
        self.repos.setdefault(repo, {})[revision] = made
        return made

    def fault(self, method, path, **what):
        """Let something go wrong; the fault, whose ``times`` counts down."""
        made = Fault(method, path, **what)
        self.faults.append(made)
        return made

    def found_fault(self, method, path, *, cdn):
        with self.lock:
            for fault in self.faults:
                if fault.times > 0 and fault.method in (method, "") and fault.path in path and fault.cdn in (None, cdn):
                    fault.times -= 1
                    return fault
        return Fault("", "")

    def paths(self, part=""):
        """Method and path of the requests with ``part`` in their path."""
        return [(one.method, one.path) for one in self.asked if part in one.path]

    @property
    def sent(self):
        """Bytes of large files that went out."""
        return sum(one.sent for one in self.asked if one.cdn)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub
    cdn: bool

    def do_GET(self):
        path = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path)
        self.asked = Asked(
            self.command, path, {key.lower(): value for key, value in self.headers.items()}, cdn=self.cdn
        )
        self.hub.asked.append(self.asked)
        self.fault = self.hub.found_fault(self.command, path, cdn=self.cdn)
        if self.fault.before:
            self.fault.before()
        if self.fault.status:
            return self.reply(self.fault.status, self.fault.body, **self.fault.headers)
        return self.content(path) if self.cdn else self.answer(path)

    do_HEAD = do_GET  # noqa: N815 - http.server's names

    def answer(self, path):
        if found := re.fullmatch(r"/api/models/(.+)/(revision|tree)/([^/]+)", path):
            return self.listing(*found.groups())
        if found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            return self.resolve(*found.groups())
        return self.refuse(404, "", "no such page")

    def files(self, repo, revision, *, listing):
        """The files of a commit, or None when it was refused."""
        allowed = self.asked.headers.get("authorization", "") == f"Bearer {self.hub.token}" and self.hub.token
        if repo not in self.hub.repos or (repo in self.hub.private and not allowed):
            self.refuse(404 if allowed else 401, "RepoNotFound", "Repository not found")
        elif repo in self.hub.gated and not allowed and not listing:
            where = (
                "GatedRepo",
                f"Access to model {repo} is restricted. You must have access to it and be authenticated.",
            )
            self.refuse(401, *where)
        elif self.hub.branches.get(revision, revision) not in self.hub.repos[repo]:
            self.refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        else:
            return self.hub.repos[repo][self.hub.branches.get(revision, revision)]
        return None

    def listing(self, repo, kind, revision):
        files = self.files(repo, revision, listing=True)
        if files is None:
            return None
        if kind == "tree":
            rows = [self.entry(path, file) for path, file in files.items()]
            return self.reply(200, json.dumps(rows).encode(), **{"Content-Type": "application/json"})
        siblings = [
            {"rfilename": path, "size": file.size, "blobId": file.blob}
            | ({"lfs": {"sha256": file.sha256, "size": file.size, "pointerSize": 130}} if file.large else {})
            for path, file in files.items()
        ]
        sha = self.hub.branches.get(revision, revision)
        told = {"id": repo, "modelId": repo, "sha": sha, "private": repo in self.hub.private, "siblings": siblings}
        return self.reply(200, json.dumps(told).encode(), **{"Content-Type": "application/json"})

    def entry(self, path, file):
        lfs = {"lfs": {"oid": file.sha256, "size": file.size, "pointerSize": 130}} if file.large else {}
        return {"type": "file", "path": path, "size": file.size, "oid": file.blob, **lfs}

    def resolve(self, repo, revision, path):
        files = self.files(repo, revision, listing=False)
        if files is None:
            return None
        if path not in files:
            return self.refuse(404, "EntryNotFound", "Entry not found")
        file, commit = files[path], self.hub.branches.get(revision, revision)
        known = {"X-Repo-Commit": commit, "ETag": f'"{file.blob}"', "Accept-Ranges": "bytes"}
        if not file.large:
            return self.body(file.data, **known)
        linked = {
            "X-Linked-Etag": f'"{file.sha256}"', "X-Linked-Size": str(file.size), "X-Xet-Hash": file.sha256, "Link": XET,
            "Location": f"{self.hub.cdn_url}/{repo}/{commit}/{urllib.parse.quote(path)}?signature=secret",
        }  # fmt: skip
        return self.reply(302, b"", **known, **linked)

    def content(self, path):
        repo, commit, name = re.fullmatch(r"/([^/]+/[^/]+)/([^/]+)/(.+)", path).groups()
        return self.body(self.hub.repos[repo][commit][name].data)

    def body(self, data, **headers):
        data = data if self.fault.other is None else self.fault.other
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if not asked or not self.fault.ranges:
            return self.reply(200, data, **headers)
        start = int(asked[1])
        if start >= len(data):
            return self.reply(416, b"", **{"Content-Range": f"bytes */{len(data)}"})
        return self.reply(
            206, data[start:], **headers, **{"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"}
        )

    def refuse(self, status, code, message):
        told = {"X-Error-Code": code, "X-Error-Message": message, "Content-Type": "application/json"}
        return self.reply(status, json.dumps({"error": message}).encode(), **told)

    def reply(self, status, body, **headers):
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        body = memoryview(body)[: self.fault.cut]
        for start in range(0, len(body), PIECE):
            if self.fault.pace:
                time.sleep(self.fault.pace)
            self.wfile.write(body[start : start + PIECE])
            self.asked.sent += len(body[start : start + PIECE])
        if self.fault.cut is not None:
            self.hang_up()

    def hang_up(self):
        self.close_connection = True
        with contextlib.suppress(OSError):
            if self.fault.reset:  # SO_LINGER of 0 seconds: the kernel sends a reset (socket(7))
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                self.connection.close()
            else:
                self.connection.shutdown(socket.SHUT_RDWR)

    def finish(self):
        with contextlib.suppress(OSError, ValueError):
            super().finish()

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, *_):  # who asked hung up
        pass


@contextlib.contextmanager
def serve():
    """A hub that runs; it is :class:`Hub`."""
    hub = Hub()
    with contextlib.ExitStack() as stack:
        for cdn in (False, True):
            handler = type("Bound", (Handler,), {"hub": hub, "cdn": cdn})
            server = stack.enter_context(Server(("127.0.0.1", 0), handler))
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
            thread.start()
            stack.callback(thread.join)
            stack.callback(server.shutdown)
            setattr(hub, "cdn_url" if cdn else "url", f"http://127.0.0.1:{server.server_address[1]}")
        yield hub


def environment(hub, monkeypatch):
    """Let huggingface_hub in this process use the hub, with no waits, small pieces and no token."""
    import types

    from huggingface_hub import constants, file_download
    from huggingface_hub.utils import _http

    from build import huberrors, modelhub

    for name in (
        "http_proxy",
        "https_proxy",
        "all_proxy",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "HF_TOKEN",
        "HF_HOME",
    ):
        monkeypatch.delenv(name, raising=False)
    for name, value in {**modelhub.QUIET, "HF_HOME": "", "HF_ENDPOINT": hub.url}.items():
        monkeypatch.setenv(name, value)  # the command sets most of them, too: so that it is undone
    monkeypatch.delenv("SPARK_RUNTIME_MODELS", raising=False)
    # The library reads its variables once; here another test may have imported it before.
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 1)
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", PIECE)
    for module in (file_download, _http):
        monkeypatch.setattr(module, "time", types.SimpleNamespace(sleep=lambda _: None, time=time.time))
    monkeypatch.setattr(huberrors, "BACKOFF_SECONDS", 0.001)
