"""HTTP to one registry: its token dance, retries of what can heal, one error for each way to be refused.

Specifications: OCI distribution-spec 1.1 (endpoints, error bodies); how it asks who we are: :mod:`build.registrylogin`.
Retries and waits are urllib3's. Redirects are followed here, so that no credentials and no token go to another host
than the registry (and the token server that it names), and nothing is sent without TLS but on this machine.
"""

from __future__ import annotations

import email.utils
import io
import json
import re
import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from build import receive, registrylogin, registryplaces
from build.console import say
from build.credentials import Credentials
from build.errors import DeniedError, NetworkError, RegistryError
from build.registrylogin import Access
from build.registryplaces import is_loopback, joined, origin

if TYPE_CHECKING:
    import requests

CONNECTIONS = 8
TRIES = 5
BACKOFF_SECONDS = 0.5
LONGEST_WAIT = 60  # seconds, whatever a server asks for
# To connect, to wait for an answer. The first is also what a piece may take to leave: 256 kB in 30 s is a slow line.
TIMEOUT_SECONDS = (30, 120)
PIECE = 1 << 18  # bytes that are handed to the socket at once; http.client's own 16 kB cost half of the speed
HEALING = (408, 429, 500, 502, 503, 504)
REDIRECTS = 10
LOGINS = 2  # for one request: a token may expire, and a new one not be known yet to all of a registry's machines
ERROR_LIMIT = 16_384  # bytes of an error's body that are looked at
JSON_LIMIT = 16 << 20  # of any other answer that is no layer


