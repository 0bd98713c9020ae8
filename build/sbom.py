"""The bill of materials of a published image, made from its locks: an SPDX 2.3 document, the same for the same image.

Composes. It names the image, every wheel and Debian package in it, the sources that it was made from, every patch, and
this repository's commit; each thing once, with its hash or commit and what it says of its licence. Nothing in it hangs
on a clock, a machine or a place: it is as old as the target's vLLM. Identifiers: ``SPDXRef-<kind>-<name>``. Formats:
SPDX 2.3, Package URL, SWHID 1.2 (``swh:1:rev:`` and a git commit, ``swh:1:dir:`` and a git tree).
"""

from __future__ import annotations

import hashlib
import re
import string
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

from build import licences, spdxjson, steps
from build.errors import VerifyError
from build.licencewords import Licence
from build.models import Component, Deb, DebSet, GitSource, Lock, SourceArchive, Submodule, Wheel
from build.spdxjson import UNKNOWN, Document, Part, Relation
from build.steps import LABEL, Job

IMAGE, WHEEL, DEB, SOURCE, GIT, PATCH, OURS = "image", "wheel", "deb", "source", "git", "patch", "repository"
KINDS = (IMAGE, WHEEL, DEB, SOURCE, GIT, PATCH, OURS)
OUR_LICENCE = Licence(expression="MIT")  # LICENSE
OF_A_PATCH = Licence(comment="this repository's; of the lines that it changes, that of what it is for")
COMMENT = (
    "Made from the locks of the target; created is the release time of its vLLM. Licences are told by the packages "
    "themselves: wheels in METADATA, Debian packages in copyright files, which speak of a whole source package."
)
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
PLAIN = frozenset(string.ascii_letters + string.digits + ".-")  # of an identifier's characters


class Named(NamedTuple):
    """What a bill says that there is. A git source's version is its commit; a patch has none, a git source no hash."""

    kind: str
    name: str
    version: str
    sha256: str


def read_licences(job: Job) -> dict[str, Licence]:
    """sha256 → licence of each wheel and package that the bill names; ``StoreError`` where the store lacks one."""
    store = job.settings.store
    return licences.of_wheels(store, licences.wheels_of(job.lock)) | licences.of_debs(store, job.rootfs.debs)


def make(job: Job, *, digest: str, commit: str, known: Mapping[str, Licence]) -> bytes:
    """The document for the image with a manifest ``digest``, made from ``commit`` of this repository.

    ``known``: see :func:`read_licences`; what it lacks is said to have no known licence. ``UnresolvedError`` where the
    lock leaves open what the image is made of.
    """
    parts = tuple(_parts(job, digest, commit, known))
    return spdxjson.write(
        Document(
            name=f"{LABEL} {job.name} {digest}",
            namespace=f"urn:{LABEL}:sbom:{digest}:{commit}",
            creator=f"{LABEL}-{commit}",
            created=job.lock.epoch,
            comment=COMMENT,
            parts=parts,
            relations=tuple(sorted(set(_relations(job, parts)))),
        )
    )


def expected(job: Job, *, digest: str, commit: str) -> dict[str, Named]:
    """What :func:`packages` finds in the document of :func:`make`."""
    return {part.id: Named(part.kind, part.name, part.version, part.sha256) for part in _parts(job, digest, commit, {})}


def packages(document: Mapping[str, Any]) -> dict[str, Named]:
    """Identifier → what it stands for, from a parsed document; ``VerifyError`` where it is none of :func:`make`'s."""
    try:
        rows = [(row, row["name"], row.get("versionInfo", "")) for row in document["packages"]]
        rows += [(row, row["fileName"].removeprefix("./"), "") for row in document.get("files", ())]
        found = [(str(row["SPDXID"]), _named(row, name, version)) for row, name, version in rows]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise VerifyError("the bill of materials is none of ours", why=f"{type(error).__name__}: {error}") from error
    if twice := sorted(key for key, count in Counter(key for key, _ in found).items() if count > 1):
        raise VerifyError("the bill of materials names things twice", why=", ".join(twice))
    return dict(found)


def _named(row: Mapping[str, Any], name: str, version: str) -> Named:
    """What a row stands for; ``ValueError`` where its identifier is not how we name it."""
    kind = str(row["SPDXID"]).removeprefix("SPDXRef-").split("-", 1)[0]
    sums = [str(item["checksumValue"]) for item in row.get("checksums", ()) if item["algorithm"] == "SHA256"]
    if identifier(kind, name) != row["SPDXID"] or kind not in KINDS or len(sums) > 1:
        raise ValueError(f"{row['SPDXID']!r} is not how {name!r} is named")
    return Named(kind, name, str(version), sums[0] if sums else "")


def identifier(kind: str, name: str) -> str:
    """The SPDX identifier of a thing: letters, digits, "." and "-" stay, other characters become hex.

    >>> identifier("deb", "libstdc++6"), identifier("image", "spark-runtime v0.32")
    ('SPDXRef-deb-libstdc.2B.2B6', 'SPDXRef-image-spark-runtime.20v0.32')
    """
    return f"SPDXRef-{kind}-" + "".join(char if char in PLAIN else f".{ord(char):02X}" for char in name)


# What is in it


def _part(kind: str, name: str, version: str, **more: Any) -> Part:
    return Part(kind=kind, id=identifier(kind, name), name=name, version=version, **more)


