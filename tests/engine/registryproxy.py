"""The proxy of :mod:`registryfaults`: bodies stream through it and are never held whole, manifests aside.

Locations are rewritten, so that clients stay with it. Formats: OCI distribution-spec 1.1 ("Listing Referrers", "Pushing
Manifests with Subject", "Error Codes").
"""

import base64
import contextlib
import hashlib
import hmac
import http.client
import http.server
import json
import socket
import socketserver
import ssl
import struct
import threading
import time
import urllib.parse

from tests.engine.registryfaults import READ, Proxy, Request

SECRET = b"of the tests"  # the registry's, by which it signs the state of an upload
PIECE = 256 << 10
PATIENCE = 5.0  # seconds for the registry to put away what came before a cut
MANIFEST_LIMIT = 16 << 20
INDEX = "application/vnd.oci.image.index.v1+json"
CODES = {401: "UNAUTHORIZED", 403: "DENIED", 404: "MANIFEST_UNKNOWN", 429: "TOOMANYREQUESTS"}
HOPS = {
    "connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "expect", "host",
}  # fmt: skip
ABORT = struct.pack("ii", 1, 0)  # SO_LINGER: close means reset


class _Cut(Exception):  # noqa: N818 - no error: it was asked for
    """This connection ends here."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: "_Server"

    def setup(self):
        self.upstream = self.server.connect()
        super().setup()

    def finish(self):
        self.upstream.close()
        with contextlib.suppress(OSError, ValueError):
            super().finish()

    def do_GET(self):
        proxy = self.server.proxy
        self.asked = Request(self.command, self.path, dict(self.headers.items()))
        proxy.requests.append(self.asked)
        self.faults = [fault for fault in list(proxy.faults) if fault.matches(self.asked)]
        self.rate = next((fault.value for fault in self._faults("slow") if fault.strike()), 0)
        self.chunked = "chunked" in self.headers.get("Transfer-Encoding", "").lower()
        try:
            self._serve(proxy)
        except _Cut as cut:
            if cut.args[0]:
                self.server.reset.add(self.connection)
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT)
            self.close_connection = True
        except (OSError, http.client.HTTPException):
            self.close_connection = True

    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815 - the names that its base looks for

    def _faults(self, kind):
        return (fault for fault in self.faults if fault.kind == kind)

    def _serve(self, proxy):
        if any(fault.strike() for fault in self._faults("hang")):
            self._drain()
            proxy.closing.wait()
            raise _Cut(False)
        for fault in self._faults("answer"):
            if fault.strike():
                status, headers, early = fault.value
                self.close_connection = self.close_connection or early
                if not early:
                    self._drain()
                code = CODES.get(status, "UNKNOWN")
                words = json.dumps({"errors": [{"code": code, "message": "so the tests want it"}]}).encode()
                return self._reply(status, [("Content-Type", "application/json"), *headers.items()], words)
        if proxy.referrers and self.asked.kind == "referrers" and self.command in READ:
            self._drain()
            return self._referrers(proxy)
        return self._pass_on(proxy)

    # -- the way there

    def _pass_on(self, proxy):
        holds = proxy.referrers and self.asked.kind == "manifest" and self.command == "PUT"
        forget = any(fault.strike() for fault in self._faults("forget login"))
        self.upstream.putrequest(self.command, self._asked_path(proxy), skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() not in HOPS and not (forget and name.lower() == "authorization"):
                self.upstream.putheader(name, value)
        if self.chunked:
            self.upstream.putheader("Transfer-Encoding", "chunked")
        kept = self._send_body(holds=holds)
        answer = self.upstream.getresponse()
        headers = [(name, value) for name, value in answer.getheaders() if name.lower() not in HOPS]
        headers = [(name, self._here(value) if name.lower() == "location" else value) for name, value in headers]
        if kept and answer.status < 300 and (subject := json.loads(kept).get("subject")):
            headers.append(("OCI-Subject", subject["digest"]))
        if self.asked.kind == "manifest" and answer.status < 300:
            for fault in self._faults("other manifest"):
                if fault.strike():
                    return self._other_manifest(answer, headers, *fault.value)
        return self._return(answer, headers)

    def _send_body(self, *, holds):
        """Pass the body on; its bytes, where they are to be held.

        Where the registry answers before it has it all, and hangs up, its answer is what counts.
        """
        kept, gone = [], None
        try:
            self.upstream.endheaders()
        except OSError as error:
            gone = error
        pace = _Pace(self.rate, self.server.proxy.closing)
        for piece in self._body(pace.size):
            if gone is None:
                try:
                    self._send(piece)
                except OSError as error:
                    gone = error
            pace(len(piece))
            if holds:
                kept.append(piece)
                assert self.asked.received <= MANIFEST_LIMIT
        if self.chunked and gone is None:
            self.upstream.send(b"0\r\n\r\n")
        return b"".join(kept)

    def _send(self, piece):
        """A piece of the body, or what of it comes before a cut."""
        for fault in self._faults("cut upload"):
            room = fault.room(self.asked.received - len(piece))
            if room is not None and room < len(piece) and fault.strike():
                self.asked.received += room - len(piece)
                self._send_framed(piece[:room])
                fault.passed = 0
                self._let_go()
                raise _Cut(True)
            fault.went(len(piece))
        self._send_framed(piece)

    def _send_framed(self, piece):
        if piece:
            self.upstream.send(b"%x\r\n%b\r\n" % (len(piece), piece) if self.chunked else piece)

    def _let_go(self):
        """Say no more to the registry, and wait for it to hang up: then it has put away what came."""
        with contextlib.suppress(OSError):
            self.upstream.sock.settimeout(PATIENCE)
            self.upstream.sock.shutdown(socket.SHUT_WR)
            while self.upstream.sock.recv(PIECE):
                pass

    def _asked_path(self, proxy):
        """The path to ask for: that of an upload with how much of it there is, where uploads are resumed."""
        state = self.asked.query.get("_state")
        if not (proxy.resumes and self.command == "GET" and state):
            return self.path
        known = json.loads(base64.urlsafe_b64decode(state)[hashlib.sha256().digest_size :])
        known["Offset"] = self.server.registry.arrived(known["Name"], known["UUID"])
        told = json.dumps(known, separators=(",", ":")).encode()
        signed = base64.urlsafe_b64encode(hmac.digest(SECRET, told, "sha256") + told).decode()
        return f"{self.path.partition('?')[0]}?{urllib.parse.urlencode({**self.asked.query, '_state': signed})}"

    def _body(self, size=PIECE):
        """The request's body in pieces as they arrive; ``OSError`` where it ends too early."""
        if not self.chunked:
            yield from self._pieces(int(self.headers.get("Content-Length") or 0), size)
            return
        while count := int(self.rfile.readline(100).partition(b";")[0] or b"0", 16):
            yield from self._pieces(count, size)
            self.rfile.readline(2)
        while self.rfile.readline(1000).strip():
            pass

    def _pieces(self, count, size):
        while count:
            piece = self.rfile.read1(min(size, count))
            if not piece:
                raise ConnectionError("the client hung up")
            count -= len(piece)
            self.asked.received += len(piece)
            yield piece

    def _drain(self):
        for _ in self._body():
            pass

    # -- the way back

    def _here(self, location):
        """A location of the registry's, here."""
        local = location.removeprefix(self.server.registry.url)
        return local if self.server.proxy.relative or not local.startswith("/") else f"{self.server.proxy.url}{local}"

    def _start(self, status, headers):
        self.asked.status = status
        self.send_response_only(status)
        for name, value in headers:
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()

    def _reply(self, status, headers, body):
        self._start(status, [*headers, ("Content-Length", str(len(body)))])
        if self.command != "HEAD":
            self.asked.sent += len(body)
            self.wfile.write(body)

    def _return(self, answer, headers):
        """Pass the registry's answer on."""
        bare = self.command == "HEAD" or answer.status in (204, 304)
        chunked = not bare and answer.getheader("Content-Length") is None
        self._start(answer.status, [*headers, ("Transfer-Encoding", "chunked")] if chunked else headers)
        pace = _Pace(self.rate, self.server.proxy.closing)
        while piece := answer.read1(pace.size):
            piece = self._spoiled(piece)
            pace(len(piece))
            self._write(piece, chunked=chunked)
        if answer.length:  # the registry hung up
            raise _Cut(False)
        answer.close()
        if chunked:
            self.wfile.write(b"0\r\n\r\n")

    def _write(self, piece, *, chunked):
        for fault in self._faults("cut download"):
            room = fault.room(self.asked.sent)
            if room is not None and room < len(piece) and fault.strike():
                fault.passed = 0
                self.asked.sent += room
                self.wfile.write(b"%x\r\n%b" % (len(piece), piece[:room]) if chunked else piece[:room])
                raise _Cut(fault.value)
            fault.went(len(piece))
        self.asked.sent += len(piece)
        self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)

    def _spoiled(self, piece):
        for fault in self._faults("corrupt"):
            at = fault.after - self.asked.sent
            if 0 <= at < len(piece) and self.asked.status in (200, 206) and fault.strike():
                piece = piece[:at] + bytes([piece[at] ^ 0xFF]) + piece[at + 1 :]
        return piece

    def _other_manifest(self, answer, headers, body, digest):
        real = answer.read()
        changed = {"docker-content-digest": digest} if digest else {}
        if body is not None and self.command in READ:
            changed["content-length"] = str(len(body))
        headers = [(name, changed.get(name.lower(), value)) for name, value in headers]
        self._start(answer.status, headers)
        if self.command != "HEAD":
            told = real if body is None or self.command not in READ else body
            self.asked.sent += len(told)
            self.wfile.write(told)

    # -- the referrers API

    def _referrers(self, proxy):
        """Answer for the referrers of a digest whoever may read the repository."""
        name, digest, query = self.asked.name, self.asked.reference, self.asked.query
        login = {"Authorization": self.headers["Authorization"]} if "Authorization" in self.headers else {}
        self.upstream.request("GET", f"/v2/{name}/tags/list", headers=login)
        answer = self.upstream.getresponse()
        words = answer.read()
        if answer.status in (401, 403):
            challenge = [(key, value) for key, value in answer.getheaders() if key.lower() == "www-authenticate"]
            return self._reply(answer.status, challenge, words)
        rows = self.server.registry.referrers(name, digest)
        headers = [("Content-Type", INDEX)]
        if kind := query.get("artifactType"):
            rows = [row for row in rows if row.get("artifactType") == kind]
            headers.append(("OCI-Filters-Applied", "artifactType"))
        first = int(query.get("from", 0))
        if proxy.page and first + proxy.page < len(rows):
            more = urllib.parse.urlencode({**query, "from": first + proxy.page})
            headers.append(("Link", f'</v2/{name}/referrers/{digest}?{more}>; rel="next"'))
        rows = rows[first : first + proxy.page] if proxy.page else rows
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": rows}
        return self._reply(200, headers, json.dumps(index).encode())

    def log_message(self, *args):
        pass


