"""Who we are to a registry: Docker's own configuration and credential helpers, else a token of the environment.

Docker's configuration is read by the Docker SDK (``DOCKER_CONFIG``, else ``~/.docker/config.json``; ``credHelpers``,
``credsStore``, ``auths``). ``REGISTRY_TOKEN`` (with ``REGISTRY_USER``) is for any registry that Docker knows nothing
of, ``GITHUB_TOKEN`` for GitHub's alone: it is shown to no other host. Nothing of it is printed, logged or passed on.
"""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass, field

from build.errors import DeniedError

GITHUB_REGISTRY = "ghcr.io"
ANY_USER = "token"  # registries that take a token as password do not look at the name


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """A name and its password or token; ``source`` says where they are from. ``identity``: an OAuth2 refresh token.

    ``only``: the one host that may see them, also of token servers; empty: those that the registry names.

    >>> Credentials(user="me", secret="s3cret", source="here")
    Credentials(user='me', source='here')
    """

    user: str
    secret: str = field(repr=False)
    source: str
    identity: str = field(default="", repr=False)
    only: str = field(default="", repr=False)


def find(host: str) -> Credentials | None:
    """The credentials for a registry (``ghcr.io``, ``127.0.0.1:5000``); None where nobody has any.

    Raises :class:`DeniedError` where Docker's configuration or a credential helper cannot be read, and the environment
    has none either.
    """
    told = _of_environment(host)
    try:
        return _of_docker(host) or told
    except DeniedError:
        if told is None:
            raise
        return told


def _of_environment(host: str) -> Credentials | None:
    if token := os.environ.get("REGISTRY_TOKEN"):
        user = os.environ.get("REGISTRY_USER") or ANY_USER
        return Credentials(user=user, secret=token, source="REGISTRY_TOKEN")
    if host == GITHUB_REGISTRY and (token := os.environ.get("GITHUB_TOKEN")):
        user = os.environ.get("GITHUB_ACTOR") or ANY_USER
        return Credentials(user=user, secret=token, source="GITHUB_TOKEN", only=GITHUB_REGISTRY)
    return None


def _of_docker(host: str) -> Credentials | None:
    import docker.auth  # noqa: PLC0415 - 200 ms that only who talks to a registry spends
    import docker.errors  # noqa: PLC0415

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that a helper is not there is an error of its own
            told = docker.auth.resolve_authconfig(docker.auth.load_config(), host)
        plain = {str(key).lower(): str(value) for key, value in (told or {}).items() if value}
    except (docker.errors.DockerException, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DeniedError(
            f"the credentials for {host} cannot be read",
            why=f"Docker's configuration or its credential helper: {type(error).__name__}",
            todo=f"`docker login {host}` again, or set REGISTRY_TOKEN",
        ) from error
    if "identitytoken" in plain:
        return Credentials(
            user=plain.get("username", ""), secret="", source="Docker's configuration", identity=plain["identitytoken"]
        )
    if "username" in plain and "password" in plain:
        return Credentials(user=plain["username"], secret=plain["password"], source="Docker's configuration")
    return None
