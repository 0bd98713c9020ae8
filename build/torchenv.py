"""The interpreter that behaviours are asked with on this machine: torch and NumPy, in an environment of their own.

Made once, in the store, by hash. Where pip finds torch's CPU build (``lock/behaviours-cpu.txt``: an index or a folder
that its settings name) 200 MB do; the build on the public index brings CUDA's libraries along, some 3 GB. No image has
any of it: what an image runs, its own checks ask inside it.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import venv
from pathlib import Path

from build import proc, store
from build.canonical import digest, file_sha256
from build.console import step
from build.errors import CommandError, OfflineError
from build.models import Settings
from build.toolwheels import BEHAVIOURS, CPU

COMPLETE = "complete"  # the last thing written
FOR_CUDA = re.compile(r"^(nvidia-|cuda-)")  # what torch's CUDA build requires and its CPU build does not


def place(settings: Settings) -> Path:
    """Where the environment is kept, whether or not it is there: named after all that it is made from."""
    locks = [file_sha256(settings.repo / lock) for lock in (BEHAVIOURS, CPU)]
    parts = [*locks, _base_python(), sys.implementation.cache_tag, os.uname().machine]
    return settings.store / "env" / f"behaviours-{digest(parts)[:16]}"


def is_ready(settings: Settings) -> bool:
    """Whether the environment is there, whole."""
    made = place(settings)
    return (made / COMPLETE).exists() and (made / "bin" / "python").exists()


def ensure(settings: Settings) -> Path:
    """The environment's Python; made where the store lacks it. Raises :class:`OfflineError`, and pip's failures."""
    made = place(settings)
    if is_ready(settings):
        return made / "bin" / "python"
    if settings.offline:
        raise OfflineError(
            "the environment that behaviours are asked in is not there, and --offline was asked for",
            todo="run `nox -s patch -- --check` where there is a network, once",
        )
    with store.locked(settings.store, made.name):
        if not is_ready(settings):
            _make(settings, made)
    return made / "bin" / "python"


def _base_python() -> str:
    return os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)


def _make(settings: Settings, made: Path) -> None:
    with step(f"make the environment for behaviours (torch; once) in {made}"):
        shutil.rmtree(made, ignore_errors=True)
        venv.EnvBuilder(symlinks=True, with_pip=False).create(made)
        entries = _entries(settings.repo / BEHAVIOURS)
        if _installed(settings, made, _entries(settings.repo / CPU)):
            entries = [entry for entry in entries if _name(entry) != "torch" and not FOR_CUDA.match(_name(entry))]
        _install(settings, made, entries)
        (made / COMPLETE).write_text(f"made with {_base_python()}\n", encoding="utf-8")


def _entries(lock: Path) -> list[str]:
    """A lock's requirements, each with its hashes."""
    lines = lock.read_text(encoding="utf-8").splitlines(keepends=True)
    text = "".join(line for line in lines if line.strip() and not line.lstrip().startswith("#"))
    return re.split(r"(?m)^(?=\S)", text)[1:]


def _name(entry: str) -> str:
    return re.split(r"[=\s;\[]", entry, maxsplit=1)[0]


def _installed(settings: Settings, made: Path, entries: list[str]) -> bool:
    """Install what may be nowhere to be had; whether it was."""
    try:
        _install(settings, made, entries)
    except CommandError:
        return False
    return True


def _install(settings: Settings, made: Path, entries: list[str]) -> None:
    with store.scratch(settings.store, "behaviours") as folder:
        wanted = folder / "requirements.txt"
        wanted.write_text("".join(entries), encoding="utf-8")
        try:
            proc.run(
                [
                    sys.executable, "-m", "pip", "--python", made / "bin" / "python", "install", "--require-hashes",
                    "--no-deps", "--only-binary", ":all:", "--no-input", "--disable-pip-version-check", "--quiet",
                    "-r", wanted,
                ],
                env=proc.network_env(),
                verbose=settings.verbose,
            )  # fmt: skip
        except CommandError as error:
            raise CommandError(
                "the environment for behaviours cannot be made",
                why=error.why,
                todo="look at the index that pip uses here; smoke asks the same behaviours inside an image",
                returncode=error.returncode,
                output=error.output,
            ) from error
