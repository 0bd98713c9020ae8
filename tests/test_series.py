"""build/series.py: what is listed is there, what is there is listed, and each patch says where it comes from."""

import hashlib

import pytest

from build import behaviours, series
from build.errors import PatchError
from build.settings import REPO

HEADER = """\
From 0000000000000000000000000000000000000000 Mon Sep 17 00:00:00 2001
From: A Person <a@example.invalid>
Date: Mon, 23 Nov 2026 12:00:00 +0000
Subject: [PATCH 1/2] Mend a thing that was broken for a long time and has
 a long title

Origin: vendor
Bug: https://bugs.example.invalid/1
Applied-Upstream: no
Last-Update: 2026-11-23
Behaviour-Test: thing

"""
DIFF = "diff --git a/f b/f\n--- a/f\n+++ b/f\n@@ -1 +1 @@\n-a\n+b\n"


def write(folder, files):
    for name, text in files.items():
        path = folder / "patches" / "s" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def good(**more):
    return {"series": "# why\n\nvllm/b.patch\nvllm/a.patch  # last\n", "vllm/a.patch": HEADER + DIFF,
            "vllm/b.patch": HEADER + DIFF, **more}  # fmt: skip


def faults(folder, files, *parts):
    with pytest.raises(PatchError) as caught:
        series.read(write(folder, files), "s", ("vllm",))
    for part in parts:
        assert part in str(caught.value)
    return str(caught.value)


def test_the_order_is_the_file_s(tmp_path):
    found = series.read(write(tmp_path, good()), "s", ("vllm", "other"))
    assert [patch.name for patch in found.patches] == ["vllm/b.patch", "vllm/a.patch"]
    assert found.patches[0].ref.sha256 == hashlib.sha256((HEADER + DIFF).encode()).hexdigest()
    assert found.of("vllm") == found.patches
    assert found.of("other") == ()


def test_the_header_is_read(tmp_path):
    fields = series.read(write(tmp_path, good()), "s", ("vllm",)).patches[0].fields
    assert fields["description"] == "Mend a thing that was broken for a long time and has a long title"
    assert fields["author"] == "A Person <a@example.invalid>"
    assert fields["behaviour-test"] == "thing"


def test_the_id_sees_order_names_and_bytes(tmp_path):
    ids = {series.read(write(tmp_path / "1", good()), "s", ("vllm",)).id}
    ids.add(series.read(write(tmp_path / "2", good(series="vllm/a.patch\nvllm/b.patch\n")), "s", ("vllm",)).id)
    ids.add(series.read(write(tmp_path / "3", good(**{"vllm/a.patch": HEADER + DIFF + "\n"})), "s", ("vllm",)).id)
    assert len(ids) == 3
    comments = good(series="vllm/b.patch\nvllm/a.patch\n")
    assert series.read(write(tmp_path / "4", comments), "s", ("vllm",)).id in ids


def test_a_missing_series_is_no_empty_one(tmp_path):
    with pytest.raises(PatchError, match="there is no series 'none'") as caught:
        series.read(write(tmp_path, good()), "none", ("vllm",))
    assert "unpatched" in caught.value.why
    faults(tmp_path / "empty", {"series": "# nothing\n"}, "it lists no patch")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: path.write_bytes(b"# caf\xe9\n"), "it is not UTF-8 text"),
        (lambda path: path.mkdir(), "it is a folder"),
    ],
)
def test_a_series_that_is_no_text(tmp_path, make, said):
    file = write(tmp_path, good()) / "patches/s/series"
    file.unlink()
    make(file)
    for read in (lambda: series.read(tmp_path, "s", ("vllm",)), lambda: series.entries(tmp_path, "s")):
        with pytest.raises(PatchError, match=r"^patches/s/series cannot be read") as caught:
            read()
        assert said in caught.value.why


def test_a_file_where_the_series_folder_should_be(tmp_path):
    write(tmp_path, good())
    (tmp_path / "patches/f").write_text("")
    with pytest.raises(PatchError, match="there is no series 'f'"):
        series.read(tmp_path, "f", ("vllm",))


def test_a_patch_without_a_header_says_nothing(tmp_path):
    faults(tmp_path, good(**{"vllm/a.patch": DIFF + HEADER + DIFF}), "vllm/a.patch: its header lacks Origin")


def test_a_patch_that_is_not_listed(tmp_path):
    faults(tmp_path, good(**{"vllm/c.patch": HEADER + DIFF, "vllm/c.orig": ""}), "vllm/c.patch: not listed",
           "vllm/c.orig: not listed")  # fmt: skip


def test_every_fault_at_once_with_its_line(tmp_path):
    listing = (
        "vllm/b.patch\nvllm/b.patch\nvllm/gone.patch\nflash/x.patch\n../up.patch\n/etc/x.patch\nvllm/a.patch\njust\n"
    )
    text = faults(
        tmp_path, good(series=listing), "line 2: vllm/b.patch: listed twice", "line 3: vllm/gone.patch: not there",
        "line 4: flash/x.patch: the target has no component 'flash'", "line 5: ../up.patch: not of the form",
        "line 6: /etc/x.patch: not of the form", "line 8: just: not of the form", "6 faults",
    )  # fmt: skip
    assert "line 7" not in text


