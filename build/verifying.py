"""What `nox -s verify` asks of a published image, each question by itself: an answer, or what is wrong.

Composes. What it shows rests on the signatures of whom one trusts; that the bytes come from what they say they come
from is shown by building again (`--rebuild`).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from build import (
    accounted,
    attachedlock,
    cosign,
    documents,
    named,
    recipe,
    referrers,
    report,
    results,
    sbom,
    steps,
    trusting,
)
from build.attachedlock import AttachedLock
from build.claims import Finding, Named
from build.cosign import Cosign, Trust
from build.errors import BuildError, HashMismatchError, ImageNotFoundError, LockError, RegistryError, VerifyError
from build.models import Settings
from build.ociimage import Image
from build.published import Place, Record
from build.registry import Manifest, Repository
from build.trusting import Attached

GOOD, BAD, SKIPPED = "good", "BAD", "skipped"
FILE_LIMIT = 8 << 20  # bytes of an attached file
KINDS = {sbom.WHEEL: "wheels", sbom.DEB: "Debian packages", sbom.SOURCE: "sources", sbom.PATCH: "patches"}
SHOWN = 10  # findings of one question in the table; JSON has all


@dataclass(frozen=True, kw_only=True)
class Answer:
    """To one question. ``text``: what was seen, or why it was skipped; ``findings``: all that is wrong."""

    question: str
    status: str
    text: str
    findings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Lists:
    """As :class:`build.claims.Named` has them: digests of packages' lists, and what contradicts a published RECORD."""

    lists: Mapping[str, str]
    contradicted: Mapping[str, Mapping[str, str]]


@dataclass
class Case:
    """A published image under examination: what was found out so far, for the questions that come later."""

    settings: Settings
    repository: Repository
    tool: Cosign
    trust: Trust
    image: Image
    manifest: Manifest
    record: Record | None
    place: Place | None
    attached: tuple[Attached, ...]
    provenance: dict[str, Any] = field(default_factory=dict)
    lock: AttachedLock | None = None
    lists: Lists | None = None

    @property
    def digest(self) -> str:
        return self.manifest.digest


def ask(question: str, check: Callable[[], str]) -> Answer:
    """The answer of a check: its text, or its error as a finding. A network or registry that fails is raised."""
    try:
        return Answer(question=question, status=GOOD, text=check())
    except Skip as skip:
        return Answer(question=question, status=SKIPPED, text=str(skip))
    except Wrong as wrong:
        return Answer(question=question, status=BAD, text=wrong.what, findings=wrong.findings)
    except (VerifyError, HashMismatchError, RegistryError, ImageNotFoundError) as error:
        if isinstance(error, RegistryError) and error.status:
            raise
        return Answer(question=question, status=BAD, text=error.what, findings=(error.why,) if error.why else ())


class Skip(Exception):  # noqa: N818 - a signal within this module
    """A question that cannot be asked here, with the reason."""


class Wrong(Exception):  # noqa: N818 - the same
    """An answer that is no good, with all that is wrong."""

    def __init__(self, what: str, findings: Iterable[str]) -> None:
        super().__init__(what)
        self.what = what
        self.findings = tuple(findings)


def signature(case: Case) -> str:
    """Signed by whom we trust, in the form of today, and in the old one where it is there."""
    trusting.trusted(case.tool, case.trust, case.manifest, case.attached, cosign.SIGNATURE)
    old = trusting.old_signature(case.tool, case.trust, case.repository, case.digest) if case.trust.key else ""
    return f"by {trusting.who(case.trust)}" + (f"; {old}" if old else "")


def record(case: Case) -> str:
    """What this clone's record says of it."""
    if case.record is None:
        raise Skip("this clone has no record of it")
    known, image = case.record, case.image
    wrong = [
        f"{what}: {was} is recorded, {now} is there"
        for what, was, now in (
            ("config", known.config, image.config_digest),
            ("canonical config", known.canonical_config, results.canonical_config(image.config)),
            ("target", known.target, image.labels.get("spark-runtime.target", "")),
            ("chain id", known.chain_id, image.labels.get("spark-runtime.chain-id", "")),
            ("layers", _rows(known.layers), _rows(image.layers)),
        )
        if was != now
    ]
    listed = {item.digest for item in referrers.of(case.repository, case.digest)}
    here = case.record.at(case.repository.reference)
    wrong += [
        f"{item.kind} {item.digest} is gone"
        for item in (here.documents if here else ())
        if item.digest not in listed or case.repository.manifest(item.digest) is None
    ]
    if wrong:
        raise Wrong("it is not what was recorded", wrong)
    place = here or known.places[-1]
    return f"published {place.time[:10]} from commit {place.commit[:12]}" + "".join(f"; {it}" for it in place.remarks)


