"""What a chain id gave: ``lock/results/<target>.toml``, written by ``nox -s build -- --record`` and by nothing else.

Kept apart from the locks, so that no id depends on itself: a result says what a build of these inputs came to, for
others to compare with; it is never an input.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from build import lockform
from build.canonical import digest

SCHEMA = 2
FOLDER = Path("lock/results")
HEADER = """\
# Written by `nox -s build -- --record`: what the build of this chain id gave. Layers from the lowest to the highest:
# diff_id is of the uncompressed bytes, digest and size of the compressed ones. The same diff ids and the same
# canonical_config (config without what BuildKit writes of itself) are the same image, whatever built it; config,
# manifest and the compressed digests are promised for the same BuildKit.
"""
OF_BUILDKIT = re.compile(r"history|moby\..*")  # members of a config that tell how it was built, not what it is


@dataclass(frozen=True, kw_only=True)
class LayerResult:
    """A layer: the digest of its bytes, and of its compressed bytes with their number (empty, 0 where not told)."""

    diff_id: str
    digest: str
    size: int


@dataclass(frozen=True, kw_only=True)
class Result:
    """One target's result. ``rootfs``: sha256 of the root file system's tar. ``engine``: the package that built it.

    ``buildkit``: its version as it tells it; empty where it does not, as Debian's, which the engine's version fixes.
    ``config`` and ``canonical_config`` are empty where the engine does not show what it holds.
    """

    target: str
    chain_id: str
    engine: str
    buildkit: str
    rootfs: str
    config: str
    canonical_config: str
    manifest: str
    layers: tuple[LayerResult, ...]


def canonical_config(config: Mapping[str, Any]) -> str:
    """sha256 over an image's configuration (OCI image-spec, config.md) without what BuildKit writes about itself.

    That is ``history``, whose words are those of a version, and its own members, ``moby.…``.

    >>> canonical_config({"os": "linux", "history": []}) == canonical_config({"os": "linux", "moby.buildkit.cache": 1})
    True
    """
    return digest(counted(config))


def counted(config: Mapping[str, Any]) -> dict[str, Any]:
    """What counts of a configuration: its members that tell what the image is, not how it was built."""
    return {name: value for name, value in config.items() if not OF_BUILDKIT.fullmatch(name)}


def source_version(version: str) -> str:
    """A Debian package's version without the mark of a rebuild (Debian policy 5.6.12.2), which differs by machine.

    >>> source_version("26.1.5+dfsg1-9+deb13u1+b1")
    '26.1.5+dfsg1-9+deb13u1'
    """
    return re.sub(r"\+b\d+$", "", version)


def path_of(repo: Path, target: str) -> Path:
    """Where a target's result is kept."""
    return repo / FOLDER / f"{target}.toml"


def write(repo: Path, result: Result) -> bool:
    """Write a result; whether its bytes changed."""
    data = {**asdict(result), "layers": [asdict(layer) for layer in result.layers]}
    return lockform.write(path_of(repo, result.target), lockform.text(HEADER, SCHEMA, data))


def read(repo: Path, target: str) -> Result | None:
    """The recorded result of a target; None where none was ever recorded. ``LockError`` for one that was edited."""
    path = path_of(repo, target)
    if not path.exists():
        return None
    again = f"run `nox -s build -- --record --target {target}`"
    data = lockform.read(path, name=str(path.relative_to(repo)), schema=SCHEMA, refresh=again)
    return Result(**{**data, "layers": tuple(LayerResult(**row) for row in data["layers"])})


def differences(recorded: Result, found: Result) -> Sequence[str]:
    """Where two results of one chain id differ, lowest first; nothing where they are the same image.

    Configs, manifests and compressed layers are compared only where the same BuildKit made both.
    """
    said = []
    if recorded.rootfs != found.rootfs:
        said.append(f"rootfs: {recorded.rootfs} was recorded, {found.rootfs} is here")
    was, now = ([layer.diff_id for layer in result.layers] for result in (recorded, found))
    if len(was) != len(now):
        said.append(f"{len(was)} layers were recorded, {len(now)} are here")
    said += [
        f"layer {place}: diff id {old} was recorded, {new} is here"
        for place, (old, new) in enumerate(zip(was, now, strict=False), start=1)
        if old != new
    ]
    if found.canonical_config and recorded.canonical_config != found.canonical_config:
        said.append(f"configuration: {recorded.canonical_config} was recorded, {found.canonical_config} is here")
    if not said and is_same_builder(recorded, found) and recorded.manifest != found.manifest:
        said.append(f"manifest: {recorded.manifest} was recorded, {found.manifest} is here, by the same BuildKit")
    return said


def is_same_builder(recorded: Result, found: Result) -> bool:
    """Whether one version of one BuildKit made both."""
    return (recorded.engine, recorded.buildkit) == (found.engine, found.buildkit)


def held(recorded: Result, found: Result) -> str:
    """How far two results without differences are the same, in words."""
    if recorded.manifest == found.manifest:
        return f"the same manifest, {found.manifest}: equal to the byte, compressed layers and all"
    if not found.canonical_config:
        return "the same diff ids; this engine does not show the image's configuration"
    return (
        f"the same diff ids and canonical configuration; {_builder(found)} compressed or described them otherwise than "
        f"{_builder(recorded)}"
    )


def _builder(result: Result) -> str:
    return f"{result.engine} (BuildKit {result.buildkit})" if result.buildkit else result.engine
