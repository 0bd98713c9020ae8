"""Publish a target's image by digest: what the registry lacks of it, then a signature, its bill of materials, its
provenance, its smoke report, its lock and its Debian packages, then tags, then a record in lock/published/.

It must be the image that lock/results/ tells of, built from a clean checkout, with a green smoke report. The tag
TARGET-CHAINID is never moved once it is there; TARGET is. Nothing is tagged or recorded before all else is in the
registry and was read back; a run that is cut goes on where it stopped.

It signs with --key (a file, env://NAME, a key service; the password in COSIGN_PASSWORD), with the key in
COSIGN_PRIVATE_KEY, or as the job that runs, in GitHub Actions. Credentials are Docker's (`docker login`, its helpers),
else REGISTRY_TOKEN with REGISTRY_USER, else GITHUB_TOKEN for GitHub's registry.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from build import (
    attaching,
    compared,
    cosign,
    credentials,
    documents,
    named,
    provenance,
    published,
    publishing,
    pushing,
    referrers,
    registry,
    steps,
)
from build.console import human_bytes, say, step
from build.errors import SigningError, UsageError
from build.models import Settings
from build.ociimage import Image
from build.published import Place, Record, Signer
from build.registry import Manifest, Repository
from build.settings import add_target_argument


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_target_argument(parser)
    parser.add_argument("--repo", required=True, metavar="HOST/NAME", help="where to: ghcr.io/OWNER/NAME, for example")
    parser.add_argument("--key", metavar="KEY", help="the private key to sign with: a file, env://NAME, a key service")
    parser.add_argument("--report", type=Path, metavar="FILE", help="the smoke report (default: the one in out/smoke)")
    private = parser.add_argument_group("for private tests; the record tells of each")
    private.add_argument("--unsigned", action="store_true", help="sign nothing: nobody can verify it")
    private.add_argument("--allow-dirty", action="store_true", help="from a checkout that is no commit")
    private.add_argument("--allow-unfit", action="store_true", help="a target that is not for use, as `tiny`")


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is to be published, all of it checked: nothing was sent yet."""

    job: steps.Job
    image: Image
    manifest: Manifest
    smoked: bytes
    record: Record
    immutable: str
    moving: str


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Publish one target."""
    start = time.monotonic()
    reference = registry.parse(args.repo)
    if reference.tag or reference.digest:
        raise UsageError("--repo names a repository", why=f"{args.repo} has a tag or digest", todo="leave it out")
    if settings.offline:
        raise UsageError("a push needs a network", todo="leave out --offline")
    job = steps.load(settings, args.target)
    key = signing_key(args)
    with compared.opened(settings, job.name) as image:
        wanted = demand(args, job, image, reference)
        with Repository(
            reference.host, reference.name, credentials.find(reference.host), write=True
        ) as repository:  # fmt: skip
            pushing.require_free(repository, wanted.immutable, wanted.manifest.digest)
            known = published.read(settings.repo, wanted.manifest.digest)
            place = known.at(reference.repository) if known else None
            if known and place and is_published(repository, place, wanted, key):
                return tell(settings, known, place, 0, start, fresh=False)
            record, sent = publish(repository, wanted, key)
    record = published.merged(known, record)
    path = published.write(settings.repo, record)
    say(f"noted in {path.relative_to(settings.repo)}: commit it")
    return tell(settings, record, record.places[-1], sent, start, fresh=True)


def signing_key(args: argparse.Namespace) -> str | None:
    """The key to sign with, "" for a job's own identity; None where nothing is to be signed."""
    if args.unsigned:
        if args.key:
            raise UsageError("--unsigned and --key exclude each other", todo="give one of the two")
        return None
    key = cosign.chosen_key(args.key)
    if key is None:
        raise SigningError(
            "there is nothing to sign with",
            why=f"no --key, no {cosign.KEY_VARIABLE}, and this is no job of GitHub Actions with `id-token: write`",
            todo="make a key pair (`cosign generate-key-pair`, see docs/publish.md), or --unsigned for a private test",
        )
    return key


