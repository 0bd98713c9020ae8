"""What a rendered Dockerfile takes in from outside: read strictly, so that what is not understood is a finding.

The form is the Dockerfile reference's: logical lines, instructions in any case, flags before arguments. Only what our
templates use is known here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

MACHINES = ("amd64", "arm64")
PLAIN = ("CMD", "ENTRYPOINT", "ENV", "EXPOSE", "HEALTHCHECK", "LABEL", "USER", "WORKDIR")  # take nothing in
FLAG = re.compile(r"--(?P<name>[a-z-]+)(?:=(?P<value>\S*))?$")
DIRECTIVE = re.compile(r"#\s*(syntax|escape|check)\s*=", re.IGNORECASE)
ADDRESS = re.compile(r"\b[a-z][a-z0-9+.-]*://|\bgit@", re.IGNORECASE)


def faults(dockerfile: str, layers: Sequence[str], others: Sequence[str] = ()) -> Iterator[str]:
    """What it is based on, copies from or asks the network for that no lock names; layers that no step installs.

    ``others``: further contexts that a build is given.
    """
    known = {"scratch", *(f"layer-{name}" for name in layers), *others}
    taken: set[str] = set()
    for line in dockerfile.splitlines():
        if DIRECTIVE.match(line.strip()):
            yield f"the Dockerfile has a directive: {line.strip()}"
    for line in _logical(dockerfile):
        word, *rest = line.split()
        flags, arguments = _flags(rest)
        if word.upper() == "FROM":
            yield from _from(arguments, known)
        elif word.upper() in ("ADD", "COPY", "RUN"):
            sources = set(_sources(flags))
            taken |= sources
            yield from (f"the Dockerfile copies from {name}, which no lock names" for name in sorted(sources - known))
            yield from _network(word.upper(), flags, line)
        elif word.upper() == "ARG":
            open_ones = [name for name in arguments if "=" not in name]
            yield from (f"the Dockerfile takes {name} from whoever builds it" for name in open_ones)
        elif word.upper() not in PLAIN:
            yield f"the Dockerfile has an instruction that is not understood: {line[:80]}"
        if word.upper() not in ("LABEL", "ENV") and ADDRESS.search(line):
            yield f"the Dockerfile has an address in it: {line[:80]}"
    yield from (
        f"no step of the Dockerfile installs the layer '{name}'" for name in layers if f"layer-{name}" not in taken
    )


def _logical(text: str) -> Iterator[str]:
    """Lines with their continuations; comments and empty lines are left out, also within."""
    whole = ""
    for line in text.splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        whole += line.strip().removesuffix("\\") + " "
        if not line.rstrip().endswith("\\"):
            yield whole.strip()
            whole = ""
    if whole.strip():
        yield whole.strip()


def _flags(words: Sequence[str]) -> tuple[list[tuple[str, str]], list[str]]:
    """The flags before the first argument, and the arguments."""
    flags: list[tuple[str, str]] = []
    for place, word in enumerate(words):
        match = FLAG.match(word)
        if match is None:
            return flags, list(words[place:])
        flags.append((match["name"], match["value"] or ""))
    return flags, []


def _from(arguments: Sequence[str], known: set[str]) -> Iterator[str]:
    """A stage's base; its name is known from here on."""
    image = arguments[0] if arguments else "nothing"
    machines = [image.replace("${BUILDARCH}", machine) for machine in MACHINES]  # BuildKit's own, not its user's
    if not all(name in known for name in machines):
        yield f"the Dockerfile is based on {image}, which no lock names"
    if len(arguments) == 3 and arguments[1].upper() == "AS":
        known.add(arguments[2])
    elif len(arguments) != 1:
        yield f"the Dockerfile has a stage that is not understood: FROM {' '.join(arguments)}"


def _sources(flags: Sequence[tuple[str, str]]) -> Iterator[str]:
    """The stages, contexts or images that ``--from`` and ``--mount`` name."""
    for name, value in flags:
        if name == "from":
            yield value
        if name == "mount":
            yield from (part.partition("=")[2] for part in value.split(",") if part.partition("=")[0] == "from")


def _network(word: str, flags: Sequence[tuple[str, str]], line: str) -> Iterator[str]:
    if word == "RUN" and ("network", "none") not in flags:
        yield f"the Dockerfile has a step with a network: {line[:80]}"
    if "<<" in line:
        yield f"the Dockerfile has a here-document, which is not read here: {line[:80]}"
