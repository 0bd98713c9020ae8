"""Requirement files of a source tree: what is read is what pip would, what is not understood is refused."""

import pytest

from build import requirementfiles
from build.errors import ResolveError


@pytest.fixture
def tree(tmp_path):
    def write(**files):
        for name, text in files.items():
            path = tmp_path / "tree" / "requirements" / f"{name}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path / "tree"

    return write


CUDA = "requirements/cuda.txt"


def test_lines_comments_continuations_and_includes(tree):
    found = tree(
        common="numpy>=2  # why\n\n#all of it\nx[a,b] >= 1, \\\n  < 2  # c\n",
        cuda="\ufeff# Common\n-r common.txt\n--requirement  sub.txt\ntorch==2.13.0;python_version>'3'\n# a \\\nb #c\nlast\\",
        sub="--requirement=cuda.txt\n-rcommon.txt\nnumpy>=2\n",
    )
    assert requirementfiles.read(found, [CUDA]) == (
        "numpy>=2", "x[a,b] >= 1, < 2", "torch==2.13.0;python_version>'3'", "b", "last",
    )  # fmt: skip
    assert requirementfiles.closure(found, [CUDA]) == {f"requirements/{name}.txt" for name in ("common", "cuda", "sub")}


def test_what_a_series_makes_of_a_file_is_read_instead(tree):
    found = tree(cuda="-r old.txt\na==1\n", old="b\n", other="c\n")
    changed = {CUDA: b"-r other.txt\n-r new.txt\na==2\n", "requirements/new.txt": b"d\n", "requirements/old.txt": None}
    assert requirementfiles.read(found, [CUDA], changed) == ("c", "d", "a==2")
    assert requirementfiles.closure(found, [CUDA], changed) == {
        CUDA, "requirements/other.txt", "requirements/new.txt",
    }  # fmt: skip
    assert requirementfiles.read(found, [CUDA]) == ("b", "a==1")


@pytest.mark.parametrize(
    "line",
    [
        "--extra-index-url https://x.example/simple", "-i https://x.example", "-e .", "-c constraints.txt", "--pre",
        "a @ https://x.example/a.whl", "https://x.example/a.whl", "./local", "a==1 --hash=sha256:00", "a=1",
        "${NAME}==1", "-r a.txt b.txt",
    ],
)  # fmt: skip
def test_what_is_not_followed_is_refused_with_file_and_line(tree, line):
    found = tree(cuda="-r common.txt\n", common=f"a\n\n# c\n{line}\n")
    with pytest.raises(ResolveError) as caught:
        requirementfiles.read(found, [CUDA])
    assert str(caught.value).startswith(f"requirements/common.txt:4: cannot be followed: {line}")
    assert caught.value.why


@pytest.mark.parametrize("name", ["../../secret.txt", "/etc/passwd", "../../tree-beside/x.txt"])
def test_nothing_outside_the_tree_is_read(tree, tmp_path, name):
    for path in (tmp_path / "secret.txt", tmp_path / "tree-beside" / "x.txt"):
        path.parent.mkdir(exist_ok=True)
        path.write_text("a\n")
    with pytest.raises(ResolveError, match=r"cuda\.txt:1 names a requirement file outside"):
        requirementfiles.read(tree(cuda=f"-r {name}\n"), [CUDA])


def test_a_link_out_of_the_tree_is_not_followed(tree, tmp_path):
    found = tree(cuda="-r link.txt\n")
    (tmp_path / "secret.txt").write_text("a\n")
    (found / "requirements" / "link.txt").symlink_to(tmp_path / "secret.txt")
    with pytest.raises(ResolveError, match="outside the source tree"):
        requirementfiles.read(found, [CUDA])


def test_a_file_that_is_not_there_is_named_with_who_names_it(tree):
    with pytest.raises(ResolveError, match=r"lock/targets\.toml names .* does not have: requirements/rocm\.txt"):
        requirementfiles.read(tree(cuda=""), ["requirements/rocm.txt"])
    with pytest.raises(ResolveError, match=r"cuda\.txt:2 names .*: requirements/gone\.txt"):
        requirementfiles.read(tree(cuda="\n-r gone.txt\n"), [CUDA])


def test_bytes_that_are_no_text(tree):
    found = tree(cuda="a\n")
    (found / CUDA).write_bytes(b"a\xff\n")
    with pytest.raises(ResolveError, match=r"requirements/cuda\.txt is not UTF-8"):
        requirementfiles.read(found, [CUDA])
