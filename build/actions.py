"""GitHub Actions that the workflows use: each at a commit that ``lock/actions.toml`` holds, with its tag beside it.

A tag of an action is somebody else's moving pointer into a job that holds our token; GitHub's own guide on security
hardening ("Using third-party actions") asks for the whole commit hash.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from build import lockform
from build.canonical import digest
from build.console import warn
from build.errors import CommandError, LockError, MovedTagError, NetworkError, NewerLockError

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


def held(repo: Path) -> tuple[Action, ...]:
    """What was locked before, whatever table it was made from; nothing where no lock can be read."""
    try:
        return read(repo)[1]
    except NewerLockError:
        raise
    except LockError:
        return ()


def resolve(
    wanted: Mapping[str, str], lookup: Callable[[str, str], str], known: Iterable[Action] = (), *, anew: bool = False
) -> tuple[Action, ...]:
    """Each wanted action (name → tag) with its commit; ``lookup`` (URL, tag) → commit.

    ``known``: what was locked before. It is not asked for again but ``anew``, and stays, with a warning, where its
    remote cannot be reached. Raises ``MovedTagError`` where a tag is not where it was, and what ``lookup`` raises.
    """
    locked = {item.name: item for item in known if item.tag == wanted.get(item.name)}
    found, unreached = [], {}
    for name, tag in sorted(wanted.items()):
        before = locked.get(name)
        if before is not None and not anew:
            found.append(before)
            continue
        try:
            commit = lookup(f"{HOST}/{name}", tag)
        except (NetworkError, CommandError) as error:  # no answer; or no git here
            if before is None:
                raise
            commit, unreached[name] = before.commit, error.why.splitlines()[0] if error.why else error.what
        if before is not None and before.commit != commit:
            raise _moved(before, commit)
        found.append(Action(name=name, tag=tag, commit=commit))
    if unreached:
        names = list(unreached)
        warn(f"[actions]: {', '.join(names)} stay as they were locked ({unreached[names[0]]})")
    return tuple(found)


def _moved(before: Action, found: str) -> MovedTagError:
    return MovedTagError(
        f"the tag {before.tag} of {before.name} has moved",
        why=f"locked is {before.commit}, the remote says {found}",
        todo=f"find out why; to stay, leave --upgrade out; to accept it, remove {FILE} and run `nox -s lock`",
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
