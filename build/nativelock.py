"""The source lane's part of a lock: what a native build takes in, and that nothing it would fetch is unknown."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from build import (
    fetchcontent,
    index,
    locksources,
    madewheel,
    patched,
    patchwork,
    requirementfiles,
    series,
    sourcetree,
    steps,
    treehash,
    wheeltree,
)
from build.errors import LockError, ResolveError
from build.models import Component, Fetched, GitSource, Lock, Native, Settings, Substitute, Wheel
from build.tables import NativeIntent, TargetIntent

X86 = "x86_64"
COMPILERS = ("nvidia-cuda-nvcc", "nvidia-nvvm")  # what of the CUDA toolkit runs while compiling


def stated(settings: Settings, target: TargetIntent, environment: index.Environment) -> tuple[str, ...]:
    """What the component's requirement files say that it needs, where the target names some; else nothing."""
    native = target.native
    if native is None or not target.components[native.component].requirement_files:
        return ()
    table = target.components[native.component]
    release = native.requires_of or target.version
    found = index.locate([(table.distribution, release)], environment)
    archive = next((item for item in found.values() if item.sdist), None)
    if archive is None:
        raise ResolveError(
            f"there is no source archive of {table.distribution} {release}, whose requirement files count",
            todo="name a release with `native.requires-of`",
        )
    component = Component(
        name=native.component,
        distribution=table.distribution,
        paths=(),
        archive=archive.archive,
        git=None,
        files=(),
    )
    tree = sourcetree.ensure(
        settings, component, obtain=lambda wanted: steps.fetch_python(settings, [wanted], [environment])
    )
    return requirementfiles.read(tree, table.requirement_files)


def draft(
    settings: Settings, target: TargetIntent, requires: Sequence[str], held: Sequence[Wheel], *, as_of: datetime | None
) -> Native | None:
    """What a native build needs of the index. ``requires``: of :func:`stated`; the target's own where there is none.

    ``held``: of what the build runs, the wheels that stay. ``as_of``: else as the index stood then.
    """
    native = target.native
    if native is None:
        return None
    image = index.Environment(platform=target.platform, python=target.python)
    host = steps.builder_environment(X86, target.python)
    substitutes = {name: _wheel(table.wheel, image) for name, table in native.substitutes.items()}
    tools = tuple(
        item.wheel
        for item in index.resolve(
            native.requirements,
            (),
            image,
            prefer=[(wheel.name, wheel.version) for wheel in held],
            hold=[wheel.sha256 for wheel in held],
            as_of=as_of.isoformat() if as_of else None,
        )
    )
    hosts = tuple(item.wheel for item in _compilers(target, host))
    steps.fetch_python(settings, (*substitutes.values(), *tools, *hosts), [image, host])
    return Native(
        component=native.component,
        sources=native.sources,
        requires=tuple(requires) or target.requirements,
        tools=tools,
        hosts=hosts,
        tools_tree=treehash.tree_id(wheeltree.ensure(settings, tools)),
        hosts_tree=treehash.tree_id(wheeltree.ensure(settings, hosts)),
        substitutes=tuple(
            Substitute(
                name=name,
                path=native.substitutes[name].path,
                tree=treehash.tree_id(wheeltree.ensure(settings, [wheel], native.substitutes[name].path)),
                wheel=wheel,
            )
            for name, wheel in sorted(substitutes.items())
        ),
    )


def _compilers(target: TargetIntent, host: index.Environment) -> list[index.Found]:
    """CUDA's compilers for x86-64, of the very toolkit that the image's requirements name."""
    toolkit = [text for text in target.requirements if text.startswith("cuda-toolkit")]
    found = index.resolve(toolkit, target.constraints, host) if toolkit else ()
    chosen = [item for item in found if item.name in COMPILERS]
    if len(chosen) != len(COMPILERS):
        raise ResolveError(
            "the target's requirements do not bring CUDA's compilers",
            why=f"{' and '.join(COMPILERS)} come with cuda-toolkit[nvcc,nvvm], pinned to one version",
            todo="add that to the target's requirements",
        )
    return chosen


def _wheel(pin: str, environment: index.Environment) -> Wheel:
    """A pinned wheel without what it requires: it is read, not installed."""
    name, _, version = pin.partition("==")
    found = [item for item in index.locate([(name, version)], environment).values() if not item.sdist]
    if len(found) != 1:
        raise ResolveError(f"the index has {len(found)} wheels of {pin} that fit the image, and one is needed")
    return found[0].wheel


def pinned(settings: Settings, target: TargetIntent, lock: Lock, held: Mapping[str, GitSource], *, anew: bool) -> Lock:
    """The lock with its git sources where its component's tree is one, and of its time; else that can wait."""
    if target.native is None or target.native.origin == "archive":
        return lock
    found = locksources.pin(settings, target, lock, held, anew=anew)
    component = madewheel.compiled(found)
    return replace(found, epoch=component.git.time) if component is not None and component.git is not None else found


