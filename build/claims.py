"""The values of an account of an image's files: what ought to be in it, what is found, and what nothing explains."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

WHEEL, DEB, PATCH, OURS = "wheels", "Debian packages", "patched files", "our files"
COMPILED = "compiled by us"  # the source lane's libraries
GENERATED = "written by Debian's packages"  # while they were configured, by their scripts and by dpkg
BYTECODE = "bytecode"
KINDS = (WHEEL, DEB, PATCH, COMPILED, OURS, GENERATED, BYTECODE)


@dataclass(frozen=True, kw_only=True)
class Patch:
    """A file that a series touches, by sha256 before and after; ``before`` is empty where the series makes it."""

    distribution: str
    before: str
    after: str


@dataclass(frozen=True, kw_only=True)
class Named:
    """What an image is said to hold.

    ``wheels``: distribution (PEP 503) → version as the image has it (``0.32.0+spark``); ``debs``: Debian package →
    version. ``patched``: path below site-packages → its patch. ``native``: the distribution whose libraries were
    compiled, if any.

    ``own``: path in the image → sha256, of what lies in a clone's ``dockerfiles/image``, and of its profiles;
    ``manifest``: what ``opt/spark/manifest.json`` says but for its member ``own``; ``bytecode``: patterns of the
    sources that are compiled, as in ``lock/targets.toml``. None: not known, and then less is shown.

    ``lists``: "wheel NAME" or "deb NAME" → digest of all that its list of files says (:func:`build.records.digest_of`,
    :func:`build.debclaims.digest_of`), as known from the locked file itself; those of which none is known are believed.
    ``contradicted``: distribution, whose published RECORD is known not to fit its own files → path below site-packages
    → sha256 of what its wheel really holds there; an empty mapping where nobody looked.
    """

    wheels: Mapping[str, str]
    debs: Mapping[str, str]
    patched: Mapping[str, Patch] = field(default_factory=dict)
    native: str = ""
    own: Mapping[str, str] | None = None
    manifest: Mapping[str, Any] | None = None
    bytecode: tuple[str, ...] | None = None
    lists: Mapping[str, str] = field(default_factory=dict)
    contradicted: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


class Verdict(NamedTuple):
    """Whose a path is (one of :data:`KINDS`), whether its bytes were compared with a digest, and what is wrong."""

    kind: str
    compared: bool = False
    fault: str = ""
    excused: bool = False  # the fault is a known one


class Finding(NamedTuple):
    """Something that nothing explains. ``layer`` counts from 1; 0 where no layer is at fault."""

    layer: int
    path: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Share:
    """What is of one kind: files with their bytes, those of them whose bytes were compared, and links."""

    files: int = 0
    bytes: int = 0
    compared: int = 0
    compared_bytes: int = 0
    links: int = 0


@dataclass(frozen=True, kw_only=True)
class Accounted:
    """Whose everything in an image is. It is all explained where ``unexplained`` and ``missing`` are empty.

    ``missing``: what ought to be there; ``path`` is that, or the package ("wheel torch 2.13.0"). ``excused``: files
    that are known not to fit their published RECORD. ``lists``: packages whose lists were compared with the locked
    files themselves, of ``packages`` in all.
    """

    shares: Mapping[str, Share]
    folders: int
    packages: int
    lists: int
    unexplained: tuple[Finding, ...]
    missing: tuple[Finding, ...]
    excused: tuple[Finding, ...] = ()

    @property
    def is_complete(self) -> bool:
        return not self.unexplained and not self.missing
