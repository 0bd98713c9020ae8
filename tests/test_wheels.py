"""Wheels' RECORDs and overlaps, on wheels made here."""

import zipfile

import pytest

from build.errors import OverlapError
from build.wheels import overlaps, record, winners


def wheel(folder, name, files):
    path = folder / f"{name}-1-py3-none-any.whl"
    info = f"{name}-1.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        rows = []
        for file, content in files.items():
            archive.writestr(file, content)
            rows.append(f"{file},sha256={content.split()[0]},{len(content)}")
        archive.writestr(f"{info}/RECORD", "\n".join([*rows, f"{info}/RECORD,,", ""]))
    return path


def test_record_gives_installed_paths(tmp_path):
    path = wheel(tmp_path, "a", {"a/x.py": "1", "a-1.data/purelib/a/y.py": "2", "a-1.data/scripts/run": "3"})
    assert record(path) == {
        "a/x.py": "sha256=1",
        "a/y.py": "sha256=2",
        "../../../bin/run": "sha256=3",
        "a-1.dist-info/RECORD": "",
    }


def test_overlaps_tell_same_from_different():
    found = overlaps({"a": {"x": "1", "y": "1"}, "b": {"x": "1", "y": "2"}, "c": {"z": "3"}})
    assert [(item.path, item.writers, item.same) for item in found] == [
        ("x", ("a", "b"), True),
        ("y", ("a", "b"), False),
    ]


def test_an_undeclared_difference_is_refused_and_named():
    found = overlaps({"a": {"lib/q.so": "1"}, "b": {"lib/q.so": "2"}})
    with pytest.raises(OverlapError, match="no winner") as caught:
        winners(found, [])
    assert "a and b" in caught.value.why
    assert "lib/q.so" in caught.value.why


def test_the_declared_winner_wins_and_same_bytes_need_no_word():
    found = overlaps({"a": {"x": "1", "y": "1"}, "b": {"x": "1", "y": "2"}})
    assert winners(found, [("b", ("a",))]) == {"x": "b", "y": "b"}


def test_a_declaration_does_not_cover_a_third_writer():
    found = overlaps({"a": {"x": "1"}, "b": {"x": "2"}, "c": {"x": "3"}})
    with pytest.raises(OverlapError, match="no winner"):
        winners(found, [("b", ("a",))])
    assert winners(found, [("b", ("a", "c"))]) == {"x": "b"}


def test_an_unused_declaration_is_an_error():
    with pytest.raises(OverlapError, match="does not exist any more") as caught:
        winners((), [("b", ("a",))])
    assert "b over a" in caught.value.why


def test_two_wheels_that_make_the_same_program_overlap(tmp_path):
    first = wheel(tmp_path, "a", {"a-1.data/scripts/cli": "1"})
    second = wheel(tmp_path, "b", {"b-1.dist-info/entry_points.txt": "[console_scripts]\ncli = b:main\n"})
    (found,) = overlaps({"a": record(first), "b": record(second)})
    assert (found.path, found.same) == ("../../../bin/cli", False)
