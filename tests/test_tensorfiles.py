"""Headers of safetensors files: what is in them, and every way to contradict oneself."""

import json
import struct

import pytest

from build import tensorfiles
from build.tensorfiles import Malformed
from tests import modelkit
from tests.modelkit import Tensor

TWO = {"a": Tensor("I32", (2, 2), [1, -2, 3, 2**31 - 1]), "b.c": Tensor("F8_E4M3", (3,), b"\1\2\3")}


def put(tmp_path, data):
    path = tmp_path / "x.safetensors"
    path.write_bytes(data)
    return path


def raw(header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def entry(dtype="U8", shape=(1,), offsets=(0, 1)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


@pytest.mark.parametrize("pad", [0, 3, 7])
def test_tensors_and_their_bytes_are_found(tmp_path, pad):
    path = put(tmp_path, modelkit.safetensors(TWO, metadata={"format": "pt"}, pad=pad))
    first, second = tensorfiles.read_header(path)
    assert [(one.name, one.dtype, one.shape) for one in (first, second)] == [
        ("a", "I32", (2, 2)),
        ("b.c", "F8_E4M3", (3,)),
    ]
    assert struct.unpack("<4i", tensorfiles.read_bytes(path, first)) == (1, -2, 3, 2**31 - 1)
    assert tensorfiles.read_bytes(path, second) == b"\1\2\3"


def test_empty_tensors_scalars_and_unknown_dtypes_are_tensors(tmp_path):
    made = {"n": Tensor("F32", (0, 4), b""), "s": Tensor("U8", (), b"\1"), "q": Tensor("F4", (4,), b"\1\2")}
    made["new"] = Tensor("F2_NEW", (9,), b"\1\2")
    found = tensorfiles.read_header(put(tmp_path, modelkit.safetensors(made)))
    assert {one.name: one.shape for one in found} == {"n": (0, 4), "s": (), "q": (4,), "new": (9,)}


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "begin with the length"),
        (b"\1\0\0", "begin with the length"),
        (struct.pack("<Q", 2**62) + b"{}", "begin with the length"),
        (struct.pack("<Q", 90) + b"{}", "begin with the length"),
        (raw(b"[]"), "not an object"),
        (raw(b"{]"), "not JSON"),
        (raw(b"\xff\xfe"), "not JSON"),
        (raw(b'{"a": {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]}, "a": 1}'), "twice"),
        (raw({"a": 1}), "no dtype"),
        (raw({"a": {"dtype": "U8", "shape": [1]}}), "no dtype"),
        (raw({"a": entry(offsets=(0, 1, 2))}, b"x"), "no dtype"),
        (raw({"a": entry(shape=(-1,))}, b"x"), "no dtype"),
        (raw({"a": entry(shape=("1",))}, b"x"), "no dtype"),
        (raw({"a": entry(offsets=(1, 0))}, b"x"), "no dtype"),
        (raw({"a": entry("I32")}, b"x"), r"a is I32 \[1\] and has 1 bytes"),
        (raw({"a": entry(), "b": entry(offsets=(2, 3))}, b"xyz"), "b does not begin where"),
        (raw({"a": entry(shape=(2,), offsets=(0, 2)), "b": entry(offsets=(1, 2))}, b"xy"), "b does not begin where"),
        (raw({"a": entry()}, b"xy"), "accounts for .* bytes, the file has"),
        (raw({"a": entry()}), "accounts for .* bytes, the file has"),
    ],
)
def test_a_file_that_contradicts_itself(tmp_path, data, why):
    with pytest.raises(Malformed, match=why):
        tensorfiles.read_header(put(tmp_path, data))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"x", "not JSON"),
        (b"[]", "no weight_map"),
        (b"{}", "no weight_map"),
        (b'{"weight_map": {}}', "no weight_map"),
        (b'{"weight_map": {"a": "x", "a": "y"}}', "twice"),
        (b'{"weight_map": {"a": "../x.safetensors"}}', "not the name of a file"),
        (b'{"weight_map": {"a": 3}}', "not the name of a file"),
    ],
)
def test_an_index_that_is_none(tmp_path, text, why):
    (tmp_path / tensorfiles.INDEX).write_bytes(text)
    with pytest.raises(Malformed, match=why):
        tensorfiles.read_index(tmp_path)


def test_an_index_is_read_and_may_be_missing(tmp_path):
    assert tensorfiles.read_index(tmp_path) is None
    (tmp_path / tensorfiles.INDEX).write_bytes(b'{"weight_map": {"a": "x.safetensors"}}')
    assert tensorfiles.read_index(tmp_path) == {"a": "x.safetensors"}
