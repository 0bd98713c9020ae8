"""What was published and when, what of it is in the engine here and runs, and whether other machines run the same.

With one --node it is compared with this machine, several are compared with each other: the same image is the same
config, whichever image store an engine has. Ends with 53 where they differ. Works without any engine and any record.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from build import credentials, dockerapi, knownimages, nodes, private, published, readmetable, samenode, stillthere
from build.console import human_bytes, step, table, warn
from build.errors import BuildError, DifferentError, EngineError, OfflineError, VerifyError
from build.knownimages import Known
from build.models import Settings
from build.nodes import Node
from build.published import Record
from build.samenode import Pair
from build.stillthere import Answer

SCHEMA = 1
SHORT = 12  # of a digest


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
        print(json.dumps(as_json(known, here, compared, pairs, answers), indent=1))
    else:
        tell(known, here)
        tell_nodes(compared, pairs)
        tell_answers(answers)
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


def tell(known: Known, here: Sequence[Node]) -> None:
    """Print what was published, and what the engines here have."""
    if known.records:
        columns = ("target", "chain id", "digest", "published", "where", "size", "GB10 report", "here", "remarks")
        table("Published, the newest first", columns, [_row(record, here) for record in known.records])
    else:
        print("Nothing is published yet: lock/published/ has no record. `nox -s push` writes one.")
    for node in here:
        if node.lack:
            print(f"Here: {node.lack}")
        elif not node.images:
            print(f"Here: {_engine(node)} has no image of ours")
        else:
            print(f"Here: {_engine(node)}")
            table("", ("target", "chain id", "id", "what it is", "running"), _held(known, node))


def _row(record: Record, here: Sequence[Node]) -> tuple[str, ...]:
    places = "\n".join(dict.fromkeys(place.repository for place in record.places))
    return (
        record.target, record.chain_id[:SHORT], short(record.manifest), record.time[:16].replace("T", " "), places,
        human_bytes(record.size), _gb10(record), _here(record, here), _remarks(record),
    )  # fmt: skip


def _remarks(record: Record) -> str:
    return ", ".join(dict.fromkeys(remark for place in record.places for remark in place.remarks))


def _gb10(record: Record) -> str:
    if found := readmetable.of_gb10(record):
        return f"yes: {', '.join(dict.fromkeys(report.gpu for report in found))}"
    others = dict.fromkeys(report.gpu for report in record.on_gpu)
    return f"no ({', '.join(others)})" if others else "no"


def _here(record: Record, here: Sequence[Node]) -> str:
    found = knownimages.holders(record, here)
    running = [item.name for _, items in found for item in items]
    return f"runs: {', '.join(running)}" if running else "in the engine" if found else ""


def _held(known: Known, node: Node) -> list[tuple[str, ...]]:
    held = {item.image.id: item.image for item in node.running} | {image.id: image for image in node.images}
    rows = []
    for image in held.values():
        said = ["published"] if known.record_of(image) else []
        said += ["in lock/results/"] if known.result_of(image) else []
        containers = [f"{item.name} ({item.status})" for item in node.running if item.image == image]
        rows.append((
            image.target, image.chain_id[:SHORT], short(image.id), ", ".join(said) or "not recorded",
            ", ".join(containers),
        ))  # fmt: skip
    return sorted(rows, key=lambda row: (not row[4], row[0], row[3], row[1]))


def tell_nodes(compared: Sequence[Node], pairs: Sequence[Pair]) -> None:
    """Print what each machine runs, and a verdict for each two."""
    if not compared:
        return
    rows = []
    for node in compared:
        name = f"{node.name}\n{node.url}".strip()
        engine = f"{node.version}, {node.store}".strip(", ")
        if node.lack or not node.running:
            rows.append((name, engine, node.lack or "nothing of ours runs", "", "", ""))
        rows += [
            (name, engine, item.name, item.image.target, item.image.chain_id[:SHORT], _identity(item.image))
            for item in node.running
        ]
    table("What the machines run", ("machine", "engine", "container", "target", "chain id", "config"), rows)
    for pair in pairs:
        print(f"{pair.a} and {pair.b}: {pair.verdict} ({pair.why})")


def _identity(image: nodes.Held) -> str:
    return short(image.config) or f"not known; manifest {short(image.id)}"


def _engine(node: Node) -> str:
    return f"Docker Engine {node.version} at {node.url}, {node.store} image store"


def tell_answers(answers: Sequence[Answer]) -> None:
    """Print what the registries say."""
    rows = []
    for answer in answers:
        there = answer.lack or ("there" if answer.present else "GONE")
        tags = [f"{tag.name} → {_pointed(tag, answer)}" for tag in answer.tags]
        rows.append((answer.repository, short(answer.manifest), there, "\n".join(tags)))
    if rows:
        table("In the registries", ("where", "digest", "the digest is", "tags"), rows)


def _pointed(tag: stillthere.Tag, answer: Answer) -> str:
    if tag.digest == answer.manifest:
        return "this digest"
    moved = "MOVED to " if tag.fixed else "now "
    return f"{moved}{short(tag.digest)}" if tag.digest else "GONE"


def short(digest: str) -> str:
    return digest.removeprefix("sha256:")[:SHORT]


def as_json(
    known: Known, here: Sequence[Node], compared: Sequence[Node], pairs: Sequence[Pair], answers: Sequence[Answer]
) -> dict[str, Any]:
    """All of it for programs; ``schema`` counts the versions of its form."""
    return {
        "schema": SCHEMA,
        "published": [
            {
                **asdict(record),
                "time": record.time,
                "size": record.size,
                "gb10": [report.gpu for report in readmetable.of_gb10(record)],
                "here": [
                    {"engine": node.url, "running": [item.name for item in running]}
                    for node, running in knownimages.holders(record, here)
                ],
            }
            for record in known.records
        ],
        "engines": [_node(known, node) for node in here],
        "nodes": [_node(known, node) for node in compared],
        "pairs": [{**asdict(pair), "same": pair.fine} for pair in pairs],
        "remote": [{**asdict(answer), "findings": list(answer.findings)} for answer in answers],
    }


def _node(known: Known, node: Node) -> dict[str, Any]:
    def image(held: nodes.Held) -> dict[str, Any]:
        record, result = known.record_of(held), known.result_of(held)
        return {**asdict(held), "settings": dict(held.settings), "published": record.manifest if record else "",
                "recorded": result.target if result else ""}  # fmt: skip

    return {
        **asdict(node),
        "images": [image(held) for held in node.images],
        "running": [{**asdict(item), "image": image(item.image)} for item in node.running],
    }
