"""Sources that are pinned by commit and tree id: looked up, brought into the store, packed for where no network is.

The commit says where a tree comes from, the tree id which bytes it has. So any copy of it does: a remote, a mirror,
a folder that ``fetch -- --export`` wrote. Each is laid out first and then hashed (:mod:`build.treehash`), and kept as
``trees/<id>/``, whole or not there. Submodules are fetched one by one, each by its own pinned commit, and put in
their places; ``.git`` is nowhere.
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Sequence
from pathlib import Path

from build import gitremote, giturl, treehash, treetar
from build import store as stores
from build.canonical import digest
from build.console import step, warn
from build.errors import GoneCommitError, LockError, MovedTagError, OfflineError, ResolveError
from build.exported import SOURCES
from build.gitremote import RemoteError
from build.giturl import shown
from build.models import GitSource, Settings, Submodule

FORM = 1  # of what is kept: a new number makes every tree anew


# Looking up: what `lock` does


def lookup(url: str, mirrors: Sequence[str], tag: str) -> str:
    """The commit that a tag stands for, as the first remote that has the tag says; an annotated tag is followed.

    Raises ``ResolveError`` where the remotes answer and have no such tag, ``NetworkError`` where none answers.
    """
    name = f"refs/tags/{tag}"

    def ask(remote: str) -> str:
        found = gitremote.refs(remote, name, f"{name}^{{}}")
        if name not in found:
            raise RemoteError("has no such tag", lacks=True)
        return found.get(f"{name}^{{}}", found[name])

    try:
        return gitremote.first((url, *mirrors), f"the tag {tag}", ask)
    except GoneCommitError as error:
        raise ResolveError(
            f"no remote has the tag {tag}", why=error.why, todo="correct `tag` or `git` in lock/targets.toml"
        ) from error


def lookup_any(settings: Settings, url: str, mirrors: Sequence[str], name: str) -> str:
    """The commit that a tag stands for, or a branch where there is no tag of the name; raises as :func:`resolve`."""
    _require_network(settings, name)
    places = (f"refs/tags/{name}^{{}}", f"refs/tags/{name}", f"refs/heads/{name}")

    def ask(remote: str) -> str:
        found = gitremote.refs(remote, *places)
        if commit := next((found[place] for place in places if place in found), None):
            return commit
        raise RemoteError("has no such tag or branch", lacks=True)

    try:
        return gitremote.first((url, *mirrors), name, ask)
    except GoneCommitError as error:
        raise ResolveError(
            f"no remote has a tag or branch {name}", why=error.why, todo="name a release, or a commit by its 40 digits"
        ) from error


def resolve(
    settings: Settings,
    what: str,
    *,
    url: str,
    mirrors: Sequence[str],
    tag: str,
    commit: str,
    version: str,
    locked: GitSource | None,
) -> GitSource:
    """What a tag or a commit is today: commit, tree and every submodule, over ``url`` and then ``mirrors``.

    ``what`` names it in messages. ``commit``: the one that the intent states (empty: the tag's). ``locked``: what was
    locked before. Raises ``MovedTagError`` (the tag is not where either says it is), ``GoneCommitError``,
    ``ResolveError`` (no such tag, no usable URL), ``NetworkError``, ``OfflineError``.
    """
    _require_network(settings, what)
    remotes = (url, *mirrors)
    with step(f"look up {what}: {tag or commit[:12]} of {shown(url)}"):
        found = commit
        if tag:
            found = lookup(url, mirrors, tag)
            _require_unmoved(what, tag, found, commit, locked if locked and locked.url == url else None)
        with stores.scratch(settings.store, "git") as scratch:
            time, tree, submodules = _describe(scratch, what, remotes, found, "")
    return GitSource(
        url=url,
        mirrors=tuple(mirrors),
        tag=tag,
        commit=found,
        tree=tree,
        version=version,
        time=time,
        submodules=tuple(sorted(submodules, key=lambda item: item.path)),
    )


def _require_network(settings: Settings, what: str) -> None:
    if settings.offline:
        raise OfflineError(f"{what} is to be looked up, and --offline was asked for", todo="run it with a network")


def _require_unmoved(what: str, tag: str, found: str, stated: str, locked: GitSource | None) -> None:
    before = stated or (locked.commit if locked is not None and locked.tag == tag else found)
    if before != found:
        raise MovedTagError(
            f"the tag {tag} of {what} has moved",
            why=f"{'stated' if stated else 'locked'} is {before}, the remote says {found}",
            todo=f'find out why; to accept it, state `commit = "{found}"` in lock/targets.toml,'
            " to stay, state the other one and leave out `tag`",
        )


def _describe(
    scratch: Path, what: str, remotes: Sequence[str], commit: str, below: str
) -> tuple[int, str, tuple[Submodule, ...]]:
    """The commit's time and tree id, and its submodules with theirs; ``below``: its own place in the outermost tree."""
    with gitremote.fetched(scratch, what, remotes, commit, blobs=False) as repository:
        time, tree, links = repository.time(commit), repository.tree(commit), repository.gitlinks(commit)
        urls = repository.module_urls(commit) if links else {}
    found = []
    for path, pinned in links.items():
        url = _submodule_url(what, remotes[0], path, urls)
        _, inner, nested = _describe(scratch, f"{what}: submodule {below}{path}", (url,), pinned, f"{below}{path}/")
        found += [Submodule(path=f"{below}{path}", url=url, commit=pinned, tree=inner), *nested]
    return time, tree, tuple(found)


def _submodule_url(what: str, parent: str, path: str, urls: dict[str, str]) -> str:
    """Where a submodule is fetched from. One of a remote's may not name this machine's disk, as git has it too."""
    if path not in urls:
        raise ResolveError(
            f"{what}: its tree pins a submodule at {path}, and its .gitmodules says no URL for it",
            todo="report it to that project; this commit cannot be locked",
        )
    url = giturl.joined(parent, urls[path])
    if giturl.is_local(url) and not giturl.is_local(parent):
        raise ResolveError(
            f"{what}: the submodule {path} names a place on this machine's disk",
            why=f"{shown(url)}, in a tree that comes from {shown(parent)}",
            todo="do not trust this remote",
        )
    return url


# Bringing it in: what builds do


def tree_id(source: GitSource) -> str:
    """The name that a source's tree is kept under: of what is in it, not of where it comes from."""
    inner = {item.path: item.tree for item in source.submodules}
    return digest({"form": FORM, "tree": source.tree, "submodules": inner})


def ensure(settings: Settings, what: str, source: GitSource) -> Path:
    """The folder of the whole tree with its submodules; made where the store lacks it, an interruption leaves nothing.

    From the first of: the store, the exported folders, ``source.url``, its mirrors. ``what`` names it in messages.
    Raises ``LockError`` (another tree under this commit), ``GoneCommitError``, ``NetworkError``, ``OfflineError``.
    """
    name = tree_id(source)
    final = settings.store / "trees" / name
    if final.is_dir():
        return final
    with stores.locked(settings.store, f"tree-{name[:16]}"), stores.scratch(settings.store, "tree") as scratch:
        if not final.is_dir():
            made = _unpacked(settings, what, source, scratch) or _laid_out(what, source, scratch)
            final.parent.mkdir(parents=True, exist_ok=True)
            os.replace(made, final)
    return final


def pack(settings: Settings, source: GitSource, folder: Path) -> Path:
    """Write the source's tree as ``sources/<id>.tar`` below an export folder; the same tree gives the same bytes.

    The tree is brought in where the store lacks it, and hashed again before it is written. Raises what
    :func:`ensure` raises.
    """
    tree = ensure(settings, shown(source.url), source)
    if fault := difference(tree, source):
        raise LockError(
            f"the tree of {shown(source.url)} in the store is not what was locked",
            why=fault,
            todo="drop it (`nox -s clean -- trees`), then again",
        )
    target = folder / SOURCES / f"{tree_id(source)}.tar"
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}-{os.getpid()}")
    try:
        treetar.write(tree, partial)
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)
    return target


