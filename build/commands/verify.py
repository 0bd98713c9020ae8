"""Check a published image as who pulled it would: whose signature it has, what it says it was built from, whether its
bill of materials names all that is in it, file by file, and whether it is what this clone's record says.

IMAGE is REPOSITORY@sha256:…; its layers are read from the registry once, and nothing is kept. Whom to trust: --key, or
--identity with --issuer; else the signer that the record in lock/published/ names (keys are in docs/keys/).
--rebuild builds it again from nothing, at the commit that it was published from, and compares.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict
from pathlib import Path

from build import attaching, credentials, rebuilding, registry, remoteimage, trusting, verifying
from build.console import human_bytes, say, step, table, transfer
from build.errors import UsageError, VerifyError
from build.models import Settings
from build.registry import Repository
from build.verifying import BAD, SHOWN, Answer, Case, plain

LINE = 1000  # characters of a finding


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("image", metavar="IMAGE", help="REPOSITORY@sha256:…")
    parser.add_argument("--key", type=Path, metavar="FILE", help="the publisher's public key")
    parser.add_argument("--identity", default="", help="or the workflow that published it, as its certificate says")
    parser.add_argument("--issuer", default="", help="and who says so")
    parser.add_argument(
        "--trusted-root", type=Path, metavar="FILE", help="Sigstore's root of trust, to check certificates offline"
    )
    parser.add_argument("--documents", action="store_true", help="do not read the layers: what is attached alone")
    parser.add_argument("--rebuild", action="store_true", help="also build it again from nothing, and compare")


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Verify one image. Raises :class:`VerifyError` with every finding, after the table."""
    start = time.monotonic()
    reference = registry.parse(args.image)
    if not reference.digest:
        raise UsageError(
            f"{args.image} is a name that can move",
            why="only a digest says which bytes are meant",
            todo=f"name it by digest: {reference.repository}@sha256:… (`nox -s images` lists those published)",
        )
    record, place = trusting.place_of(settings.repo, reference)
    trust = trusting.chosen(
        settings.repo, place, key=args.key, identity=args.identity, issuer=args.issuer, root=args.trusted_root
    )
    with Repository(reference.host, reference.name, credentials.find(reference.host)) as repository:
        with step(f"read what is attached to {reference}"):
            image, manifest = remoteimage.opened(repository, reference.digest)
            attached = trusting.statements(repository, reference.digest)
        case = Case(
            settings=settings, repository=repository, tool=attaching.tool(settings), trust=trust, image=image,
            manifest=manifest, record=record, place=place, attached=attached,
        )  # fmt: skip
        answers = examine(case, documents_only=args.documents)
        machines = verifying.machines(case)
    if args.rebuild:
        answers.append(verifying.ask("rebuilt", lambda: rebuilding.rebuild(settings, image, record, case.provenance)))
    return tell(settings, str(reference), answers, machines, time.monotonic() - start)


def examine(case: Case, *, documents_only: bool) -> list[Answer]:
    """Every question, in an order in which later ones rest on earlier ones."""
    answers = [
        verifying.ask("signature", lambda: verifying.signature(case)),
        verifying.ask("record", lambda: verifying.record(case)),
        verifying.ask("provenance", lambda: verifying.provenance(case)),
        verifying.ask("bill of materials", lambda: verifying.bill(case)),
        verifying.ask("smoke report", lambda: verifying.smoke(case)),
    ]
    if documents_only:
        return [*answers, Answer(question="content", status=verifying.SKIPPED, text="--documents was asked for")]
    size = sum(layer.size for layer in case.image.layers)
    title = f"read {len(case.image.layers)} layers"
    with step(f"{title} ({human_bytes(size)})"), transfer(title, size) as progress:
        answers.append(verifying.ask("content", lambda: verifying.content(case, progress)))
    return answers


def tell(settings: Settings, name: str, answers: list[Answer], machines: list[str], seconds: float) -> int:
    """Print the answers; fail for what is bad."""
    bad = [answer for answer in answers if answer.status == BAD]
    if settings.json:
        told = {
            "image": name, "good": not bad, "answers": [asdict(answer) for answer in answers], "machines": machines,
            "seconds": round(seconds, 1),
        }  # fmt: skip
        print(json.dumps(told, indent=1))
    else:
        rows = [(answer.question, answer.status, plain(answer.text, LINE)) for answer in answers]
        table(name, ("what", "is", "seen"), rows)
        for line in machines:
            print(f"on a machine: {line}")
        if not machines:
            print("on a machine: nobody has attached a report yet (`nox -s smoke -- --image … --require-gpu --attest`)")
    say(f"{seconds:.1f} s")
    if not bad:
        return 0
    lines = [
        plain(f"{answer.question}: {text}", LINE) for answer in bad for text in (answer.text, *answer.findings[:SHOWN])
    ]
    more = sum(max(0, len(answer.findings) - SHOWN) for answer in bad)
    raise VerifyError(
        f"{name} is not what it should be",
        why="\n       ".join(lines) + (f"\n       and {more} more findings (--json has all)" if more else ""),
        todo="do not run it; tell who published it",
    )
