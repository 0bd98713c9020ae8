"""A small registry on loopback, in memory: OCI distribution-spec 1.1 with uploads that are gone on with after a cut.

    with registryserver.serve() as server:
        server.fault("PATCH", "/uploads/", cut=1_000_000)
        ...
        assert server.repos["a/b"].tags == {}

What a registry may have or lack is switched by its fields; what goes wrong is told by :meth:`Registry.fault`.
"""

import base64
import contextlib
import hashlib
import io
import itertools
import json
import os
import re
import socket
import ssl
import threading
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from build import registry, registryhttp, upload
from build.credentials import Credentials

CAS = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
INDEX = "application/vnd.oci.image.index.v1+json"
PIECE = 1 << 16
ENDLESS = object()  # a body that never ends
ALWAYS = 10_000


def sha(data):
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@dataclass
class Repo:
    """``manifests``: digest → (media type, bytes)."""

    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)


@dataclass
class Asked:
    """A request as it came. ``body``: the bytes of it that were read."""

    method: str
    path: str
    headers: dict[str, str]
    body: int = 0

    @property
    def authorization(self):
        return self.headers.get("authorization", "")


@dataclass
class Fault:
    """What goes wrong with the next requests whose method and path fit.

    ``status``, ``headers``, ``body``: an answer instead of the right one. ``cut``: the connection ends after so many
    bytes of the body, theirs or ours. ``lost``: all is done, and the answer does not arrive. ``changed``: headers of the
    right answer. ``other``: bytes in place of those asked for. ``before``: called when the request came.
    """

    method: str
    path: str
    times: int = 1
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: object = b""
    cut: int | None = None
    lost: bool = False
    changed: dict[str, str | None] = field(default_factory=dict)
    other: bytes | None = None
    before: Callable | None = None


@dataclass
class Login:
    """Who may come in. ``kind``: bearer or basic. ``uses``: requests that a token is good for.

    ``realm``: where tokens are had, else here. ``identity``: a refresh token that is taken too. ``rights``: what of the
    scopes is granted, by repository. ``given``: (user, scopes) of each token.
    """

    user: str = "me"
    password: str = "s3cret-word"
    kind: str = "bearer"
    realm: str = ""
    identity: str = ""
    uses: int = ALWAYS
    rights: dict[str, set[str]] = field(default_factory=dict)
    given: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    tokens: dict[str, dict] = field(default_factory=dict)