def difference(folder: Path, source: GitSource) -> str:
    """How the folder differs from the source's tree and its submodules', in words; empty where it does not."""
    wanted = {"": source.tree} | {f"{item.path}/": item.tree for item in source.submodules}
    pins = {item.path: item.commit for item in source.submodules}
    for below, tree in sorted(wanted.items()):
        inner = {path.removeprefix(below): commit for path, commit in pins.items() if path.startswith(below)}
        try:
            found = treehash.tree_id(folder / below, inner)
        except (ValueError, FileNotFoundError, NotADirectoryError) as error:
            return f"{below or 'the tree'}: {error}"
        if found != tree:
            return f"{below}{': ' if below else ''}expected {tree}, found {found}"
    return ""


def _unpacked(settings: Settings, what: str, source: GitSource, scratch: Path) -> Path | None:
    """The tree out of the first exported folder that has it whole."""
    faults = []
    for number, folder in enumerate(settings.exported):
        packed, made = folder / SOURCES / f"{tree_id(source)}.tar", scratch / f"unpacked-{number}"
        if not packed.is_file():
            continue
        try:
            with tarfile.open(packed, "r:") as tar:
                treetar.unpack(tar, made)
            fault = difference(made, source)
        except (tarfile.TarError, EOFError) as error:
            fault = str(error)
        if not fault:
            return made
        faults.append(f"{packed} holds another tree ({fault})")
        warn(faults[-1])
    if settings.offline:
        raise OfflineError(
            f"the commit {source.commit[:12]} of {what} is not in the store and --offline was asked for",
            why="; ".join(faults),
            todo="run `nox -s checkout -- --from git` where there is a network, then again",
        )
    return None


def _laid_out(what: str, source: GitSource, scratch: Path) -> Path:
    """The tree and its submodules, from their remotes."""
    made = scratch / "tree"
    pieces = [Submodule(path="", url=source.url, commit=source.commit, tree=source.tree), *source.submodules]
    for piece in sorted(pieces, key=lambda item: item.path):
        remotes = (piece.url, *source.mirrors) if not piece.path else (piece.url,)
        named = f"{what}: submodule {piece.path}" if piece.path else what
        place = made / piece.path
        if not treetar.is_below(os.path.realpath(made), os.fspath(place)):
            raise LockError(f"{named} lies outside of the tree", todo="lock it anew: `nox -s lock`")
        with (
            step(f"fetch {named}: {piece.commit[:12]} of {shown(piece.url)}"),
            gitremote.fetched(scratch, named, remotes, piece.commit) as repository,
        ):
            if (found := repository.tree(piece.commit)) != piece.tree:
                short = f"the commit {piece.commit[:12]} of {named}"
                raise _other_tree(short, f"expected {piece.tree}, found {found}")
            repository.write_out(piece.tree, place)
    _require_whole(f"the commit {source.commit[:12]} of {what}", made, source)
    return made


def _require_whole(short: str, made: Path, source: GitSource) -> None:
    """What was laid out is what was locked, to the byte, and none of its links leads elsewhere."""
    if fault := difference(made, source):
        raise _other_tree(short, fault)
    if link := treetar.stray_link(made):
        raise LockError(f"{short} cannot be used", why=f"{link} links out of its tree", todo="lock another commit")


def _other_tree(short: str, fault: str) -> LockError:
    return LockError(
        f"{short} has another tree than was locked",
        why=fault,
        todo="do not trust this remote; compare with another copy of the repository",
    )
