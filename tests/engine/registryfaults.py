"""What goes wrong between a client and a registry, as a test says it, and what was asked: the proxy's two faces.

:mod:`registryproxy` is the proxy itself.
"""

import re
import threading
import urllib.parse
from dataclasses import dataclass, field
from typing import NamedTuple

READ, WRITE = ("GET", "HEAD"), ("POST", "PATCH", "PUT", "DELETE")
PATHS = (
    ("upload", re.compile(r"/v2/(?P<name>.+)/blobs/uploads/(?P<reference>[^/]*)")),
    ("blob", re.compile(r"/v2/(?P<name>.+)/blobs/(?P<reference>[^/]+)")),
    ("manifest", re.compile(r"/v2/(?P<name>.+)/manifests/(?P<reference>[^/]+)")),
    ("referrers", re.compile(r"/v2/(?P<name>.+)/referrers/(?P<reference>[^/]+)")),
    ("tags", re.compile(r"/v2/(?P<name>.+)/tags/(?P<reference>list)")),
    ("ping", re.compile(r"/v2/?")),
)


@dataclass
class Request:
    """What a client asked. ``kind``: upload, blob, manifest, referrers, tags, ping or other; ``status``: what it was
    answered, 0 where nothing; ``received`` and ``sent``: bytes of the bodies that came from and went to the client."""

    method: str
    path: str
    headers: dict[str, str]
    kind: str = "other"
    name: str = ""
    reference: str = ""
    status: int = 0
    received: int = 0
    sent: int = 0

    def __post_init__(self):
        path = urllib.parse.unquote(self.path.partition("?")[0])
        for kind, pattern in PATHS:
            if found := pattern.fullmatch(path):
                self.kind = kind
                self.name, self.reference = (found.groupdict().get(key) or "" for key in ("name", "reference"))
                return

    @property
    def query(self):
        return dict(urllib.parse.parse_qsl(self.path.partition("?")[2]))


class Traffic(NamedTuple):
    """How many requests, and the bytes of their bodies and of their answers'."""

    requests: int
    received: int
    sent: int


@dataclass
class Fault:
    """Something that goes wrong with requests that match. ``struck``: how often it did; ``off()`` ends it."""

    kind: str
    methods: tuple[str, ...]
    path: re.Pattern[str]
    times: int | None = None
    skip: int = 0
    after: int = 0
    total: bool = False
    value: object = None
    struck: int = 0
    seen: int = 0
    passed: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def off(self):
        self.times = self.struck

    def matches(self, request) -> bool:
        """Whether it is meant; those that are to be left alone first are counted here."""
        if request.method not in self.methods or not self.path.search(request.path) or self._spent:
            return False
        with self._lock:
            self.seen += 1
            return self.seen > self.skip

    @property
    def _spent(self):
        return self.times is not None and self.struck >= self.times

    def strike(self) -> bool:
        """Whether it happens, now."""
        with self._lock:
            if self._spent:
                return False
            self.struck += 1
            return True

    def room(self, passed: int) -> int | None:
        """The bytes that may still go before a cut; None where it does not come any more."""
        if self._spent:
            return None
        return max(0, self.after - (self.passed if self.total else passed))

    def went(self, count: int):
        with self._lock:
            self.passed += count


