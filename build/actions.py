"""GitHub Actions that the workflows use: each at a commit that ``lock/actions.toml`` holds, with its tag beside it.

A tag of an action is somebody else's moving pointer into a job that holds our token; GitHub's own guide on security
hardening ("Using third-party actions") asks for the whole commit hash.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from build import lockform
from build.canonical import digest
from build.errors import LockError

SCHEMA = 1
FILE = Path("lock/actions.toml")
HEADER = "# Written by `nox -s lock`, from [actions] of targets.toml. The commits that workflows must name.\n"
HOST = "https://github.com"

_USES = re.compile(r"""^\s*(?:-\s+)?uses:\s*["']?(?P<what>[^\s"'#]+)["']?\s*(?:#\s*(?P<note>\S+))?""")
_IMAGE = re.compile(r"""^\s*(?:-\s+)?["']?(?:container|image)["']?\s*:\s*["']?(?P<what>[^\s"'#{]+)""")
_MENTIONS = re.compile(r"""^[^#]*(?:["']?\buses\b["']?\s*:|\b(?:container|image)\b["']?\s*:\s*[^\s#])""")
_COMMIT = re.compile(r"^[0-9a-f]{40}$")


@dataclass(frozen=True, kw_only=True)
class Action:
    """A locked action: its repository (``owner/name``), the tag that was asked for, the commit it stood for."""

    name: str
    tag: str
    commit: str


@dataclass(frozen=True, kw_only=True)
class Use:
    """A ``uses:`` line of a workflow: where it is, what it names, the comment behind it."""

    place: str
    what: str
    note: str


def uses(repo: Path) -> tuple[Use, ...]:
    """Every ``uses:`` of the repository's workflows and own actions."""
    found = []
    for path in sorted((repo / ".github").rglob("*.y*ml")):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            place = f"{path.relative_to(repo)}:{number}"
            if match := _USES.match(line):
                found.append(Use(place=place, what=match["what"], note=match["note"] or ""))
            elif match := _IMAGE.match(line):
                found.append(Use(place=place, what=f"docker://{match['what']}", note=""))
            elif _MENTIONS.search(line):
                found.append(Use(place=place, what="", note=""))
    return tuple(found)


def read(repo: Path) -> tuple[str, tuple[Action, ...]]:
    """The checksum of the intent that the lock was made from, and the locked actions."""
    refresh = "run `nox -s lock`"
    data = lockform.read(repo / FILE, name=str(FILE), schema=SCHEMA, refresh=refresh)
    return str(data["intent"]), tuple(Action(**row) for row in data["actions"])


def resolve(wanted: Mapping[str, str], lookup: Callable[[str, str], str]) -> tuple[Action, ...]:
    """Each wanted action (name → tag) with its commit; ``lookup`` (URL, tag) → commit."""
    return tuple(
        Action(name=name, tag=tag, commit=lookup(f"{HOST}/{name}", tag)) for name, tag in sorted(wanted.items())
    )


def text(wanted: Mapping[str, str], found: tuple[Action, ...]) -> str:
    """The bytes of ``lock/actions.toml``."""
    data = {"intent": intent_checksum(wanted), "actions": [asdict(item) for item in found]}
    return lockform.text(HEADER, SCHEMA, data)


def is_fresh(repo: Path, wanted: Mapping[str, str]) -> bool:
    """Whether the lock is there and was made from today's table."""
    try:
        return read(repo)[0] == intent_checksum(wanted)
    except LockError:
        return False


def intent_checksum(wanted: Mapping[str, str]) -> str:
    """The checksum of the table ``[actions]``."""
    return digest(dict(wanted))


def faults(repo: Path, wanted: Mapping[str, str]) -> Iterator[str]:
    """Workflows that use an action otherwise than it is locked, and locked ones that none uses."""
    used = uses(repo)
    if not used and not wanted:
        return
    intent, locked = read(repo)
    if intent != intent_checksum(wanted):
        yield f"{FILE} is stale: [actions] of lock/targets.toml has changed since it was made"
    known = {action.name: action for action in locked}
    for use in used:
        yield from _fault(use, known)
    named = {"/".join(use.what.split("@")[0].split("/")[:2]) for use in used}
    for name in sorted(known.keys() - named):
        yield f"[actions] of lock/targets.toml: no workflow uses {name}"


def _fault(use: Use, known: Mapping[str, Action]) -> Iterator[str]:
    if not use.what:
        yield f"{use.place}: write it as `uses: owner/name@COMMIT  # TAG`, on a line of its own, to be checked"
        return
    what, _, ref = use.what.partition("@")
    if what.startswith("./"):
        return
    if what.startswith("docker://"):
        if not ref.startswith("sha256:"):
            yield f"{use.place}: {use.what} is an image without a digest"
        return
    action = known.get("/".join(what.split("/")[:2]))
    if action is None:
        yield f"{use.place}: {what} is not in [actions] of lock/targets.toml"
    elif not _COMMIT.match(ref):
        yield f"{use.place}: {what} is used at '{ref}'; write @{action.commit}  # {action.tag}"
    elif ref != action.commit:
        yield f"{use.place}: {what} is used at {ref[:12]}, locked is {action.commit[:12]} ({action.tag})"
    elif use.note != action.tag:
        yield f"{use.place}: the comment behind {what} should be the tag, {action.tag}"