def provenance(case: Case) -> str:
    """What it was built from and by whom, and that the lock that is attached is the one meant."""
    found = trusting.trusted(case.tool, case.trust, case.manifest, case.attached, documents.PROVENANCE)
    case.provenance = dict(_meant(case, found).statement.predicate)
    told = documents.built(case.provenance)
    wrong = [
        f"{what}: the provenance says {was}, the image {now}"
        for what, was, now in (
            ("target", told.target, case.image.labels.get("spark-runtime.target", "")),
            ("chain id", told.chain_id, case.image.labels.get("spark-runtime.chain-id", "")),
        )
        if was != now
    ]
    if case.place is not None and told.commit != case.place.commit:
        wrong.append(f"commit: the provenance says {told.commit}, the record {case.place.commit}")
    files = _lock(case, told)
    case.lists = _lists(case, told)
    found_locks = {path: hashlib.sha256(data).hexdigest() for path, data in files.items()}
    wrong += [
        f"{path}: the provenance says {told.locks.get(path, 'nothing')}, attached is {found_locks.get(path, 'nothing')}"
        for path in sorted({*told.locks, *found_locks})
        if told.locks.get(path) != found_locks.get(path)
    ]
    if wrong:
        raise Wrong("the provenance does not fit", wrong)
    with contextlib.suppress(LockError):  # of another version of this project: less can be compared
        texts = {path: data.decode("utf-8") for path, data in files.items()}
        case.lock = attachedlock.read(texts, told.target)
    return f"target {told.target}, commit {told.commit[:12]}, {len(told.locks)} lock files, by {told.builder}"


def _meant(case: Case, found: Sequence[Attached]) -> Attached:
    """Of several statements of a type by the publisher the recorded one, else the last: registries keep no order."""
    recorded = {item.digest for item in case.place.documents} if case.place else set()
    return next((item for item in found if item.digest in recorded), found[-1])


def _lock(case: Case, told: documents.Built) -> dict[str, bytes]:
    """The lock files that are attached, by path."""
    return _named_files(case, told, "lock")


def _lists(case: Case, told: documents.Built) -> Lists | None:
    """What the locked packages themselves list, as the publisher saw it; None where it is not attached."""
    if "lists" not in told.attached:
        return None
    (data,) = _named_files(case, told, "lists").values()
    try:
        found = json.loads(data)
        return Lists(lists=dict(found["lists"]), contradicted=dict(found["contradicted"]))
    except (ValueError, KeyError, TypeError) as error:
        raise VerifyError("what is attached as the lists of the packages is none", why=repr(error)) from error


def _named_files(case: Case, told: documents.Built, kind: str) -> dict[str, bytes]:
    """The files of an artifact that the signed provenance names by its digest, title → bytes."""
    digest = told.attached.get(kind, "")
    made = case.repository.manifest(digest) if digest else None
    if made is None:
        raise VerifyError(f"the {kind} is not attached", why=f"the provenance names {digest or 'none'}")
    files = {}
    for row in made.content["layers"]:
        if int(row["size"]) > FILE_LIMIT:
            raise VerifyError(f"what is attached as the {kind} is none", why=f"a file of {row['size']} bytes")
        title = str(row.get("annotations", {}).get(referrers.TITLE, ""))
        files[title] = case.repository.blob(str(row["digest"]), int(row["size"]))
    return files


def bill(case: Case) -> str:
    """A bill of materials that is well-formed, of this image, and names all that the lock does."""
    found = trusting.trusted(case.tool, case.trust, case.manifest, case.attached, documents.SPDX)
    document = dict(_meant(case, found).statement.predicate)
    if faults := documents.bill_faults(document, case.digest):
        raise Wrong("the bill of materials is no good", faults)
    parts = sbom.packages(document).values()
    counts = Counter(item.kind for item in parts)
    text = ", ".join(f"{counts[kind]} {word}" for kind, word in KINDS.items() if counts[kind])
    if case.lock is None:
        return f"{text}; not compared with a lock"
    billed, locked = {item for item in parts if item.kind in KINDS}, attachedlock.named(case.lock)
    wrong = [f"in the lock and not in the bill: {item.kind} {item.name} {item.version}" for item in locked - billed]
    wrong += [f"in the bill and not in the lock: {item.kind} {item.name} {item.version}" for item in billed - locked]
    if wrong:
        raise Wrong("the bill of materials and the lock differ", sorted(wrong))
    return f"{text}, as in the lock"


