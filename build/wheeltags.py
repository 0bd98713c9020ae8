"""Which wheel of a release an installer takes: the one whose tags the environment likes best.

Tags: the platform compatibility tags specification (PEP 425, PEP 600). Only manylinux on CPython is known here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from build.errors import ResolveError

PLATFORM = re.compile(r"(?P<machine>[a-z0-9_]+)-manylinux_2_(?P<minor>\d+)")
OLDEST = {"x86_64": 5}  # the first glibc 2.x that the tags know; 17 for all other machines
LEGACY = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}

Ranks = Mapping[Tag, int]


def ranks(platform: str, python: str) -> Ranks:
    """Every tag that fits a platform like ``aarch64-manylinux_2_39`` and a Python like ``3.13``; 0 is liked best."""
    match = PLATFORM.fullmatch(platform)
    if match is None:
        raise ResolveError(
            f"the platform {platform} is not known",
            why="wheels are chosen by the glibc of the image",
            todo="write it like aarch64-manylinux_2_39 in lock/targets.toml",
        )
    machine = match["machine"]
    platforms = []
    for minor in range(int(match["minor"]), OLDEST.get(machine, 17) - 1, -1):
        platforms.append(f"manylinux_2_{minor}_{machine}")
        platforms += [f"{LEGACY[minor]}_{machine}"] if minor in LEGACY else []
    platforms.append(f"linux_{machine}")
    version = tuple(int(part) for part in python.split("."))
    interpreter = f"cp{version[0]}{version[1]}"
    # abis are named: left out, packaging would ask the Python that runs this.
    tags = [
        *cpython_tags(version, abis=[interpreter], platforms=platforms),
        *compatible_tags(version, interpreter, platforms),
    ]
    return {tag: number for number, tag in reversed(list(enumerate(tags)))}


def rank(file: str, known: Ranks) -> tuple[int, int, int, str]:
    """The place of a wheel's file name among those of its release: least is best, what does not fit is last.

    Of the same tags the highest build number counts (PEP 427). A name that is none of a wheel is last, too.
    """
    try:
        _, _, build, tags = parse_wheel_filename(file)
    except InvalidWheelFilename:
        return (len(known), 0, 0, file)
    return (min(known.get(tag, len(known)) for tag in tags), -len(build), -build[0] if build else 0, file)
