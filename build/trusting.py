"""Whose signatures count for a published image, and which of the signed statements attached to it are theirs.

Composes. Statements by others are told and do not count, but for reports of machines: those are shown with who says so.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from build import cosign, published, referrers, registry
from build.cosign import Cosign, Statement, Trust
from build.errors import UsageError, VerifyError
from build.published import Place
from build.registry import Manifest, Repository

KEYS = Path("docs/keys")  # public keys of those who publish from this repository
BUNDLE_LIMIT = 32 << 20  # bytes; ours are below 1 MB
ATTACHED_LIMIT = 500  # documents that are looked at: anyone who may write there may attach more


@dataclass(frozen=True, kw_only=True)
class Attached:
    """A signed statement as it was found. ``digest``: of the manifest that attaches it."""

    digest: str
    bundle: bytes
    statement: Statement


def chosen(
    repo: Path, place: Place | None, *, key: Path | None, identity: str, issuer: str, root: Path | None
) -> Trust:
    """Whom to trust: who was named, else the signer that this clone's record names.

    Raises :class:`UsageError` where nobody is named, or half of a name is.
    """
    if key and (identity or issuer):
        raise UsageError("--key and --identity exclude each other", todo="give one of the two")
    if key:
        return Trust(key=_public_key(key))
    if identity or issuer:
        if not (identity and issuer):
            raise UsageError("--identity and --issuer go together", todo="give both")
        return Trust(identity=identity, issuer=issuer, root=root)
    if place is None or not place.signer.kind:
        raise UsageError(
            "whose signature should count?",
            why="this clone has no record of the image that names its signer"
            if place is None
            else "it was published unsigned",
            todo="name a public key (--key FILE), or --identity and --issuer of a workflow; or update your clone",
        )
    if place.signer.kind == "keyless":
        return Trust(identity=place.signer.identity, issuer=place.signer.issuer, root=root)
    for path in sorted((repo / KEYS).glob("*.pub")):
        pem = _public_key(path)
        if cosign.key_id(pem) == place.signer.identity:
            return Trust(key=pem)
    raise UsageError(
        "the key that the record names is not in this clone",
        why=f"{KEYS}/ has no key with the sha256 {place.signer.identity}",
        todo="get the public key from who published it, and name it: --key FILE",
    )


def _public_key(path: Path) -> str:
    try:
        pem = path.read_text(encoding="ascii")
        cosign.key_id(pem)
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} is no public key", why=str(error), todo="name a PEM file") from error
    return pem


def who(trust: Trust) -> str:
    """In words."""
    return f"the key {cosign.key_id(trust.key)[:12]}" if trust.key else f"{trust.identity} (by {trust.issuer})"


def statements(repository: Repository, digest: str) -> tuple[Attached, ...]:
    """Every signed statement that is attached to a digest and is one of it; not checked yet."""
    found = []
    for item in referrers.of(repository, digest)[:ATTACHED_LIMIT]:
        if item.artifact_type != cosign.BUNDLE_TYPE:
            continue
        made = repository.manifest(item.digest)
        bundle = part(repository, made) if made else b""
        try:
            told = cosign.statement(bundle)
        except VerifyError:
            continue  # anyone may attach anything
        if told.subject == digest:
            found.append(Attached(digest=item.digest, bundle=bundle, statement=told))
    return tuple(found)


def part(repository: Repository, made: Manifest) -> bytes:
    """The one blob of an artifact."""
    try:
        (row,) = made.content["layers"]
        digest, size = str(row["digest"]), int(row["size"])
    except (ValueError, KeyError, TypeError):
        return b""
    if not 0 < size <= BUNDLE_LIMIT or not registry.DIGEST.fullmatch(digest):
        return b""
    return repository.blob(digest, size)


def trusted(
    tool: Cosign, trust: Trust, manifest: Manifest, attached: Sequence[Attached], predicate_type: str
) -> tuple[Attached, ...]:
    """Those of one type that are signed by whom we trust; :class:`VerifyError` where there is none."""
    good, bad = [], []
    for item in attached:
        if item.statement.predicate_type != predicate_type:
            continue
        try:
            tool.check(item.bundle, predicate_type, manifest.data, trust)
        except VerifyError as error:
            bad.append(f"{item.digest[:19]}: {error.why}")
        else:
            good.append(item)
    if not good:
        raise VerifyError(
            f"no statement of the type {predicate_type} is signed by {who(trust)}",
            why="; ".join(bad) or "none is attached",
            todo="do not use the image unless you know why",
        )
    return tuple(good)


def old_signature(tool: Cosign, trust: Trust, repository: Repository, digest: str) -> str:
    """Check the signature for old clients; what it is, in words. Empty where there is none."""
    made = repository.manifest(cosign.simple_tag(digest))
    if made is None:
        return ""
    payload = part(repository, made)
    try:
        signature = str(made.content["layers"][0]["annotations"][cosign.SIMPLE_SIGNATURE])
        told = str(json.loads(payload)["critical"]["image"]["docker-manifest-digest"])  # the place may be a mirror
    except (ValueError, KeyError, TypeError, IndexError, RecursionError) as error:
        raise VerifyError("the signature for old clients is none", why=repr(error)) from error
    if told != digest:
        raise VerifyError("the signature for old clients is of something else", why=f"it signs {told}")
    tool.check_simple(payload, signature, trust)
    return f"also under the tag {cosign.simple_tag(digest)[:19]}….sig"


def place_of(repo: Path, reference: registry.Reference) -> tuple[published.Record | None, Place | None]:
    """What this clone's records say of an image, and of it there."""
    record = published.read(repo, reference.digest)
    if record is None:
        return None, None
    return record, record.at(reference.repository) or (record.places[-1] if record.places else None)
