"""What was published and when, what of it is in the engine here and runs, and whether other machines run the same.

With one --node it is compared with this machine, several are compared with each other: the same image is the same
config, whichever image store an engine has. Ends with 53 where they differ. Works without any engine and any record.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from build import (
    credentials,
    dockerapi,
    imagesreport,
    knownimages,
    nodes,
    private,
    published,
    readmetable,
    samenode,
    stillthere,
)
from build.console import step, warn
from build.errors import BuildError, DifferentError, EngineError, OfflineError, VerifyError
from build.knownimages import Known
from build.models import Settings
from build.nodes import Node
from build.published import Record
from build.samenode import Pair
from build.stillthere import Answer


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--node", action="append", default=[], metavar="URL",
        help="a machine to compare, by its engine: ssh://USER@HOST, tcp://HOST:PORT, unix://SOCKET (repeatable)",
    )  # fmt: skip
    parser.add_argument("--remote", action="store_true", help="ask the registries whether it is still there")
    parser.add_argument(
        "--readme", nargs="?", const="-", metavar="FILE",
        help="print README's table of what was published; with FILE, write it there, between its markers",
    )  # fmt: skip


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Tell; then fail for what differs, is gone, or does not answer."""
    if args.readme:
        return readme(args.readme, published.read_all(settings.repo))
    urls = [nodes.checked(url) for url in args.node]
    if settings.offline and (args.remote or any(not url.startswith("unix://") for url in urls)):
        raise OfflineError("other machines cannot be asked", why="--offline was asked for", todo="leave it out")
    known = knownimages.read(settings.repo, private.places(settings.store).content)
    here = local(settings, known)
    compared = looked_at(urls, here, known)
    pairs = samenode.same(compared)
    answers, errors = remote(known.records) if args.remote else ((), ())
    if settings.json:
        print(json.dumps(imagesreport.as_json(known, here, compared, pairs, answers), indent=1))
    else:
        imagesreport.tell(known, here)
        imagesreport.tell_nodes(compared, pairs)
        imagesreport.tell_answers(answers)
    judge(compared, pairs, answers, errors)
    return 0


def readme(file: str, records: Sequence[Record]) -> int:
    """Print the table, or bring a file up to date with it."""
    if file == "-":
        sys.stdout.write(readmetable.rendered(records))
        return 0
    path = Path(file)
    path.write_text(readmetable.replaced(path.read_text(encoding="utf-8"), records), encoding="utf-8")
    return 0


def local(settings: Settings, known: Known) -> tuple[Node, ...]:
    """The engines of this machine that answer: the private one, the user's own, whatever that one can do; else why."""
    urls = [dockerapi.user_url()]
    try:
        ours = private.status(settings.store)
        urls = [ours.places.url, *urls] if ours.engine else urls
    except EngineError as error:  # another user's
        warn(str(error))
    found = tuple(nodes.look(url, known.config) for url in dict.fromkeys(urls))
    return tuple(node for node in found if not node.lack) or found


def looked_at(urls: Sequence[str], here: Sequence[Node], known: Known) -> tuple[Node, ...]:
    """What is compared: the nodes that were named; a single one with the engine here that runs an image of ours."""
    found = []
    for url in urls:
        with step(f"ask {url}"):
            found.append(nodes.look(url, known.config))
    if len(found) != 1:
        return tuple(found)
    return (next((node for node in here if node.running), here[0]), *found)


def remote(records: Sequence[Record]) -> tuple[tuple[Answer, ...], tuple[BuildError, ...]]:
    """What the registries say of each record; the error of each that does not answer as it must."""
    answers, errors = [], []
    for record in records:
        for place in record.places:
            try:
                with step(f"ask {place.repository} for {record.manifest[:19]}"):
                    asked = stillthere.ask(record, place, credentials.find(place.repository.partition("/")[0]))
            except BuildError as error:
                errors.append(error)
                why = f"{error.what}: {error.why}" if error.why else error.what
                asked = Answer(repository=place.repository, manifest=record.manifest, lack=why)
            answers.append(asked)
    return tuple(answers), tuple(errors)


def judge(
    compared: Sequence[Node], pairs: Sequence[Pair], answers: Sequence[Answer], errors: Sequence[BuildError]
) -> None:
    """Raise the error for the worst of what was told."""
    if other := [pair for pair in pairs if not pair.fine]:
        raise DifferentError(
            "the machines do not run the same image",
            why="\n       ".join(f"{pair.a} and {pair.b}: {pair.verdict}: {pair.why}" for pair in other),
            todo="pull one digest everywhere (docker pull REPOSITORY@sha256:…), and start that",
        )
    if lacks := [node.lack for node in compared if node.lack]:
        raise EngineError(
            "not every machine could be compared",
            why="\n       ".join(lacks),
            todo="look whether its engine runs and lets you in: docker -H URL version",
        )
    if findings := [finding for answer in answers for finding in answer.findings]:
        raise VerifyError(
            "what was published is not there as it was",
            why="\n       ".join(findings),
            todo="use the digest, not the tag; `nox -s push` publishes it again under the same digest",
        )
    if errors:
        raise errors[0]
