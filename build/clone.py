"""A copy of this clone, to build from: what a build reads, and nothing else of it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

READ = ("build", "dockerfiles", "lock", "patches", "nox", "noxfile.py", "pyproject.toml")
MADE = "__pycache__"


def copy(repo: Path, target: Path, *, backwards: bool = False) -> None:
    """Copy what a build reads, with modes as a checkout under the umask would have them.

    ``backwards``: the last file first, for folders that list their files as they were made.
    """
    found = [Path(name) for name in READ if (repo / name).is_file()]
    for name in READ:
        for folder, folders, files in os.walk(repo / name):
            folders[:] = [item for item in folders if item != MADE]
            found += [Path(folder, item).relative_to(repo) for item in files]
    for path in sorted(found, reverse=backwards):
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(repo / path, target / path)
        if os.access(repo / path, os.X_OK):
            mode = os.stat(target / path).st_mode
            os.chmod(target / path, mode | (mode & 0o444) >> 2)
