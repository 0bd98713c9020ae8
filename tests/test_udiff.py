"""build/udiff.py: what git diff makes, we apply to the same bytes; anything that is not exact is refused."""

from __future__ import annotations

import random
import subprocess

import pytest

from build import udiff, udiffparse
from build.errors import AlreadyAppliedError, PatchError

BEFORE = b"".join(b"line %d\n" % n for n in range(1, 21))
AFTER = BEFORE.replace(b"line 10\n", b"line ten\nand a half\n")
PATCH = (
    b"""From: A Person <a@example.invalid>
Subject: a change

---
diff --git a/pkg/mod.py b/pkg/mod.py
--- a/pkg/mod.py
+++ b/pkg/mod.py
@@ -7,7 +7,8 @@ anything may stand here
 line 7
 line 8
 line 9
-line 10
+line ten
+and a half
 line 11
 line 12
 line 13
"""
    b"-- \n2.47.0\n\n"
)


def apply(data: bytes, tree: dict[str, bytes]) -> dict[str, bytes | None]:
    return udiffparse.parse("p.patch", data).apply(tree.get)


def test_a_change_is_applied_at_its_place() -> None:
    patch = udiffparse.parse("p.patch", PATCH)
    assert patch.header.startswith("From: A Person")
    assert patch.apply({"pkg/mod.py": BEFORE}.get) == {"pkg/mod.py": AFTER}


def test_an_error_names_patch_file_hunk_expected_and_found() -> None:
    tree = {"pkg/mod.py": BEFORE.replace(b"line 9\n", b"LINE 9\n")}
    with pytest.raises(PatchError) as caught:
        apply(PATCH, tree)
    text = str(caught.value)
    assert not isinstance(caught.value, AlreadyAppliedError)
    for part in ("p.patch", "pkg/mod.py", "hunk 1, line 9", "expected 'line 9'", "found 'LINE 9'"):
        assert part in text


def test_an_offset_is_refused_and_named() -> None:
    with pytest.raises(PatchError, match=r"offset \+1") as caught:
        apply(PATCH, {"pkg/mod.py": b"new first line\n" + BEFORE})
    assert "not exact" in str(caught.value)


def test_applied_twice_is_told_apart() -> None:
    with pytest.raises(AlreadyAppliedError, match=r"p\.patch is already applied to pkg/mod\.py") as caught:
        apply(PATCH, {"pkg/mod.py": AFTER})
    assert "hunk 1" in caught.value.why


FOUR, SIXTEEN = (b"line 4\n", b"four\nfour and more\n"), (b"line 16\n", b"sixteen\n")


def changed(*pairs: tuple[bytes, bytes]) -> bytes:
    data = BEFORE
    for old, new in pairs:
        data = data.replace(old, new)
    return data


def diff(path: bytes, *hunks: bytes) -> bytes:
    return b"diff --git a/%s b/%s\n--- a/%s\n+++ b/%s\n" % (path, path, path, path) + b"".join(hunks)


def at(first: int, moved: int, old: bytes, new: bytes) -> bytes:
    """A hunk that replaces a line, in the middle of seven that begin at ``first``."""
    lines = [b" line %d\n" % number for number in range(first, first + 7)]
    count = 6 + new.count(b"\n")
    lines[3] = b"-" + old + b"".join(b"+%s\n" % line for line in new.splitlines())
    return b"@@ -%d,7 +%d,%d @@\n" % (first, first + moved, count) + b"".join(lines)


HUNK_4, HUNK_16 = at(1, 0, *FOUR), at(13, 1, *SIXTEEN)
TWO_HUNKS = diff(b"m.py", HUNK_4, HUNK_16)
TWO_FILES = diff(b"a.py", HUNK_4) + diff(b"b.py", HUNK_4)