class Connection:
    """A registry that is spoken to. Safe for several threads; tokens are had once and again when they expire."""

    def __init__(self, host: str, credentials: Credentials | None) -> None:
        self.host = host
        self.credentials = credentials
        self.session = _session()
        self._base = ""
        self._base_lock = threading.Lock()
        self._tokens: dict[tuple[str, ...], str] = {}
        self._token_lock = threading.Lock()

    @property
    def base(self) -> str:
        """Its URL, without a path."""
        if not self._base:
            with self._base_lock:
                self._base = self._base or registryplaces.base_url(self.host)
        return self._base

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
        return f"{self.base}{path}" if path.startswith("/") else path

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
        """One request; its answer where the status is one of ``ok``, its body read unless ``stream``.

        Raises :class:`DeniedError` (401, 403), :class:`RegistryError` (any other status), :class:`NetworkError`.
        What can heal is tried again first, but for PATCH, whose sender knows where to go on from.
        """
        token = self._tokens.get(access.scopes, "")
        answer = self._ask(method, self.url(path), headers or {}, data, token)
        for _ in range(LOGINS):
            if answer.status_code != 401 or not self._is_ours(answer.url):
                break
            token = self._log_in(answer, access, token)
            if hasattr(data, "rewind"):
                data.rewind()
            answer = self._ask(method, self.url(path), headers or {}, data, token)
        if answer.status_code not in ok:
            with answer:
                raise self.refusal(answer, f"{method} {_plain(path)}", access)
        if not stream:
            self._take(answer)
        return answer

    def document(self, answer: requests.Response) -> dict[str, Any]:
        """The JSON object of an answer; :class:`RegistryError` where it is none."""
        try:
            found = json.loads(answer.content)
            if isinstance(found, dict):
                return found
        except (ValueError, RecursionError):
            pass
        raise RegistryError(f"the registry {self.host} answers what is no JSON object", why=_plain(answer.url))

    def _ask(self, method: str, url: str, headers: Mapping[str, str], data: Any, token: str) -> requests.Response:
        """Send, and go where the registry sends us. Of what has a body the sender knows the place."""
        for _ in range(REDIRECTS):
            answer = self._send(method, url, headers, data, token)
            kept = (301, 302, 303, 307, 308) if method in ("GET", "HEAD") else (307, 308)
            if answer.status_code not in kept or "Location" not in answer.headers or data:
                return answer
            answer.close()
            url = joined(answer.url, answer.headers["Location"])
        raise RegistryError(f"the registry {self.host} sends us in circles", why=f"{method} {_plain(url)}")

    def _send(self, method: str, url: str, headers: Mapping[str, str], data: Any, token: str) -> requests.Response:
        """One request, whose body is not read yet. ``token``: for the registry's eyes only."""
        import requests  # noqa: PLC0415
        import urllib3.exceptions  # noqa: PLC0415

        self._require_safe(url)
        try:
            made = self.session.prepare_request(requests.Request(method, url, headers=dict(headers), data=data))
            place = str(made.url)  # a URL means what the library makes of it
            if token and self._is_ours(place):
                made.headers["Authorization"] = token
            how = self.session.merge_environment_settings(place, registryplaces.proxies(place), True, None, None)
            # Not by the session: it reads the body of a redirect to its end, and keeps cookies.
            return self.session.get_adapter(place).send(
                made, stream=True, timeout=TIMEOUT_SECONDS, proxies=how["proxies"], verify=how["verify"] or True
            )
        except (OSError, UnicodeError, urllib3.exceptions.HTTPError) as error:  # requests' own are OSErrors
            raise NetworkError(
                f"the registry {self.host} cannot be reached, or hung up",
                why=f"{method} {_plain(url)}: {cause(error)}",
                todo="run the same command again: what it has is not sent again",
            ) from error

    def _take(self, answer: requests.Response) -> None:
        """Read a small answer, so that its connection serves the next request."""
        import urllib3.exceptions  # noqa: PLC0415

        data = bytearray()
        try:
            for piece in answer.raw.stream(1 << 16, decode_content=True):
                data += piece
                if len(data) > JSON_LIMIT:
                    answer.close()
                    raise RegistryError(
                        f"the registry {self.host} answers more than {JSON_LIMIT} bytes", why=_plain(answer.url)
                    )
        except (OSError, urllib3.exceptions.HTTPError) as error:
            raise NetworkError(
                f"the registry {self.host} hung up", why=cause(error), todo="run the same command again"
            ) from error
        answer.raw = io.BytesIO(data)

    def _is_ours(self, url: str) -> bool:
        return origin(url) == origin(self.base)

    def _require_safe(self, url: str) -> None:
        """That we may go there: by TLS, or on this machine where the registry itself is here without."""
        place = origin(url)
        if place is None:
            raise RegistryError(f"the registry {self.host} sends us where nobody can go", why=_plain(url)[:200])
        if place[0] == "http" and not (self.base.startswith("http://") and is_loopback(place[1])):
            raise RegistryError(
                f"the registry {self.host} sends us to a place without TLS",
                why=f"{place[1]}:{place[2]}",
                todo="the registry, or a proxy before it, must be told by which URL it is reached (X-Forwarded-Proto)",
            )

    def _log_in(self, answer: requests.Response, access: Access, known: str) -> str:
        """What to answer a 401 with; had once for all threads that got one at the same time."""
        told = answer.headers.get("WWW-Authenticate", "")
        answer.close()
        with self._token_lock:
            if self._tokens.get(access.scopes, "") == known:
                self._tokens[access.scopes] = self._authorization(told, access)
            return self._tokens[access.scopes]

    def _authorization(self, told: str, access: Access) -> str:
        """What the registry asks for: a token, or name and password with each request."""
        asked = registrylogin.challenges(told)
        if "realm" in asked.get("bearer", {}):
            return f"Bearer {self._token(asked['bearer'], access)}"
        if "basic" not in asked:
            raise self.denied(f"it asks for a way to log in that we do not know: {', '.join(asked) or 'none named'}")
        if self.credentials is None or not self.credentials.secret:
            raise self.denied(f"it wants a name and a password, and we are {self.who}")
        return registrylogin.basic(self.credentials)

    def _token(self, asked: Mapping[str, str], access: Access) -> str:
        known = self.credentials
        realm, service = joined(self.base, asked["realm"]), asked.get("service", "")
        if known is not None and known.only and origin(realm) != origin(f"https://{known.only}"):
            raise self.denied(f"its token server is no part of {known.only}, and {known.source} is for nobody else")
        if known is not None and known.identity:
            form = registrylogin.token_form(service, access, known.identity)
            answer = self._send("POST", realm, {}, form, "")
        else:
            own = {"Authorization": registrylogin.basic(known)} if known is not None else {}
            answer = self._send("GET", registrylogin.token_query(realm, service, access), own, None, "")
        self._take(answer)
        if answer.status_code in (400, 401, 403):
            raise self.denied(f"its token server does not know us: we are {self.who}")
        token = registrylogin.token_of(answer.content) if answer.status_code == 200 else ""
        if not token:
            raise RegistryError(f"the token server of {self.host} gave no token", why=f"HTTP {answer.status_code}")
        return token

    def denied(self, why: str) -> DeniedError:
        """The error for a registry that does not let us in."""
        return DeniedError(
            f"the registry {self.host} does not let us in",
            why=why,
            todo=f"`docker login {self.host}`, or set REGISTRY_TOKEN (and REGISTRY_USER), which is looked at where "
            "Docker knows nothing of it; a token that expired must be made anew",
        )

    def refusal(self, answer: requests.Response, what: str, access: Access) -> DeniedError | RegistryError:
        """The error for an answer that is none of those expected, in the registry's own words."""
        words = _words(answer)
        if answer.status_code in (401, 403):
            return DeniedError(
                f"the registry {self.host} does not allow us to {'write to' if access.write else 'read'} {access.name}",
                why=f"{what}: HTTP {answer.status_code}{words}; we are {self.who}",
                todo=f"if its password or token changed or expired: `docker login {self.host}`; else look whether that "
                "account may (GitHub's registry: "
                f"with the scope {'write:packages' if access.write else 'read:packages'})",
            )
        healing = answer.status_code in HEALING
        return RegistryError(
            f"the registry {self.host} {'is in trouble' if healing else 'refused'}",
            why=f"{what}: HTTP {answer.status_code}{words}" + (f", {TRIES} times" if healing else ""),
            todo="wait a while and run the same command again: what it has is not sent again"
            if healing
            else "look at the registry's limits and log",
            status=answer.status_code,
        )