def with_sources_of(draft: Lock, other: Lock) -> Lock:
    """Another resolution of the same target, with the git sources that the first one found."""
    known = {item.name: item.git for item in draft.components}
    components = tuple(replace(item, git=known[item.name]) for item in other.components)
    epoch = draft.epoch if any(known.values()) and other.native is not None else other.epoch
    return replace(other, components=components, externals=draft.externals, unresolved=draft.unresolved, epoch=epoch)


def has_tree(lock: Lock) -> bool:
    """Whether the lock says where the tree of its native component comes from."""
    native = lock.native
    return native is not None and any(
        item.name == native.component and (item.archive or item.git) for item in lock.components
    )


def is_made(lock: Lock) -> bool:
    """Whether the lock holds everything that it is to hold: in the source lane, the wheel that is made."""
    return lock.native is None or any(wheel.made for wheel in lock.wheels)


def asked(target: TargetIntent, lock: Lock) -> tuple[str, ...]:
    """What the wheels of a lock are there for: what the image is to hold, or its parts where one cannot be made yet."""
    if lock.native is None or is_made(lock):
        return target.wanted
    return (*target.requirements, *lock.native.requires)


def account(settings: Settings, target: TargetIntent, lock: Lock, patches: series.Series) -> Lock:
    """The lock with what the component's CMake files would fetch.

    ``LockError`` for a name that the target does not account for, for one that it accounts for in vain, and for a
    file that cannot be read.
    """
    native = target.native
    if native is None or lock.native is None or not has_tree(lock):
        return lock
    component = madewheel.compiled(lock)
    assert component is not None
    tree = sourcetree.ensure(settings, component)
    changed = next(
        (patchwork.changed(work) for work in patched.works(settings, lock, patches) if work.component == component), {}
    )
    try:
        found = fetchcontent.declared(tree, changed)
    except fetchcontent.CMakeSyntaxError as fault:
        raise LockError(
            f"what {native.component} would fetch cannot be read off its CMake files",
            why=str(fault),
            todo="report it with this file; this source cannot be locked",
        ) from fault
    _demand(target, native, found)
    _demand_crates(native, tree)
    if native.complete:
        _demand_extensions(native, tree)
    rows = sorted({(item.name, item.url, item.tag) for item in found})
    fetched = tuple(Fetched(name=name, url=url, tag=tag) for name, url, tag in rows)
    return replace(lock, native=replace(lock.native, fetched=fetched))


def _demand(target: TargetIntent, native: NativeIntent, found: Sequence[fetchcontent.Declared]) -> None:
    known = {*target.externals, *native.substitutes, *native.stubs, *native.unused}
    if unknown := [item for item in found if item.name not in known]:
        raise LockError(
            f"{native.component} would fetch what its target does not name",
            why="\n       ".join(map(_place, unknown)),
            todo="add a table `externals.NAME` with git and commit to the target in lock/targets.toml, or say in"
            " `native.unused` why this build never uses it",
        )
    named = {name: (table.commit, table.tag) for name, table in target.externals.items()}
    if other := [item for item in found if item.name in named and item.tag not in named[item.name]]:
        raise LockError(
            f"{native.component} wants other sources than its target names",
            why="\n       ".join(
                f"{_place(item)}; named is {' '.join(filter(None, named[item.name]))}" for item in other
            ),
            todo="take over what it wants, as `tag` or `commit` of that external in lock/targets.toml",
        )
    if idle := sorted(known - {item.name for item in found}):
        raise LockError(
            f"{native.component} does not fetch what its target names: {', '.join(idle)}",
            todo="take it out of the target in lock/targets.toml",
        )


def _place(item: fetchcontent.Declared) -> str:
    return f"{item.name} ({item.file}:{item.line}, {' '.join(filter(None, (item.url, item.tag)))})"


def _demand_crates(native: NativeIntent, tree: Path) -> None:
    """Rust is not compiled here: what there is of it is left off by name, or an update would lose it unseen."""
    left = {item.part.rstrip("/") for item in native.left_off if item.part}
    found = {path.parent.relative_to(tree).parts[0] for path in tree.glob("*/Cargo.toml")}
    if unknown := sorted(found - left):
        raise LockError(
            f"{native.component} has parts in Rust that its target does not speak of: {', '.join(unknown)}",
            why="this build compiles no Rust",
            todo="say in a table `native.left-off` of the target, with `part` and `reason`, why it can do without",
        )


def _demand_extensions(native: NativeIntent, tree: Path) -> None:
    """What the project's own build makes by CMake (``CMakeExtension`` in its setup.py) is made here or left off."""
    setup = tree / "setup.py"
    text = setup.read_text(encoding="utf-8", errors="replace") if setup.is_file() else ""
    made = {name.rpartition(".")[2] for name in re.findall(r"CMakeExtension\(\s*name=[\"']([\w.]+)", text)}
    left = {item.target or item.part for item in native.left_off}
    if unknown := sorted(made - left - set(native.targets)):
        raise LockError(
            f"{native.component}'s own build makes what its target does not: {', '.join(unknown)}",
            why="setup.py names them as CMake's",
            todo="add them to `native.targets`, or say in a table `native.left-off` why this image can do without",
        )
