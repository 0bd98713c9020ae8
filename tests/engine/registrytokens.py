"""A token server, as registries with `auth: token` send their clients to: real tokens, signed, that really expire.

Formats: distribution's docs/spec/auth (token.md, jwt.md, scope.md). The keys are made, and the tokens signed, by the
tools root's openssl.
"""

import base64
import contextlib
import http.server
import json
import re
import socketserver
import subprocess
import threading
import time
import urllib.parse
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from build import engine, host
from build.models import Settings
from build.settings import REPO, default_store

LEEWAY = 60  # seconds: what docker-registry 2.8 takes a token for beyond its time
SERVICE = "the registry"
ISSUER = "the tests"
CONFIG = "[req]\ndistinguished_name = name\n[name]\n"  # the root's own has a path that is not there on the host
CURVE = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
AUTHORITY = ("basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign,cRLSign")
SERVER = (
    "basicConstraints=critical,CA:FALSE", "keyUsage=critical,digitalSignature", "extendedKeyUsage=serverAuth",
    "subjectAltName=IP:127.0.0.1,DNS:localhost",
)  # fmt: skip


@cache
def tools() -> Path:
    """The tools root: openssl, perl and setpriv."""
    return host.tools(Settings(repo=REPO, store=default_store()))


def program(name: str) -> list[str]:
    """The start of an argument list for a program of the tools root."""
    return [*engine.loader(tools()), str(tools() / "usr/bin" / name)]


def openssl(*arguments, stdin=b"") -> bytes:
    argv = [*program("openssl"), *map(str, arguments)]
    return subprocess.run(argv, input=stdin, capture_output=True, check=True, env={}).stdout


@dataclass(frozen=True)
class Certificate:
    """A certificate and its key, both as PEM files."""

    file: Path
    key: Path


def certificate(folder, name, extensions=SERVER, *, authority=None) -> Certificate:
    """A new certificate for two days, signed by ``authority``, or by itself."""
    made = Certificate(folder / f"{name}.pem", folder / f"{name}.key")
    config = folder / "openssl.cnf"
    config.write_text(CONFIG)
    added = [part for text in extensions for part in ("-addext", text)]
    signer = ("-CA", authority.file, "-CAkey", authority.key) if authority else ()
    openssl(
        "req", "-x509", "-config", config, *CURVE, "-keyout", made.key, "-out", made.file, "-days", "2",
        "-subj", f"/CN={name}", *signer, *added,
    )  # fmt: skip
    return made


@dataclass
class Tokens:
    """The token server of a registry, whose fields may be changed while it runs.

    ``lifetime``: seconds that a token is good for, in reality; ``tells``: what it says of that (None: the truth).
    ``rights``: what a user may do, where that is not all; "" is who gives no name, who may do nothing by default.
    ``fault``: a status that it answers with instead. ``asked``: (user, scopes asked for, actions granted) of each
    token that it gave; ``refused``: how many times it did not know a user.
    """

    url: str
    users: dict[str, str]
    lifetime: float = 300
    tells: int | None = None
    rights: dict[str, tuple[str, ...]] = field(default_factory=lambda: {"": ()})
    fault: int = 0
    asked: list[tuple[str, tuple[str, ...], tuple[str, ...]]] = field(default_factory=list)
    refused: int = 0
    _signer: Certificate | None = None

    def config(self) -> dict:
        """The registry's configuration that makes it send its clients here."""
        return {"realm": self.url, "service": SERVICE, "issuer": ISSUER, "rootcertbundle": str(self._signer.file)}

    def token(self, user: str, scopes: tuple[str, ...]) -> str:
        """A token for what of the scopes the user may do; it is good for ``lifetime`` seconds from now."""
        may = self.rights.get(user, ("pull", "push", "delete"))
        access = []
        for scope in scopes:
            kind, name, actions = re.fullmatch(r"([^:]+):(.+):([^:]*)", scope).groups()
            granted = [action for action in actions.split(",") if action in may or ("*" in actions and may)]
            access.append({"type": kind, "name": name, "actions": granted})
        self.asked.append((user, scopes, tuple(action for row in access for action in row["actions"])))
        now = time.time()
        claims = {
            "iss": ISSUER, "sub": user, "aud": SERVICE, "jti": str(len(self.asked)), "access": access,
            "iat": int(now), "nbf": int(now) - LEEWAY, "exp": round(now + self.lifetime) - LEEWAY,
        }  # fmt: skip
        chain = ["".join(self._signer.file.read_text().split("-----")[2].split())]
        signed = ".".join(_base64(json.dumps(part)) for part in ({"typ": "JWT", "alg": "ES256", "x5c": chain}, claims))
        signature = openssl("dgst", "-sha256", "-sign", self._signer.key, stdin=signed.encode())
        return f"{signed}.{_base64(_plain(signature))}"


def _base64(data):
    data = data.encode() if isinstance(data, str) else data
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _plain(signature):
    """An ECDSA signature as JWTs have it (RFC 7518, 3.4): both numbers in 32 bytes each, instead of in ASN.1."""
    first = signature[4 : 4 + signature[3]]
    second = signature[4 + signature[3] + 2 :]
    return b"".join(int.from_bytes(number, "big").to_bytes(32, "big") for number in (first, second))


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    tokens: Tokens

    def do_GET(self):
        tokens = self.tokens
        user, known = self.user()
        if tokens.fault:
            return self.reply(tokens.fault, {"details": "trouble"})
        if not known:
            tokens.refused += 1
            return self.reply(401, {"details": "incorrect username or password"})
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
        scopes = tuple(scope for text in query.get("scope", ()) for scope in text.split())
        told = round(tokens.lifetime) if tokens.tells is None else tokens.tells
        return self.reply(200, {"token": tokens.token(user, scopes), "expires_in": told})

    def do_POST(self):
        self.close_connection = True
        self.reply(405, {"details": "ask by GET"})  # as some registries have it; clients try GET then

    def user(self):
        """Who asks, and whether it is really they; nobody is "", and known."""
        told = self.headers.get("Authorization", "").partition(" ")[2]
        if not told:
            return "", True
        name, _, password = base64.b64decode(told).decode().partition(":")
        return name, self.tokens.users.get(name) == password

    def reply(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


class _Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        pass


@contextlib.contextmanager
def serve(folder, users, tls=None):
    """A token server on loopback until the block ends. ``tls``: an ``ssl.SSLContext``, where it shall speak that."""
    signer = certificate(folder, "signer", AUTHORITY)
    handler = type("Handler", (_Handler,), {})
    with _Server(("127.0.0.1", 0), handler) as server:
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        url = f"http{'s' if tls else ''}://127.0.0.1:{server.server_address[1]}/token"
        handler.tokens = Tokens(url, dict(users), _signer=signer)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield handler.tokens
        finally:
            server.shutdown()
            thread.join()
