"""Profiles: how one model is served on one machine. ``lock/profiles/*.toml``, validated as a whole, all faults at once.

They are written by hand. An image carries those that name its target (``/opt/spark/profiles/``), and its own program
(``dockerfiles/image/serve``) reads them again, as it reads a user's own file: strictly and with the same keys.
"""

from __future__ import annotations

import datetime as dt
import difflib
import json
import re
import tomllib
from collections.abc import Collection
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from build.errors import ProfileError

FOLDER = Path("lock/profiles")
UNITS = {
    "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40,
}  # fmt: skip


def _object(text: str) -> str:
    """The text of a JSON object, or nothing."""
    if text and not isinstance(_parsed(text), dict):
        raise ValueError("a JSON object is needed, or an empty text")
    return text


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise ValueError(f"not JSON: {error}") from error


def _fraction(text: str) -> str:
    """A part of the GPU's memory, as decimal text, so that it is passed on as it was written."""
    if not (re.fullmatch(r"[0-9]+(\.[0-9]+)?", text) and 0 < Decimal(text) <= 1):
        raise ValueError('a part as text, like "0.88": more than 0, at most 1')
    return text


Text = Annotated[str, StringConstraints(min_length=1)]
Word = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9.-]*$")]
Repo = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*$")]
Commit = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40}$")]
Size = Annotated[str, StringConstraints(pattern=r"^[0-9]+(\.[0-9]+[kmgt]|[kmgtKMGT])?$")]
Variable = Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Z0-9_]*$")]
OptionName = Annotated[str, StringConstraints(pattern=r"^--[a-z][a-z0-9-]*$")]
Count = Annotated[int, Field(gt=0)]
Number = Annotated[float, Field(gt=0)]
JsonObject = Annotated[str, AfterValidator(_object)]
Fraction = Annotated[str, AfterValidator(_fraction)]
_SEQUENCE = BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value)  # TOML has lists


