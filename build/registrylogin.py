"""How a registry asks who we are, and what it is answered: the challenge, and what goes into ``Authorization``.

Specifications: RFC 9110, 11.6.1 (``WWW-Authenticate``); CNCF distribution, "Token Authentication" and "OAuth2 Token
Authentication". Nothing is sent here.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from build.credentials import Credentials

# A scheme, or a parameter with its value, quoted or not.
WORD = re.compile(r'([A-Za-z][\w-]*)(?:\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s",]+)))?')
TOKEN = re.compile(r"[\x21-\x7e]+")  # what a header may hold


@dataclass(frozen=True, kw_only=True)
class Access:
    """What is asked for: a repository, whether to write there, and another one to read from (``beside``)."""

    name: str
    write: bool
    beside: str = ""

    @property
    def scopes(self) -> tuple[str, ...]:
        """As tokens name it.

        >>> Access(name="a/b", write=True, beside="a/c").scopes
        ('repository:a/b:pull,push', 'repository:a/c:pull')
        """
        own = f"repository:{self.name}:pull{',push' if self.write else ''}"
        return (own, f"repository:{self.beside}:pull") if self.beside else (own,)


def challenges(header: str) -> dict[str, dict[str, str]]:
    """The ways to log in that a ``WWW-Authenticate`` names, with their parameters; names in lower case.

    >>> challenges('Basic realm="a", Bearer realm="https://t/?a=b",service=s')
    {'basic': {'realm': 'a'}, 'bearer': {'realm': 'https://t/?a=b', 'service': 's'}}
    """
    found: dict[str, dict[str, str]] = {}
    current: dict[str, str] = {}
    for word, quoted, plain in WORD.findall(header):
        if quoted or plain:
            current[word.lower()] = re.sub(r"\\(.)", r"\1", quoted) or plain
        else:
            current = found.setdefault(word.lower(), {})
    return found


def basic(credentials: Credentials) -> str:
    """Name and password as ``Authorization``."""
    return f"Basic {base64.b64encode(f'{credentials.user}:{credentials.secret}'.encode()).decode()}"


def token_query(realm: str, service: str, access: Access) -> str:
    """The URL to ask for a token at."""
    asked = [("service", service), *(("scope", scope) for scope in access.scopes)]
    return f"{realm}{'&' if '?' in realm else '?'}{urlencode(asked)}"


def token_form(service: str, access: Access, identity: str) -> dict[str, str]:
    """What to send to get a token for a refresh token."""
    return {
        "grant_type": "refresh_token", "refresh_token": identity, "client_id": "nox", "service": service,
        "scope": " ".join(access.scopes),
    }  # fmt: skip


def token_of(data: bytes) -> str:
    """The token in a token server's answer; empty where there is none that can be sent."""
    try:
        told = json.loads(data)
    except (ValueError, RecursionError):
        return ""
    token = (told.get("token") or told.get("access_token")) if isinstance(told, Mapping) else None
    return token if isinstance(token, str) and TOKEN.fullmatch(token) else ""
