"""Where a registry is: its URL, which URLs are its own, and what is on this machine.

A registry on this machine may be spoken to without TLS, as Docker does it; any other never.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import ssl
from urllib.parse import urljoin

PORTS = {"http": 80, "https": 443}


def is_loopback(host: str) -> bool:
    """Whether a registry is on this machine: spoken to without TLS where it has none, as Docker does.

    >>> is_loopback("127.0.0.1:5000"), is_loopback("[::1]:5000"), is_loopback("localhost"), is_loopback("ghcr.io")
    (True, True, True, False)
    """
    name = re.sub(r"(?<=[^:]):\d+$", "", host).strip("[]")
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name.lower() == "localhost"


def origin(url: str) -> tuple[str, str, int] | None:
    """Scheme, host and port of a URL, as the library that fetches it understands it; None for one of another kind.

    >>> origin("https://Ghcr.io/v2/"), origin("https://ghcr.io:443@a.example"), origin("https://ghcr.io:x/")
    (('https', 'ghcr.io', 443), ('https', 'a.example', 443), None)
    """
    import urllib3.exceptions  # noqa: PLC0415
    import urllib3.util  # noqa: PLC0415

    try:
        found = urllib3.util.parse_url(url)
    except (ValueError, urllib3.exceptions.HTTPError):
        return None
    if found.scheme not in PORTS or not found.host:
        return None
    return found.scheme, found.host.lower(), found.port or PORTS[found.scheme]


def joined(url: str, location: str) -> str:
    """Where a location leads to from a URL; empty for what is no URL at all."""
    try:
        return urljoin(url, location)
    except ValueError:
        return ""


def base_url(host: str) -> str:
    """``https://HOST``; ``http://HOST`` for one on this machine that does not speak TLS."""
    if not is_loopback(host):
        return f"https://{host}"
    name, _, port = host.rpartition(":") if re.search(r":\d+$", host) else (host, "", "443")
    any_certificate = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # only whether it speaks TLS is asked; requests verifies
    any_certificate.check_hostname = False
    any_certificate.verify_mode = ssl.CERT_NONE
    try:
        with socket.create_connection((name.strip("[]"), int(port)), 5) as plain, any_certificate.wrap_socket(plain):
            return f"https://{host}"
    except OSError:
        return f"http://{host}"


def proxies(url: str) -> dict[str, str]:
    """No proxy is asked for this machine, whatever the environment says, as Docker does it."""
    place = origin(url)
    return {"http": "", "https": ""} if place and is_loopback(place[1]) else {}
