"""Where git sources are fetched from: which URLs may be, how they are shown, what a relative one means."""

from __future__ import annotations

import re

from build import proc
from build.errors import ResolveError

PROTOCOLS = ("file", "git", "http", "https", "ssh")

_TRANSPORT = re.compile(r"^[A-Za-z0-9+.-]+::")


def shown(url: str) -> str:
    """A URL for messages, without credentials.

    >>> shown("https://me:secret@git.example/a.git")
    'https://***@git.example/a.git'
    """
    return proc.CREDENTIALS.sub("://***@", url)


def is_local(url: str) -> bool:
    """Whether a URL names a place on this machine's disk (git's rule: no colon, or a slash before it).

    >>> is_local("/srv/a.git"), is_local("file:///srv/a.git"), is_local("git@git.example:a.git")
    (True, True, False)
    """
    colon, slash = url.find(":"), url.find("/")
    return url.lower().startswith("file:") or colon < 0 or 0 <= slash < colon


def require_url(url: str) -> None:
    """An error for what git would take as an option, as a program to run, or as a protocol that we do not speak."""
    scheme = url.split("://", 1)[0] if "://" in url else ""
    if url.startswith("-") or _TRANSPORT.match(url) or not url.isprintable() or scheme not in ("", *PROTOCOLS):
        raise ResolveError(
            f"{shown(url)!r} is no URL that sources are fetched from",
            why=f"git is to speak {', '.join(PROTOCOLS)} only",
            todo="name another remote in lock/targets.toml",
        )


def joined(parent: str, url: str) -> str:
    """A submodule's URL; one that starts with ``./`` or ``../`` is taken from its parent's, as git does.

    >>> joined("https://git.example/org/a.git", "../b.git"), joined("https://git.example/org/a/", "./b")
    ('https://git.example/org/b.git', 'https://git.example/org/a/b')
    >>> joined("git@git.example:org/a", "../../b"), joined("git@git.example:a", "../b")
    ('git@git.example:b', 'git@git.example:b')
    """
    if not url.startswith(("./", "../")):
        return url
    base, between = parent.removesuffix("/"), "/"
    while url.startswith(("./", "../")):
        if url.startswith("../"):
            cut = base.rfind("/")
            if cut < 0:
                cut, between = base.rfind(":"), ":"
            if cut < 0:
                raise ResolveError(f"the submodule URL {url!r} leads above {shown(parent)}")
            base = base[:cut]
        url = url.split("/", 1)[1]
    return f"{base}{between}{url}".removesuffix("/")
