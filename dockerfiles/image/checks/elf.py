"""Every ELF file of the image is for the image's architecture.

Numbers are those of the ELF specification (e_machine): 183 AArch64, 190 CUDA device code, 247 BPF.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from typing import BinaryIO

from .events import Context, Failed, Outcome, listed

AARCH64 = 183
DEVICE_CODE = {190: "CUDA", 247: "BPF"}  # not run by the CPU
NAMES = {3: "i386", 40: "ARM", 62: "x86-64", 183: "AArch64", 190: "CUDA", 243: "RISC-V", 247: "BPF"}
HEADER = 20
PT_LOAD, PT_DYNAMIC, DT_NEEDED, DT_STRTAB, DT_STRSZ = 1, 2, 1, 5, 10
DT_RPATH, DT_RUNPATH = 15, 29


def machine(head: bytes) -> int | None:
    """``e_machine`` from a file's first 20 bytes; None where they are no ELF header."""
    if len(head) < HEADER or head[:4] != b"\x7fELF":
        return None
    order = ">" if head[5] == 2 else "<"
    return int(struct.unpack_from(f"{order}H", head, 18)[0])


def regular_files(root: str) -> Iterator[str]:
    """Each regular file below ``root`` on its own file system: /proc, mounts and links are passed over."""
    device = os.lstat(root).st_dev
    waiting = [root]
    while waiting:
        try:
            entries = list(os.scandir(waiting.pop()))
        except PermissionError:
            continue
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                if entry.stat(follow_symlinks=False).st_dev == device:
                    waiting.append(entry.path)
            elif entry.is_file(follow_symlinks=False):
                yield entry.path


def dynamic(path: str) -> list[tuple[int, int]]:
    """The entries (tag, value) of a 64-bit little-endian ELF file's dynamic section (PT_DYNAMIC); none of others."""
    with open(path, "rb") as stream:
        found: list[tuple[int, int]] = []
        for kind, _, offset, _, _, length, *_ in _headers(stream):
            if kind == PT_DYNAMIC:
                stream.seek(offset)
                found = [*struct.iter_unpack("<QQ", stream.read(length - length % 16))]
        return found


def _headers(stream: BinaryIO) -> list[tuple[int, ...]]:
    head = stream.read(64)
    if len(head) < 64 or head[:6] != b"\x7fELF\x02\x01" or machine(head) in DEVICE_CODE:
        return []
    start, size, count = (*struct.unpack_from("<Q", head, 32), *struct.unpack_from("<HH", head, 54))
    stream.seek(start)
    table = stream.read(size * count)
    return [struct.unpack_from("<II6Q", table, size * number) for number in range(count)]


def needed(path: str) -> list[str]:
    """The names of the libraries that a 64-bit little-endian ELF file asks its loader for (DT_NEEDED); none of others.

    Names are found through the program headers (PT_DYNAMIC, PT_LOAD), which a loader needs and strip leaves alone.
    """
    entries = dynamic(path)
    names = [value for tag, value in entries if tag == DT_NEEDED]
    address = next((value for tag, value in entries if tag == DT_STRTAB), 0)
    length = next((value for tag, value in entries if tag == DT_STRSZ), 0)
    with open(path, "rb") as stream:
        for kind, _, offset, at, _, filled, *_ in _headers(stream) if names else ():
            if kind == PT_LOAD and at <= address < at + filled:
                stream.seek(offset + address - at)
                strings = stream.read(length)
                return [strings[name : strings.index(b"\0", name)].decode() for name in names]
    return []


def check_elf(context: Context, root: str = "/") -> Outcome:  # noqa: ARG001 - all checks are called alike
    """Fails on an ELF file that neither AArch64 runs nor a GPU; counts what this user may not read."""
    counts: dict[str, int] = {}
    foreign: list[str] = []
    unreadable: list[str] = []
    files = 0
    for path in regular_files(root):
        files += 1
        try:
            handle = os.open(path, os.O_RDONLY)
        except OSError:
            unreadable.append(path)
            continue
        head = os.read(handle, HEADER)
        os.close(handle)
        found = machine(head)
        if found is None:
            continue
        name = NAMES.get(found, f"machine {found}")
        counts[name] = counts.get(name, 0) + 1
        if found != AARCH64 and found not in DEVICE_CODE:
            foreign.append(f"{path} ({name})")
    evidence = {"files": files, "elf": counts, "unreadable": listed(unreadable), "foreign": listed(foreign)}
    if foreign:
        raise Failed(f"{len(foreign)} ELF files are not for AArch64: {foreign[0]}", evidence)
    if not counts.get("AArch64"):
        raise Failed("no AArch64 ELF file was found at all", evidence)
    return Outcome(evidence)