@dataclass
class Proxy:
    """The proxy; its methods make things go wrong, from then on, for requests of ``methods`` whose path (with query)
    has a match of the regular expression ``path``, ``times`` times (None: always) after ``skip`` that go well. Each
    gives a :class:`Fault`. Several may hold at once.

    ``requests``: what was asked, in order. ``referrers``: whether it has the referrers API; ``page``: so many of them in
    an answer, with a link to the next. ``resumes``: who asks for an upload that was cut is told how far it came, as the
    specification says; docker-registry 2.8 by itself answers 404, and the upload must begin anew. ``relative``:
    locations without a host, as some registries have them.
    """

    place: str
    url: str
    ca: object = None
    referrers: bool = False
    resumes: bool = False
    relative: bool = False
    page: int = 0
    requests: list[Request] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    closing: threading.Event = field(default_factory=threading.Event)

    def cut_upload(self, after, *, times=1, total=False, path="/blobs/uploads/", methods=("PATCH", "PUT"), skip=0):
        """Reset the connection after so many bytes of a request's body; the registry has put those away by then.

        Bodies that are shorter pass. ``total``: the bytes are counted over all matching requests, from cut to cut.
        """
        return self._add("cut upload", methods, path, times, skip, after=after, total=total)

    def cut_download(self, after, *, times=1, total=False, path="/blobs/sha256", skip=0, reset=False):
        """Close the connection (``reset``: reset it) after so many bytes of an answer's body."""
        return self._add("cut download", ("GET",), path, times, skip, after=after, total=total, value=reset)

    def slow(self, rate, *, times=None, path="/blobs/", methods=READ + WRITE, skip=0):
        """Let bodies pass at so many bytes a second, each way, for each request."""
        return self._add("slow", methods, path, times, skip, value=rate)

    def corrupt(self, at=0, *, times=None, path="/blobs/sha256", skip=0):
        """Flip the bits of one byte of an answer's body, at this offset."""
        return self._add("corrupt", ("GET",), path, times, skip, after=at)

    def answer(self, status, *, times=1, path="", methods=READ + WRITE, skip=0, headers=None, early=False):
        """Answer with this status instead of asking the registry, say 429 with ``headers={"Retry-After": "1"}``.

        The body is read first; ``early``: it is not, and the connection ends with the answer.
        """
        return self._add("answer", methods, path, times, skip, value=(status, headers or {}, early))

    def deny_push(self, *, times=None, path="", skip=0):
        """Answer whatever writes with 403 DENIED, as for an account that may only read."""
        return self.answer(403, times=times, path=path, methods=WRITE, skip=skip)

    def forget_login(self, *, times=1, path="", methods=READ + WRITE, skip=0):
        """Pass a request on without its Authorization: the registry answers as to a token that has expired."""
        return self._add("forget login", methods, path, times, skip)

    def hang(self, *, times=1, path="", methods=READ + WRITE, skip=0):
        """Read a request and never answer it."""
        return self._add("hang", methods, path, times, skip)

    def other_manifest(self, *, body=None, digest=None, times=None, path="/manifests/", methods=READ, skip=0):
        """Answer for manifests with another body, another Docker-Content-Digest, or both.

        What is not named stays the registry's. For the answer to a push say ``methods=("PUT",)`` and a digest.
        """
        return self._add("other manifest", methods, path, times, skip, value=(body, digest))

    def _add(self, kind, methods, path, times, skip, **more):
        fault = Fault(kind, tuple(methods), re.compile(path), times, skip, **more)
        self.faults.append(fault)
        return fault

    def clear(self):
        """All goes well again, and nothing was asked."""
        self.faults.clear()
        self.requests.clear()

    @property
    def uploaded(self) -> int:
        """Bytes of request bodies that came from clients, cut ones included."""
        return sum(request.received for request in self.requests)

    @property
    def downloaded(self) -> int:
        """Bytes of answers' bodies that went to clients."""
        return sum(request.sent for request in self.requests)

    def asked(self, method=None, kind=None, status=None) -> list[Request]:
        """The requests of a method, kind and status, in order."""
        return [
            item for item in self.requests
            if method in (None, item.method) and kind in (None, item.kind) and status in (None, item.status)
        ]  # fmt: skip

    def traffic(self) -> dict[tuple[str, str], Traffic]:
        """Requests and bytes of each method and kind."""
        found: dict[tuple[str, str], Traffic] = {}
        for item in self.requests:
            key = (item.method, item.kind)
            one = found.get(key, Traffic(0, 0, 0))
            found[key] = Traffic(one.requests + 1, one.received + item.received, one.sent + item.sent)
        return found