def demand(args: argparse.Namespace, job: steps.Job, image: Image, reference: registry.Reference) -> Wanted:
    """All that must be so before anything is sent."""
    settings = job.settings
    remarks = (
        *publishing.require_fit(job, allowed=args.allow_unfit),
        *publishing.require_clean(settings, allowed=args.allow_dirty),
        *(("unsigned",) if args.unsigned else ()),
    )
    found = publishing.require_image(job, image)
    smoked = publishing.require_smoked(settings, job.name, image, args.report)
    immutable = f"{job.name}-{found.chain_id[:12]}"
    now = datetime.now(UTC).isoformat(timespec="seconds")
    place = Place(
        repository=reference.repository, time=now, tag=immutable, commit=publishing.commit(settings.repo),
        remarks=remarks, signer=Signer(), documents=(),
    )  # fmt: skip
    record = Record(
        target=job.name, chain_id=found.chain_id, manifest=found.manifest, config=found.config,
        canonical_config=found.canonical_config, rootfs=found.rootfs, engine=found.engine, buildkit=found.buildkit,
        places=(place,), reports=(documents.tested(smoked),),
        layers=tuple(
            published.PublishedLayer(diff_id=row.diff_id, digest=row.digest, size=row.size) for row in found.layers
        ),
    )  # fmt: skip
    return Wanted(
        job=job, image=image, manifest=pushing.manifest_of(image), smoked=smoked, record=record,
        immutable=immutable, moving=job.name,
    )  # fmt: skip


def is_published(repository: Repository, place: Place, wanted: Wanted, key: str | None) -> bool:
    """Whether all of it is there as recorded, and no worse than what is wanted now: then there is nothing to do."""
    if set(place.remarks) - set(wanted.record.remarks):
        return False
    tags = (wanted.immutable, wanted.moving)
    if any(repository.resolve(tag) != wanted.manifest.digest for tag in tags):
        return False
    listed = {item.digest for item in referrers.of(repository, wanted.manifest.digest)}
    if any(item.digest not in listed or repository.manifest(item.digest) is None for item in place.documents):
        return False  # registries that are cleaned of what has no tag keep the list, which has one
    return key is None or place.signer == cosign.signer(attaching.tool(wanted.job.settings), key)


def publish(repository: Repository, wanted: Wanted, key: str | None) -> tuple[Record, int]:
    """Sign, send, attach, tag; the record, and the bytes that were sent."""
    job, manifest, record = wanted.job, wanted.manifest, wanted.record
    (place,) = record.places
    name = place.repository
    lock = attaching.lock(job.settings, provenance.lock_files(job.settings, job), manifest)
    with step("read what the locked packages list"):
        lists = attaching.lists(named.anchored(job, named.named(job)), manifest)
    artifacts, old = [lock, lists], None
    digests = {item.kind: item.manifest.digest for item in artifacts}
    claims = documents.claims(job, record, wanted.smoked, digests)
    if key is not None:
        tool = attaching.tool(job.settings)
        place = replace(place, signer=cosign.signer(tool, key))
        artifacts += attaching.signed(tool, key, claims, manifest, name, place.time)
        old = attaching.old_signature(tool, key, name, manifest.digest) if key else None
    sent = pushing.push(repository, wanted.image, manifest)
    debs, more = attaching.send_debs(repository, job, manifest)
    with step(f"attach {len(artifacts) + 1} documents"):
        documented, attached = attaching.attach(repository, [*artifacts, debs])
        if old is not None:
            attached += attaching.put_old(repository, old, manifest.digest)
    pushing.tag(repository, manifest, wanted.immutable, wanted.moving)
    return replace(record, places=(replace(place, documents=tuple(documented)),)), sent.bytes + more + attached


def tell(settings: Settings, record: Record, place: Place, sent: int, start: float, *, fresh: bool) -> int:
    """Print what was published (or was there)."""
    seconds = round(time.monotonic() - start, 2)
    image = f"{place.repository}@{record.manifest}"
    if settings.json:
        told = {
            "image": image, "tags": [place.tag, record.target], "fresh": fresh, "sent": sent, "seconds": seconds,
            "signed": place.signer.kind or None, "remarks": list(place.remarks),
            "record": str(published.path_of(settings.repo, record.manifest)),
        }  # fmt: skip
        print(json.dumps(told, indent=1))
        return 0
    if not fresh:
        say("all of it is there already")
    print(image)
    print(f"  {place.repository}:{place.tag} and :{record.target}; {human_bytes(sent)} sent, {seconds} s")
    for remark in place.remarks:
        print(f"  {remark}: not for others")
    print(f"  check it: nox -s verify -- {image}")
    return 0