@pytest.mark.parametrize(
    "entry",
    [
        "vllm/../a.patch",
        "s/vllm/sub/a.patch",
        "../s/vllm/a.patch",
        "vllm/a.diff",
        "vllm/",
        "VLLM/a.patch",
        ".git/a.patch",
    ],
)
def test_paths_that_are_no_patch_of_ours(tmp_path, entry):
    faults(tmp_path, good(series=f"vllm/a.patch\nvllm/b.patch\n{entry}\n"), f"line 3: {entry}: not of the form")


def test_a_link_out_of_the_series(tmp_path):
    write(tmp_path, good())
    (tmp_path / "outside.patch").write_text(HEADER + DIFF)
    (tmp_path / "patches/s/vllm/c.patch").symlink_to(tmp_path / "outside.patch")
    faults(tmp_path, good(series="vllm/a.patch\nvllm/b.patch\nvllm/c.patch\n"), "vllm/c.patch: not there")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("Origin: vendor\n", "lacks Origin"), ("Bug: https://bugs.example.invalid/1\n", "lacks Bug or Forwarded"),
        ("Applied-Upstream: no\n", "lacks Applied-Upstream"), ("Last-Update: 2026-11-23\n", "lacks Last-Update"),
        ("Behaviour-Test: thing\n", "lacks Behaviour-Test"),
    ],
)  # fmt: skip
def test_a_header_that_says_too_little(tmp_path, line, said):
    faults(tmp_path, good(**{"vllm/a.patch": HEADER.replace(line, "") + DIFF}), f"vllm/a.patch: its header {said}")


def test_a_date_that_is_none(tmp_path):
    faults(tmp_path, good(**{"vllm/a.patch": HEADER.replace("2026-11-23\n", "yesterday\n") + DIFF}), "not a date")


def test_fields_in_the_change_itself_are_not_the_header_s(tmp_path):
    body = HEADER.replace("Origin: vendor\n", "") + DIFF.replace("+b", "+Origin: vendor")
    faults(tmp_path, good(**{"vllm/a.patch": body}), "lacks Origin")


@pytest.mark.parametrize("value", ["tests/engine", "Router", "a b", "../x", "a--b"])
def test_a_behaviour_has_a_name(tmp_path, value):
    text = HEADER.replace("Behaviour-Test: thing", f"Behaviour-Test: {value}") + DIFF
    faults(
        tmp_path, good(**{"vllm/a.patch": text}), f"its Behaviour-Test is not the name of one (router-kernel): {value}"
    )


# --- patches of another series ------------------------------------------------------------------------------------


def other(folder, files):
    for name, text in files.items():
        path = folder / "patches" / "other" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def test_a_patch_of_another_series_is_that_one_s(tmp_path):
    other(tmp_path, {"series": "vllm/c.patch\n", "vllm/c.patch": HEADER + DIFF})
    files = good(series="vllm/b.patch\nother/vllm/c.patch\nvllm/a.patch\n")
    found = series.read(write(tmp_path, files), "s", ("vllm",))
    assert [(patch.ref.series, patch.name) for patch in found.patches] == [
        ("s", "vllm/b.patch"), ("other", "vllm/c.patch"), ("s", "vllm/a.patch"),
    ]  # fmt: skip
    assert str(found.patches[1].path) == "patches/other/vllm/c.patch"


def test_a_series_may_consist_of_another_one_s(tmp_path):
    other(tmp_path, {"series": "vllm/c.patch\n", "vllm/c.patch": HEADER + DIFF})
    (tmp_path / "patches/s").mkdir()
    (tmp_path / "patches/s/series").write_text("other/vllm/c.patch\n")
    borrowed = series.read(tmp_path, "s", ("vllm",))
    assert borrowed.id == series.read(tmp_path, "other", ("vllm",)).id


def test_a_borrowed_patch_must_be_there_and_of_another_name(tmp_path):
    other(tmp_path, {"series": "vllm/a.patch\n", "vllm/a.patch": HEADER + DIFF})
    listing = "vllm/b.patch\nother/vllm/x.patch\nnone/vllm/a.patch\nvllm/a.patch\nother/vllm/a.patch\n"
    faults(
        tmp_path, good(series=listing), "line 2: other/vllm/x.patch: not there (or not a plain file in other/)",
        "line 3: none/vllm/a.patch: not there", "line 4: vllm/a.patch: a patch of this name is listed already",
    )  # fmt: skip


def test_a_link_in_the_other_series_leads_nowhere(tmp_path):
    other(tmp_path, {"series": ""})
    (tmp_path / "outside.patch").write_text(HEADER + DIFF)
    (tmp_path / "patches/other/vllm").mkdir()
    (tmp_path / "patches/other/vllm/c.patch").symlink_to(tmp_path / "outside.patch")
    faults(tmp_path, good(series="vllm/a.patch\nvllm/b.patch\nother/vllm/c.patch\n"), "other/vllm/c.patch: not there")


# --- ours ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["v0.32", "v0.22", "g27", "tiny"])
def test_our_own_series(name):
    found = series.read(REPO, name, ("vllm", "flashinfer", "jinja2"))
    assert found.patches
    for patch in found.patches:
        assert behaviours.file_of(REPO, patch.behaviour).is_file()
        assert b"\nindex " not in patch.data  # a patch that several versions share cannot name one file's id
