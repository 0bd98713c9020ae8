"""Safetensors files: what tensors are in them, from their headers alone, and the bytes of one of them.

Format: the header's length (8 bytes, little endian), the header (JSON: name → dtype, shape, data_offsets; strings
under ``__metadata__``), then the tensors' bytes, without gaps (github.com/huggingface/safetensors, README, "Format").
"""

from __future__ import annotations

import json
import math
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

INDEX = "model.safetensors.index.json"
SUFFIX = ".safetensors"
MAX_HEADER = 100_000_000  # bytes; what the format's own reader accepts
BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16,
    "I32": 32, "U32": 32, "F32": 32, "C64": 64, "F64": 64, "I64": 64, "U64": 64, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
}  # fmt: skip


class Malformed(Exception):  # noqa: N818 - a finding in the making, never shown as it is
    """A file that is not of the format; the text says in what."""


@dataclass(frozen=True, kw_only=True)
class Tensor:
    """One tensor: ``start`` and ``end`` are places in its file."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


def read_header(path: Path) -> tuple[Tensor, ...]:
    """The tensors of one file, in the order of their bytes; :class:`Malformed` for a file that contradicts itself."""
    size = os.stat(path).st_size
    with open(path, "rb") as stream:
        first = stream.read(8)
        length = struct.unpack("<Q", first)[0] if len(first) == 8 else 0
        if not 2 <= length <= min(MAX_HEADER, size - 8):
            raise Malformed("it does not begin with the length of a header")
        text = stream.read(length)
    try:
        told = json.loads(text, object_pairs_hook=_once)
    except ValueError as error:
        raise Malformed(f"its header is not JSON: {error}") from error
    if not isinstance(told, dict):
        raise Malformed("its header is not an object")
    tensors = [_tensor(name, entry, 8 + length) for name, entry in told.items() if name != "__metadata__"]
    tensors.sort(key=lambda tensor: (tensor.start, tensor.end))
    place = 8 + length
    for tensor in tensors:
        if tensor.start != place:
            raise Malformed(f"{tensor.name} does not begin where the tensor before it ends")
        place = tensor.end
    if place != size:
        raise Malformed(f"its header accounts for {place} bytes, the file has {size}")
    return tuple(tensors)


def read_bytes(path: Path, tensor: Tensor) -> bytes:
    """The bytes of a tensor of that file."""
    with open(path, "rb") as stream:
        stream.seek(tensor.start)
        return stream.read(tensor.end - tensor.start)


def read_index(folder: Path) -> dict[str, str] | None:
    """Tensor → file, as the folder's index has it; None where there is none. Raises :class:`Malformed`."""
    try:
        text = (folder / INDEX).read_bytes()
    except FileNotFoundError:
        return None
    try:
        told = json.loads(text, object_pairs_hook=_once)
    except ValueError as error:
        raise Malformed(f"it is not JSON: {error}") from error
    named = told.get("weight_map") if isinstance(told, dict) else None
    if not isinstance(named, dict) or not named:
        raise Malformed("it has no weight_map")
    if strange := [name for name in named.values() if not isinstance(name, str) or "/" in name or not name]:
        raise Malformed(f"{strange[0]!r} is not the name of a file beside it")
    return named


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object, in which no key stands twice (JSON readers take the last one silently)."""
    made: dict[str, Any] = {}
    for key, value in pairs:
        if key in made:
            raise ValueError(f"{key!r} stands in it twice")
        made[key] = value
    return made


def _tensor(name: str, entry: Any, base: int) -> Tensor:
    try:
        dtype, shape, (start, end) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
        whole = all(type(number) is int and number >= 0 for number in (*shape, start, end))
    except (TypeError, KeyError, ValueError) as error:
        raise Malformed(f"{name} has no dtype, shape or place") from error
    if not whole or not isinstance(dtype, str) or end < start:
        raise Malformed(f"{name} has no dtype, shape or place")
    bits = BITS.get(dtype)
    if bits is not None and math.prod(shape) * bits != (end - start) * 8:
        raise Malformed(f"{name} is {dtype} {list(shape)} and has {end - start} bytes")
    return Tensor(name=name, dtype=dtype, shape=shape, start=base + start, end=base + end)
