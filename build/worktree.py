"""What a person left in a tree to edit, committed or not: its files as they lie there.

Tracked files count, and new ones that the tree's own ``.gitignore`` does not name; Python's caches never do. What else
would be lost with the tree (:func:`require_nothing_else`) is told.
"""

from __future__ import annotations

import hashlib
import os

from build import gitlocal, overlay
from build.edittree import EXCLUDED, EditTree
from build.errors import CommandError, PatchError
from build.overlay import Edits, Overlay

SHOWN = 10  # files by name


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


def require_nothing_else(edit: EditTree) -> None:
    """:class:`PatchError` for what no patch takes, and what would be lost with the tree.

    New files that the tree's ``.gitignore`` names, a stash, commits that only a branch or a tag has.
    """
    repository = _repository(edit)
    ignored, refs = _ignored(repository, edit), _unreached(repository, edit)
    if not (ignored or refs):
        return
    todo = []
    if ignored:
        todo.append("`git add -f FILE` there takes such a file into the patch; else remove it")
    if refs:
        todo.append("`git stash pop` or `git merge` there what you need; else `git stash drop`, `git branch -D`")
    raise PatchError(
        f"there is more in the tree of {edit.patch} than its patch would take: {edit.folder}",
        why="\n       ".join(
            [f"{name}: new, and the tree's .gitignore names it" for name in ignored[:SHOWN]]
            + [f"and {len(ignored) - SHOWN} more such files"] * (len(ignored) > SHOWN)
            + [f"{ref}: {'a stash' if ref == 'refs/stash' else 'commits that HEAD does not have'}" for ref in refs]
        ),
        todo="; ".join(todo),
    )


def _ignored(repository: gitlocal.Repository, edit: EditTree) -> list[str]:
    """New files that are ignored, and not only as what tools leave anywhere."""
    listing = ("ls-files", "-z", "--others", "--ignored")
    ignored = repository.git(*listing, "--exclude-standard").split("\0")
    left = repository.git(*listing, *(f"--exclude={pattern}" for pattern in EXCLUDED)).split("\0")
    if not (found := set(ignored) - {*left, ""}):
        return []
    try:  # ours, though they may not be tracked any more
        known = repository.git("ls-tree", "-r", "-z", "--name-only", edit.commit).split("\0")
    except CommandError:  # somebody removed the commit
        known = []
    return sorted(found - set(known))


def _unreached(repository: gitlocal.Repository, edit: EditTree) -> list[str]:
    """The refs with commits that neither HEAD has nor the tree had when it was made."""
    refs = repository.git("for-each-ref", "--format=%(refname)").split()
    try:
        head = [repository.git("rev-parse", "--verify", "HEAD").strip()]
    except CommandError:  # a branch without a commit
        head = []
    more = ("rev-list", "--max-count=1", "--ignore-missing")
    return [ref for ref in refs if repository.git(*more, ref, "--not", *head, edit.commit)]


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
