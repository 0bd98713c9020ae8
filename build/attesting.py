"""A smoke report for a digest that somebody else published: signed by who ran it, attached where the image is from.

Composes. What the owner of a machine says of an image, under the owner's own name: it does not count as the
publisher's word, and `verify` shows it apart.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from build import attaching, cosign, credentials, documents, published, reference, registry, remoteimage
from build.attaching import Claim
from build.console import step
from build.errors import DeniedError, ImageNotFoundError, PublishError, SigningError
from build.models import Settings
from build.registry import Reference, Repository


@dataclass(frozen=True, kw_only=True)
class Attested:
    """Where a report is attached, and the record of this clone that now tells of it (None: it has none)."""

    image: str
    document: str
    record: Path | None


def where(name: str, image: reference.Image) -> Reference:
    """The published digest that an engine's image is; read from the registry that its name is of.

    An engine with the containerd store calls an image by its manifest's digest, an older one by its config's.
    """
    asked = registry.parse(name)
    with Repository(asked.host, asked.name, credentials.find(asked.host)) as repository:
        digest = asked.digest or repository.resolve(asked.tag or "latest")
        if not digest:
            raise ImageNotFoundError(f"{name} is not in its registry", todo="name it by REPOSITORY@sha256:…")
        found, _ = remoteimage.opened(repository, digest)
    if image.digest not in (found.manifest, found.config_digest):
        raise PublishError(
            f"the engine's {name} is not the registry's",
            why=f"there it is {found.manifest} (config {found.config_digest}), here {image.digest}",
            todo=f"docker pull {asked.repository}@{found.manifest}, and smoke that",
        )
    return replace(asked, tag="", digest=found.manifest)


def key_for(asked: str | None) -> str:
    """The key to sign with, "" for a job's own identity; :class:`SigningError` where there is neither."""
    key = cosign.chosen_key(asked)
    if key is None:
        raise SigningError(
            "there is nothing to sign the report with",
            why=f"no --key, no {cosign.KEY_VARIABLE}",
            todo="make a key pair: cosign generate-key-pair; then --key cosign.key, its password in COSIGN_PASSWORD",
        )
    return key


def attest(settings: Settings, key: str, image: Reference, data: bytes, kept: Path) -> Attested:
    """Sign a report (its JSON) and attach it. ``kept``: where the signed statement is written in any case.

    Raises :class:`DeniedError`, with what its owner can do, where we may not write to the repository.
    """
    claim = Claim(kind="smoke", predicate_type=documents.TEST_RESULT, predicate=documents.test_result(data))
    with Repository(image.host, image.name, credentials.find(image.host), write=True) as repository:
        try:
            subject = repository.manifest(image.digest)
        except DeniedError:  # it may be read by all, and written by its owner alone
            subject = None
        if subject is None:
            with Repository(image.host, image.name, credentials.find(image.host)) as reading:
                subject = reading.manifest(image.digest)
        if subject is None:
            raise ImageNotFoundError(f"{image} is not there (any more)")
        time = datetime.now(UTC).isoformat(timespec="seconds")
        (made,) = attaching.signed(attaching.tool(settings), key, [claim], subject, image.repository, time)
        with made.parts[0].blob.open() as stream:
            kept.write_bytes(stream.read())
        try:
            with step(f"attach the report to {image}"):
                attaching.attach(repository, [made])
        except DeniedError as error:
            raise DeniedError(
                error.what,
                why=error.why,
                todo=f"send {kept} to the owner of {image.repository}, who can attach it: oras attach --artifact-type "
                f"{cosign.BUNDLE_TYPE} {image} {kept.name}:{cosign.BUNDLE_TYPE}",
            ) from error
    return Attested(image=str(image), document=made.manifest.digest, record=noted(settings, image, data))


def noted(settings: Settings, image: Reference, data: bytes) -> Path | None:
    """Note a report in this clone's record of the image, where it has one."""
    record = published.read(settings.repo, image.digest)
    if record is None:
        return None
    new = documents.tested(data)
    if any(report.sha256 == new.sha256 for report in record.reports):
        return published.path_of(settings.repo, image.digest)
    return published.write(settings.repo, replace(record, reports=(*record.reports, new)))
