"""Credentials of the environment for programs that know only Docker's configuration, as buildx does.

They get a configuration of their own, in a folder that only its user can read and that is gone afterwards: the user's
(docker/cli, ``cli/config/configfile``), and what :mod:`build.credentials` takes from REGISTRY_TOKEN or GITHUB_TOKEN.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from build import credentials
from build.errors import DeniedError

OF_DOCKER = "Docker's configuration"  # the source of credentials that need no help
HUB_KEY = "https://index.docker.io/v1/"  # Docker's own name for docker.io


def environment(hosts: Iterable[str], user: Path, folder: Path) -> dict[str, str]:
    """What a child's environment needs to log in to registries as we would; nothing where Docker's own will do.

    ``user``: the folder of the user's configuration. ``folder``: an empty one of the caller's, with the mode 0700, who
    deletes it afterwards whatever happens.
    """
    found = {host: credentials.find(host) for host in hosts}
    added = {host: who for host, who in found.items() if who and who.source != OF_DOCKER}
    if not added:
        return {}
    config = _user_config(user)
    helper = config.pop("credsStore", None)  # with it, the file's own `auths` would not be looked at
    auths, helpers = dict(config.get("auths") or {}), dict(config.get("credHelpers") or {})
    if helper:
        helpers = dict.fromkeys((*auths, *map(_key, found)), helper) | helpers
    for host, who in added.items():
        helpers.pop(_key(host), None)
        auths[_key(host)] = {"auth": base64.b64encode(f"{who.user}:{who.secret}".encode()).decode()}
    file = folder / "config.json"
    with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as stream:
        json.dump({**config, "auths": auths, "credHelpers": helpers}, stream)
    if (user / "contexts").is_dir():
        (folder / "contexts").symlink_to((user / "contexts").absolute())
    return {"DOCKER_CONFIG": str(folder)}


def _key(host: str) -> str:
    return HUB_KEY if host == "docker.io" else host


def _user_config(folder: Path) -> dict[str, Any]:
    try:
        return dict(json.loads((folder / "config.json").read_text(encoding="utf-8")))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise DeniedError(
            "Docker's configuration cannot be read",
            why=f"{folder / 'config.json'}: {type(error).__name__}",
            todo="mend it, or name another folder by DOCKER_CONFIG",
        ) from error
