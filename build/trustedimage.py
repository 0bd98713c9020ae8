"""That a published image is what its record says, signed by whom this clone trusts: found out once, noted in the store.

Composes. The image's bytes are what its digest says, which an engine compares when it pulls.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from build import attaching, credentials, registry, remoteimage, trusting, verifying
from build.console import step
from build.errors import OfflineError, VerifyError
from build.models import Settings
from build.published import Place, Record
from build.registry import Repository

SHOWN = 20  # findings


def verified(settings: Settings, record: Record, place: Place) -> str:
    """That the image is signed, and all that is attached to it fits, as `verify -- --documents` has it; in words.

    Raises :class:`VerifyError` with every finding. What was found out is noted for the next time.
    """
    note = _note(settings, record)
    trust = trusting.chosen(settings.repo, place, key=None, identity="", issuer="", root=None)
    who = trusting.who(trust)
    try:
        if json.loads(note.read_text(encoding="utf-8"))["by"] == who:
            return f"signed by {who}"
    except (OSError, ValueError, KeyError, TypeError):
        pass
    if settings.offline:
        raise OfflineError(
            f"{record.manifest[:19]} was never verified here",
            why="its signature is in a registry, and --offline was asked for",
            todo="run it once without --offline, or name an image of the engine: --image REF",
        )
    told = registry.parse(f"{place.repository}@{record.manifest}")
    with (
        step(f"verify {told.repository}@{record.manifest[:19]}"),
        Repository(told.host, told.name, credentials.find(told.host)) as repository,
    ):
        image, manifest = remoteimage.opened(repository, record.manifest)
        case = verifying.Case(
            settings=settings, repository=repository, tool=attaching.tool(settings), trust=trust, image=image,
            manifest=manifest, record=record, place=place,
            attached=trusting.statements(repository, record.manifest),
        )  # fmt: skip
        _demand(case, str(told))
    note.parent.mkdir(parents=True, exist_ok=True)
    partial = note.with_suffix(f".{os.getpid()}")
    partial.write_text(json.dumps({"by": who}) + "\n", encoding="utf-8")
    os.replace(partial, note)
    return f"signed by {who}"


def _note(settings: Settings, record: Record) -> Path:
    return settings.store / "serve" / "verified" / f"{record.manifest.replace(':', '-')}.json"


def _demand(case: verifying.Case, name: str) -> None:
    """Every question but for the layers' content."""
    questions = {
        "signature": verifying.signature, "record": verifying.record, "provenance": verifying.provenance,
        "bill of materials": verifying.bill, "smoke report": verifying.smoke,
    }  # fmt: skip
    answers = [verifying.ask(question, lambda ask=ask: ask(case)) for question, ask in questions.items()]  # type: ignore[misc]
    bad = [
        f"{item.question}: {text}"
        for item in answers
        if item.status == verifying.BAD
        for text in (item.text, *item.findings)
    ]
    if bad:
        raise VerifyError(
            f"{name} is not what it should be",
            why="\n       ".join(verifying.plain(line, 400) for line in bad[:SHOWN]),
            todo="do not run it; tell who published it",
        )
