"""The intent: ``lock/targets.toml``, validated as a whole, all faults at once with their place."""

from __future__ import annotations

import difflib
import re
import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from build.canonical import digest
from build.errors import IntentError, UnknownTargetError
from build.models import Lane
from build.tables import (
    ActionName,
    ComponentIntent,
    LayerIntent,
    Name,
    RebaseIntent,
    RootfsIntent,
    RootIntent,
    SourceIntent,
    Table,
    TargetIntent,
    Text,
    ToolsIntent,
    TreeIntent,
)

FILE = Path("lock/targets.toml")
MAIN = "vllm"  # the component that decides which versions of the others are wanted

PUBLIC = "a URL here is public; take the name and password out of it (git keeps them)"
_CREDENTIALS = re.compile(r"^https?://[^/]*@|^[a-z]+://[^/@]*:[^/@]*@")


class Intent(Table):
    """The whole file."""

    schema_: Literal[1] = Field(alias="schema")
    default: Name
    tools: ToolsIntent
    rootfs: dict[Name, RootfsIntent]
    root: dict[Name, RootIntent]
    layers: tuple[LayerIntent, ...]
    actions: dict[ActionName, Text] = Field(default={})
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
    data = inherited(data)
    try:
        intent = Intent.model_validate(data)
    except ValidationError as error:
        faults = [f"{_place(item['loc'])}: {_fault(item)}" for item in error.errors()]
        raise _faulty(faults) from error
    if faults := _contradictions(intent):
        raise _faulty(faults)
    return intent


def inherited(data: dict[str, Any]) -> dict[str, Any]:
    """The parsed file, each target with what it does not say itself from the one that its ``like`` names.

    Whole keys are taken; of ``components`` each table by itself. What is wrong with a ``like`` is an ``IntentError``.
    """
    targets = data.get("targets")
    if not isinstance(targets, dict):
        return data
    made: dict[str, Any] = {}

    def resolved(name: str, asking: tuple[str, ...]) -> Any:
        table = targets.get(name)
        if name in made or not isinstance(table, dict) or "like" not in table:
            return made.get(name, table)
        other = table["like"]
        known = isinstance(other, str) and other in targets
        if not known or other in (*asking, name):
            why = "it is like itself" if known else f"there is no target '{other}'"
            raise _faulty([f"targets.{name}.like: {why}"])
        base = resolved(other, (*asking, name))
        own = {key: value for key, value in table.items() if key != "like"}
        if isinstance(base, dict):
            made[name] = {**base, **own}
            parts = [said["components"] for said in (base, own) if isinstance(said.get("components"), dict)]
            if len(parts) == 2:
                made[name]["components"] = {**parts[0], **parts[1]}
        return made.get(name, table)

    return {**data, "targets": {name: resolved(name, ()) for name in targets}}


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
        faults += [f"targets.{name}.{text}" for text in _native_faults(intent, target)]
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


def _native_faults(intent: Intent, target: TargetIntent) -> list[str]:
    """Where lane, native build and external sources of a target do not fit together."""
    native = target.native
    if native is None:
        return ["native: the lane 'source' needs this table"] if target.lane is Lane.SOURCE else []
    if target.lane is Lane.WHEEL:
        return ["native: this table is for the lane 'source'"]
    faults = []
    if "compile" not in intent.root:
        faults.append("native: there is no table root.compile")
    if native.component not in target.components:
        faults.append(f"native.component: there is no component '{native.component}'")
    elif native.origin == "git" and not target.components[native.component].git:
        faults.append(f"native.origin: the component '{native.component}' names no git remote")
    if native.origin == "git" and not native.complete:
        faults.append("native: a commit is compiled as it is; substitutes and stubs are for release archives")
    named = [*target.externals, *native.substitutes, *native.stubs, *native.unused]
    faults += [f"native: '{name}' is accounted for twice" for name in sorted({n for n in named if named.count(n) > 1})]
    faults += [
        f"native.heavy: '{name}' is not among native.targets" for name in native.heavy if name not in native.targets
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
        if name.removeprefix("v") in rebase.releases:
            faults.append(f"rebase.trees.{name}: a release is called so")
        if name in intent.targets and not _is_of(intent.targets[name], tree):
            faults.append(f"rebase.trees.{name}: a target is called so, and its sources are others")
        if any(_CREDENTIALS.match(url) for url in (tree.git, *tree.mirrors)):
            faults.append(f"rebase.trees.{name}: {PUBLIC}")
    faults += [
        f"rebase.releases: the target {name} is made for {target.version}, which is not among them"
        for name, target in intent.targets.items()
        if MAIN in target.components and target.version not in rebase.releases and not _is_tree(target)
    ]
    return faults


def _is_tree(target: TargetIntent) -> bool:
    """Whether a target's sources are a commit and no release."""
    return target.native is not None and target.native.origin == "git"


def _is_of(target: TargetIntent, tree: TreeIntent) -> bool:
    main = target.components.get(MAIN)
    return _is_tree(target) and main is not None and (main.git, main.commit) == (tree.git, tree.commit)


def _faulty(faults: list[str]) -> IntentError:
    count = "a fault" if len(faults) == 1 else f"{len(faults)} faults"
    return IntentError(f"{FILE} has {count}", why="\n       ".join(faults), todo="correct the file, then run again")


def _place(location: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in location)


def _fault(item: Any) -> str:
    if item["type"] == "extra_forbidden":
        known = {field.alias or name for table in Table.__subclasses__() for name, field in table.model_fields.items()}
        near = difflib.get_close_matches(str(item["loc"][-1]), known, n=1)
        return f"unknown key; did you mean '{near[0]}'?" if near else "unknown key"
    if item["type"] == "missing":
        return "missing key"
    return f"{item['msg']} (found {item['input']!r})"


def target_checksum(intent: Intent, name: str) -> str:
    """The checksum of the intent that a target's lock is made from.

    What only describes a target (its summary, whether a GB10 ran it) is left out: it enters no image. So are keys
    at their defaults, so that a key which a later version of this tool knows makes no lock stale.
    """
    described = {"summary", "gb10", "gb10_seen"}
    table = intent.targets[name].model_dump(mode="json", by_alias=True, exclude=described, exclude_defaults=True)
    return digest({"target": table, "tools": intent.tools.model_dump(mode="json")})
