"""HTTP to one registry: its token dance, retries of what can heal, one error for each way to be refused.

Specifications: OCI distribution-spec 1.1 (endpoints, error bodies); CNCF distribution, "Token Authentication" and
"OAuth2 Token Authentication" (the challenge in ``WWW-Authenticate``). Retries and waits are urllib3's.
"""

from __future__ import annotations

import base64
import ipaddress
import json
import re
import socket
import ssl
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from build import receive
from build.console import say
from build.credentials import Credentials
from build.errors import DeniedError, NetworkError, RegistryError

if TYPE_CHECKING:
    import requests

CONNECTIONS = 8
TRIES = 5
BACKOFF_SECONDS = 0.5
LONGEST_WAIT = 60  # seconds, whatever a server asks for
TIMEOUT_SECONDS = (15, 120)
PIECE = 1 << 20  # bytes that are handed to the socket at once; http.client's own 16 kB cost half of the speed
HEALING = (408, 429, 500, 502, 503, 504)
ERROR_LIMIT = 16_384  # bytes of an error's body that are looked at
CHALLENGE = re.compile(r'([a-z]+)="([^"]*)"')
JSON_LIMIT = 16 << 20


@dataclass(frozen=True, kw_only=True)
class Access:
    """What is asked for: a repository, and whether to write there."""

    name: str
    write: bool

    @property
    def scope(self) -> str:
        return f"repository:{self.name}:pull{',push' if self.write else ''}"


class Connection:
    """A registry that is spoken to. Safe for several threads; tokens are had once and again when they expire."""

    def __init__(self, host: str, credentials: Credentials | None) -> None:
        self.host = host
        self.credentials = credentials
        self.session = _session()
        self.base = ""
        self._tokens: dict[str, str] = {}
        self._lock = threading.Lock()

    @property
    def who(self) -> str:
        """Who we are there, for messages."""
        if self.credentials is None:
            return "nobody: there are no credentials for it"
        return f"{self.credentials.user or 'the owner of a token'}, as {self.credentials.source} says"

    def close(self) -> None:
        self.session.close()

    def url(self, path: str) -> str:
        """A path of the API as a URL; a location that the registry gave stays where it is."""
        if path.startswith(("http://", "https://")):
            return path
        if not self.base:
            with self._lock:
                self.base = self.base or _base(self.host)
        return f"{self.base}{path}"

    def request(
        self,
        method: str,
        path: str,
        access: Access,
        *,
        ok: tuple[int, ...] = (200,),
        headers: Mapping[str, str] | None = None,
        data: Any = None,
        stream: bool = False,
    ) -> requests.Response:
        """One request; its answer where the status is one of ``ok``.

        Raises :class:`DeniedError` (401, 403), :class:`RegistryError` (any other status), :class:`NetworkError`.
        What can heal is tried again first, but for PATCH, whose sender knows where to go on from.
        """
        answer = self._send(method, path, access, headers or {}, data, stream=stream)
        if answer.status_code == 401:
            self._challenged(answer, access)
            if hasattr(data, "rewind"):
                data.rewind()
            answer = self._send(method, path, access, headers or {}, data, stream=stream)
        if answer.status_code in ok:
            return answer
        with answer:
            raise self.refusal(answer, f"{method} {_plain(path)}", access)

    def _send(
        self, method: str, path: str, access: Access, headers: Mapping[str, str], data: Any, *, stream: bool
    ) -> requests.Response:
        import requests  # noqa: PLC0415

        url = self.url(path)
        own = dict(headers)
        if url.startswith(self.base) and (token := self._tokens.get(access.scope)):
            own["Authorization"] = token  # never to another host that a location leads to
        try:
            return self.session.request(
                method, url, headers=own, data=data, stream=stream, timeout=TIMEOUT_SECONDS, allow_redirects=not data
            )
        except requests.RequestException as error:
            raise NetworkError(
                f"the registry {self.host} cannot be reached, or hung up",
                why=f"{method} {_plain(path)}: {cause(error)}",
                todo="run the same command again: what it has is not sent again",
            ) from error

    def _challenged(self, answer: requests.Response, access: Access) -> None:
        """Get what the registry asks for: a token, or name and password with each request."""
        told = answer.headers.get("WWW-Authenticate", "")
        answer.close()
        kind = told.split(" ", 1)[0].lower()
        fields = dict(CHALLENGE.findall(told))
        if kind == "basic":
            if self.credentials is None or not self.credentials.secret:
                raise self.denied(f"it wants a name and a password, and we are {self.who}")
            self._tokens[access.scope] = _basic(self.credentials)
        elif kind == "bearer" and "realm" in fields:
            self._tokens[access.scope] = f"Bearer {self._token(fields, access)}"
        else:
            raise self.denied(f"it asks for a way to log in that we do not know: {kind or 'none named'}")

    def _token(self, fields: Mapping[str, str], access: Access) -> str:
        import requests  # noqa: PLC0415

        asked = {"scope": access.scope, "service": fields.get("service", "")}
        known = self.credentials
        try:
            if known is not None and known.identity:
                form = {**asked, "grant_type": "refresh_token", "refresh_token": known.identity, "client_id": "nox"}
                answer = self.session.post(fields["realm"], data=form, timeout=TIMEOUT_SECONDS)
            else:
                own = {"Authorization": _basic(known)} if known is not None else {}
                answer = self.session.get(fields["realm"], params=asked, headers=own, timeout=TIMEOUT_SECONDS)
        except requests.RequestException as error:
            raise NetworkError(
                f"the token server of {self.host} cannot be reached", why=cause(error), todo="run it again"
            ) from error
        if answer.status_code in (400, 401, 403):
            raise self.denied(f"its token server does not know us: we are {self.who}")
        try:
            told = answer.json() if answer.status_code == 200 else {}
            token = told.get("token") or told.get("access_token")
        except (ValueError, AttributeError):
            token = None
        if not isinstance(token, str):
            raise RegistryError(f"the token server of {self.host} gave no token", why=f"HTTP {answer.status_code}")
        return token

    def denied(self, why: str) -> DeniedError:
        """The error for a registry that does not let us in."""
        return DeniedError(
            f"the registry {self.host} does not let us in",
            why=why,
            todo=f"`docker login {self.host}`, or set REGISTRY_TOKEN (and REGISTRY_USER); a token that expired must be "
            "made anew",
        )

    def refusal(self, answer: requests.Response, what: str, access: Access) -> DeniedError | RegistryError:
        """The error for an answer that is none of those expected, in the registry's own words."""
        words = _words(answer)
        if answer.status_code in (401, 403):
            return DeniedError(
                f"the registry {self.host} does not allow us to {'write to' if access.write else 'read'} {access.name}",
                why=f"{what}: HTTP {answer.status_code}{words}; we are {self.who}",
                todo="look whether that account may, and whether its token is fresh (for GitHub's registry: with the "
                f"scope {'write:packages' if access.write else 'read:packages'})",
            )
        healing = answer.status_code in HEALING
        return RegistryError(
            f"the registry {self.host} {'is in trouble' if healing else 'refused'}",
            why=f"{what}: HTTP {answer.status_code}{words}" + (f", {TRIES} times" if healing else ""),
            todo="wait a while and run the same command again: what it has is not sent again"
            if healing
            else "look at the registry's limits and log",
        )


