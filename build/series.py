"""The ordered list of patches of a target: ``patches/<name>/series``, read strictly.

A line is ``component/file.patch``, or ``series/component/file.patch`` for a patch of another series that applies to
both; ``#`` starts a comment. The order is the file's. What is listed must be there, what is there must be listed, and
each patch carries a provenance header (DEP-3, the Debian patch tagging guidelines) with one field of ours:
``Behaviour-Test``, the name of the behaviour (``dockerfiles/image/checks/behaviours/``) that proves what it does.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path, PurePosixPath

from build.canonical import digest
from build.errors import PatchError
from build.models import PatchRef
from build.udiffparse import header

FOLDER = Path("patches")
REQUIRED = ("description", "origin", "applied-upstream", "last-update", "behaviour-test")

_ENTRY = re.compile(r"^([a-z0-9][a-z0-9.-]*/){1,2}[A-Za-z0-9][A-Za-z0-9._+-]*\.patch$")
_BEHAVIOUR = re.compile(r"^[a-z0-9]+(-[a-z0-9]+)*$")
_FIELD = re.compile(r"^([A-Z][A-Za-z-]*):(?: (.*)|$)")


@dataclass(frozen=True, kw_only=True)
class SeriesPatch:
    """One patch of a series: its place and hash, its bytes, and its header's fields by lower-case name."""

    ref: PatchRef
    data: bytes
    fields: Mapping[str, str]

    @property
    def name(self) -> str:
        """What messages call it: ``component/file.patch``."""
        return f"{self.ref.component}/{self.ref.file}"

    @property
    def path(self) -> Path:
        """Where it is in the repository."""
        return FOLDER / self.ref.series / self.name

    @property
    def header(self) -> bytes:
        """All of it that stands above its change."""
        return header(self.data)

    @property
    def behaviour(self) -> str:
        """The behaviour that proves it, by name."""
        return self.fields["behaviour-test"]


@dataclass(frozen=True, kw_only=True)
class Series:
    """A whole series, in order."""

    name: str
    patches: tuple[SeriesPatch, ...]

    @property
    def refs(self) -> tuple[PatchRef, ...]:
        return tuple(patch.ref for patch in self.patches)

    @property
    def id(self) -> str:
        return series_id(self.refs)

    def of(self, component: str) -> tuple[SeriesPatch, ...]:
        """The patches of one component, in order."""
        return tuple(patch for patch in self.patches if patch.ref.component == component)

    @property
    def components(self) -> tuple[str, ...]:
        """The components that it patches, each once, in the order of their first patch."""
        return tuple(dict.fromkeys(patch.ref.component for patch in self.patches))

    @property
    def behaviours(self) -> tuple[str, ...]:
        """The behaviours that prove its patches, each once, in order."""
        return tuple(dict.fromkeys(patch.behaviour for patch in self.patches))


def series_id(refs: Sequence[PatchRef]) -> str:
    """The id of a series: sha256 over its patches' names and hashes, in order."""
    return digest([[ref.component, ref.file, ref.sha256] for ref in refs])


def read(repo: Path, name: str, components: Collection[str]) -> Series:
    """Read ``patches/<name>/`` of the repository. ``components``: those that the target declares.

    Raises :class:`PatchError`: no series file, or one that is no text; or, all at once with their line, a line that is
    no ``component/file.patch``, a component that the target lacks, a patch listed twice or not there, a patch or
    stray file not listed, a header field missing.
    """
    faults: list[str] = []
    patches = tuple(_patches(repo, name, components, faults))
    listed = {patch.name for patch in patches if patch.ref.series == name}
    faults += [f"{stray}: not listed in series" for stray in _present(repo / FOLDER / name) if stray not in listed]
    if not patches and not faults:
        faults.append("it lists no patch")
    if faults:
        raise PatchError(
            f"the series '{name}' has {'a fault' if len(faults) == 1 else f'{len(faults)} faults'}",
            why="\n       ".join(faults),
            todo=f"correct {FOLDER / name}/; the order of its series file is the order of application",
        )
    return Series(name=name, patches=patches)


