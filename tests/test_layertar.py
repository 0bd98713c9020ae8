"""A layer's entries: every fact, every compression, every way to be damaged; and that no byte goes uncounted."""

import contextlib
import hashlib
import io
import tarfile

import pytest

from build import layertar
from build.errors import HashMismatchError
from tests.imagekit import entry, folder, gz, link, sha, tar, zstd


def read(data, packed=bytes, **more):
    raw = packed(data)
    return layertar.read(io.BytesIO(raw), **{"digest": sha(raw), "diff_id": sha(data), "what": "it", **more})


def one(*arguments, **facts):
    return read(tar(entry(*arguments, **facts))).entries[0]


@pytest.mark.parametrize("packed", [bytes, gz, zstd, lambda data: zstd(data[:700]) + zstd(data[700:])])
def test_every_compression_gives_the_same_index(packed):
    data = tar(folder("etc/"), entry("./etc/big", b"x" * 3_000_000), entry("etc/z"))
    found = read(data, packed)
    assert [(item.number, item.path, item.kind, item.size) for item in found.entries] == [
        (0, "etc", "folder", 0), (1, "etc/big", "file", 3_000_000), (2, "etc/z", "file", 0),
    ]  # fmt: skip
    assert found.entries[1].sha256 == sha(b"x" * 3_000_000).removeprefix("sha256:")
    assert found == read(data)


def test_an_entry_has_all_that_a_tar_says():
    found = one("bin/x", b"#!", mode=0o4755, uid=1, gid=2, uname="u", gname="g", pax={"SCHILY.xattr.user.a": "b"})
    assert (found.mode, found.owner, found.extra) == (0o4755, "1:2 (u:g)", (("SCHILY.xattr.user.a", "b"),))
    device = one("dev/x", type=tarfile.CHRTYPE, devmajor=1, devminor=3)
    assert (device.kind, device.extra) == ("character device", (("device", "1:3"),))
    assert one("p", type=tarfile.FIFOTYPE).kind == "fifo"
    assert one("h", type=tarfile.LNKTYPE, linkname="bin/x").link == "bin/x"
    symbolic = read(tar(link("l", "../x"))).entries[0]
    assert (symbolic.kind, symbolic.link, symbolic.sha256) == ("symbolic link", "../x", "")


def test_times_are_kept_below_a_second():
    assert one("a").mtime == "315532800"
    assert one("a", pax={"mtime": "1.234567891"}).mtime == "1.234567891"
    assert one("a", pax={"mtime": "7.000"}).mtime == "7"


def test_whiteouts_are_what_they_remove():
    found = read(tar(entry("etc/.wh.gone"), entry("var/.wh..wh..opq"))).entries
    assert [(item.path, item.kind) for item in found] == [("etc/gone", "removal"), ("var/*", "removal")]


def test_a_second_digest_is_computed_where_it_is_asked_for():
    data = tar(folder("a"), entry("a/x", b"1"), entry("b", b"2"), link("a/y", "x"))
    found = read(data, md5=lambda path: path.startswith("a"))
    assert found.md5 == {1: hashlib.md5(b"1").hexdigest()}
    assert read(data).md5 == {}


def test_asked_for_contents_are_handed_back():
    found = read(tar(entry("a", b"1"), entry("b", b"2")), keep=lambda path: path == "b")
    assert found.kept == {"b": b"2"}


def test_names_that_lead_out_are_only_names():
    found = read(tar(entry("../../etc/passwd", b"x"), entry("/abs", b"y"))).entries
    assert [item.path for item in found] == ["../../etc/passwd", "abs"]


def test_every_byte_counts_into_something():
    """Change each byte of a small layer in turn: it is damaged, or its index is another."""
    data = tar(folder("d"), entry("d/a", b"content", pax={"comment": "c"}), entry("d/b", b"2"))
    whole = read(data)
    for place in range(len(data)):
        other = bytearray(data)
        other[place] ^= 1
        with contextlib.suppress(HashMismatchError):
            assert read(bytes(other)) != whole, place


def test_an_empty_layer_has_no_entries():
    assert read(bytes(1024)).entries == ()


def test_contents_are_written_by_their_number():
    data = tar(entry("a", b"first"), folder("f"), entry("a", b"second"))
    target = io.BytesIO()
    layertar.contents(io.BytesIO(zstd(data)), "it", {2: target})
    assert target.getvalue() == b"second"


GOOD = tar(entry("a", b"x" * 5000), entry("b", b"y"))


@pytest.mark.parametrize(
    ("data", "packed", "more", "why"),
    [
        (GOOD, bytes, {"digest": sha(b"")}, "compressed bytes"),
        (GOOD, zstd, {"diff_id": sha(b"")}, "content"),
        (GOOD, lambda data: zstd(data) + b"\0", {}, "cannot be decompressed|compressed"),
        (GOOD, lambda data: zstd(data)[:-9], {}, ""),
        (GOOD, lambda data: gz(data)[:-9], {}, "cannot be decompressed"),
        (GOOD, lambda data: b"\x28\xb5\x2f\xfd" + data, {}, "cannot be decompressed"),
        (GOOD[:3000], bytes, {}, "in the middle of a file"),
        (GOOD[:6656] + b"no header" * 200, bytes, {}, "no tar header at byte 6656"),
        (b"text" * 500, bytes, {}, "no tar"),
        (b"", bytes, {}, "no tar"),
    ],
)
def test_a_damaged_layer_is_an_error_and_never_a_shorter_one(data, packed, more, why):
    with pytest.raises(HashMismatchError, match=f"(?s)it is damaged.*({why})"):
        read(data, packed, **more)


def test_a_header_that_claims_too_much_is_refused():
    info = tarfile.TarInfo("././@PaxHeader")
    info.type, info.size = tarfile.XHDTYPE, 1 << 40
    with pytest.raises(HashMismatchError, match="a header claims"):
        read(info.tobuf(tarfile.GNU_FORMAT) + bytes(10240))


def test_a_sparse_file_counts_by_what_is_stored():
    def sparse(content):
        info = tarfile.TarInfo("s")
        info.size = len(content)
        header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
        header[156:157] = b"S"  # GNU's sparse file: map at 386, real size at 483
        header[386:410] = b"00000000000\x00" + f"{len(content):011o}\0".encode()
        header[483:495] = f"{4096:011o}\0".encode()
        header[148:156] = b" " * 8
        header[148:156] = f"{sum(header):06o}\0 ".encode()
        return bytes(header) + content.ljust(512, b"\0") + bytes(1024)

    found = [read(sparse(content)).entries[0] for content in (b"abc", b"abd")]
    assert [(item.size, item.kind) for item in found] == [(4096, "file")] * 2
    assert found[0].sha256 != found[1].sha256
