"""The comparison by itself: facts, order, form, alignment."""

import io

import pytest

from build import imagediff, layertar
from build.imagediff import DIFFERENT, ONLY_A, ONLY_B, ImageDiff
from build.ociimage import Image, Layer
from build.ocisource import Folder
from tests.imagekit import entry, folder, link, sha, tar


def index(data):
    return layertar.read(io.BytesIO(data), digest=sha(data), diff_id=sha(data), what="it")


def layer(number=1, name="", diff_id="sha256:d"):
    return Layer(number=number, name=name, diff_id=diff_id, digest=f"z{diff_id}", size=1)


def compare(a, b):
    pair = (layer(diff_id=sha(a)), layer(diff_id=sha(b)))
    return imagediff.layer(pair, index(a), index(b), lambda path: f"of {path}")


def facts(a, b):
    """Path → (name, a, b) of each fact that differs."""
    found = compare(tar(*a), tar(*b))
    assert found.form == ""
    return {change.path: [(fact.name, fact.a, fact.b) for fact in change.facts] for change in found.changes}


@pytest.mark.parametrize(
    ("one", "two", "expected"),
    [
        (entry("a"), folder("a", mtime=315532800), [("kind", "file", "folder"), ("mode", "0644", "0755")]),
        (entry("a"), entry("a", mode=0o4755), [("mode", "0644", "4755")]),
        (entry("a"), entry("a", uid=7, gname="g"), [("owner", "0:0", "7:0 (:g)")]),
        (entry("a"), entry("a", mtime=1), [("mtime", "1980-01-01T00:00:00Z", "1970-01-01T00:00:01Z")]),
        (
            entry("a"), entry("a", pax={"mtime": "315532800.5"}),
            [("mtime", "1980-01-01T00:00:00Z", "1980-01-01T00:00:00.5Z")],
        ),
        (link("a", "b"), link("a", "c"), [("link", "b", "c")]),
        (
            entry("a", b"one"), entry("a", b"four"),
            [("content", f"3 bytes, sha256 {sha(b'one')[7:19]}", f"4 bytes, sha256 {sha(b'four')[7:19]}")],
        ),
        (entry("a"), entry("a", pax={"SCHILY.xattr.x": "1"}), [("SCHILY.xattr.x", "", "1")]),
        (entry("a"), entry(".wh.a"), [("kind", "file", "removal")]),
    ],
)  # fmt: skip
def test_each_fact_that_differs_is_named(one, two, expected):
    assert facts([entry("0"), one], [entry("0"), two]) == {"a": expected}


def test_what_is_only_in_one_says_so():
    assert facts([entry("a"), entry("b")], [entry("b"), entry(".wh.c")]) == {
        "a": [(ONLY_A, "file", "")],
        "c": [(ONLY_B, "", "removal")],
    }


def test_another_kind_is_no_other_content():
    found = compare(tar(entry("a", b"x")), tar(link("a", "b", mode=0o644)))
    assert not found.changes[0].has_other_content


def test_another_order_of_the_same_entries_is_said():
    a, b = tar(entry("a"), entry("b"), entry("c")), tar(entry("a"), entry("c"), entry("b"))
    found = compare(a, b)
    assert found.changes == ()
    assert found.form == "the entries come in another order: first b in A where B has c"


def test_the_same_entries_in_another_dialect_are_said():
    import tarfile

    name = "long/" * 30 + "name"
    a, b = tar(entry("a"), entry(name)), tar(entry("a"), entry(name), form=tarfile.GNU_FORMAT)
    found = compare(a, b)
    assert found.changes == ()
    assert "of 2 entries say the same in other bytes" in found.form


def test_a_pax_header_that_says_nothing_new_is_said():
    found = compare(tar(entry("a")), tar(entry("a", pax={"path": "a"})))
    assert (found.changes, "first a" in found.form) == ((), True)


def test_padding_after_the_end_is_said():
    a = tar(entry("a"))
    found = compare(a, a + bytes(512))
    assert found.changes == ()
    assert "what follows the last one" in found.form


def test_an_entry_that_a_later_one_replaces_is_said():
    found = compare(tar(entry("a", b"1"), entry("a", b"3")), tar(entry("a", b"2"), entry("a", b"3")))
    assert found.changes == ()
    assert found.form == "an entry that a later one of its path replaces has another content"
    twice = compare(tar(entry("a")), tar(entry("a"), entry("a")))
    assert (twice.changes, "more often" in twice.form) == ((), True)


def test_a_layer_alone_is_all_its_entries():
    data = tar(entry("a"), folder("d"))
    found = imagediff.layer((None, layer()), None, index(data), str)
    assert [(change.path, change.facts[0].name) for change in found.changes] == [("a", ONLY_B), ("d", ONLY_B)]
    assert found.form == ""


def aligned(a, b):
    was, now = ([layer(n, *told) for n, told in enumerate(side, start=1)] for side in (a, b))
    return [(one and one.number, two and two.number) for one, two in imagediff.align(was, now)]


def test_layers_are_aligned_by_content_then_by_name_then_by_place():
    r, o, x = ("rootfs", "r"), ("other", "o"), ("ours", "x")
    assert aligned([r, o, x], [r, o, x]) == [(1, 1), (2, 2), (3, 3)]
    assert aligned([r, o, x], [r, x]) == [(1, 1), (2, None), (3, 2)]
    assert aligned([r, o, x], [r, ("new", "n"), ("other", "p"), x]) == [(1, 1), (None, 2), (2, 3), (3, 4)]
    assert aligned([("", "1"), ("", "2")], [("", "3"), ("", "4")]) == [(1, 1), (2, 2)]
    assert aligned([r], []) == [(1, None)]
    empty = ("", "e")
    assert aligned([empty, r, empty], [empty, empty]) == [(1, 1), (2, None), (3, 2)]


def test_order_alone_makes_two_images_differ():
    none = Image(name="x", manifest="", layers=(), source=Folder("."))
    found = compare(tar(entry("a"), entry("b")), tar(entry("b"), entry("a")))
    assert ImageDiff(a=none, b=none, layers=(found,)).verdict == DIFFERENT