def entries(repo: Path, name: str) -> tuple[tuple[int, str], ...]:
    """The entries of a series file, as they are written, with their lines; nothing is asked of the patches.

    Raises :class:`PatchError` where there is no such file, or it is no UTF-8 text.
    """
    file = FOLDER / name / "series"
    try:
        text = (repo / file).read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise PatchError(
            f"there is no series '{name}'",
            why=f"{file} is not there; without it the image would be built unpatched",
            todo="restore the file, or name another series in the target's table of lock/targets.toml",
        ) from error
    except (UnicodeDecodeError, IsADirectoryError) as error:
        why = f"it is not UTF-8 text: {error}" if isinstance(error, UnicodeDecodeError) else "it is a folder"
        raise PatchError(f"{file} cannot be read", why=why, todo="restore the file") from error
    found = ((number, raw.split("#", 1)[0].strip()) for number, raw in enumerate(text.splitlines(), start=1))
    return tuple((number, entry) for number, entry in found if entry)


def _patches(repo: Path, name: str, components: Collection[str], faults: list[str]) -> Iterator[SeriesPatch]:
    seen: dict[tuple[str, str], str] = {}
    for number, entry in entries(repo, name):
        place = f"line {number}: {entry}"
        if not _ENTRY.match(entry) or ".." in PurePosixPath(entry).parts:
            faults.append(f"{place}: not of the form component/file.patch or series/component/file.patch")
            continue
        *other, component, file = entry.split("/")
        of = other[0] if other else name
        if (component, file) in seen:
            same = seen[component, file] == entry
            faults.append(f"{place}: {'listed twice' if same else 'a patch of this name is listed already'}")
        elif component not in components:
            faults.append(f"{place}: the target has no component '{component}'")
        elif not _inside(repo / FOLDER / of, f"{component}/{file}"):
            faults.append(f"{place}: not there (or not a plain file in {of}/)")
        else:
            data = (repo / FOLDER / of / component / file).read_bytes()
            fields = provenance(header(data).decode("utf-8", "replace"))
            faults += [f"{place}: {fault}" for fault in _header_faults(fields)]
            ref = PatchRef(series=of, component=component, file=file, sha256=hashlib.sha256(data).hexdigest())
            yield SeriesPatch(ref=ref, data=data, fields=fields)
        seen.setdefault((component, file), entry)


def _inside(folder: Path, entry: str) -> bool:
    """A plain file below the series' folder; a link out of it is not."""
    path = folder / entry
    return path.is_file() and path.resolve().is_relative_to(folder.resolve())


def _present(folder: Path) -> list[str]:
    files = (path for path in sorted(folder.rglob("*")) if not path.is_dir())
    return [str(path.relative_to(folder)) for path in files if path != folder / "series"]


def provenance(text: str) -> dict[str, str]:
    r"""The fields of a patch's header, names in lower case; continuation lines are joined with newlines.

    In git's form ``Subject`` and ``From`` stand for ``Description`` and ``Author`` (DEP-3). Text outside fields
    and everything from a ``---`` line on (git's list of changed files) is passed over.

    >>> provenance("Subject: [PATCH] A fix\n\nOrigin: vendor\nBug: x\n y\n---\nForwarded: no")["bug"]
    'x\ny'
    """
    fields: dict[str, str] = {}
    current = None
    for line in text.splitlines():
        if line == "---":
            break
        if found := _FIELD.match(line):
            current = found[1].lower()
            fields[current] = found[2] or ""
        elif line.startswith((" ", "\t")) and current:
            fields[current] += "\n" + line.strip()
        else:
            current = None
    if "subject" in fields:
        subject = re.sub(r"^\[PATCH[^\]]*\]\s*", "", fields["subject"].replace("\n", " "))
        fields.setdefault("description", subject)
    if "from" in fields:
        fields.setdefault("author", fields["from"])
    return fields


def _header_faults(fields: Mapping[str, str]) -> Iterator[str]:
    for name in REQUIRED:
        if not fields.get(name):
            yield f"its header lacks {name.title()}"
    if not any(name == "forwarded" or name.startswith("bug") for name in fields):
        yield "its header lacks Bug or Forwarded"
    if updated := fields.get("last-update"):
        try:
            date.fromisoformat(updated)
        except ValueError:
            yield f"its Last-Update is not a date (YYYY-MM-DD): {updated}"
    if (behaviour := fields.get("behaviour-test")) and not _BEHAVIOUR.match(behaviour):
        yield f"its Behaviour-Test is not the name of one (router-kernel): {behaviour}"
