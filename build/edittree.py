"""The tree where a patch is edited: ``out/edit/<target>/<component>/``, a git repository with one commit a patch.

What the tree is for is in its ``.git/spark-runtime/``, written last of all in a folder that is then renamed into its
place: a killed run leaves nothing that counts. ``build.worktree`` reads what a person left there.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from build import gitlocal, overlay, store
from build.errors import PatchError
from build.overlay import Edits, Overlay
from build.patchcommit import Commit

FOLDER = Path("out") / "edit"
FORM = 1  # of the note
NOTE = Path(".git") / "spark-runtime"
ASIDE = ".replaced-"  # before the name of a tree that another takes the place of
# What tools and editors leave beside the files, and nobody misses.
CACHES = ("__pycache__/", "*.pyc", ".pytest_cache/", ".mypy_cache/", ".ruff_cache/")
EXCLUDED = (*CACHES, "*.orig", "*.rej", "*~", ".*.sw?")
# For the person's own commits, which nobody keeps: no identity, no signature, no hook is needed for them.
CONFIG = (
    "[user]\n\tname = spark-runtime\n\temail = edit@spark-runtime.invalid\n[commit]\n\tgpgSign = false\n"
    f"[core]\n\tautocrlf = false\n\thooksPath = {os.devnull}\n[gc]\n\tauto = 0\n"
)


@dataclass(frozen=True, kw_only=True)
class EditTree:
    """A tree to edit, and what for.

    ``patch``: ``component/file.patch``, the ``number``-th of the series. ``source``: the store's name of its tree.
    ``patches``: name and sha256 of the component's patches up to this one. ``base``, ``commit``: the commits before and
    with it. ``made``: what the patch had made of its files (``build.worktree.marks``). ``merged``: files that git
    merged. ``pending``: patches edited before this one and not written yet, by name.
    """

    folder: Path
    target: str
    series: str
    number: int
    patch: str
    source: str
    patches: tuple[tuple[str, str], ...]
    base: str = ""
    commit: str = ""
    made: Mapping[str, str]
    merged: tuple[str, ...] = ()
    pending: Mapping[str, bytes]

    @property
    def component(self) -> str:
        return self.patch.split("/", 1)[0]


def place(repo: Path, target: str, component: str) -> Path:
    """Where a component of a target is edited."""
    return repo / FOLDER / target / component


def find(repo: Path, target: str) -> EditTree | None:
    """The target's tree to edit, if there is one. Raises :class:`PatchError` for a folder there that is none.

    Files beside it, and hidden folders, are nobody's business here.
    """
    folder = repo / FOLDER / target
    if not folder.is_dir():
        return None
    _settle(folder)
    found = _trees(folder)
    if not found:
        return None
    try:
        (only,) = found
        return _read_note(only)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise PatchError(
            f"{FOLDER / target} is not a tree that `nox -s patch -- --edit` made, or of another version",
            why=f"it holds {', '.join(path.name for path in found)}",
            todo=f"save what you need of it, then: rm -r {FOLDER / target}",
        ) from error


def make(repo: Path, edit: EditTree, tree: Path, pristine: Commit, commits: Sequence[tuple[Commit, Edits]]) -> EditTree:
    """Make the tree to edit: a commit of the pristine tree, then one for each patch; it takes the place of another.

    ``edit``: what it is for. Given back with its ids. An interruption leaves what was there before.
    """
    with _scratch(repo) as scratch:
        folder = scratch / "tree"
        Overlay(tree=tree).write_out(folder)
        repository = gitlocal.init(folder, folder / ".git")
        (folder / ".git" / "info" / "exclude").write_text("".join(f"{line}\n" for line in EXCLUDED), encoding="utf-8")
        with open(folder / ".git" / "config", "a", encoding="utf-8") as config:
            config.write(CONFIG)
        ids = [_commit(repository, scratch / "message", pristine)]
        for commit, edits in commits:
            overlay.put(folder, {path: after for path, (_, after) in edits.items()})
            ids.append(_commit(repository, scratch / "message", commit))
        made = replace(edit, base=ids[-2], commit=ids[-1])
        _write_note(folder / NOTE, made)
        _put_in_place(folder, edit.folder)
    return made


def drop(repo: Path, edit: EditTree) -> None:
    """Remove the tree; first its name, so that no part of it is ever taken for the whole."""
    with _scratch(repo) as scratch:
        os.replace(edit.folder, scratch / "dropped")
    for folder in (edit.folder.parent, edit.folder.parent.parent):
        if not any(folder.iterdir()):
            folder.rmdir()


def _commit(repository: gitlocal.Repository, message: Path, commit: Commit) -> str:
    """Commit all that is in the tree, whatever its ``.gitignore`` says; the commit's id, the same on any machine."""
    message.write_text(commit.message, encoding="utf-8")
    who = {
        f"GIT_{role}_{key}": value
        for role in ("AUTHOR", "COMMITTER")
        for key, value in (("NAME", commit.name), ("EMAIL", commit.email), ("DATE", commit.date))
    }
    repository.git("add", "--all", "--force", ".")
    repository.git(
        "commit", "--quiet", "--no-verify", "--allow-empty", "--cleanup=verbatim", f"--file={message}", env=who
    )
    return repository.git("rev-parse", "HEAD").strip()


def _write_note(folder: Path, edit: EditTree) -> None:
    folder.mkdir()
    for number, data in enumerate(edit.pending.values()):
        (folder / f"{number}.patch").write_bytes(data)
    names = ("target", "series", "number", "patch", "source", "patches", "base", "commit", "merged")
    note = {"form": FORM, **{name: getattr(edit, name) for name in names}}
    note |= {"made": dict(edit.made), "pending": list(edit.pending)}
    (folder / "note.json").write_text(json.dumps(note, indent=1) + "\n", encoding="utf-8")


def _read_note(folder: Path) -> EditTree:
    note = json.loads((folder / NOTE / "note.json").read_text(encoding="utf-8"))
    if note.pop("form") != FORM:
        raise ValueError("another form")
    pending = {name: (folder / NOTE / f"{n}.patch").read_bytes() for n, name in enumerate(note.pop("pending"))}
    patches = tuple((name, sha256) for name, sha256 in note.pop("patches"))
    return EditTree(folder=folder, patches=patches, merged=tuple(note.pop("merged")), pending=pending, **note)


def _put_in_place(made: Path, final: Path) -> None:
    final.parent.mkdir(parents=True, exist_ok=True)
    for other in _trees(final.parent):
        os.replace(other, other.with_name(f"{ASIDE}{other.name}"))
    os.replace(made, final)
    _settle(final.parent)


def _settle(folder: Path) -> None:
    """Remove what another tree took the place of; where a killed run did not get that far, it is put back."""
    replaced = bool(_trees(folder))
    for aside in sorted(folder.glob(f"{ASIDE}*")):
        if replaced:
            shutil.rmtree(aside)
        else:
            os.replace(aside, aside.with_name(aside.name.removeprefix(ASIDE)))


def _trees(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


@contextlib.contextmanager
def _scratch(repo: Path) -> Iterator[Path]:
    """A folder on the file system of the trees, gone afterwards; what killed runs left goes too."""
    place = repo / "out" / "scratch"
    for entry in place.glob("*"):
        if not store.in_use(entry):
            shutil.rmtree(entry, ignore_errors=True)
    with store.scratch(repo / "out", "edit") as folder:
        yield folder
    with contextlib.suppress(OSError):
        place.rmdir()
