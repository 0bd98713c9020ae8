"""Which SM architectures a library carries, read from its fat binaries without any CUDA tool.

NVIDIA documents no format. This reader was derived from what nvcc 13.0 writes for known ``-gencode`` options and is
held to ``cuobjdump`` in the tests. A fat binary is a header (magic 0xBA55ED50, u16 version, u16 header size, u64
size of what follows) and entries, each a header and a payload:

    offset  0  u16 kind: 1 PTX, 2 SASS (a cubin), 8 LTO intermediate code
    offset  4  u32 header size     offset 8  u64 payload size     offset 28  u32 architecture (120 for sm_120)
    offset 40  u64 flags: 0x100000 architecture-specific ("a"), 0x200000 family-specific ("f")

A cubin is an ELF file (e_machine 190). Its e_flags hold the architecture: in bits 8 to 15 since version 8 of its ABI
(EI_ABIVERSION), in bits 0 to 7 before.
"""

from __future__ import annotations

import mmap
import struct
from collections import Counter
from dataclasses import dataclass

MAGIC = 0xBA55ED50
MAGIC_BYTES = struct.pack("<I", MAGIC)
HEADER = struct.Struct("<IHHQ")
ENTRY = struct.Struct("<HHIQ")
KINDS = {1: "ptx", 2: "sass", 8: "lto"}
ARCHITECTURE_SPECIFIC, FAMILY_SPECIFIC = 0x100000, 0x200000
SMALLEST_ENTRY = 48
ELF_HEAD, CUDA, ABI_8 = 52, 190, 8

NATIVE, FIRST_USE, NONE = "native", "first use", "none"


@dataclass(frozen=True, order=True)
class Code:
    """One piece of device code: ``sass`` 120 ``f`` is what nvcc calls sm_120f, ``ptx`` 80 is compute_80."""

    kind: str
    arch: int
    suffix: str = ""

    def __str__(self) -> str:
        return f"{'sm' if self.kind == 'sass' else 'compute'}_{self.arch}{self.suffix}" + (
            " (LTO)" if self.kind == "lto" else ""
        )


def read_fatbins(path: str) -> list[tuple[Code, ...]]:
    """The code of each fat binary in a file, in file order (one per translation unit that holds kernels)."""
    with open(path, "rb") as stream:
        try:
            data = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError:  # an empty file
            return []
        with data:
            return list(_fatbins(data))


def device_code(path: str) -> list[Code]:
    """Every kind of device code in a file, sorted: what its fat binaries hold, or a cubin's own."""
    with open(path, "rb") as stream:
        head = stream.read(ELF_HEAD)
    if head[:4] == b"\x7fELF" and len(head) == ELF_HEAD and struct.unpack_from("<H", head, 18)[0] == CUDA:
        flags = struct.unpack_from("<I", head, 48)[0]
        return [Code("sass", (flags >> 8 if head[8] >= ABI_8 else flags) & 0xFF)]
    return sorted({code for codes in read_fatbins(path) for code in codes})


def _fatbins(data: mmap.mmap | bytes) -> list[tuple[Code, ...]]:
    found = []
    position = data.find(MAGIC_BYTES)
    while position >= 0:
        codes, end = _fatbin(data, position)
        if codes:
            found.append(codes)
        position = data.find(MAGIC_BYTES, end)
    return found


def _fatbin(data: mmap.mmap | bytes, start: int) -> tuple[tuple[Code, ...], int]:
    """The codes of the fat binary at ``start`` and where it ends; no code where the bytes only look like one."""
    after_magic = start + len(MAGIC_BYTES)
    if start + HEADER.size > len(data):
        return (), after_magic
    _, version, header_size, size = HEADER.unpack_from(data, start)
    end = start + header_size + size
    if version != 1 or header_size < HEADER.size or end > len(data):
        return (), after_magic
    codes = []
    position = start + header_size
    while position + SMALLEST_ENTRY <= end:
        kind, _, entry_header, payload = ENTRY.unpack_from(data, position)
        if entry_header < SMALLEST_ENTRY or position + entry_header + payload > end:
            break  # padding
        if kind in KINDS:
            arch = struct.unpack_from("<I", data, position + 28)[0]
            flags = struct.unpack_from("<Q", data, position + 40)[0]
            suffix = "a" if flags & ARCHITECTURE_SPECIFIC else "f" if flags & FAMILY_SPECIFIC else ""
            codes.append(Code(KINDS[kind], arch, suffix))
        position += entry_header + payload
    return tuple(codes), end if codes else after_magic


def serves(code: Code, capability: int) -> str:
    """How a device of ``capability`` (121 for 12.1) can use a code: NATIVE, FIRST_USE (compiled by the driver) or NONE.

    CUDA's rules: plain SASS runs on its major version from its minor version on, ``f`` within its family likewise,
    ``a`` on exactly its own; plain PTX compiles for anything newer, with a suffix for what its SASS would run on.

    >>> serves(Code("sass", 120, "f"), 121), serves(Code("sass", 120, "a"), 121), serves(Code("sass", 90, "a"), 121)
    ('native', 'none', 'none')
    >>> serves(Code("ptx", 80), 121), serves(Code("ptx", 120, "a"), 121)
    ('first use', 'none')
    """
    same_major = code.arch // 10 == capability // 10 and code.arch <= capability
    if code.kind == "lto":
        return NONE
    if code.suffix == "a":
        fits = code.arch == capability
    elif code.suffix == "f" or code.kind == "sass":
        fits = same_major
    else:
        fits = code.arch <= capability
    if not fits:
        return NONE
    return NATIVE if code.kind == "sass" else FIRST_USE


def best(codes: tuple[Code, ...], capability: int) -> str:
    """The best that a fat binary offers to a device."""
    offers = {serves(code, capability) for code in codes}
    return NATIVE if NATIVE in offers else FIRST_USE if FIRST_USE in offers else NONE


def summary(fatbins: list[tuple[Code, ...]], capability: int) -> dict[str, object]:
    """A library in figures: fat binaries per architecture, and how many a device can use natively, late, never."""
    architectures = Counter(str(code) for codes in fatbins for code in set(codes))
    offers = Counter(best(codes, capability) for codes in fatbins)
    return {
        "fatbins": len(fatbins),
        "architectures": dict(sorted(architectures.items())),
        "usable": {name: offers.get(name, 0) for name in (NATIVE, FIRST_USE, NONE)},
    }