class _Pace:
    """Waits so that no more than ``rate`` bytes a second went since it began; 0 is as fast as can be."""

    def __init__(self, rate, closing):
        self.rate, self.closing = rate, closing
        self.size = max(1, min(PIECE, rate // 20)) if rate else PIECE
        self.went, self.began = 0, time.monotonic()

    def __call__(self, count):
        self.went += count
        if self.rate and self.closing.wait(max(0, self.began + self.went / self.rate - time.monotonic())):
            raise _Cut(True)


class _Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, registry):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.registry = registry
        self.context = registry.server_context()
        self.trust = ssl.create_default_context(cafile=registry.ca) if registry.ca else None
        self.open, self.reset = set(), set()
        self.proxy = Proxy("", "")

    def connect(self):
        """A connection to the registry, made when it is first used."""
        host, port = self.registry.place.split(":")
        if self.trust is not None:
            return http.client.HTTPSConnection(host, int(port), context=self.trust, blocksize=PIECE)
        return http.client.HTTPConnection(host, int(port), blocksize=PIECE)

    def get_request(self):
        connection, address = super().get_request()
        if self.context is not None:  # the handshake is the thread's, not ours
            connection = self.context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        self.open.add(connection)
        return connection, address

    def shutdown_request(self, request):
        self.open.discard(request)
        if request in self.reset:  # no farewell
            self.reset.discard(request)
            self.close_request(request)
        else:
            super().shutdown_request(request)

    def hang_up(self):
        for connection in list(self.open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request, client_address):
        pass


@contextlib.contextmanager
def faults(registry, *, referrers=False, resumes=False):
    """A proxy before a registry of :mod:`registrykit` until the block ends; yields a :class:`Proxy`, faultless at first.

    It speaks TLS where the registry does. ``referrers``: it has the referrers API, else the registry's own 404 is the
    answer. ``resumes``: see :class:`Proxy`.
    """
    with _Server(registry) as server:
        proxy = server.proxy
        proxy.place = f"127.0.0.1:{server.server_address[1]}"
        proxy.url = f"{registry.url.partition(':')[0]}://{proxy.place}"
        proxy.ca = registry.ca
        proxy.referrers = referrers
        proxy.resumes = resumes
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield proxy
        finally:
            proxy.closing.set()
            server.shutdown()
            thread.join()
            server.hang_up()