def smoke(case: Case) -> str:
    """The publisher's report: green, of this very image."""
    found = trusting.trusted(case.tool, case.trust, case.manifest, case.attached, documents.TEST_RESULT)
    reports = [documents.report_of(item.statement.predicate) for item in found]
    wrong = [
        f"{item.digest[:19]}: of {told['digest']}"
        for item, told in zip(found, reports, strict=True)
        if told["digest"] != case.digest
    ]
    good = (report.PASSED, report.SKIPPED)
    failed = [str(row["name"]) for told in reports for row in told["checks"] if row["status"] not in good]
    if wrong or failed:
        raise Wrong("the smoke report is not green, or of something else", [*wrong, *failed])
    return f"{reports[-1]['summary']}, {reports[-1]['execution']}"


def machines(case: Case) -> list[str]:
    """What owners of machines attached: reports made on a GPU, with whose word it is."""
    told = []
    for item in case.attached:
        if item.statement.predicate_type != documents.TEST_RESULT:
            continue
        try:
            report = documents.report_of(item.statement.predicate)
            gpu = documents.gpu(report)
        except (VerifyError, KeyError, TypeError, ValueError):
            continue
        if gpu and report["digest"] == case.digest:
            try:
                case.tool.check(item.bundle, documents.TEST_RESULT, case.manifest.data, case.trust)
                by = "the publisher's word"
            except VerifyError:
                by = "another's word, not checked"
            day, summary = plain(report.get("started", ""))[:10], plain(report.get("summary", ""))
            told.append(f"{plain(gpu)}, {day}: {summary} ({by})")
    return told


def plain(text: object, limit: int = 100) -> str:
    """Somebody else's text in one line that does nothing to a terminal. ``limit``: of characters."""
    return "".join(char if char.isprintable() else "?" for char in str(text))[:limit]


def content(case: Case, progress: Callable[[int], None]) -> str:
    """Every file of the image, against what the bill of materials and the lock name."""
    if case.lock is None:
        raise Skip("there is no good lock of a version that this clone can read")
    expected = _expected(case, case.lock)
    found = accounted.account(case.image, expected, progress=progress)
    if not found.is_complete:
        raise Wrong(
            "files that nobody accounts for, or that are missing",
            [_told(item) for item in (*found.unexplained, *found.missing)],
        )
    files = sum(share.files for share in found.shares.values())
    kinds = ", ".join(f"{share.files} {kind}" for kind, share in found.shares.items() if share.files)
    lists = f"{found.lists} of {found.packages} packages' lists are those of the locked files"
    excused = f"; {len(found.excused)} known not to fit their published RECORD" if found.excused else ""
    return f"{files} files: {kinds}; {lists}{excused}"


def _expected(case: Case, lock: AttachedLock) -> Named:
    """What ought to be in the image: as this clone says where it has the image's inputs, else as what is attached does.

    What packages list: from the locked files where they are here, else as the publisher signed it.
    """
    target = case.image.labels.get("spark-runtime.target", "")
    with contextlib.suppress(BuildError):
        job = steps.load(case.settings, target)
        if recipe.chain_id(job) == case.image.labels.get("spark-runtime.chain-id"):
            own = named.anchored(job, named.named(job))
            told = dict(case.lists.lists) if case.lists else {}
            return replace(own, lists={**told, **own.lists}, contradicted=_contradicted(case, own))
    exceptions = [item.finding for item in lock.target.exceptions]
    said = named.of_lock(lock.lock, lock.rootfs, local=lock.target.local_version, exceptions=exceptions)
    lists = case.lists.lists if case.lists else {}
    return replace(said, lists=lists, contradicted=_contradicted(case, said))


def _contradicted(case: Case, said: Named) -> Mapping[str, Mapping[str, str]]:
    """What is known of RECORDs that lie: nobody looked where it is empty, and then the publisher's word counts."""
    told = case.lists.contradicted if case.lists else {}
    return {name: known or told.get(name, {}) for name, known in said.contradicted.items()}


def _rows(layers: Iterable[Any]) -> str:
    return " ".join(f"{layer.diff_id[7:19]}/{layer.digest[7:19]}/{layer.size}" for layer in layers)


def _told(item: Finding) -> str:
    where = f"layer {item.layer}: " if item.layer else ""
    return f"{where}{item.path}: {item.reason}"
