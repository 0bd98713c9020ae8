"""The intent: ``lock/targets.toml``, validated as a whole, all faults at once with their place."""

from __future__ import annotations

import difflib
import fnmatch
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from build.canonical import digest
from build.errors import IntentError, UnknownTargetError
from build.models import Lane

FILE = Path("lock/targets.toml")
MAIN = "vllm"  # the component that decides which versions of the others are wanted

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9.-]*$")]
Text = Annotated[str, StringConstraints(min_length=1)]
Commit = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40}$")]
ActionName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9-]+/[A-Za-z0-9._-]+$")]
PUBLIC = "a URL here is public; take the name and password out of it (git keeps them)"
_CREDENTIALS = re.compile(r"^https?://[^/]*@|^[a-z]+://[^/@]*:[^/@]*@")


def _pattern(text: str) -> str:
    """A pattern as :mod:`build.leftout` reads it: below site-packages, and nothing special but its asterisks."""
    parts = text.split("/")
    inner = [part for part in parts[:-1] if "**" in part] or (parts[-1] != "**" and "**" in parts[-1])
    if inner or parts == ["**"] or {"", ".", ".."} & set(parts) or re.search(r"[\\?\[\]{}]", text):
        raise ValueError("a path below site-packages; * is a part of one name, a last name ** all that is below")
    return text


Pattern = Annotated[str, AfterValidator(_pattern)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=lambda name: name.replace("_", "-"))


class RootfsIntent(_Table):
    """A root file system of images."""

    suite: Name
    packages: tuple[Text, ...]


class RootIntent(_Table):
    """A root for the machine that builds, one per architecture."""

    suite: Name
    architectures: tuple[Literal["amd64", "arm64"], ...]
    packages: tuple[Text, ...]


class LayerIntent(_Table):
    """Which distributions go into one layer, by patterns over their normalised names."""

    name: Name
    match: tuple[Text, ...]
    except_: tuple[Text, ...] = Field(default=(), alias="except")

    def takes(self, distribution: str) -> bool:
        """Whether this layer is for that distribution."""
        return _any(distribution, self.match) and not _any(distribution, self.except_)


class OverlapIntent(_Table):
    """Two wheels that write the same paths: ``winner``'s bytes stay, for a stated reason."""

    winner: Name
    over: tuple[Name, ...]
    reason: Text


class ExceptionIntent(_Table):
    """A finding of the image's checks that may stand: a part of its text, and why."""

    finding: Text
    reason: Text


class LibraryIntent(_Table):
    """A native library that a GB10 needs code in, by a pattern below site-packages."""

    path: Text
    reason: Text


class LeftOutIntent(_Table):
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


class ComponentIntent(_Table):
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


class SourceIntent(_Table):
    """A source that a native build takes in, by its name in CMake's FetchContent: a tag or a whole commit."""

    git: Text
    mirrors: tuple[Text, ...] = ()
    tag: Text | None = None
    commit: Commit | None = None


class SubstituteIntent(_Table):
    """A folder of a wheel that stands in for a source which only a git host has. Such an image is never published."""

    wheel: Name
    path: Pattern
    reason: Text


class DropIntent(_Table):
    """Sources of one of CMake's targets that are not compiled, by a regular expression over their paths."""

    target: Text
    sources: Text
    reason: Text


class NativeIntent(_Table):
    """What is compiled of a component, in the source lane.

    ``architectures``: torch's TORCH_CUDA_ARCH_LIST. ``requirements``: what the build runs besides the target's own
    wheels (CMake). ``targets``: CMake's, all that the component installs where none is named. ``unused``: sources that
    its files would fetch for other devices, by name, each with the reason; a stub stands in.
    """

    component: Name
    architectures: Text
    requirements: Annotated[tuple[Text, ...], Field(min_length=1)]
    targets: tuple[Text, ...] = ()
    drop: tuple[DropIntent, ...] = ()
    substitutes: dict[Name, SubstituteIntent] = {}
    unused: dict[Name, Text] = {}


class OverrideIntent(_Table):
    """A requirement that replaces what wheels ask for, with the reason why they may be overruled."""

    requirement: Text
    reason: Text


class TargetIntent(_Table):
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
    externals: dict[Name, SourceIntent] = {}
    native: NativeIntent | None = None


class TreeIntent(_Table):
    """A source tree that is no release, and the series that is meant for it.

    ``like``: the target whose components the series patches. The series counts as unverified until it was read.
    """

    series: Name
    like: Name
    git: Text
    mirrors: tuple[Text, ...] = ()
    commit: Commit


class RebaseIntent(_Table):
    """What the series are carried to: releases of vLLM by their source archives, and other trees.

    ``requirement_file``: where a release says which versions of the other components it wants.
    """

    releases: tuple[Text, ...] = ()
    requirement_file: Text = "requirements/cuda.txt"
    trees: dict[Name, TreeIntent] = {}


class ToolsIntent(_Table):
    """Versions of the tools that are wheels."""

    uv: Text