def asked_wait(text: str | None) -> float:
    """Seconds that a ``Retry-After`` asks for (RFC 9110, 10.2.3), no more than we wait; 0 where it makes no sense.

    >>> asked_wait("7"), asked_wait("99999999999"), asked_wait("soon"), asked_wait("Thu, 01 Jan 1970 00:00:00 GMT")
    (7, 60, 0, 0)
    """
    text = (text or "").strip()
    if re.fullmatch(r"[0-9]+", text):
        return min(int(text[:9]), LONGEST_WAIT)
    try:
        seconds = email.utils.parsedate_to_datetime(text).timestamp() - time.time()
    except (ValueError, TypeError, OverflowError, IndexError):
        return 0
    return min(max(seconds, 0), LONGEST_WAIT)


def cause(error: Exception) -> str:
    """A requests error's innermost reason in a line; of a URL in it no query."""
    inner: BaseException = error
    while inner.__cause__ or inner.__context__:
        inner = inner.__cause__ or inner.__context__ or inner
    text = str(getattr(inner, "strerror", None) or inner) or type(inner).__name__
    return re.sub(r"\?\S+", "", text.splitlines()[0])[:200]


def _session() -> requests.Session:
    """A session with retries for what is safe to ask twice, and large pieces on the wire."""
    import requests.adapters  # noqa: PLC0415
    import urllib3.util  # noqa: PLC0415

    class Retry(urllib3.util.Retry):
        def get_retry_after(self, response: Any) -> float | None:
            wait = asked_wait(response.headers.get("Retry-After"))
            if wait > 1:
                say(f"  the registry asks us to wait {wait:.0f} s")
            return wait or None

        def increment(self, *args: Any, **more: Any) -> Retry:
            made = super().increment(*args, **more)
            if (response := more.get("response")) is not None:
                response.close()  # urllib3 would read it to its end, which some never come to
            return made

    class Adapter(requests.adapters.HTTPAdapter):
        def init_poolmanager(self, *args: Any, **more: Any) -> None:
            super().init_poolmanager(*args, **more, blocksize=PIECE)

    retry = Retry(
        total=TRIES - 1,
        connect=2,
        redirect=0,
        other=1,  # TLS: a certificate that is no good does not heal
        status_forcelist=HEALING,
        allowed_methods={"GET", "HEAD", "PUT", "POST", "DELETE"},
        backoff_factor=BACKOFF_SECONDS,
        raise_on_status=False,
        respect_retry_after_header=True,
    )
    made = receive.session(CONNECTIONS)
    made.auth = lambda asked: asked  # or what ~/.netrc says would take the place of a token
    for scheme in ("https://", "http://"):
        made.mount(scheme, Adapter(pool_maxsize=CONNECTIONS, max_retries=retry))
    return made


def _words(answer: requests.Response) -> str:
    """What a registry says in an error's body (distribution-spec, "Error Codes"), one line."""
    try:
        first = json.loads(answer.raw.read(ERROR_LIMIT, decode_content=True))["errors"][0]
        text = f" ({first['code']}: {first.get('message', '')})"
    except Exception:  # noqa: BLE001 - whatever it is, it is no error body of a registry
        return ""
    return "".join(char for char in text if char.isprintable())[:300]


def _plain(path: str) -> str:
    """A path without host and query: upload locations carry state that is nobody's business."""
    return re.sub(r"^https?://[^/]+", "", path).split("?", 1)[0]
