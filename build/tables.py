"""The tables of ``lock/targets.toml``: what may stand in each, and what it means."""

from __future__ import annotations

import fnmatch
import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from build.models import Lane

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9.-]*$")]
SourceName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_.-]*$")]  # in FetchContent
Text = Annotated[str, StringConstraints(min_length=1)]
Commit = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40}$")]
ActionName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9-]+/[A-Za-z0-9._-]+$")]


def _pattern(text: str) -> str:
    """A pattern as :mod:`build.leftout` reads it: below site-packages, and nothing special but its asterisks."""
    parts = text.split("/")
    inner = [part for part in parts[:-1] if "**" in part] or (parts[-1] != "**" and "**" in parts[-1])
    if inner or parts == ["**"] or {"", ".", ".."} & set(parts) or re.search(r"[\\?\[\]{}]", text):
        raise ValueError("a path below site-packages; * is a part of one name, a last name ** all that is below")
    return text


Pattern = Annotated[str, AfterValidator(_pattern)]


class Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=lambda name: name.replace("_", "-"))


class RootfsIntent(Table):
    """A root file system of images."""

    suite: Name
    packages: tuple[Text, ...]


class RootIntent(Table):
    """A root for the machine that builds, one per architecture."""

    suite: Name
    architectures: tuple[Literal["amd64", "arm64"], ...]
    packages: tuple[Text, ...]


class LayerIntent(Table):
    """Which distributions go into one layer, by patterns over their normalised names."""

    name: Name
    match: tuple[Text, ...]
    except_: tuple[Text, ...] = Field(default=(), alias="except")

    def takes(self, distribution: str) -> bool:
        """Whether this layer is for that distribution."""
        return _any(distribution, self.match) and not _any(distribution, self.except_)


class OverlapIntent(Table):
    """Two wheels that write the same paths: ``winner``'s bytes stay, for a stated reason."""

    winner: Name
    over: tuple[Name, ...]
    reason: Text


class ExceptionIntent(Table):
    """A finding of the image's checks that may stand: a part of its text, and why."""

    finding: Text
    reason: Text


class LibraryIntent(Table):
    """A native library that a GB10 needs code in, by a pattern below site-packages.

    ``code``: all that it may hold, like ``sm_120`` or ``compute_80`` (PTX), where that is to be checked too.
    """

    path: Text
    reason: Text
    code: tuple[Text, ...] = ()


class LeftOutIntent(Table):
    """Files of wheels that do not enter the image: patterns below site-packages (:mod:`build.leftout`), and why.

    ``foreign``: the reason is that each of them holds device code, and none for a GB10. Proven of every image.
    """

    path: Pattern | Annotated[tuple[Pattern, ...], Field(min_length=1)]
    reason: Text
    foreign: bool = False

    @property
    def patterns(self) -> tuple[str, ...]:
        """The patterns, where one stands alone too."""
        return (self.path,) if isinstance(self.path, str) else self.path


class ComponentIntent(Table):
    """A source tree that the series patches.

    ``requirement_files``: the files of that tree which list what the distribution needs at run time. A patch that
    changes them changes what is resolved, and the distribution's METADATA in the image.
    """

    distribution: Name
    paths: dict[str, str]
    requirement_files: tuple[Text, ...] = ()
    git: Text | None = None
    mirrors: tuple[Text, ...] = ()
    tag: Text | None = None
    commit: Commit | None = None


class SourceIntent(Table):
    """A source that a native build takes in, by its name in CMake's FetchContent: a tag or a whole commit."""

    git: Text
    mirrors: tuple[Text, ...] = ()
    tag: Text | None = None
    commit: Commit | None = None


class SubstituteIntent(Table):
    """A folder of a wheel that stands in for a source which only a git host has. Such an image is never published.

    ``wheel``: pinned, like ``name==1.0``. ``define``: variables of CMake that the source's own files would set.
    """

    wheel: Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]+==[^=\s]+$")]
    path: Pattern
    define: dict[str, Text] = {}
    reason: Text


class StubIntent(Table):
    """Files (path → text) that let CMake's configure pass over a source that is not here. Never published either."""

    files: dict[str, str]
    reason: Text


