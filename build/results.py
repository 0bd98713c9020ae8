"""What a chain id gave: ``lock/results/<target>.toml``, written by ``nox -s build -- --record`` and by nothing else.

Kept apart from the locks, so that no id depends on itself: a result says what a build of these inputs came to, for
others to compare with; it is never an input.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from build import lockform

SCHEMA = 1
FOLDER = Path("lock/results")
HEADER = """\
# Written by `nox -s build -- --record`: what the build of this chain id gave. Layers from the lowest to the highest:
# diff_id is of the uncompressed bytes, digest and size of the compressed ones. The same diff ids are the same image;
# digests are promised for the same engine only.
"""


@dataclass(frozen=True, kw_only=True)
class LayerResult:
    """A layer: the digest of its bytes, and of its compressed bytes with their number."""

    diff_id: str
    digest: str
    size: int


@dataclass(frozen=True, kw_only=True)
class Result:
    """One target's result. ``rootfs``: sha256 of the root file system's tar. ``engine``: what built it."""

    target: str
    chain_id: str
    engine: str
    rootfs: str
    config: str
    manifest: str
    layers: tuple[LayerResult, ...]


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

    Compressed digests and manifests are compared only where the same engine made both.
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
    if not said and recorded.engine == found.engine and recorded.manifest != found.manifest:
        said.append(f"manifest: {recorded.manifest} was recorded, {found.manifest} is here, by the same engine")
    return said
