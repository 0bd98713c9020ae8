"""What `nox -s images` found, for people as tables and for programs as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from build import knownimages, nodes, readmetable, stillthere
from build.console import human_bytes, table
from build.knownimages import Known
from build.nodes import Node
from build.published import Record
from build.samenode import Pair
from build.stillthere import Answer

SCHEMA = 1
SHORT = 12  # of a digest


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
