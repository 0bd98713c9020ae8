"""The compile cache as one tar: what is carried, what is added, what is refused."""

import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from build import ccachetar
from build.ccachetar import DamagedError, Figures

# As ccache 4.11.2 lays its folder out.
HELD = {
    "b/stats": b"0\n0\n", "b/CACHEDIR.TAG": b"Signature", "b/7/fdi5rfjdghtdiqjp7t1iop9hcknienoM": b"manifest",
    "c/4/stats": b"1\n", "c/5/a8fmu7cmomeb4aq9ojdbmho6t286f5oR": b"result" * 1000, "0/1/2/1dfp14j8fj1s75o0W": b"",
}  # fmt: skip
LEFT = {
    "tmp/inode-cache-64.v2": b"x", "lock/b": b"x", "ccache.conf": b"x", "c/5/a8fmu7cmomeb4aq9oj.tmp.cpp_stdout.i": b"x",
    "c/5/a8fmu7R.lock": b"x", "stats": b"x", "g/1/a8fmu7R": b"x", f"c/5/a8fmu7R{ccachetar.PARTIAL}": b"x",
}  # fmt: skip
TIME = 1_800_000_000


def folder(place, files, time=TIME):
    for number, (name, content) in enumerate(files.items()):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(content)
        os.utime(place / name, (time - number + 0.25, time - number + 0.25))
    place.mkdir(exist_ok=True)
    return place


def files(place):
    return {str(path.relative_to(place)): path.read_bytes() for path in place.rglob("*") if path.is_file()}


@pytest.fixture
def packed(tmp_path):
    tar = tmp_path / "x.tar"
    ccachetar.give(folder(tmp_path / "theirs", {**HELD, **LEFT}), tar)
    return tar


def test_entries_are_carried_and_what_is_of_the_moment_is_not(packed, tmp_path):
    ccachetar.take(packed, folder(tmp_path / "ours", {}))
    assert files(tmp_path / "ours") == HELD
    assert ccachetar.look(tmp_path / "ours") == ccachetar.look(tmp_path / "theirs")


def test_the_figures_are_the_same_of_the_folder_and_of_the_tar(packed, tmp_path):
    expected = Figures(files=len(HELD), bytes=sum(map(len, HELD.values())), newest=TIME)
    assert ccachetar.look(tmp_path / "theirs") == expected
    assert ccachetar.figures(ccachetar.listed(packed)) == expected
    assert ccachetar.look(tmp_path / "none") == Figures(files=0, bytes=0, newest=0)


def test_the_same_cache_is_the_same_tar(packed, tmp_path):
    ccachetar.take(packed, folder(tmp_path / "ours", {}))
    ccachetar.give(tmp_path / "ours", tmp_path / "y.tar")
    assert (tmp_path / "y.tar").read_bytes() == packed.read_bytes()


def test_what_is_there_stays_and_is_used_as_lately_as_either_says(packed, tmp_path):
    own = {"b/stats": b"own", "c/4/stats": b"own", "d/1/owns0R": b"own"}
    ours = folder(tmp_path / "ours", own, TIME - 1000)
    os.utime(ours / "c/4/stats", (TIME + 9, TIME + 9))
    ccachetar.take(packed, ours)
    assert files(ours) == {**HELD, **own}
    assert (ours / "b/stats").stat().st_mtime == TIME
    assert (ours / "c/4/stats").stat().st_mtime == TIME + 9


def test_an_entry_that_goes_while_it_is_packed_is_left_out(packed, tmp_path, monkeypatch):
    theirs = tmp_path / "theirs"
    found = list(ccachetar._files(theirs))
    monkeypatch.setattr(ccachetar, "_files", lambda _: found)
    (theirs / "b/stats").unlink()
    there = ccachetar.give(theirs, packed)
    assert there.files == len(HELD) - 1 == len(ccachetar.listed(packed))