@pytest.mark.parametrize(
    ("data", "tree", "first", "others"),
    [
        (
            TWO_HUNKS, {"m.py": changed(FOUR)}, ("m.py", "hunk 2 is not there: its old lines stand at line 14"),
            ["there already: m.py: hunk 1: its new lines stand at line 1"],
        ),
        (
            TWO_HUNKS, {"m.py": changed(SIXTEEN)}, ("m.py", "hunk 1 is not there: its old lines stand at line 1"),
            ["there already: m.py: hunk 2: its new lines stand at line 13"],
        ),
        (
            TWO_HUNKS, {"m.py": changed(FOUR, (b"line 15\n", b"other\n"))},
            ("m.py", "hunk 2, line 16: expected 'line 15', found 'other'"),
            ["there already: m.py: hunk 1: its new lines stand at line 1"],
        ),
        (
            TWO_FILES, {"a.py": changed(FOUR), "b.py": BEFORE}, ("b.py", "hunk 1 is not there"),
            ["there already: a.py: hunk 1: its new lines stand at line 1"],
        ),
        (
            TWO_FILES, {"a.py": BEFORE, "b.py": changed(FOUR)}, ("a.py", "hunk 1 is not there"),
            ["there already: b.py: hunk 1: its new lines stand at line 1"],
        ),
        (
            TWO_FILES + HUNK_16, {"a.py": changed(FOUR), "b.py": changed((b"line 15\n", b"other\n"))},
            ("b.py", "hunk 2, line 15: expected 'line 15', found 'other'"),
            ["there already: a.py: hunk 1", "not there: b.py: hunk 1 is not there: its old lines stand at line 1"],
        ),
    ],
)  # fmt: skip
def test_a_part_that_is_there_is_no_whole(data, tree, first, others) -> None:
    with pytest.raises(PatchError) as caught:
        apply(data, tree)
    assert not isinstance(caught.value, AlreadyAppliedError)
    assert caught.value.what == f"p.patch does not apply exactly to {first[0]}"
    assert caught.value.why.startswith(first[1])
    for part in others:
        assert part in caught.value.why
    assert caught.value.todo.startswith("rewrite the patch")
    assert "drop it" not in str(caught.value)


def test_every_hunk_of_every_file_is_there() -> None:
    with pytest.raises(AlreadyAppliedError, match=r"p\.patch is already applied to m\.py") as caught:
        apply(TWO_HUNKS, {"m.py": changed(FOUR, SIXTEEN)})
    assert "m.py: hunk 2: its new lines stand at line 14" in caught.value.why
    with pytest.raises(AlreadyAppliedError, match=r"already applied to a\.py, b\.py"):
        apply(TWO_FILES, {"a.py": changed(FOUR), "b.py": changed(FOUR)})


def test_a_line_more_among_its_like_is_there_with_the_rest() -> None:
    """The first hunk would fit once more; that the second is there tells."""
    data = diff(b"f", b"@@ -2,6 +2,7 @@\n c\n c\n c\n+c\n c\n c\n c\n", at(13, 1, *SIXTEEN))
    before = b"c\n" * 9 + b"".join(b"line %d\n" % number for number in range(10, 21))
    after = apply(data, {"f": before})["f"]
    assert after is not None
    assert after.startswith(b"c\n" * 10 + b"line 10\n")
    with pytest.raises(AlreadyAppliedError):
        apply(data, {"f": after})


def test_a_file_that_was_created_already_is_a_part_too() -> None:
    with pytest.raises(PatchError, match=r"does not apply exactly to a\.py") as caught:
        apply(CREATE + diff(b"a.py", HUNK_4), {"n.py": b"x = 1\ny = 2\n", "a.py": BEFORE})
    assert not isinstance(caught.value, AlreadyAppliedError)
    assert "there already: n.py: the file is there with this very content" in caught.value.why


def test_a_file_that_was_emptied_already() -> None:
    data = diff(b"f", b"@@ -1,2 +0,0 @@\n-a\n-b\n")
    assert apply(data, {"f": b"a\nb\n"}) == {"f": b""}
    with pytest.raises(AlreadyAppliedError):
        apply(data, {"f": b""})


