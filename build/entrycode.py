"""The image's own program that serves (``dockerfiles/image/serve``), as far as it is asked on the host.

It needs nothing but Python, so it composes vLLM's command here as it does in the image: one code, no copy of it. What
only the image knows (which options its vLLM has) is found out there, before the server is started.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from build.errors import ProfileError

FOLDER = Path("dockerfiles/image/serve")
PACKAGE = "spark_serve"


def module(repo: Path, name: str) -> ModuleType:
    """A module of the program."""
    if PACKAGE not in sys.modules:
        folder = repo / FOLDER
        spec = importlib.util.spec_from_file_location(
            PACKAGE, folder / "__init__.py", submodule_search_locations=[str(folder)]
        )
        assert spec is not None
        assert spec.loader is not None
        made = importlib.util.module_from_spec(spec)
        sys.modules[PACKAGE] = made
        spec.loader.exec_module(made)
    return importlib.import_module(f"{PACKAGE}.{name}")


def vllm_command(repo: Path, content: bytes, folder: str, words: Sequence[str], listen: tuple[str, int] | None) -> str:
    """The command that the image's program would run, as one can paste it into a shell.

    ``content``: the profile's file; ``listen``: where, None for the program's own way. Raises :class:`ProfileError`
    where the program would refuse.
    """
    compose, profile, exits = (module(repo, name) for name in ("compose", "profile", "exits"))
    try:
        said: dict[str, Any] = profile.parse(content, "the profile")
    except exits.Fault as fault:
        raise ProfileError("the image's program would refuse the profile", why=str(fault)) from fault
    options = compose.options(said, *listen) if listen else compose.options(said)
    more = [word for option in options for word in option.words]
    line = ["vllm", "serve", folder, *more, *said["serve"]["arguments"], *words]
    text: str = compose.shown(line, compose.variables(said, None, {}).added)
    return text


def known_ends(repo: Path) -> set[int]:
    """Every exit status that the program ends with by itself."""
    exits = vars(module(repo, "exits"))
    return {value for name, value in exits.items() if name.isupper() and isinstance(value, int)}
