"""What CMake says it would compile, in ``compile_commands.json``, as units; and which of them an object file is of."""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from build.errors import CommandError
from build.units import Unit

DEFAULT = "default"  # the architecture that nvcc chooses where it is told none
SHOWN = 10  # faults in a message; every file would have one if a root moved

_OBJECT = re.compile(r"(?:^|/)CMakeFiles/([^/]+)\.dir/(.+)\.o$")
# nvcc 13.0, "Options for Steering GPU Code Generation"; CMake writes the long one, vLLM's own macros the short one.
_OPTION = re.compile(r"(-gencode|--generate-code|-arch|--gpu-architecture|-code|--gpu-code)(?:=(.*))?")
_GENERATE = re.compile(r"arch=\w+,code=\[?(\w+(?:,\w+)*)\]?")


@dataclass(frozen=True, kw_only=True)
class Roots:
    """Where the build has its trees (absolute paths): vLLM's, the externals' (each in ``<name>-src``), CMake's."""

    source: str = "/src/vllm"
    deps: str = "/src/deps"
    build: str = "/src/build"


def parse(compile_commands: Sequence[Mapping[str, Any]], *, roots: Roots = Roots()) -> tuple[Unit, ...]:
    """The units of CMake's ``compile_commands.json`` (its members: clang's "JSON Compilation Database"), sorted.

    Raises :class:`CommandError` with the place of each entry that cannot be read or lies outside of the roots.
    """
    found: dict[tuple[str, str], Unit] = {}
    faults = [] if compile_commands else ["it has no entry"]
    for number, entry in enumerate(compile_commands):
        try:
            unit = _unit(entry, roots)
            if found.setdefault((unit.target, unit.source), unit) is not unit:
                raise ValueError(f"{unit.target} compiles it twice")  # noqa: TRY301 - a fault like the others
        except ValueError as error:
            faults.append(f"entry {number} ({entry.get('file', 'no file')}): {error}")
    if faults:
        more = [f"and {len(faults) - SHOWN} more"] if len(faults) > SHOWN else []
        raise CommandError(
            "CMake's compile_commands.json does not read as a list of units",
            why="\n       ".join(faults[:SHOWN] + more),
            todo="see what moved in vLLM's CMake files; what is understood of them is in build/compilecommands.py",
        )
    return tuple(sorted(found.values()))


def _unit(entry: Mapping[str, Any], roots: Roots) -> Unit:
    for key in ("directory", "command", "file"):
        if not isinstance(entry.get(key), str):
            raise ValueError(f"no {key}")  # noqa: TRY004 - a fault of the file, told with the others
    argv = shlex.split(entry["command"])
    output = entry.get("output") or _after("-o", argv)  # CMake 3.25 does not tell it apart
    target = _OBJECT.search(output)
    if target is None:
        raise ValueError(f"its output {output!r} does not tell CMake's target")
    cuda = entry["file"].endswith(".cu") or _after("-x", argv) == "cu"
    return Unit(
        target=target[1],
        source=_source(posixpath.join(entry["directory"], entry["file"]), roots),
        architectures=architectures(argv) if cuda else (),
    )


def _after(option: str, argv: Sequence[str]) -> str:
    return next((value for word, value in pairwise(argv) if word == option), "")


def _source(path: str, roots: Roots) -> str:
    """The file's name in the list, which is no other file's."""
    place = posixpath.normpath(path)
    if place.startswith(f"{roots.build}/"):
        return f"build/{place[len(roots.build) + 1 :]}"
    if place.startswith(f"{roots.deps}/"):
        folder, _, rest = place[len(roots.deps) + 1 :].partition("/")
        if rest and folder.endswith("-src") and folder != "-src":
            return f"deps/{folder.removesuffix('-src')}/{rest}"
    elif place.startswith(f"{roots.source}/"):
        below = place[len(roots.source) + 1 :]
        if not below.startswith(("build/", "deps/")):
            return below
    raise ValueError(f"{place} is not in {roots.build}, {roots.deps}/<name>-src or {roots.source} but build/ and deps/")


def architectures(argv: Sequence[str]) -> tuple[str, ...]:
    """What nvcc makes code for, by its options; ``ValueError`` for one that it would not understand either.

    >>> architectures(["nvcc", "-gencode", "arch=compute_120f,code=sm_120f", "-c", "a.cu"])
    ('sm_120f',)
    >>> architectures(["--generate-code=arch=compute_80,code=[compute_80,sm_80]"]), architectures(["-arch=sm_90"])
    (('compute_80', 'sm_80'), ('compute_90', 'sm_90'))
    """
    found: set[str] = set()
    said = {"arch": "", "code": ""}
    for option, given in _options(argv):
        value = given.replace('"', "").replace("'", "")
        if option in ("-gencode", "--generate-code"):
            generated = _GENERATE.fullmatch(value)
            if generated is None:
                raise ValueError(f"{option} {given} is not understood")
            found.update(generated[1].split(","))
        else:
            said["arch" if "arch" in option else "code"] = value
    if said["code"]:
        found.update(said["code"].strip("[]").split(","))
    elif said["arch"]:  # nvcc's shorthand: machine code, and PTX of the same
        found |= {said["arch"], said["arch"].replace("sm_", "compute_")}
    return tuple(sorted(found)) or (DEFAULT,)


def _options(argv: Sequence[str]) -> Iterator[tuple[str, str]]:
    """(option, value) in either spelling, ``-o=v`` and ``-o v``."""
    rest = iter(argv)
    for word in rest:
        option = _OPTION.fullmatch(word)
        if option:
            yield option[1], next(rest, "") if option[2] is None else option[2]


def unit_of(output: str, units: Iterable[Unit]) -> Unit | None:
    """The unit that an object file was made of; None for what is none, or of no unit.

    CMake names it by the source's place in its own tree, or by all of its path.

    >>> one = Unit(target="_C", source="deps/qutlass/csrc/gemm.cu")
    >>> unit_of("CMakeFiles/_C.dir/src/deps/qutlass-src/csrc/gemm.cu.o", [one]) == one
    True
    """
    found = _OBJECT.search(output)
    if found is None:
        return None
    path = "/" + re.sub(r"(^|/)deps/([^/]+)-src/", r"\1deps/\2/", found[2])
    near = [
        unit
        for unit in units
        if unit.target == found[1] and (path.endswith(f"/{unit.source}") or f"/{unit.source}".endswith(path))
    ]
    return min(near, key=lambda unit: abs(len(unit.source) + 1 - len(path)), default=None)


def is_object(output: str) -> bool:
    """Whether an output is an object file of one of CMake's targets."""
    return _OBJECT.search(output) is not None