def test_whoever_reads_the_files_need_not_know_the_patch() -> None:
    def read(path: str) -> bytes:
        raise PatchError(f"{path} is not a plain file", why="a link", todo="name the file itself")

    with pytest.raises(PatchError, match=r"^p\.patch: pkg/mod\.py is not a plain file") as caught:
        udiffparse.parse("p.patch", PATCH).apply(read)
    assert (caught.value.why, caught.value.todo) == ("a link", "name the file itself")


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(PatchError, match=r"p\.patch does not apply exactly to pkg/mod\.py") as caught:
        apply(PATCH, {})
    assert "no such file" in caught.value.why


@pytest.mark.parametrize("gone", [b" line 7\n", b" line 13\n", b" line 8\n line 9\n"])
def test_less_than_full_context_is_refused(gone: bytes) -> None:
    count = gone.count(b"\n")
    start = 7 if gone == b" line 13\n" else 7 + count
    data = PATCH.replace(b"@@ -7,7 +7,8 @@", b"@@ -%d,%d +%d,%d @@" % (start, 7 - count, start, 8 - count))
    data = data.replace(gone, b"") if gone != b" line 8\n line 9\n" else data.replace(b" line 7\n line 8\n", b"")
    with pytest.raises(PatchError, match="does not apply exactly") as caught:
        apply(data, {"pkg/mod.py": BEFORE})
    before = f"hunk 1, line {start - 1}: fewer than 3 lines of context before it: expected the file's start"
    after = "hunk 1, line 13: fewer than 3 lines of context after it: expected the file's end, found 'line 13'"
    assert caught.value.why == (after if start == 7 else f"{before}, found 'line {start - 1}'")


def test_fewer_lines_of_context_at_the_edges_of_a_file() -> None:
    data = b"diff --git a/f b/f\n--- a/f\n+++ b/f\n@@ -1,2 +1,2 @@\n-a\n+A\n b\n"
    assert apply(data, {"f": b"a\nb\n"}) == {"f": b"A\nb\n"}
    with pytest.raises(PatchError, match="does not apply exactly"):
        apply(data, {"f": b"a\nb\nc\n"})


def test_lines_that_are_put_after_the_end_of_a_file() -> None:
    data = diff(b"f", b"@@ -5,0 +6 @@\n+new\n")
    with pytest.raises(PatchError, match="does not apply exactly") as caught:
        apply(data, {"f": b"a\nb\n"})
    assert "hunk 1, line 5: fewer than 3 lines of context before it" in caught.value.why
    assert "found the end of the file" in caught.value.why


CREATE = b"diff --git a/n.py b/n.py\nnew file mode 100644\n--- /dev/null\n+++ b/n.py\n@@ -0,0 +1,2 @@\n+x = 1\n+y = 2\n"
DELETE = (
    b"diff --git a/n.py b/n.py\ndeleted file mode 100644\n--- a/n.py\n+++ /dev/null\n@@ -1,2 +0,0 @@\n-x = 1\n-y = 2\n"
)


def test_create_and_delete() -> None:
    content = b"x = 1\ny = 2\n"
    assert apply(CREATE, {}) == {"n.py": content}
    assert apply(DELETE, {"n.py": content}) == {"n.py": None}
    with pytest.raises(AlreadyAppliedError):
        apply(CREATE, {"n.py": content})
    with pytest.raises(AlreadyAppliedError):
        apply(DELETE, {})
    with pytest.raises(PatchError, match="does not apply exactly"):
        apply(CREATE, {"n.py": b"other\n"})
    with pytest.raises(PatchError, match="does not apply exactly") as caught:
        apply(DELETE, {"n.py": content + b"z = 3\n"})
    assert not isinstance(caught.value, AlreadyAppliedError)
    assert "line 3: fewer than 3 lines of context after it: expected the file's end, found 'z = 3'" in caught.value.why


