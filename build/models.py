"""The values that cross modules: frozen, typed, without behaviour beyond what can be read off them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class Lane(StrEnum):
    """How a target gets its vLLM."""

    WHEEL = "wheel"
    SOURCE = "source"


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """A locked file: its base name, hex sha256 and size in bytes. Never a host."""

    file: str
    sha256: str
    size: int


@dataclass(frozen=True, kw_only=True)
class Wheel(Artifact):
    """A locked wheel of one distribution (name normalised as in PEP 503).

    ``made``: no index has it, it is made from a component's source tree (:mod:`build.madewheel`).
    """

    name: str
    version: str
    made: bool = False


@dataclass(frozen=True, kw_only=True)
class SourceArchive(Artifact):
    """A release's source archive (an sdist) that a component's patches apply to."""

    name: str
    version: str


@dataclass(frozen=True, kw_only=True)
class Deb(Artifact):
    """A locked Debian package; ``path`` is its place below a mirror's root (``pool/main/…``)."""

    name: str
    version: str
    arch: str
    path: str


@dataclass(frozen=True, kw_only=True)
class DebSet:
    """The .debs of one root for one architecture. ``epoch``: the newest build time of its members (ar header).

    ``released``: the date (seconds) of the signed Release file of the archive that they were resolved from: it says
    where they are found once the archive moved on. No id hangs on it.
    """

    root: str
    suite: str
    arch: str
    epoch: int
    released: int
    debs: tuple[Deb, ...]


@dataclass(frozen=True, kw_only=True)
class Submodule:
    """A repository inside another's tree: its path below the outermost one, and what is pinned there."""

    path: str
    url: str
    commit: str
    tree: str


@dataclass(frozen=True, kw_only=True)
class GitSource:
    """A pinned commit: where it may be fetched from, and the tree that makes any source of it acceptable.

    ``mirrors``: further remotes of the same repository. ``version``: the version string of what is built from it.
    ``submodules``: every nested repository, recursively, by path. ``time``: the commit's, in seconds.
    """

    url: str
    mirrors: tuple[str, ...] = ()
    tag: str
    commit: str
    tree: str
    version: str = ""
    time: int = 0
    submodules: tuple[Submodule, ...] = ()


@dataclass(frozen=True, kw_only=True)
class External:
    """A source that a native build takes in besides vLLM itself (CMake's FetchContent), by its name there."""

    name: str
    source: GitSource


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """A source that a project's own CMake files would fetch, by its name there: where from, what of it."""

    name: str
    url: str
    tag: str


@dataclass(frozen=True, kw_only=True)
class Substitute:
    """A folder of a wheel that stands in for an external source; ``tree``: git's id of the folder."""

    name: str
    path: str
    tree: str
    wheel: Wheel


@dataclass(frozen=True, kw_only=True)
class Native:
    """What a native build takes in, as locked.

    ``component``: whose sources are compiled. ``sources``: which of them, as prefixes. ``requires``: what the wheel of
    its Python files says that it requires. ``tools``: wheels of what the build runs, for the image's architecture.
    ``hosts``: the same of compilers for x86-64 machines. ``tools_tree``, ``hosts_tree``: git's ids of what they hold,
    unpacked. ``fetched``: what its files would fetch, all accounted for.
    """

    component: str
    sources: tuple[str, ...]
    requires: tuple[str, ...]
    tools: tuple[Wheel, ...]
    hosts: tuple[Wheel, ...]
    tools_tree: str = ""
    hosts_tree: str = ""
    fetched: tuple[Fetched, ...] = ()
    substitutes: tuple[Substitute, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Unresolved:
    """What a lock leaves open: its place in the lock, what was asked for, why it could not be had."""

    what: str
    wanted: str
    why: str


@dataclass(frozen=True, kw_only=True)
class Override:
    """A requirement that replaces what the wheels' METADATA ask for, and why."""

    requirement: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class RequirementChange:
    """A line of METADATA that a series changes, by changing the source's own requirement files.

    Both are PEP 508 requirements in normal form; an empty one stands for a requirement that is not there.
    """

    before: str
    after: str


@dataclass(frozen=True, kw_only=True)
class PatchedFile:
    """A file that a series touches: its repository path, its installed path, its hashes before and after.

    An empty hash stands for a file that is not there (created or deleted by the series), an empty installed path for
    one that no image holds: a requirement file, read where the target is locked, or a source that is ``compiled``.
    """

    source: str
    installed: str
    before: str
    after: str
    compiled: bool = False


@dataclass(frozen=True, kw_only=True)
class PatchRef:
    """One line of a series: where the patch is (``patches/<series>/<component>/<file>``), the sha256 of its bytes.

    ``series`` is another one's name where the patch is that one's, and applies to both.
    """

    series: str
    component: str
    file: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Component:
    """A source tree that a series patches, as locked.

    ``paths``: repository prefix → installed prefix, below site-packages. ``git`` is None where no commit is known.
    ``requirement_files``: the tree's files that list what the distribution needs, each that they include too.
    ``requires``: what the series changes in the distribution's own requirements. ``tree`` and ``patched_tree``: git's
    ids of the source (the archive's, where one is locked, else the commit's) and of what the series makes of it.
    """

    name: str
    distribution: str
    paths: tuple[tuple[str, str], ...]
    archive: SourceArchive | None
    git: GitSource | None
    files: tuple[PatchedFile, ...]
    requirement_files: tuple[str, ...] = ()
    requires: tuple[RequirementChange, ...] = ()
    tree: str = ""
    patched_tree: str = ""


@dataclass(frozen=True, kw_only=True)
class Lock:
    """Everything that a target resolves to; made by ``nox -s lock`` only.

    ``intent``: checksum of the intent it was made from. ``epoch``: seconds, the release time of the target's vLLM.
    ``tools``: wheels that run in the build's stages (uv for each architecture that may build). ``externals``: the
    source lane's. ``unresolved``: what could not be had where the lock was made, and no build of the target needs.
    """

    target: str
    intent: str
    epoch: int
    python: str
    platform: str
    tools: tuple[Wheel, ...]
    wheels: tuple[Wheel, ...]
    patches: tuple[PatchRef, ...]
    components: tuple[Component, ...]
    overrides: tuple[Override, ...] = ()
    externals: tuple[External, ...] = ()
    unresolved: tuple[Unresolved, ...] = ()
    native: Native | None = None


@dataclass(frozen=True, kw_only=True)
class Engine:
    """A Docker Engine that can do our work: where it listens, whether it is the private one, its version.

    ``buildkit`` is empty where nobody asked for it.
    """

    url: str
    private: bool
    version: str
    buildkit: str = ""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What one run was asked for and where it keeps things.

    ``exported``: folders that ``fetch -- --export`` wrote, looked into before any network.
    """

    repo: Path
    store: Path
    exported: tuple[Path, ...] = ()
    offline: bool = False
    verbose: bool = False
    json: bool = False
    builder: str | None = None


@dataclass(frozen=True, kw_only=True)
class Built:
    """What a build gave: the image's name and manifest digest in an engine.

    ``base``: the id of what its lower layers were made from. ``layers``: digest and compressed bytes of each, empty
    where the engine does not tell.
    """

    target: str
    image: str
    digest: str
    chain_id: str
    base: str
    engine: str
    layers: tuple[tuple[str, int], ...]

    @property
    def size(self) -> int:
        """Compressed bytes of the image; 0 where the engine does not tell."""
        return sum(size for _, size in self.layers)
