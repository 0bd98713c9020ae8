"""The constants of every build: what would otherwise be the machine's, the user's or the moment's.

Set here and nowhere else. Host programs get them through :mod:`build.proc` and :mod:`build.jail`, steps in the image
through ``ARG`` of the rendered Dockerfile, where ``dockerfiles/lane/layer.py`` refuses to work without them.
"""

from __future__ import annotations

from collections.abc import Mapping

UMASK = 0o022

# Files in layers carry one fixed time, so that a layer's bytes depend on its content alone and not on the target that
# it is built for: 1980-01-01T00:00:00Z, the least time that a zip archive (and so a wheel) can say. The epoch of a
# target, its vLLM's, is the image's creation time and the newest time in its root file system.
LAYER_TIME = 315532800

ENVIRONMENT: Mapping[str, str] = {
    "LANG": "C.UTF-8",
    "LC_ALL": "C.UTF-8",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONHASHSEED": "0",
    "TZ": "UTC",
}


def step_arguments() -> dict[str, str]:
    """What the steps of a Dockerfile find in their environment; none of it stays in the image."""
    return {**ENVIRONMENT, "LAYER_TIME": str(LAYER_TIME), "UMASK": f"{UMASK:03o}"}
