"""Write a patch anew: its header as it stands, and what changes in git's unified form, the same bytes on any machine.

Made by git, with everything stated that its configuration could change: three lines of context, Myers' algorithm with
the indent heuristic, no renames. Left out are the ``index`` lines: they name blobs that nobody needs, and their length
hangs on the repository. A patch is always read again and applied before it is given out.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from types import MappingProxyType

from build import gitlocal, udiffparse
from build.errors import PatchError
from build.overlay import PLAIN, PROGRAM

Changes = Mapping[str, "tuple[bytes | None, bytes | None]"]
"""Path → its content before and after; None where there is no such file."""
Modes = Mapping[str, "tuple[str, str]"]
"""Path → its mode before and after, where it is not that of a plain file."""

FORM = (
    "--patch", "--unified=3", "--inter-hunk-context=0", "--diff-algorithm=myers", "--indent-heuristic", "--text",
    "--no-renames", "--no-ext-diff", "--no-textconv", "--no-color", "--src-prefix=a/", "--dst-prefix=b/",
)  # fmt: skip

_INDEX = re.compile(rb"^index [0-9a-f]+\.\.[0-9a-f]+(?: [0-7]+)?\n", re.MULTILINE)  # in a hunk, lines begin otherwise
_QUOTED = re.compile(r'[\x00-\x1f"\\\x7f]')


def recut(name: str, head: bytes, changes: Changes, modes: Modes = MappingProxyType({})) -> bytes:
    """The bytes of a patch: the header ``head``, then every change, sorted by path. ``name`` is for messages.

    Content that stays is passed over. Raises :class:`PatchError` where nothing is left, for what no patch of ours can
    hold (binary content, names that git quotes), and where the result, read again, does not give ``changes`` exactly.
    """
    all_modes = {path: modes.get(path, (PLAIN, PLAIN)) for path in changes}
    real = {
        path: pair
        for path, pair in changes.items()
        if pair[0] != pair[1] or (pair[0] is not None and all_modes[path][0] != all_modes[path][1])
    }
    if not real:
        raise PatchError(
            f"nothing is left of {name}",
            why="its files are the same before and after",
            todo="take it out of its series, or make its change again",
        )
    for path, pair in sorted(real.items()):
        _require_patchable(name, path, pair)
    made = (head if not head or head.endswith(b"\n") else head + b"\n") + _diff(real, all_modes)
    _verify(name, made, real, all_modes)
    return made


def _require_patchable(name: str, path: str, pair: tuple[bytes | None, bytes | None]) -> None:
    parts = PurePosixPath(path).parts
    why = ""
    if _QUOTED.search(path) or "\ufffd" in path or not path.isprintable():
        why = "git writes a name with such characters in quotes, and quoted names are not applied"
    elif path.startswith("/") or ".." in parts or ".git" in parts:
        why = "its name leaves the tree"
    elif any(data is not None and b"\0" in data for data in pair):
        why = "it has NUL bytes: a binary file, and binary patches are not applied"
    if why:
        raise PatchError(f"{name} cannot hold the change of {path!r}", why=why, todo="leave that file as it is")


def _diff(changes: Changes, modes: Modes) -> bytes:
    with tempfile.TemporaryDirectory(prefix="recut-") as name:
        place = Path(name)
        trees = []
        for side in (0, 1):
            files = {path: (pair[side], modes[path][side]) for path, pair in changes.items()}
            trees.append(_tree(place, place / "ab"[side], files))
        out = place / "diff"
        _repository(place, place).git("diff-tree", "-r", *FORM, f"--output={out}", *trees)
        return _INDEX.sub(b"", out.read_bytes())


def _tree(place: Path, folder: Path, files: Mapping[str, tuple[bytes | None, str]]) -> str:
    """The id of a tree with these files."""
    folder.mkdir()
    for path, (data, mode) in files.items():
        if data is not None:
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
            target.chmod(0o755 if mode == PROGRAM else 0o644)
    repository = _repository(place, folder)
    index = {"GIT_INDEX_FILE": str(place / f"index-{folder.name}")}
    repository.git("add", "--all", "--force", ".", env=index)
    return repository.git("write-tree", env=index).strip()


def _repository(place: Path, folder: Path) -> gitlocal.Repository:
    if (place / "git").is_dir():
        return gitlocal.Repository(folder=folder, git_dir=place / "git")
    return gitlocal.init(folder, place / "git", attributes=gitlocal.UNALTERED + "* diff\n")  # all of it is text


def _verify(name: str, made: bytes, changes: Changes, modes: Modes) -> None:
    patch = udiffparse.parse(name, made)
    found = patch.apply(lambda path: changes[path][0] if path in changes else None)
    if found != {path: after for path, (_, after) in changes.items()}:
        differing = sorted(path for path, (_, after) in changes.items() if found.get(path, b"") != after)
        raise _broken(name, f"it does not give back {', '.join(differing)}")
    for change in patch.files:
        before, after = modes[change.path]
        if change.mode != (None if change.deleted or (before == after and not change.created) else after):
            raise _broken(name, f"the mode of {change.path} is not the one that was asked for")


def _broken(name: str, why: str) -> PatchError:
    return PatchError(
        f"{name} could not be written so that it applies exactly",
        why=why,
        todo="report this with that file; nothing was written",
    )
