"""Two formats of files that Debian's programs keep: update-alternatives' and ldconfig's."""

from __future__ import annotations

import struct

CACHE_HEAD, CACHE_ENTRY = struct.Struct("<20sII20x"), struct.Struct("<iIIIQ")  # glibc's sysdeps/generic/dl-cache.h


def parse_alternative(name: str, text: str) -> tuple[list[tuple[str, str]], list[list[str]]]:
    r"""The file of an alternative: (name, link) of it and of each slave, and of each choice where they lead.

    A choice is a path, a priority, and a path for each slave, empty where it has none.

    >>> parse_alternative("awk", "auto\n/usr/bin/awk\nnawk\n/usr/bin/nawk\n\n/usr/bin/mawk\n5\n/usr/bin/mawk\n\n")
    ([('awk', '/usr/bin/awk'), ('nawk', '/usr/bin/nawk')], [['/usr/bin/mawk', '/usr/bin/mawk']])
    """
    head, _, rest = text.partition("\n\n")
    lines = head.split("\n")[1:]
    if not lines or len(lines) % 2 == 0:
        return [], []
    generic = [(name, lines[0]), *zip(lines[1::2], lines[2::2], strict=True)]
    rows = rest.split("\n")
    size = len(generic) + 1
    choices = [rows[at : at + size] for at in range(0, len(rows), size) if any(rows[at : at + size])]
    if any(len(choice) != size for choice in choices):
        return [], []
    return generic, [[choice[0], *choice[2:]] for choice in choices]


def parse_cache(data: bytes) -> list[tuple[str, str]]:
    """The names and files of an ``ld.so.cache`` in glibc's own form, little-endian as on aarch64."""
    magic, count, _ = CACHE_HEAD.unpack_from(data)
    if magic != b"glibc-ld.so.cache1.1":
        raise ValueError("it has another form")
    found = []
    for number in range(count):
        _, name, file, _, _ = CACHE_ENTRY.unpack_from(data, CACHE_HEAD.size + number * CACHE_ENTRY.size)
        found.append((_string(data, name), _string(data, file)))
    return found


def _string(data: bytes, at: int) -> str:
    return data[at : data.index(b"\0", at)].decode()
