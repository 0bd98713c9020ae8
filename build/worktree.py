"""What a person left in a tree to edit, committed or not: its files as they lie there.

Tracked files count, and new ones that the tree's own ``.gitignore`` does not name; Python's caches never do.
"""

from __future__ import annotations

import hashlib
import os

from build import gitlocal, overlay
from build.edittree import EditTree
from build.errors import CommandError, PatchError
from build.overlay import Edits, Overlay


def taken(edit: EditTree, before: Overlay) -> Edits:
    """What the tree has now, against the files before the patch.

    Raises :class:`PatchError` for what no patch can say: a link, a repository, a name that is not UTF-8.
    """
    repository = _repository(edit)
    listed = repository.git("ls-files", "-z", "--cached", "--others", "--exclude-standard")
    files, links = before.names()
    named = {name for name in listed.split("\0") if name and not _is_cache(name)}
    unreadable = {os.fsencode(name).decode("utf-8", "replace") for name in (*files, *links)}
    for name in sorted(named):
        if name.endswith("/") or ("\ufffd" in name and name not in unreadable):
            why = "it is a git repository" if name.endswith("/") else "its name is not UTF-8"
            raise PatchError(f"{name} cannot be taken into {edit.patch}", why=why, todo="move it out of the tree")
    for name, said in links.items():
        if not (edit.folder / name).is_symlink() or os.readlink(edit.folder / name) != said:
            raise PatchError(
                f"{edit.patch} cannot change the symbolic link {name}",
                why="only plain files are patched",
                todo=f"put it back: git -C {edit.folder} checkout {edit.base[:12]} -- {name}",
            )
    found = {}
    for name in sorted((files | named) - links.keys()):
        pair = (before.read(name), overlay.read(edit.folder, name))
        if pair[0] != pair[1]:
            found[name] = pair
    return found


def is_untouched(edit: EditTree) -> bool:
    """Whether the tree is as it was made, by what git says, and nothing waits in it."""
    if edit.pending or edit.merged:
        return False
    repository = _repository(edit)
    try:
        head = repository.git("rev-parse", "HEAD").strip()
        return head == edit.commit and not repository.git("status", "--porcelain", "--untracked-files=all")
    except CommandError:
        return False


def marks(edits: Edits) -> dict[str, str]:
    """What edits leave, comparable: path → mode and sha256, empty for a file that is gone."""
    return {
        path: f"{after.mode} {hashlib.sha256(after.data).hexdigest()}" if after else ""
        for path, (_, after) in edits.items()
    }


def _is_cache(name: str) -> bool:
    return name.endswith(".pyc") or "__pycache__" in name.split("/")


def _repository(edit: EditTree) -> gitlocal.Repository:
    return gitlocal.Repository(folder=edit.folder, git_dir=edit.folder / ".git")
