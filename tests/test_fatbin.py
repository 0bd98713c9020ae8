"""The reader of fat binaries: against one that nvcc 13.0 wrote, and against hand-made and broken bytes.

tests/data/two.fatbin is what `nvcc --compress-mode=size -fatbin` made of a kernel of one line, with -gencode for
sm_120f and its PTX, sm_80 and its PTX, sm_90a, sm_121a; cuobjdump 13.5 lists the same six.
"""

import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1] / "dockerfiles" / "image"))

from checks import fatbin
from checks.fatbin import FIRST_USE, NATIVE, NONE, Code, best, read_fatbins, serves, summary

SAMPLE = Path(__file__).parent / "data" / "two.fatbin"


def entry(kind, arch, flags=0x11, payload=b"code"):
    header = struct.pack("<HHIQ", kind, 0x101, 64, len(payload)) + bytes(12) + struct.pack("<I", arch) + bytes(8)
    return header + struct.pack("<QQQ", flags, 0, 0) + payload


def container(*entries):
    body = b"".join(entries)
    return struct.pack("<IHHQ", fatbin.MAGIC, 1, 16, len(body)) + body


def read(tmp_path, data):
    path = tmp_path / "library.so"
    path.write_bytes(data)
    return [[str(code) for code in codes] for codes in read_fatbins(str(path))]


def test_what_nvcc_writes():
    (codes,) = read_fatbins(str(SAMPLE))
    assert [str(code) for code in codes] == [
        "sm_120f", "compute_120f", "sm_80", "compute_80", "sm_90a", "sm_121a",
    ]  # fmt: skip


def test_several_in_a_file_with_other_bytes_around(tmp_path):
    data = b"\x7fELF" + bytes(100) + container(entry(2, 120)) + b"zz" + container(entry(1, 80), entry(8, 90)) + b"end"
    assert read(tmp_path, data) == [["sm_120"], ["compute_80", "compute_90 (LTO)"]]


def test_an_unknown_kind_of_entry_is_passed_over(tmp_path):
    assert read(tmp_path, container(entry(64, 120), entry(2, 121))) == [["sm_121"]]


@pytest.mark.parametrize("data", [b"", b"no device code", container(), container(entry(2, 120))[:-5]])
def test_no_code(tmp_path, data):
    assert read(tmp_path, data) == []


@given(st.binary(max_size=400), st.integers(0, 200))
def test_broken_bytes_never_raise(noise, cut):
    good = container(entry(2, 120), entry(1, 80))
    for codes in fatbin._fatbins(noise + good[:cut] + noise + good):
        assert all(code.kind in fatbin.KINDS.values() for code in codes)


# NVIDIA's rules for capability 12.1, one by one.
@pytest.mark.parametrize(
    ("code", "offer"),
    [
        (Code("sass", 120), NATIVE),
        (Code("sass", 120, "f"), NATIVE),
        (Code("sass", 121), NATIVE),
        (Code("sass", 121, "a"), NATIVE),
        (Code("sass", 121, "f"), NATIVE),
        (Code("sass", 120, "a"), NONE),  # runs on 12.0 alone
        (Code("sass", 122), NONE),
        (Code("sass", 90), NONE),
        (Code("sass", 90, "a"), NONE),
        (Code("sass", 100, "a"), NONE),
        (Code("sass", 100, "f"), NONE),
        (Code("ptx", 52), FIRST_USE),
        (Code("ptx", 90), FIRST_USE),
        (Code("ptx", 121), FIRST_USE),
        (Code("ptx", 122), NONE),
        (Code("ptx", 90, "a"), NONE),
        (Code("ptx", 100, "f"), NONE),
        (Code("ptx", 120, "f"), FIRST_USE),
        (Code("lto", 120), NONE),
    ],
)
def test_what_serves_a_gb10(code, offer):
    assert serves(code, 121) == offer


def test_the_best_of_a_fat_binary_counts():
    assert best((Code("sass", 90, "a"), Code("ptx", 80), Code("sass", 120, "f")), 121) == NATIVE
    assert best((Code("sass", 90, "a"), Code("ptx", 80)), 121) == FIRST_USE
    assert best((), 121) == NONE


def test_summary_counts_fat_binaries():
    told = summary([(Code("sass", 120), Code("sass", 120)), (Code("ptx", 80),), (Code("sass", 90, "a"),)], 121)
    assert told["architectures"] == {"compute_80": 1, "sm_120": 1, "sm_90a": 1}
    assert told["usable"] == {NATIVE: 1, FIRST_USE: 1, NONE: 1}


@pytest.mark.programs("nvcc", "cuobjdump")
def test_cuobjdump_agrees(tmp_path):
    source, made = tmp_path / "k.cu", tmp_path / "k.fatbin"
    source.write_text('extern "C" __global__ void k(float *x) { x[0] = 1; }\n')
    gencode = ["-gencode", "arch=compute_90,code=[sm_90,compute_90]", "-gencode", "arch=compute_121a,code=sm_121a"]
    subprocess.run([shutil.which("nvcc"), "-fatbin", *gencode, "-o", str(made), str(source)], check=True)
    listed = subprocess.run([shutil.which("cuobjdump"), "-lelf", str(made)], check=True, capture_output=True, text=True)
    (codes,) = read_fatbins(str(made))
    assert listed.stdout.count(".cubin") == sum(code.kind == "sass" for code in codes) == 2
    assert "sm_121a" in listed.stdout
    assert Code("sass", 121, "a") in codes


CUBINS = [(8, 0x6006402, "sm_100"), (8, 0xF00670C, "sm_103"), (7, 0x5A055A, "sm_90")]


@pytest.mark.parametrize(("version", "flags", "code"), CUBINS)
def test_a_cubin_tells_its_own_architecture(tmp_path, version, flags, code):
    """Flags as FlashInfer's cubins have them (nvcc 12.9 and 13), and as older ones do."""
    head = b"\x7fELF\x02\x01\x01" + bytes([65, version]) + bytes(9) + struct.pack("<H", 190)
    (tmp_path / "k.cubin").write_bytes(head.ljust(48, b"\0") + struct.pack("<I", flags))
    assert [str(found) for found in fatbin.device_code(str(tmp_path / "k.cubin"))] == [code]


def test_all_code_of_a_library_is_told_once(tmp_path):
    assert [str(code) for code in fatbin.device_code(str(SAMPLE))] == [
        "compute_80", "compute_120f", "sm_80", "sm_90a", "sm_120f", "sm_121a",
    ]  # fmt: skip
    (tmp_path / "empty").touch()
    assert fatbin.device_code(str(tmp_path / "empty")) == []