def test_every_cut_is_seen_before_anything_is_taken(packed, tmp_path):
    """At each block: in a header, in content, between entries, before the end of the archive."""
    ccachetar.give(folder(tmp_path / "small", {"b/stats": b"x" * 600, "c/stats": b"y"}), packed)
    whole, cut = packed.read_bytes(), tmp_path / "cut.tar"
    end = 6 * tarfile.BLOCKSIZE  # two headers, three blocks of content, and one that says that this is the end
    for size in range(0, end, 128):
        cut.write_bytes(whole[:size])
        with pytest.raises(DamagedError):
            ccachetar.take(cut, folder(tmp_path / "ours", {}))
    assert files(tmp_path / "ours") == {}
    cut.write_bytes(whole[:end])
    ccachetar.take(cut, tmp_path / "ours")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("../evil", tarfile.REGTYPE), ("/etc/passwd", tarfile.REGTYPE), ("b/../../../x/stats", tarfile.REGTYPE),
        ("README", tarfile.REGTYPE), ("b/stats", tarfile.SYMTYPE), ("b/stats", tarfile.DIRTYPE),
        ("c/5/a8fmu7R", tarfile.LNKTYPE), ("b/stats", tarfile.CHRTYPE), ("b/stats\n", tarfile.REGTYPE),
    ],
)  # fmt: skip
def test_another_tar_is_refused_whole(tmp_path, name, kind):
    with tarfile.open(tmp_path / "x.tar", "w:") as tar:
        good = tarfile.TarInfo("c/stats")
        good.size = 1
        tar.addfile(good, io.BytesIO(b"x"))
        bad = tarfile.TarInfo(name)
        bad.type, bad.linkname = kind, "/etc/passwd"
        tar.addfile(bad)
    with pytest.raises(DamagedError, match="is no file of a compile cache"):
        ccachetar.take(tmp_path / "x.tar", folder(tmp_path / "ours", {}))
    assert files(tmp_path / "ours") == {}


@pytest.mark.parametrize("content", [b"", b"no tar", b"\x1f\x8b\x08" + bytes(600)])
def test_what_is_no_tar_is_refused(tmp_path, content):
    (tmp_path / "x.tar").write_bytes(content)
    with pytest.raises(DamagedError):
        ccachetar.listed(tmp_path / "x.tar")


def test_it_runs_where_nothing_of_ours_is(packed, tmp_path):
    """As in the step: a file by itself, in isolation, told by its environment."""
    program = tmp_path / "step" / "ccachetar.py"
    program.parent.mkdir()
    text = Path(ccachetar.__file__).read_text()
    for name in ("ccache", "seed", "out"):
        text = text.replace(f'"/mnt/{name}"', f'"{tmp_path / name}"').replace(f'"/{name}"', f'"{tmp_path / name}"')
    program.write_text(text)
    (tmp_path / "ccache").mkdir()
    (tmp_path / "seed").mkdir()
    packed.rename(tmp_path / "seed" / ccachetar.FILE)

    def run(**env):
        done = subprocess.run([sys.executable, "-IS", program], env=env, capture_output=True, text=True, check=True)
        return json.loads(done.stdout.removeprefix("CCACHE "))

    empty, full = run(DO="look"), run(DO="take")
    assert (empty["files"], full["files"]) == (0, len(HELD))
    assert run(DO="give", KNOWN=json.dumps(full)) == full
    assert not (tmp_path / "out").exists(), "it is known already"
    assert run(DO="give", KNOWN="") == full
    assert (tmp_path / "out" / ccachetar.FILE).read_bytes() == (tmp_path / "seed" / ccachetar.FILE).read_bytes()


def test_an_empty_cache_is_not_kept(tmp_path, monkeypatch):
    for name in ("MOUNT", "OUT"):
        monkeypatch.setattr(ccachetar, name, tmp_path / name)
    monkeypatch.setenv("DO", "give")
    monkeypatch.setenv("KNOWN", "")
    ccachetar.main()
    assert not (tmp_path / "OUT").exists()
