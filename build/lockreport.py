"""What a run of ``lock`` changed, for the person who reviews it: package, from, to, bytes, and what that means."""

from __future__ import annotations

import difflib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass

from packaging.utils import canonicalize_name

from build.console import human_bytes
from build.errors import UsageError
from build.intent import Intent
from build.models import Artifact, Deb, DebSet, Lock, Settings, Wheel


@dataclass(frozen=True, kw_only=True)
class Row:
    """A package before and after: versions (empty where it is not there) and the bytes that its file grew by."""

    package: str
    before: str
    after: str
    bytes: int


@dataclass(frozen=True, kw_only=True)
class Change:
    """What changed in one lock: its title, its size now, the packages, and what it means."""

    title: str
    packages: int
    bytes: int
    rows: tuple[Row, ...]
    means: tuple[str, ...]


TOOLS = "tools of the machine that builds; what they compile is made anew, and no other image changes"


def rows(before: Sequence[Wheel | Deb], after: Sequence[Wheel | Deb]) -> tuple[Row, ...]:
    """The packages whose files differ, by name."""
    was, now = {item.name: item for item in before}, {item.name: item for item in after}
    return tuple(
        Row(
            package=name,
            before=was[name].version if name in was else "",
            after=now[name].version if name in now else "",
            bytes=_size(now.get(name)) - _size(was.get(name)),
        )
        for name in sorted(was.keys() | now.keys())
        if was.get(name) != now.get(name)
    )


def _size(item: Artifact | None) -> int:
    return item.size if item is not None else 0


def of_target(intent: Intent, known: Sequence[Wheel], before: Lock | None, after: Lock) -> Change:
    """The change of a target's lock. ``known``: the wheels of the lock that was there, however old its form."""
    found = rows(known, after.wheels)
    layers = {intent.layer_of(row.package) for row in found}
    means = []
    if layers:
        size = sum(wheel.size for wheel in after.wheels if intent.layer_of(wheel.name) in layers)
        names = ", ".join(layer.name for layer in intent.layers if layer.name in layers)
        means.append(f"layers made anew: {names} (from {human_bytes(size)} of wheels)")
    if before is not None:
        means += _besides(before, after)
    return Change(
        title=after.target,
        packages=len(after.wheels),
        bytes=sum(wheel.size for wheel in after.wheels),
        rows=found,
        means=tuple(means),
    )


def _besides(before: Lock, after: Lock) -> list[str]:
    """What changed besides wheels, in words."""
    said = []
    if before.patches != after.patches:
        was, now = ({item.file: item.sha256 for item in lock.patches} for lock in (before, after))
        names = sorted(name for name in was.keys() | now.keys() if was.get(name) != now.get(name))
        said.append(f"patches: {', '.join(names) or 'their order'}; the layer of patched files is made anew")
    if before.overrides != after.overrides:
        said.append("overrides: " + (", ".join(item.requirement for item in after.overrides) or "none any more"))
    held = {item.name: item.git for item in before.components}
    said += [
        f"{item.name}: commit {item.git.commit[:12]}, tree {item.git.tree[:12]}"
        for item in after.components
        if item.git is not None and item.git != held.get(item.name)
    ]
    if before.externals != after.externals:
        said.append("external sources: " + ", ".join(item.name for item in after.externals))
    if before.unresolved != after.unresolved:
        said.append("left open: " + (", ".join(item.what for item in after.unresolved) or "nothing any more"))
    if before == after:
        said.append("what its wheels require was read anew; no image changes")
    if before.epoch != after.epoch:
        said.append("the epoch: the image's creation time moves")
    return said


def of_debs(before: DebSet | None, after: DebSet, title: str, *, in_image: bool) -> Change:
    """The change of a root's packages."""
    found = rows(before.debs if before else (), after.debs)
    means = ("the images' root file system is made anew, and every layer above it",) if in_image and found else ()
    return Change(
        title=title,
        packages=len(after.debs),
        bytes=sum(deb.size for deb in after.debs),
        rows=found,
        means=means or ((TOOLS,) if found else ()),
    )


def of_actions(actions: Sequence[tuple[str, str, str]], title: str) -> Change:
    """The change of the actions' lock: (name, tag, commit) each."""
    means = tuple(f"{name} {tag}: {commit}" for name, tag, commit in actions)
    return Change(title=title, packages=len(actions), bytes=0, rows=(), means=means)


def of_releases(versions: Sequence[str], trees: Sequence[tuple[str, str]], title: str) -> Change:
    """The change of what ``rebase`` carries to: versions of releases, and (name, commit or nothing) of other trees."""
    means = (
        f"releases: {', '.join(versions)}",
        *(f"{name}: {commit or 'left open, it was never read'}" for name, commit in trees),
    )
    return Change(title=title, packages=len(versions) + len(trees), bytes=0, rows=(), means=means)


def show(settings: Settings, changes: Sequence[Change], *, written: bool) -> None:
    """Print the changes as text or JSON."""
    if settings.json:
        print(json.dumps({"written": written, "changes": [asdict(item) for item in changes]}, indent=1))
        return
    for change in changes:
        size = f", {human_bytes(change.bytes)}" if change.bytes else ""
        print(f"{change.title}: {change.packages} {'entries' if not size else 'packages'}{size}")
        for row in change.rows if any(row.before for row in change.rows) else ():  # a first lock is no change
            sign = "+" if row.bytes >= 0 else "-"
            print(f"  {row.package}  {row.before or '-'} → {row.after or '-'}  {sign}{human_bytes(abs(row.bytes))}")
        for text in change.means:
            print(f"  {text}")
    if not changes:
        print("nothing changed")
    elif not written:
        print("nothing was written (--dry-run)")


def normal(name: str) -> str:
    """A distribution's name as locks write it (PEP 503).

    >>> normal("Jinja2"), normal("nvidia_cutlass.dsl")
    ('jinja2', 'nvidia-cutlass-dsl')
    """
    return str(canonicalize_name(name))


def require_known(names: Collection[str], locked: Mapping[str, object] | Collection[str]) -> None:
    """A :class:`UsageError` for a package that no lock has, with the nearest name."""
    for name in names:
        if name not in locked:
            near = difflib.get_close_matches(name, locked, n=1)
            raise UsageError(
                f"no lock of these targets has a wheel '{name}'",
                why="--upgrade takes names of wheels; Debian packages are upgraded all together, by --upgrade alone",
                todo=f"did you mean {near[0]}?" if near else "look for its name in lock/*.toml",
            )