class DropIntent(Table):
    """Sources of one of CMake's targets that are not compiled, by a regular expression over their paths."""

    target: Text
    sources: Text
    reason: Text


class LeftOffIntent(Table):
    """Something that the component's own build would make and ours does not: one of CMake's targets, or another part.

    ``target``: linked from one empty file, so that what loads it is told that it is not available.
    """

    target: Text | None = None
    part: Text | None = None
    reason: Text

    @model_validator(mode="after")
    def _one_of_both(self) -> LeftOffIntent:
        if (self.target is None) == (self.part is None):
            raise ValueError("one of `target` and `part` is needed")
        return self


class NativeIntent(Table):
    """What is compiled of a component, in the source lane.

    ``origin``: the component's release archive, or its commit. ``project``: CMake's name of it. ``sources``: what the
    compilers see of the tree, so that a patch of anything else compiles nothing. ``architectures``: torch's
    TORCH_CUDA_ARCH_LIST. ``requirements``: what the build runs, each pinned. ``requires_of``: the release whose
    requirement files count, where they are not the tree's own. ``heavy``: targets with files that take more memory
    than others (:mod:`build.jobs`). ``substitutes``, ``stubs``: for sources that cannot be had; the build is no
    complete one then. ``unused``: sources that its files would fetch for other devices, with the reason.
    """

    component: Name
    origin: Literal["archive", "git"]
    project: Text
    sources: Annotated[tuple[Text, ...], Field(min_length=1)]
    architectures: Text
    requirements: Annotated[tuple[Text, ...], Field(min_length=1)]
    targets: Annotated[tuple[Text, ...], Field(min_length=1)]
    requires_of: Text | None = None
    heavy: tuple[Text, ...] = ()
    drop: tuple[DropIntent, ...] = ()
    left_off: tuple[LeftOffIntent, ...] = ()
    substitutes: dict[SourceName, SubstituteIntent] = {}
    stubs: dict[SourceName, StubIntent] = {}
    unused: dict[SourceName, Text] = {}

    @property
    def complete(self) -> bool:
        """Whether every source is the one that the project names."""
        return not (self.substitutes or self.stubs)


class OverrideIntent(Table):
    """A requirement that replaces what wheels ask for, with the reason why they may be overruled."""

    requirement: Text
    reason: Text


class TargetIntent(Table):
    """One image that we build."""

    lane: Lane
    summary: Text
    version: Text
    revision: str = ""
    series: Name
    rootfs: Name
    python: Annotated[str, StringConstraints(pattern=r"^3\.\d+$")]
    platform: Text
    local_version: Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+$")]
    gb10: Literal["unproven", "reported", "proven"]
    gb10_seen: str
    requirements: tuple[Text, ...]
    constraints: tuple[Text, ...]
    overrides: tuple[OverrideIntent, ...] = ()
    smoke: Name
    overlaps: tuple[OverlapIntent, ...] = ()
    exceptions: tuple[ExceptionIntent, ...] = ()
    libraries: tuple[LibraryIntent, ...] = ()
    left_out: tuple[LeftOutIntent, ...] = ()
    bytecode: tuple[Pattern, ...] = ()
    components: dict[Name, ComponentIntent] = {}
    externals: dict[SourceName, SourceIntent] = {}
    native: NativeIntent | None = None

    @property
    def wanted(self) -> tuple[str, ...]:
        """What the image is to hold: the requirements, and what is compiled for it."""
        if self.native is None:
            return self.requirements
        return (*self.requirements, f"{self.components[self.native.component].distribution}=={self.version}")


class TreeIntent(Table):
    """A source tree that is no release, and the series that is meant for it.

    ``like``: the target whose components the series patches. The series counts as unverified until it was read.
    """

    series: Name
    like: Name
    git: Text
    mirrors: tuple[Text, ...] = ()
    commit: Commit


class RebaseIntent(Table):
    """What the series are carried to: releases of vLLM by their source archives, and other trees.

    ``requirement_file``: where a release says which versions of the other components it wants.
    """

    releases: tuple[Text, ...] = ()
    requirement_file: Text = "requirements/cuda.txt"
    trees: dict[Name, TreeIntent] = {}


class ToolsIntent(Table):
    """Versions of the tools that are wheels."""

    uv: Text


def _any(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
