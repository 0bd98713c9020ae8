"""git in folders of our own, as if nobody had configured it: what it writes hangs on what it is given alone.

Neither the system's nor the user's configuration and attributes are heard, nor their environment; what a repository
itself says is overruled where it could change bytes or run a program. Standard output is text, so what are bytes goes
to files.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from build import proc
from build.errors import CommandError

# gitattributes(5): info/attributes outranks those in the tree. No line ends, no $Id$, no filters, no other encodings.
UNALTERED = "* -text -ident -filter !working-tree-encoding\n"
OVERRULED = (
    "-c", "core.autocrlf=false", "-c", "core.safecrlf=false", "-c", "core.fileMode=true", "-c", "core.symlinks=true",
    "-c", "core.quotePath=false", "-c", f"core.excludesFile={os.devnull}", "-c", f"core.attributesFile={os.devnull}",
    "-c", f"core.hooksPath={os.devnull}", "-c", "core.fsmonitor=false", "-c", "core.looseCompression=1",
    "-c", "commit.gpgSign=false", "-c", "gc.auto=0", "-c", "maintenance.auto=false",
)  # fmt: skip


def nobodys(home: Path) -> dict[str, str]:
    """An environment in which git finds no configuration but a repository's own. ``home``: a folder without any."""
    return {
        "HOME": os.fspath(home),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_ATTR_NOSYSTEM": "1",
    }


@dataclass(frozen=True, kw_only=True)
class Repository:
    """A repository of ours. ``folder``: its work tree; ``git_dir``: where git keeps its own things."""

    folder: Path
    git_dir: Path

    def git(self, *argv: str, env: Mapping[str, str] | None = None) -> str:
        """Run git in the work tree; what it printed. Raises :class:`CommandError`."""
        done = self._run(argv, env)
        if done.returncode != 0:
            raise proc.failure(done)
        return done.stdout

    def merge(self, ours: Path, base: Path, theirs: Path, labels: tuple[str, str, str]) -> bool:
        """Merge the change from ``base`` to ``theirs`` into the file ``ours``; whether no conflict was left in it."""
        named = [text for label in labels for text in ("-L", label)]
        done = self._run(["merge-file", "--quiet", "--diff3", *named, *map(os.fspath, (ours, base, theirs))])
        if not 0 <= done.returncode < 128:  # else it is the number of conflicts
            raise proc.failure(done)
        return done.returncode == 0

    def _run(self, argv: Sequence[str], env: Mapping[str, str] | None = None) -> proc.Completed:
        places = {"GIT_DIR": os.fspath(self.git_dir), "GIT_WORK_TREE": os.fspath(self.folder)}
        own = {**nobodys(self.git_dir), "GIT_NO_REPLACE_OBJECTS": "1", **places, **(env or {})}
        try:
            return proc.run(["git", *OVERRULED, *argv], cwd=self.folder, env=own, check=False)
        except CommandError as error:
            raise CommandError("git is not there", why=error.why, todo="install git", returncode=127) from error


def init(folder: Path, git_dir: Path, *, attributes: str = UNALTERED) -> Repository:
    """A new repository for a work tree that is there. ``attributes``: what outranks the tree's own."""
    repository = Repository(folder=folder, git_dir=git_dir)
    repository.git("-c", "init.defaultBranch=main", "init", "--quiet", "--template=")
    (git_dir / "info").mkdir(exist_ok=True)
    (git_dir / "info" / "attributes").write_text(attributes, encoding="ascii")
    return repository