def is_loopback(host: str) -> bool:
    """Whether a registry is on this machine: spoken to without TLS where it has none, as Docker does.

    >>> is_loopback("127.0.0.1:5000"), is_loopback("[::1]:5000"), is_loopback("localhost"), is_loopback("ghcr.io")
    (True, True, True, False)
    """
    name = re.sub(r":\d+$", "", host).strip("[]")
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


def cause(error: Exception) -> str:
    """A requests error's innermost reason in a line; of a URL in it no query."""
    inner: BaseException = error
    while inner.__cause__ or inner.__context__:
        inner = inner.__cause__ or inner.__context__ or inner
    text = str(getattr(inner, "strerror", None) or inner) or type(inner).__name__
    return re.sub(r"\?\S+", "", text.splitlines()[0])[:200]


def _base(host: str) -> str:
    """``https://HOST``; ``http://HOST`` for one on this machine that does not speak TLS."""
    if not is_loopback(host):
        return f"https://{host}"
    name, _, port = host.rpartition(":") if re.search(r":\d+$", host) else (host, "", "443")
    any_certificate = ssl.create_default_context()  # only whether it speaks TLS is asked; requests verifies
    any_certificate.check_hostname = False
    any_certificate.verify_mode = ssl.CERT_NONE
    try:
        with socket.create_connection((name.strip("[]"), int(port)), 5) as plain, any_certificate.wrap_socket(plain):
            return f"https://{host}"
    except (OSError, ssl.SSLError):
        return f"http://{host}"


def _session() -> requests.Session:
    """A session with retries for what is safe to ask twice, and large pieces on the wire."""
    import requests.adapters  # noqa: PLC0415
    import urllib3.util  # noqa: PLC0415

    class Retry(urllib3.util.Retry):
        def get_retry_after(self, response: Any) -> float | None:
            asked = super().get_retry_after(response)
            if asked is not None and asked > 1:
                say(f"  the registry asks us to wait {min(asked, LONGEST_WAIT):.0f} s")
            return None if asked is None else min(asked, LONGEST_WAIT)

    class Adapter(requests.adapters.HTTPAdapter):
        def init_poolmanager(self, *args: Any, **more: Any) -> None:
            super().init_poolmanager(*args, **more, blocksize=PIECE)

    retry = Retry(
        total=TRIES - 1,
        connect=2,
        redirect=10,
        status_forcelist=HEALING,
        allowed_methods={"GET", "HEAD", "PUT", "POST", "DELETE"},
        backoff_factor=BACKOFF_SECONDS,
        raise_on_status=False,
        respect_retry_after_header=True,
    )
    made = receive.session(CONNECTIONS)
    for scheme in ("https://", "http://"):
        made.mount(scheme, Adapter(pool_maxsize=CONNECTIONS, max_retries=retry))
    return made


def _basic(credentials: Credentials) -> str:
    return f"Basic {base64.b64encode(f'{credentials.user}:{credentials.secret}'.encode()).decode()}"


def _words(answer: requests.Response) -> str:
    """What a registry says in an error's body (distribution-spec, "Error Codes"), one line."""
    try:
        first = json.loads(next(answer.iter_content(ERROR_LIMIT)))["errors"][0]
        text = f" ({first['code']}: {first.get('message', '')})"
    except Exception:  # noqa: BLE001 - whatever it is, it is no error body of a registry
        return ""
    return "".join(char for char in text if char.isprintable())[:300]


def _plain(path: str) -> str:
    """A path without host and query: upload locations carry state that is nobody's business."""
    return re.sub(r"^https?://[^/]+", "", path).split("?", 1)[0]
