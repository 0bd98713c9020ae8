"""What is asked of diffoscope, and what is written to disk for it: contents, under names of our own."""

import io

import pytest

from build import comparing, diffoscope, host, imagediff, ociimage, ocisource
from build.diffoscope import Told
from build.errors import HashMismatchError
from build.models import Settings
from build.settings import REPO
from tests.imagekit import SITE, entry, image, record, tar

HOSTILE = ("../../../escape", "/etc/passwd", "a/$(reboot).py", "x\n.json")


def compare(folder, a, b):
    images = [
        ociimage.read(name, image(*layers).folder(folder / name)) for name, layers in (("a", a), ("b", b))
    ]  # fmt: skip
    return comparing.compare(*images)


@pytest.fixture
def explain(monkeypatch, tmp_path):
    """Explain by a diffoscope that tells what it was given: (names, contents, shown)."""

    def told(root, folder, names, shown, *, verbose):
        assert sorted(path.name for path in folder.iterdir()) == sorted(names)
        given.append((names, tuple((folder / name).read_bytes() for name in names), shown))
        return Told(text="--- said")

    given = []
    monkeypatch.setattr(diffoscope, "explain", told)
    monkeypatch.setattr(host, "diffoscope", lambda settings: tmp_path / "root")
    store = tmp_path / "store"

    def explain(found, most=10):
        given.clear()
        explained = comparing.explain(Settings(repo=REPO, store=store), found, most)
        assert list((store / "scratch").glob("*")) == [], "nothing is left"
        return explained, given

    return explain


def test_contents_are_written_under_our_names_whatever_theirs_are(tmp_path, explain):
    sides = [tar(*(entry(name, f"{name} {side}".encode()) for name in HOSTILE)) for side in "ab"]
    before = {path for path in tmp_path.parent.rglob("*") if "escape" in path.name}
    explained, given = explain(compare(tmp_path, [sides[0]], [sides[1]]))
    found = {shown[0].removeprefix("A: "): (names, contents) for names, contents, shown in given}
    assert {names for names, _ in found.values()} == {("a", "b"), ("a.py", "b.py"), ("a.json", "b.json")}
    assert found["../../../escape"] == (("a", "b"), (b"../../../escape a", b"../../../escape b"))
    assert found["x\n.json"][0] == ("a.json", "b.json")
    assert [item.told.text for item in explained] == ["--- said"] * 4
    assert {path for path in tmp_path.parent.rglob("*") if "escape" in path.name} == before


def test_of_a_path_that_comes_twice_the_last_content_is_explained(tmp_path, explain):
    sides = [tar(entry("a", b"old"), entry("b"), entry("a", f"new {side}".encode())) for side in "ab"]
    _, given = explain(compare(tmp_path, [sides[0]], [sides[1]]))
    assert [contents for _, contents, _ in given] == [(b"new a", b"new b")]


def test_each_package_has_a_turn_before_one_has_two(tmp_path, explain):
    paths = {"many": ("many/1", "many/2", "many/3"), "single": ("single/1",)}
    records = [record(name, "1", *listed) for name, listed in paths.items()]
    files = [f"{SITE}/{path}" for listed in paths.values() for path in listed]
    sides = [tar(*records, *(entry(path, side) for path in files)) for side in (b"a", b"b")]
    _, given = explain(compare(tmp_path, [sides[0]], [sides[1]]), most=2)
    assert [shown[0] for _, _, shown in given] == [f"A: {SITE}/many/1", f"A: {SITE}/single/1"]


def test_what_is_too_big_is_said_and_not_written(tmp_path, explain, monkeypatch):
    monkeypatch.setattr(diffoscope, "SIZE_LIMIT", 100)
    sides = [tar(entry("big", side * 101), entry("small", side)) for side in (b"a", b"b")]
    explained, given = explain(compare(tmp_path, [sides[0]], [sides[1]]))
    assert [(item.change.path, item.told.note) for item in explained] == [
        ("big", "101 B: too big for diffoscope"), ("small", ""),
    ]  # fmt: skip
    assert len(given) == 1


def test_only_other_contents_are_asked_about(tmp_path, explain, monkeypatch):
    monkeypatch.setattr(host, "diffoscope", lambda settings: pytest.fail("nothing to explain"))
    a, b = tar(entry("a", mode=0o600), entry("gone")), tar(entry("a"), entry("new"))
    assert comparing.explain(Settings(repo=REPO, store=tmp_path), compare(tmp_path, [a], [b]), 10) == []


def test_a_layer_that_two_images_have_at_other_places_is_not_read(tmp_path):
    same, new = tar(entry("same")), tar(entry("new"))
    found = compare(tmp_path, [same], [new, same])
    assert [(layer.a, layer.b.number) for layer in found.layers] == [(None, 1)]
    assert found.verdict == imagediff.DIFFERENT


def test_an_interrupted_run_does_not_read_on(tmp_path, monkeypatch):
    """One of two layers is bad: the other, which would be read for ever, is left at once."""

    class Endless(io.RawIOBase):
        def readable(self):
            return True

        def readinto(self, buffer):
            buffer[:] = bytes(len(buffer))
            return len(buffer)

    bad = ociimage.read("a", image(b"no tar" * 200).folder(tmp_path / "a"))
    good = ociimage.read("b", image(tar(entry("b"))).folder(tmp_path / "b"))
    opened = ocisource.open_blob
    endless = io.BufferedReader(Endless())
    monkeypatch.setattr(
        ocisource, "open_blob", lambda source, *more: endless if source is good.source else opened(source, *more)
    )
    with pytest.raises(HashMismatchError, match="of A is damaged"):
        comparing.compare(bad, good)
    assert endless.closed