class Registry(ThreadingHTTPServer):
    """``asked``: each request. ``uploads``: id → the bytes that came, also of those that were ended.

    ``referrers``: has the API. ``resume``: tells how much of an upload it has. ``ranges``: gives parts of blobs.
    ``page``: entries of a list in one answer, 0 for all. ``elsewhere``: a URL that blobs are fetched from instead.
    ``uploads_at``: another host that uploads go to.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, address="127.0.0.1", port=0):
        self.address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
        super().__init__((address, port), Handler)
        host = f"[{address}]" if ":" in address else address
        self.place = f"{host}:{self.server_address[1]}"
        self.scheme = "http"
        self.repos: dict[str, Repo] = {}
        self.uploads: dict[str, bytearray] = {}
        self.asked: list[Asked] = []
        self.faults: list[Fault] = []
        self.login: Login | None = None
        self.referrers = self.resume = self.ranges = True
        self.page = 0
        self.elsewhere = self.uploads_at = ""
        self.lock = threading.RLock()
        self.number = itertools.count(1)

    @property
    def url(self):
        return f"{self.scheme}://{self.place}"

    def repo(self, name):
        return self.repos.setdefault(name, Repo())

    def fault(self, method, path, **what):
        """Let something go wrong; the fault, whose ``times`` counts down."""
        made = Fault(method, path, **what)
        self.faults.append(made)
        return made

    def found_fault(self, method, path):
        with self.lock:
            for fault in self.faults:
                if fault.times and re.fullmatch(fault.method, method) and re.search(fault.path, path):
                    fault.times -= 1
                    return fault
        return Fault(method, path)

    def count(self, method, path=""):
        """How many requests came."""
        return sum(1 for one in self.asked if one.method == method and re.search(path, one.path))

    def secure(self, certificate, key):
        """Speak TLS from now on."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.scheme = "https"

    def handle_error(self, request, client_address):
        pass


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Registry

    def handle_one_request(self):
        try:
            super().handle_one_request()
        except OSError:
            self.close_connection = True

    def serve(self):
        self.asked = Asked(self.command, self.path, {key.lower(): value for key, value in self.headers.items()})
        self.fault = self.server.found_fault(self.command, self.path)
        self.left = int(self.headers.get("Content-Length") or 0)
        with self.server.lock:
            self.server.asked.append(self.asked)
        if self.fault.before:
            self.fault.before(self.asked)
        if self.fault.status:
            self.drain()
            return self.reply(self.fault.status, self.fault.body, **self.fault.headers)
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            self.close_connection = True
            return self.refuse(411, "UNSUPPORTED")
        return self.route()

    def __getattr__(self, name):
        if name in ("do_GET", "do_HEAD", "do_PUT", "do_POST", "do_PATCH"):
            return self.serve
        raise AttributeError(name)

    def route(self):
        parts = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(parts.query, keep_blank_values=True))
        if parts.path == "/token":
            return self.token(parts.query)
        if parts.path.startswith("/files/"):
            return self.file(parts.path.removeprefix("/files/"))
        match = re.fullmatch(r"/v2/(.+?)/(manifests|blobs/uploads|blobs|tags|referrers)/(.*)", parts.path)
        if not match:
            return self.refuse(404, "NAME_UNKNOWN")
        name, kind, rest = match.groups()
        if not self.allowed(name, query.get("from", "")):
            return None
        verb = {"GET": "get", "HEAD": "get"}.get(self.command, self.command.lower())
        return getattr(self, f"{verb}_{kind.split('/')[-1]}")(name, rest, query)

    # who may

    def allowed(self, name, beside):
        login = self.server.login
        if login is None:
            return True
        told = self.asked.authorization
        kind, _, secret = told.partition(" ")
        wanted = {(name, "pull"), *({(name, "push")} if self.command in ("PUT", "POST", "PATCH") else ())}
        wanted |= {(beside, "pull")} if beside else set()
        with self.server.lock:
            if login.kind == "basic":
                good = told == basic(login.user, login.password)
            else:
                token = login.tokens.get(secret) if kind == "Bearer" else None
                good = bool(token and token["left"] > 0 and wanted <= token["may"])
                if good:
                    token["left"] -= 1
        if not good:
            self.drain()
            realm = login.realm or f"{self.server.url}/token"
            challenge = f'Bearer realm="{realm}",service="here",scope="repository:{name}:pull,push"'
            told = 'Basic realm="here"' if login.kind == "basic" else challenge
            self.refuse(401, "UNAUTHORIZED", **{"WWW-Authenticate": told})
        return good

    def token(self, query):
        login = self.server.login
        if self.command == "POST":
            form = dict(urllib.parse.parse_qsl(self.body().decode()))
            user = "identity" if form.get("refresh_token") == login.identity and login.identity else None
            scopes = tuple(form.get("scope", "").split())
        else:
            scopes = tuple(value for key, value in urllib.parse.parse_qsl(query) if key == "scope")
            told = self.asked.authorization
            user = login.user if told == basic(login.user, login.password) else None if told else ""
        if user is None:
            return self.refuse(401, "UNAUTHORIZED")
        may = set()
        for scope in scopes:
            _, name, actions = scope.split(":")
            granted = login.rights.get(name, {"pull", "push"})
            may |= {(name, action) for action in actions.split(",") if action in granted and user}
        with self.server.lock:
            value = f"token-{next(self.server.number)}"
            login.tokens[value] = {"left": login.uses, "may": may}
            login.given.append((user, scopes))
        return self.reply(200, json.dumps({"token": value}).encode())

    # manifests, tags, referrers

    def get_manifests(self, name, reference, _query):
        repo = self.server.repo(name)
        digest = repo.tags.get(reference, reference)
        if digest not in repo.manifests:
            return self.refuse(404, "MANIFEST_UNKNOWN")
        kind, data = repo.manifests[digest]
        return self.reply(200, data, **{"Content-Type": kind, "Docker-Content-Digest": digest})

    def put_manifests(self, name, reference, _query):
        repo, data = self.server.repo(name), self.body()
        digest, told = sha(data), json.loads(data)
        if reference.startswith("sha256:") and reference != digest:
            return self.refuse(400, "DIGEST_INVALID")
        rows = [told[key] for key in ("config",) if key in told] + told.get("layers", [])
        missing = [row["digest"] for row in rows if row["digest"] not in repo.blobs]
        missing += [row["digest"] for row in told.get("manifests", []) if row["digest"] not in repo.manifests]
        if missing:
            return self.refuse(400, "MANIFEST_BLOB_UNKNOWN", message=missing[0])
        with self.server.lock:
            repo.manifests[digest] = (self.headers["Content-Type"], data)
            if not reference.startswith("sha256:"):
                repo.tags[reference] = digest
        subject = told.get("subject", {}).get("digest")
        more = {"OCI-Subject": subject} if subject and self.server.referrers else {}
        return self.reply(201, Location=f"/v2/{name}/manifests/{digest}", **{"Docker-Content-Digest": digest}, **more)

    def get_tags(self, name, _rest, query):
        rows = sorted(self.server.repo(name).tags)
        return self.pages(rows, query, lambda part: {"name": name, "tags": part})

    def get_referrers(self, name, digest, query):
        if not self.server.referrers:
            return self.refuse(404, "UNSUPPORTED")
        rows = []
        for own, (kind, data) in self.server.repo(name).manifests.items():
            told = json.loads(data)
            if told.get("subject", {}).get("digest") == digest:
                rows.append({
                    "mediaType": kind, "digest": own, "size": len(data), "artifactType": told.get("artifactType", ""),
                    "annotations": told.get("annotations", {}),
                })  # fmt: skip
        made = {"schemaVersion": 2, "mediaType": INDEX}
        return self.pages(rows, query, lambda part: {**made, "manifests": part}, **{"Content-Type": INDEX})

    def pages(self, rows, query, made, **headers):
        start, size = int(query.get("start", 0)), self.server.page or len(rows) or 1
        path = urllib.parse.urlsplit(self.path).path
        if start + size < len(rows):
            headers["Link"] = f'<{path}?start={start + size}>; rel="next"'
        return self.reply(200, json.dumps(made(rows[start : start + size])).encode(), **headers)

    # blobs

    def get_blobs(self, name, digest, _query):
        repo = self.server.repo(name)
        if digest not in repo.blobs:
            return self.refuse(404, "BLOB_UNKNOWN")
        if self.server.elsewhere:
            return self.reply(307, Location=f"{self.server.elsewhere}/files/{digest}")
        return self.part(repo.blobs[digest], **{"Docker-Content-Digest": digest})

    def file(self, digest):
        found = [repo.blobs[digest] for repo in self.server.repos.values() if digest in repo.blobs]
        return self.part(found[0]) if found else self.refuse(404, "BLOB_UNKNOWN")

    def part(self, data, **headers):
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if not asked or not self.server.ranges:
            return self.reply(200, data, **headers)
        start = int(asked[1])
        return self.reply(
            206, data[start:], **headers, **{"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"}
        )

    def post_uploads(self, name, _rest, query):
        blob = self.server.repos.get(query.get("from", ""), Repo()).blobs.get(query.get("mount", ""))
        if blob is not None:
            self.server.repo(name).blobs[query["mount"]] = blob
            return self.reply(201, Location=f"/v2/{name}/blobs/{query['mount']}")
        number = str(next(self.server.number))
        self.server.uploads[number] = bytearray()
        return self.reply(202, **self.state(name, number))

    def state(self, name, number):
        size = len(self.server.uploads[number])
        return {
            "Location": f"{self.server.uploads_at}/v2/{name}/blobs/uploads/{number}?state=s{size}",
            **({"Range": f"0-{max(size - 1, 0)}"} if self.server.resume else {}),
        }

    def get_uploads(self, name, number, _query):
        if number not in self.server.uploads or not self.server.resume:
            return self.refuse(404, "BLOB_UPLOAD_UNKNOWN")
        return self.reply(204, **self.state(name, number))

    def patch_uploads(self, name, number, _query):
        have = self.server.uploads.get(number)
        if have is None:
            self.drain()
            return self.refuse(404, "BLOB_UPLOAD_UNKNOWN")
        told = re.fullmatch(r"(\d+)-(\d+)", self.headers.get("Content-Range", f"0-{self.left - 1}"))
        if not told or int(told[1]) != len(have) or int(told[2]) - int(told[1]) + 1 != self.left or not self.left:
            self.drain()
            return self.refuse(416, "BLOB_UPLOAD_INVALID")
        for piece in self.pieces(self.fault.cut):
            have += piece
        if self.fault.cut is not None and self.left:
            return self.hang_up()
        return self.reply(202, **self.state(name, number))

    def put_uploads(self, name, number, query):
        data = self.server.uploads.get(number)
        if data is None:
            self.drain()
            return self.refuse(404, "BLOB_UPLOAD_UNKNOWN")
        data += self.body()
        del self.server.uploads[number]
        if sha(bytes(data)) != query.get("digest"):
            return self.refuse(400, "DIGEST_INVALID", message="provided digest did not match uploaded content")
        self.server.repo(name).blobs[query["digest"]] = bytes(data)
        more = {"Docker-Content-Digest": query["digest"]}
        return self.reply(201, Location=f"/v2/{name}/blobs/{query['digest']}", **more)

    # bytes

    def pieces(self, limit=None):
        while self.left and (limit is None or self.asked.body < limit):
            size = min(PIECE, self.left, PIECE if limit is None else limit - self.asked.body)
            piece = self.rfile.read(size)
            if not piece:
                raise ConnectionAbortedError
            self.left -= len(piece)
            self.asked.body += len(piece)
            yield piece

    def body(self):
        return b"".join(self.pieces())

    def drain(self):
        for _ in self.pieces():
            pass

    def refuse(self, status, code, message="", **headers):
        body = json.dumps({"errors": [{"code": code, "message": message}]}).encode()
        self.reply(status, body, **{"Content-Type": "application/json", **headers})

    def reply(self, status, body=b"", **headers):
        self.drain()
        fault = self.fault
        if fault.lost:
            return self.hang_up()
        body = body if fault.other is None else fault.other
        told = {key: value for key, value in {**headers, **fault.changed}.items() if value is not None}
        self.send_response(status)
        for key, value in told.items():
            self.send_header(key, value)
        if body is ENDLESS:
            self.end_headers()
            self.close_connection = True
            while True:
                self.wfile.write(b'{"errors": ' + b"[" * PIECE)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body if fault.cut is None else body[: fault.cut])
            if fault.cut is not None:
                return self.hang_up()
        return None

    def hang_up(self):
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def address_string(self):
        return "client"

    def log_message(self, *_):
        pass


def basic(user, password):
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


def quick(monkeypatch):
    """No waiting, and nobody's credentials, proxies or certificates but a test's own."""
    for module in (registryhttp, upload, registry):
        monkeypatch.setattr(module, "BACKOFF_SECONDS", 0.001)
    for name in list(os.environ):
        if (
            name.lower().endswith("_proxy")
            or name.startswith(("REGISTRY_", "GITHUB_", "DOCKER_", "NETRC"))
            or name in CAS
        ):
            monkeypatch.delenv(name)


def blob(data):
    """Bytes as what is pushed."""
    return upload.Blob(digest=sha(data), size=len(data), open=lambda: io.BytesIO(data))


def repository(server, name="team/app", *, write=True, who=None):
    """A client. ``who``: True for the one that the server lets in."""
    if who is True:
        who = Credentials(user=server.login.user, secret=server.login.password, source="the test")
    return registry.Repository(server.place, name, who, write=write)


@contextlib.contextmanager
def serve(address="127.0.0.1", port=0):
    with Registry(address, port) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.001})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
