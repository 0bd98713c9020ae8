"""Whether the server answers, asked without ever waiting: a connection is opened, written to and read a step at a time.

``GET /health`` is vLLM's (``vllm/entrypoints/…/health.py``): 200 once the engine is there, 503 where it is dead. No
key is asked for it.
"""

from __future__ import annotations

import errno
import socket
from typing import Any

EVERYWHERE = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - where to ask, not where to listen
PATIENCE = 5.0  # seconds for an answer
STARTING_EVERY, SERVING_EVERY = 1.0, 10.0  # seconds between questions
REQUEST = b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


class Probe:
    """Asks one server. ``tls``: it speaks TLS, which is not spoken here: that it takes a connection has to do."""

    def __init__(self, host: str, port: int, *, tls: bool = False) -> None:
        name = EVERYWHERE.get(host, host)
        found = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)[0]
        self.family = found[0]
        self.address: Any = found[4]
        self.tls = tls
        self.open: socket.socket | None = None
        self.sent = False
        self.since = 0.0
        self.due = 0.0

    def step(self, now: float, every: float) -> bool | None:
        """The answer, where there is one now: True for 200. None: not asked, or no answer yet."""
        if self.open is None:
            if now < self.due:
                return None
            self.due, self.since, self.sent = now + every, now, False
            self.open = socket.socket(self.family, socket.SOCK_STREAM)
            self.open.setblocking(False)
            error = self.open.connect_ex(self.address)
            if error not in (0, errno.EINPROGRESS):
                return self._done(good=False)
        try:
            if not self.sent:
                self.open.getpeername()  # ENOTCONN while it is being connected, and where that failed
                if self.tls:
                    return self._done(good=True)
                self.open.send(REQUEST)
                self.sent = True
                return None
            return self._done(good=self.open.recv(64).split(b" ")[1:2] == [b"200"])
        except BlockingIOError:
            pass
        except OSError:
            if self.open.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) or self.sent:
                return self._done(good=False)
        return self._done(good=False) if now - self.since > PATIENCE else None

    def close(self) -> None:
        """Ask no more."""
        if self.open is not None:
            self.open.close()
            self.open = None

    def _done(self, *, good: bool) -> bool:
        self.close()
        return good