class ProfileTable(BaseModel):
    """A table of a profile: no unknown key, no value of another type, nothing to be changed later."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, alias_generator=lambda name: name.replace("_", "-")
    )


class ModelTable(ProfileTable):
    """Which model, and what its ``config.json`` must say of it (``type``: model_type, ``routed_experts``: …).

    ``bytes``: its size on disk, roughly; the hub has the exact sizes.
    """

    repo: Repo
    revision: Commit
    served_name: Word
    bytes: Count
    type: Word
    routed_experts: Count
    layers: Count | None = None
    hash_layers: Annotated[int, Field(ge=0)] | None = None
    experts_per_token: Count | None = None


class ServeTable(ProfileTable):
    """What the server is told. ``arguments``: more of vLLM's options, as they are; ``optional``: those of all options
    here (like ``--reasoning-config``) which a vLLM that lacks them may do without.
    """

    context: Count
    kv_cache_memory: Size
    kv_cache_dtype: Word
    batched_tokens: Count
    sequences: Count
    gpu_memory_utilization: Fraction
    block_size: Count
    thinking: bool
    speculative: JsonObject
    tokenizer_mode: Word
    reasoning_parser: Word
    reasoning_config: JsonObject = ""
    tool_call_parser: Word
    auto_tool_choice: bool
    prefix_caching: bool
    cudagraph_mode: Word
    custom_ops: Annotated[tuple[Text, ...], _SEQUENCE] = ()
    arguments: Annotated[tuple[Text, ...], _SEQUENCE] = ()
    optional: Annotated[tuple[OptionName, ...], _SEQUENCE] = ()

    @property
    def kv_cache_bytes(self) -> int:
        """Bytes of KV cache; suffixes as vLLM reads them (vllm/utils/argparse_utils.py): G is 2^30, g is 10^9."""
        if self.kv_cache_memory[-1] in UNITS:
            return int(Decimal(self.kv_cache_memory[:-1]) * UNITS[self.kv_cache_memory[-1]])
        return int(self.kv_cache_memory)


class WatchdogTable(ProfileTable):
    """When the watchdog acts; memory in kB of 1024 bytes, as in /proc/meminfo.

    ``min_available_kb``: the least that must stay available while it serves, and ``startup_…`` until then (the same,
    if it is not said). ``critical_kb``: below this it acts at once, even while the server ends. ``warn_percent``: of
    those thresholds, from where on it warns. ``patience_seconds``: how long it may be below before the server is told
    to end. ``drain_seconds``: how long that may take. ``history_seconds``: what is told of the memory before.
    """

    min_available_kb: Count
    startup_min_available_kb: Count | None = None
    critical_kb: Count = 1048576
    warn_percent: Annotated[int, Field(ge=100, le=1000)] = 150
    patience_seconds: Annotated[int, Field(ge=0, le=600)] = 3
    drain_seconds: Annotated[int, Field(ge=0, le=3600)] = 30
    history_seconds: Annotated[int, Field(ge=1, le=600)] = 60

    @model_validator(mode="after")
    def _ordered(self) -> WatchdogTable:
        if self.critical_kb > min(self.min_available_kb, self.startup_min_available_kb or self.min_available_kb):
            raise ValueError("critical-kb is above the least that must stay available")
        return self


class MeasuredTable(ProfileTable):
    """What somebody saw: where, when, and where that is written."""

    what: Text
    where: Text
    when: dt.date
    source: Text
    prompt_tokens: Count | None = None
    ttft_seconds: Number | None = None
    prefill_tokens_per_second: Number | None = None
    decode_tokens_per_second: Number | None = None
    needle_retained: bool | None = None
    note: str = ""


class Profile(ProfileTable):
    """A whole profile. ``targets``: the images that carry it."""

    schema_: int = Field(alias="schema", ge=1, le=1)
    name: Name
    summary: Text
    targets: Annotated[tuple[Name, ...], _SEQUENCE]
    model: ModelTable
    serve: ServeTable
    environment: dict[Variable, str] = Field(default={})
    watchdog: WatchdogTable
    measured: Annotated[tuple[MeasuredTable, ...], _SEQUENCE] = ()


def parse(content: bytes, place: str) -> Profile:
    """A profile from a file's bytes. Raises :class:`ProfileError` naming every fault; ``place`` is how it is called."""
    try:
        data = tomllib.loads(content.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ProfileError(f"{place} is not TOML", why=str(error), todo="correct the file, then run again") from error
    try:
        return Profile.model_validate(data)
    except ValidationError as error:
        raise _faulty(place, [f"{_place(item['loc'])}: {_fault(item)}" for item in error.errors()]) from error


def read_file(path: Path) -> Profile:
    """A user's own profile."""
    try:
        return parse(path.read_bytes(), str(path))
    except OSError as error:
        raise ProfileError(
            f"the profile {path} cannot be read", why=str(error), todo="name a file, or a profile of lock/profiles/"
        ) from error


def read_all(repo: Path, targets: Collection[str]) -> dict[str, Profile]:
    """Every profile of ``lock/profiles/`` by its name, in the order of names.

    ``targets``: the names of all targets. Raises :class:`ProfileError` for the faults of all files together, for a
    file that is not called as its profile, and for a target that there is not.
    """
    found: dict[str, Profile] = {}
    faults: list[str] = []
    for path in sorted((repo / FOLDER).glob("*.toml")):
        place = (FOLDER / path.name).as_posix()
        try:
            profile = parse(path.read_bytes(), place)
        except ProfileError as error:
            faults += [f"{place}: {line.strip()}" for line in error.why.splitlines()]
            continue
        if profile.name != path.stem:
            faults.append(f"{place}: name: the file is called otherwise (found '{profile.name}')")
        faults += [
            f"{place}: targets.{number}: there is no target '{target}'"
            for number, target in enumerate(profile.targets)
            if target not in targets
        ]
        found[profile.name] = profile
    if faults:
        raise _faulty(FOLDER.as_posix(), faults)
    return found


def named(profiles: dict[str, Profile], name: str) -> Profile:
    """The profile of that name; :class:`ProfileError` with the nearest name where there is none."""
    if name in profiles:
        return profiles[name]
    near = difflib.get_close_matches(name, profiles, n=1, cutoff=0.3)
    raise ProfileError(
        f"there is no profile '{name}'",
        why=f"{FOLDER.as_posix()} has: {', '.join(profiles) or 'none'}",
        todo=f"did you mean {near[0]}?" if near else "name one of these, or a file of your own (with a slash)",
    )


def _faulty(place: str, faults: list[str]) -> ProfileError:
    count = "a fault" if len(faults) == 1 else f"{len(faults)} faults"
    return ProfileError(f"{place} has {count}", why="\n       ".join(faults), todo="correct it, then run again")


def _place(location: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in location)


def _fault(item: Any) -> str:
    if item["type"] == "extra_forbidden":
        tables = ProfileTable.__subclasses__()
        known = {field.alias or key for table in tables for key, field in table.model_fields.items()}
        near = difflib.get_close_matches(str(item["loc"][-1]), known, n=1)
        return f"unknown key; did you mean '{near[0]}'?" if near else "unknown key"
    if item["type"] == "missing":
        return "missing key"
    return f"{item['msg']} (found {item['input']!r})"
