"""The pristine source tree of a component: its release's source archive, or its pinned git commit.

Kept in the store as ``trees/<id>/``, whole or not there; the id is that of the bytes it was made from.
"""

from __future__ import annotations

import gzip
import os
import shutil
import tarfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from build import store as stores
from build.canonical import digest
from build.errors import CommandError, LockError, NetworkError, OfflineError
from build.models import Component, GitSource, Settings, SourceArchive

if TYPE_CHECKING:
    from git import Repo

Obtain = Callable[[SourceArchive], object]
"""Brings a source archive into the store."""

FORM = 1  # of what is kept: a new number makes every tree anew


def tree_id(component: Component, *, git: bool) -> str:
    """The id of a component's tree: of its commit, or of its archive's bytes. Raises ``LockError`` without one."""
    if git or component.archive is None:
        return digest({"form": FORM, "commit": _commit(component).commit})
    return digest({"form": FORM, "archive": component.archive.sha256})


def _commit(component: Component) -> GitSource:
    if component.git is not None:
        return component.git
    raise LockError(
        f"the lock knows no commit of the component '{component.name}'",
        why="" if component.archive else "nor does it know a source archive",
        todo="name `git` and `commit` in its table of lock/targets.toml, then `nox -s lock`",
    )


def ensure(settings: Settings, component: Component, *, git: bool = False, obtain: Obtain | None = None) -> Path:
    """The folder of a component's tree, made where the store lacks it.

    From the release's source archive (``obtain`` fetches one that the store lacks); from the pinned commit when
    ``git`` is asked for or no archive is locked. An interruption leaves nothing. Raises ``LockError`` (no such
    source is locked, or the commit's tree is another), ``HashMismatchError``, ``OfflineError``, ``NetworkError``.
    """
    name = tree_id(component, git=git)
    final = settings.store / "trees" / name
    if final.is_dir():
        return final
    with stores.locked(settings.store, f"tree-{name[:16]}"), stores.scratch(settings.store, "tree") as scratch:
        if final.is_dir():
            return final
        if git or component.archive is None:
            made = _from_git(settings, component.name, _commit(component), scratch / "clone")
        else:
            made = _from_archive(settings, component.archive, scratch / "archive", obtain)
        final.parent.mkdir(parents=True, exist_ok=True)
        os.replace(made, final)
    return final


def _from_archive(settings: Settings, archive: SourceArchive, folder: Path, obtain: Obtain | None) -> Path:
    if obtain is not None:
        obtain(archive)
    if not stores.has(settings.store, archive.sha256, archive.size):
        raise OfflineError(
            f"{archive.file} is not in the store", todo="run `nox -s fetch` where there is a network, then again"
        )
    stores.verify(settings.store, archive.file, archive.sha256)
    try:
        with tarfile.open(stores.blob(settings.store, archive.sha256)) as tar:
            _unpack(tar, folder)
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise LockError(
            f"{archive.file} cannot be unpacked",
            why=str(error),
            todo="its bytes are the locked ones: lock another release, or report this one",
        ) from error
    tops = sorted(folder.iterdir())
    if len(tops) != 1 or not tops[0].is_dir():
        raise LockError(
            f"{archive.file} does not hold one top folder",
            why=f"it holds {', '.join(top.name for top in tops) or 'nothing'}",
            todo="a source archive of a release is expected",
        )
    return tops[0]


def _unpack(tar: tarfile.TarFile, folder: Path) -> None:
    """Files, folders and links that stay inside; the modes of a checkout (tarfile's own filters need Python 3.11.4)."""
    folder.mkdir()
    root = os.path.realpath(folder)
    links = []
    for member in tar:
        target = os.path.join(root, member.name)
        if not _below(root, os.path.dirname(target)) or ".." in member.name.split("/"):
            raise tarfile.TarError(f"{member.name} leaves the archive's folder")
        if member.isdir():
            os.makedirs(target, exist_ok=True)
            continue
        os.makedirs(os.path.dirname(target), exist_ok=True)
        if member.issym():
            os.symlink(member.linkname, target)
            links.append(target)
        elif (stream := tar.extractfile(member)) is not None and member.isfile():
            with open(target, "wb") as out:
                shutil.copyfileobj(stream, out)
            os.chmod(target, 0o755 if member.mode & 0o100 else 0o644)
        else:
            raise tarfile.TarError(f"{member.name} is no file, folder or symbolic link")
    if outside := [link for link in links if not _below(root, link)]:
        raise tarfile.TarError(f"{os.path.relpath(outside[0], root)} links out of the archive's folder")


def _below(root: str, path: str) -> bool:
    """Whether a path, its links followed, is the folder ``root`` or in it."""
    return os.path.commonpath([root, os.path.realpath(path)]) == root


def _from_git(settings: Settings, name: str, source: GitSource, folder: Path) -> Path:
    """Fetch the one commit by its hash, without history, compare its tree with the lock's, write it out."""
    short = f"the commit {source.commit[:12]} of {name}"
    if settings.offline:
        raise OfflineError(
            f"{short} is not in the store and --offline was asked for",
            todo="run `nox -s checkout` where there is a network, then again",
        )
    with _repository(folder, short) as repository:
        repository.git.fetch("--depth=1", "--no-tags", source.url, source.commit)
        found = repository.commit(source.commit).tree.hexsha
        if source.tree and found != source.tree:
            raise LockError(
                f"{short} has another tree than was locked",
                why=f"expected {source.tree}, found {found}",
                todo="do not trust this remote; compare with another copy of the repository",
            )
        repository.git.checkout("--detach", "--quiet", source.commit)
    shutil.rmtree(folder / ".git")
    return folder


@contextmanager
def _repository(folder: Path, short: str) -> Iterator[Repo]:
    """A new repository whose files do not depend on the user's git configuration, and which asks nobody anything."""
    instead = "or leave out `--from git`: the release's source archive does as well"
    try:
        from git import GitCommandError, Repo  # noqa: PLC0415 - importing it runs git, which only this path needs
    except ImportError as error:
        raise CommandError(
            "git is not there", why=str(error).split("\n", 1)[0], todo=f"install git, {instead}"
        ) from error
    repository = Repo.init(folder, mkdir=True)
    repository.git.update_environment(GIT_TERMINAL_PROMPT="0", LC_ALL="C.UTF-8")
    try:
        with repository.config_writer() as config:
            config.set_value("core", "autocrlf", "false")
            config.set_value("core", "fsmonitor", "false")
            config.set_value("core", "hooksPath", os.devnull)
            config.set_value("core", "attributesFile", os.devnull)
        yield repository
    except GitCommandError as error:
        raise NetworkError(
            f"{short} could not be fetched",
            why=str(error.stderr).strip().removeprefix("stderr: ").strip("'").strip(),
            todo=f"check the network, {instead}",
        ) from error
    finally:
        repository.close()