def _parts(job: Job, digest: str, commit: str, known: Mapping[str, Licence]) -> Iterator[Part]:
    if not DIGEST.fullmatch(digest) or not COMMIT.fullmatch(commit):
        raise ValueError(f"no digest or commit: {digest!r}, {commit!r}")
    steps.require_resolved(job)
    lock = job.lock
    yield _image(job, digest)
    yield _part(OURS, LABEL, commit, swhids=(f"swh:1:rev:{commit}",), licence=OUR_LICENCE)
    for wheel in lock.wheels:
        yield _wheel(wheel, known.get(wheel.sha256, UNKNOWN))
    for wheel in _only_compiled(lock):
        yield _archive(wheel, licence=known.get(wheel.sha256, UNKNOWN))
    for deb in job.rootfs.debs:
        yield _deb(deb, job.rootfs, known.get(deb.sha256, UNKNOWN))
    told = {wheel.name: known.get(wheel.sha256, UNKNOWN) for wheel in lock.wheels}
    for item in lock.components:
        licence = told.get(item.distribution, UNKNOWN)  # a release's source has the licence that its wheel tells
        if item.archive is not None:
            yield _archive(item.archive, licence=licence)
        elif item.git is not None:
            yield from _git(item.name, item.git, licence)
    for external in lock.externals:
        yield from _git(external.name, external.source)
    for patch in job.series.patches:
        sha1 = hashlib.sha1(patch.data, usedforsecurity=False).hexdigest()  # SPDX demands it of a file
        yield _part(PATCH, patch.path.as_posix(), "", sha256=patch.ref.sha256, sha1=sha1, licence=OF_A_PATCH)


def _image(job: Job, digest: str) -> Part:
    sha256 = digest.removeprefix("sha256:")
    purl = f"pkg:oci/{LABEL}@sha256%3A{sha256}?arch={job.rootfs.arch}"
    return _part(IMAGE, f"{LABEL} {job.name}", job.target.version, sha256=sha256, purl=purl, purpose="CONTAINER")


def _wheel(wheel: Wheel, licence: Licence) -> Part:
    purl = pypi(wheel.name, wheel.version)
    return _part(WHEEL, wheel.name, wheel.version, sha256=wheel.sha256, purl=purl, licence=licence)


def _archive(file: Wheel | SourceArchive, *, licence: Licence) -> Part:
    purl = f"{pypi(file.name, file.version)}?file_name={quote(file.file)}"
    return _part(SOURCE, file.file, file.version, sha256=file.sha256, purl=purl, licence=licence)


def _only_compiled(lock: Lock) -> tuple[Wheel, ...]:
    """The wheels that are not in the image, only code of them is: substitutes for external sources."""
    installed = {wheel.sha256 for wheel in lock.wheels}
    return tuple(wheel for wheel in licences.wheels_of(lock) if wheel.sha256 not in installed)


def _deb(deb: Deb, debset: DebSet, licence: Licence) -> Part:
    purl = f"pkg:deb/debian/{quote(deb.name)}@{quote(deb.version, safe=':~')}?arch={deb.arch}&distro={debset.suite}"
    return _part(DEB, deb.name, deb.version, sha256=deb.sha256, purl=purl, licence=licence)


def _git(name: str, source: GitSource, licence: Licence = UNKNOWN) -> Iterator[Part]:
    trees: list[tuple[str, GitSource | Submodule]] = [(name, source)]
    trees += [(f"{name}/{module.path}", module) for module in source.submodules]
    for place, item in trees:
        swhids = (f"swh:1:rev:{item.commit}", f"swh:1:dir:{item.tree}")
        own = licence if item is source else UNKNOWN
        yield _part(GIT, place, item.commit, purl=github(item.url, item.commit), swhids=swhids, licence=own)


def pypi(name: str, version: str) -> str:
    """The Package URL of a distribution.

    >>> pypi("vllm", "0.32.0+spark")
    'pkg:pypi/vllm@0.32.0%2Bspark'
    """
    return f"pkg:pypi/{name}@{quote(version, safe='')}"


def github(url: str, commit: str) -> str:
    """The Package URL of a repository on GitHub; empty for one elsewhere, whose host is nobody's business.

    >>> github("https://github.com/NVIDIA/cutlass.git", "0a1b"), github("https://git.example/a/b", "0a1b")
    ('pkg:github/nvidia/cutlass@0a1b', '')
    """
    parts = urlsplit(url)
    path = parts.path.strip("/").removesuffix(".git").lower()
    return f"pkg:github/{quote(path)}@{commit}" if parts.hostname == "github.com" and path.count("/") == 1 else ""


# How it hangs together


def _relations(job: Job, parts: Sequence[Part]) -> Iterator[Relation]:
    lock = job.lock
    installed = {wheel.name: wheel for wheel in lock.wheels}
    image = identifier(IMAGE, f"{LABEL} {job.name}")
    yield Relation(spdxjson.DOCUMENT, "DESCRIBES", image)
    yield Relation(image, "GENERATED_FROM", identifier(OURS, LABEL))
    for part in parts:
        if part.kind in (WHEEL, DEB):
            yield Relation(image, "CONTAINS", part.id)
        if part.kind in (SOURCE, GIT):
            yield Relation(image, "GENERATED_FROM", part.id)
    for substitute in lock.native.substitutes if lock.native else ():
        if substitute.wheel in lock.wheels:
            yield Relation(image, "GENERATED_FROM", identifier(WHEEL, substitute.wheel.name))
    for item in lock.components:
        source, wheel = _source(item), installed.get(item.distribution)
        if wheel is not None and wheel.made:
            yield Relation(identifier(WHEEL, wheel.name), "GENERATED_FROM", source)
        for patch in job.series.of(item.name):
            patch_id = identifier(PATCH, patch.path.as_posix())
            yield Relation(patch_id, "PATCH_FOR", source)
            if wheel is not None:
                yield Relation(patch_id, "PATCH_APPLIED", identifier(WHEEL, wheel.name))


def _source(item: Component) -> str:
    return identifier(SOURCE, item.archive.file) if item.archive is not None else identifier(GIT, item.name)