class Intent(_Table):
    """The whole file."""

    schema_: Literal[1] = Field(alias="schema")
    default: Name
    tools: ToolsIntent
    rootfs: dict[Name, RootfsIntent]
    root: dict[Name, RootIntent]
    layers: tuple[LayerIntent, ...]
    actions: dict[ActionName, Text] = {}
    rebase: RebaseIntent | None = None
    targets: dict[Name, TargetIntent]

    def target(self, name: str | None) -> tuple[str, TargetIntent]:
        """The named target, or the default one; the nearest name where there is none of that name."""
        wanted = name or self.default
        if wanted in self.targets:
            return wanted, self.targets[wanted]
        near = difflib.get_close_matches(wanted, self.targets, n=1, cutoff=0.3)
        raise UnknownTargetError(
            f"there is no target '{wanted}'",
            why=f"lock/targets.toml has: {', '.join(self.targets)}",
            todo=f"did you mean --target {near[0]}?" if near else "name one of these with --target",
        )

    def layer_of(self, distribution: str) -> str:
        """The layer that takes a distribution."""
        for layer in self.layers:
            if layer.takes(distribution):
                return layer.name
        raise IntentError(
            f"no layer takes the distribution '{distribution}'",
            todo='add a pattern to a [[layers]] table of lock/targets.toml (the last one should be "*")',
        )


def read_intent(repo: Path) -> Intent:
    """Read and validate ``lock/targets.toml``. Raises :class:`IntentError` naming every fault with its place."""
    path = repo / FILE
    try:
        data = tomllib.loads(path.read_bytes().decode("utf-8"))
    except FileNotFoundError as error:
        raise IntentError(f"{FILE} is not there", todo="run from a whole clone of the repository") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise IntentError(f"{FILE} is not TOML", why=str(error)) from error
    try:
        intent = Intent.model_validate(data)
    except ValidationError as error:
        faults = [f"{_place(item['loc'])}: {_fault(item)}" for item in error.errors()]
        raise _faulty(faults) from error
    if faults := _contradictions(intent):
        raise _faulty(faults)
    return intent


def _contradictions(intent: Intent) -> list[str]:
    faults = [
        f"root.{name}: this table is needed, for amd64 and arm64"
        for name in ("tools", "builder")
        if name not in intent.root or set(intent.root[name].architectures) != {"amd64", "arm64"}
    ]
    if intent.default not in intent.targets:
        faults.append(f"default: there is no target '{intent.default}'")
    faults += _rebase_faults(intent, intent.rebase) if intent.rebase is not None else []
    for name, target in intent.targets.items():
        if target.rootfs not in intent.rootfs:
            faults.append(f"targets.{name}.rootfs: there is no table rootfs.{target.rootfs}")
        if target.lane is not Lane.WHEEL:
            faults.append(f"targets.{name}.lane: this version builds only the lane 'wheel'")
        remotes: list[tuple[str, ComponentIntent | SourceIntent]] = [
            (f"components.{key}", source) for key, source in target.components.items()
        ]
        remotes += [(f"externals.{key}", source) for key, source in target.externals.items()]
        faults += [
            f"targets.{name}.{place}: {PUBLIC}"
            for place, source in remotes
            if any(_CREDENTIALS.match(url) for url in (source.git or "", *source.mirrors))
        ]
        faults += [
            f"targets.{name}.{place}: a tag or a commit is needed"
            for place, source in remotes
            if source.git and not (source.tag or source.commit)
        ]
    return faults


def _rebase_faults(intent: Intent, rebase: RebaseIntent) -> list[str]:
    """A tree that cannot be meant, and targets whose own release the matrix would not show."""
    faults = []
    for name, tree in rebase.trees.items():
        if tree.like not in intent.targets:
            faults.append(f"rebase.trees.{name}.like: there is no target '{tree.like}'")
        elif MAIN not in intent.targets[tree.like].components:
            faults.append(f"rebase.trees.{name}.like: the target {tree.like} has no component '{MAIN}'")
        if name in intent.targets or name.removeprefix("v") in rebase.releases:
            faults.append(f"rebase.trees.{name}: a target or a release is called so")
        if any(_CREDENTIALS.match(url) for url in (tree.git, *tree.mirrors)):
            faults.append(f"rebase.trees.{name}: {PUBLIC}")
    faults += [
        f"rebase.releases: the target {name} is made for {target.version}, which is not among them"
        for name, target in intent.targets.items()
        if MAIN in target.components and target.version not in rebase.releases
    ]
    return faults


def _faulty(faults: list[str]) -> IntentError:
    count = "a fault" if len(faults) == 1 else f"{len(faults)} faults"
    return IntentError(f"{FILE} has {count}", why="\n       ".join(faults), todo="correct the file, then run again")


def _place(location: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in location)


def _fault(item: Any) -> str:
    if item["type"] == "extra_forbidden":
        known = {field.alias or name for table in _Table.__subclasses__() for name, field in table.model_fields.items()}
        near = difflib.get_close_matches(str(item["loc"][-1]), known, n=1)
        return f"unknown key; did you mean '{near[0]}'?" if near else "unknown key"
    if item["type"] == "missing":
        return "missing key"
    return f"{item['msg']} (found {item['input']!r})"


def _any(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def target_checksum(intent: Intent, name: str) -> str:
    """The checksum of the intent that a target's lock is made from.

    What only describes a target (its summary, whether a GB10 ran it) is left out: it enters no image. So are keys
    at their defaults, so that a key which a later version of this tool knows makes no lock stale.
    """
    described = {"summary", "gb10", "gb10_seen"}
    table = intent.targets[name].model_dump(mode="json", by_alias=True, exclude=described, exclude_defaults=True)
    return digest({"target": table, "tools": intent.tools.model_dump(mode="json")})