def test_empty_files_and_modes() -> None:
    empty = b"diff --git a/e b/e\nnew file mode 100644\nindex 0000000..e69de29\n"
    assert apply(empty, {}) == {"e": b""}
    mode = b"diff --git a/e b/e\nold mode 100644\nnew mode 100755\n"
    patch = udiffparse.parse("p", mode)
    assert patch.files[0].mode == "100755"
    assert patch.apply({"e": b"kept\n"}.get) == {"e": b"kept\n"}
    with pytest.raises(PatchError, match="does not apply exactly to e") as caught:
        apply(b"diff --git a/e b/e\ndeleted file mode 100644\n", {"e": b"kept\n"})
    assert caught.value.why == "it deletes the file, but leaves a line of it"


REFUSED = {
    "not git format": b"--- a/f\n+++ b/f\n@@ -1 +1 @@\n-a\n+b\n",
    "binary": b"diff --git a/f b/f\nindex 1..2 100644\nGIT binary patch\nliteral 1\n",
    "binary named only": b"diff --git a/f b/f\nindex 1..2 100644\nBinary files a/f and b/f differ\n",
    "rename": b"diff --git a/f b/g\nsimilarity index 100%\nrename from f\nrename to g\n",
    "two names": b"diff --git a/f b/g\n--- a/f\n+++ b/g\n@@ -1 +1 @@\n-a\n+b\n",
    "link": b"diff --git a/f b/f\nnew file mode 120000\n--- /dev/null\n+++ b/f\n@@ -0,0 +1 @@\n+g\n",
    "path up": b"diff --git a/../f b/../f\n--- a/../f\n+++ b/../f\n@@ -1 +1 @@\n-a\n+b\n",
    "absolute path": b"diff --git a//etc/f b//etc/f\n--- a//etc/f\n+++ b//etc/f\n@@ -1 +1 @@\n-a\n+b\n",
    "count too low": b"diff --git a/f b/f\n--- a/f\n+++ b/f\n@@ -1 +1 @@\n-a\n+b\n+c\n",
    "count too high": b"diff --git a/f b/f\n--- a/f\n+++ b/f\n@@ -1 +1,3 @@\n-a\n+b\n+c\n",
    "context only": b"diff --git a/f b/f\n--- a/f\n+++ b/f\n@@ -1 +1 @@\n a\n",
    "numbers disagree": b"diff --git a/f b/f\n--- a/f\n+++ b/f\n@@ -1 +2 @@\n-a\n+b\n",
    "file twice": 2 * b"diff --git a/f b/f\n--- a/f\n+++ b/f\n@@ -1 +1 @@\n-a\n+b\n",
    "mode line missing": b"diff --git a/f b/f\n--- /dev/null\n+++ b/f\n@@ -0,0 +1 @@\n+a\n",
    "garbage after": b"diff --git a/f b/f\n--- a/f\n+++ b/f\n@@ -1 +1 @@\n-a\n+b\ngarbage\n",
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_exact_is_refused_with_its_line(name: str) -> None:
    with pytest.raises(PatchError, match=r"p\.patch is not a patch") as caught:
        apply(REFUSED[name], {"f": b"a\n"})
    assert caught.value.why.startswith("line ")


@pytest.mark.parametrize("data", [b"Subject: nothing\n", b"Subject: nothing", b""])
def test_a_header_alone_says_how_to_make_its_change(data: bytes) -> None:
    with pytest.raises(PatchError, match=r"^p\.patch has a header and no change") as caught:
        apply(data, {})
    assert "nox -s patch -- --edit N" in caught.value.todo


# --- against git itself --------------------------------------------------------------------------------------------

WORDS = [
    b"",
    b"a",
    b"a",
    b"b",
    b"return x",
    b"    return x",
    b"}",
    b"-- ",
    b"+1",
    b"-1",
    b"@@ -1 +1 @@",
    b"\ttab\r",
    b"\xff\xfe",
]


def random_file(rng: random.Random) -> bytes:
    lines = [rng.choice(WORDS) for _ in range(rng.choice([0, 1, 2, 5, 20, 60]))]
    data = b"\n".join(lines)
    return data + b"\n" if rng.random() < 0.7 else data


def random_edit(rng: random.Random, data: bytes) -> bytes:
    lines = data.split(b"\n")
    for _ in range(rng.randint(1, 4)):
        at = rng.randint(0, len(lines))
        lines[at : at + rng.randint(0, 3)] = [rng.choice(WORDS) for _ in range(rng.randint(0, 3))]
    return b"\n".join(lines)


def git(*argv: str, cwd: object) -> bytes:
    config = ["-c", "core.autocrlf=false", "-c", "user.name=t", "-c", "user.email=t@example.invalid"]
    return subprocess.run(["git", *config, *argv], cwd=cwd, check=True, capture_output=True).stdout


@pytest.fixture
def repository(tmp_path):
    git("init", "-q", ".", cwd=tmp_path)
    (tmp_path / ".git/info/attributes").write_text("* -text diff\n")  # odd bytes are text here, not binary
    return tmp_path


def write(folder, tree) -> None:
    for name in ("one.py", "two words.py", "sub/three.py"):
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        if name in tree:
            path.write_bytes(tree[name])
        else:
            path.unlink(missing_ok=True)


def random_tree(rng: random.Random, base: dict[str, bytes]) -> dict[str, bytes]:
    tree = {}
    for name in ("one.py", "two words.py", "sub/three.py"):
        if name in base and rng.random() < 0.8:
            tree[name] = random_edit(rng, base[name]) if rng.random() < 0.8 else base[name]
        elif name not in base and rng.random() < 0.5:
            tree[name] = random_file(rng)
    return tree


@pytest.mark.programs("git")
@pytest.mark.parametrize("seed", range(12))
def test_whatever_git_diff_makes_is_applied_to_the_same_bytes(seed: int, repository) -> None:
    rng = random.Random(seed)
    for _ in range(6):
        before = {name: random_file(rng) for name in ("one.py", "two words.py", "sub/three.py") if rng.random() < 0.8}
        after = random_tree(rng, before)
        write(repository, before)
        git("add", "-A", cwd=repository)
        git("commit", "-q", "--allow-empty", "-m", "before", cwd=repository)
        write(repository, after)
        git("add", "-A", cwd=repository)
        data = git("diff", "--cached", "--no-renames", cwd=repository)
        if not data:
            assert before == after
            continue
        patch = udiffparse.parse("p.patch", data)
        result = patch.apply(before.get)
        assert {**before, **result} == {**dict.fromkeys(before), **after}
        assert set(result) == {name for name in {*before, *after} if before.get(name) != after.get(name)}
        check_perturbations(rng, patch, before, after)


def check_perturbations(rng, patch, before, after) -> None:
    """A changed context line, a moved file and a second application are each refused."""
    for change in patch.files:
        if change.created or change.deleted or not change.hunks:
            continue
        lines = udiff.split_lines(before[change.path])
        hunk = rng.choice(change.hunks)
        if hunk.old:
            at = hunk.old_start - 1 + rng.randrange(len(hunk.old))
            other = [*lines[:at], b"perturbed" + lines[at], *lines[at + 1 :]]
            refused(patch, {**before, change.path: b"".join(other)})
        # The same lines one further down: every hunk is off by one.
        refused(patch, {**before, change.path: b"perturbed\n" + before[change.path]})
    with pytest.raises(PatchError):
        patch.apply(after.get)


def refused(patch, tree) -> None:
    with pytest.raises(PatchError):
        patch.apply(tree.get)


@pytest.mark.programs("git")
def test_git_apply_takes_the_same_patches(repository) -> None:
    write(repository, {"one.py": BEFORE})
    (repository / "pkg").mkdir()
    (repository / "pkg/mod.py").write_bytes(BEFORE)
    (repository / "p.patch").write_bytes(PATCH)
    git("apply", "p.patch", cwd=repository)
    assert (repository / "pkg/mod.py").read_bytes() == AFTER
