"""What the source lane demands of a project's own build (setup.py, Rust), and of the tables that speak of it."""

import tomllib

import pytest
from pydantic import ValidationError

from build import nativelock
from build.errors import IntentError, LockError
from build.intent import FILE, read_intent
from build.settings import REPO
from build.tables import LeftOffIntent
from tests import lockkit, nativekit

SETUP = """
import torch
ext_modules = []
ext_modules.append(CMakeExtension(name="app._C"))
if on_cuda:
    ext_modules.append(
        CMakeExtension(
            name='app.deep.fa._D', optional=True))
# CMakeExtension is what a class of that name makes
class CMakeExtension(Extension):
    def __init__(self, name: str) -> None:
        super().__init__(name=name)
"""


def native(**more):
    return nativekit.target(**more).native


def tree(folder, **files):
    for path, text in files.items():
        place = folder / path.replace("__", "/").replace("_py", ".py").replace("_toml", ".toml")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")
    return folder


# --- extensions ----------------------------------------------------------------------------------------------------


def test_what_the_own_build_makes_and_ours_does_not_is_named(tmp_path):
    with pytest.raises(LockError) as caught:
        nativelock._demand_extensions(native(), tree(tmp_path, setup_py=SETUP))
    assert caught.value.what == "app's own build makes what its target does not: _D"
    assert "native.left-off" in caught.value.todo


@pytest.mark.parametrize(
    "more",
    [
        {"targets": ["_C", "_D"]},
        {"left-off": [{"target": "_D", "reason": "r"}]},
        {"left-off": [{"part": "_D", "reason": "r"}]},
        {"targets": ["_C", "_D", "more"], "left-off": [{"part": "rust/", "reason": "r"}]},
    ],
)
def test_each_is_made_or_left_off_by_name(tmp_path, more):
    nativelock._demand_extensions(native(**more), tree(tmp_path, setup_py=SETUP))


def test_all_of_them_are_told_by_their_names_in_cmake(tmp_path):
    text = SETUP.replace("app._C", "app._A").replace("app.deep.fa._D", "_B")
    with pytest.raises(LockError, match=r"does not: _A, _B\n"):
        nativelock._demand_extensions(native(), tree(tmp_path, setup_py=text))


@pytest.mark.parametrize("files", [{}, {"setup_py": ""}, {"setup_py": "CMakeExtension(name=name)\n"}])
def test_a_project_that_names_none_is_asked_for_none(tmp_path, files):
    nativelock._demand_extensions(native(), tree(tmp_path, **files))


@pytest.mark.parametrize("complete", [True, False])
def test_only_an_image_that_is_to_be_whole_is_asked(tmp_path, complete):
    """One with stand-ins says of itself that it is not, and is asked for what is in Rust all the same."""
    stand_in = {"gamma": {"files": {"README": ""}, "reason": "r"}}
    names = ("beta", "onednn") if not complete else ("beta", "gamma", "onednn")
    wanted = nativekit.target(
        unused=dict.fromkeys(names, "why not"), stubs={} if complete else stand_in, targets=["_C"]
    )
    assert wanted.native.complete is complete
    files = {**nativekit.FILES, "setup.py": SETUP.encode()}
    if complete:
        with pytest.raises(LockError, match="what its target does not: _D"):
            nativekit.account(tmp_path, wanted, files=files)
    else:
        assert nativekit.account(tmp_path, wanted, files=files)
    with pytest.raises(LockError, match="parts in Rust that its target does not speak of: rust"):
        nativekit.account(tmp_path / "rust", wanted, files={**files, "rust/Cargo.toml": b"[workspace]\n"})


def test_the_real_target_speaks_of_each_library_once():
    native = read_intent(REPO).targets["g27"].native
    left = [item.target or item.part for item in native.left_off]
    assert native.complete
    assert not set(left) & set(native.targets)
    assert len(left) == len(set(left))


# --- crates --------------------------------------------------------------------------------------------------------


def test_crates_are_left_off_by_their_folder(tmp_path):
    root = tree(tmp_path, rust__Cargo_toml="", rust__in__Cargo_toml="", other__Cargo_toml="")
    with pytest.raises(LockError, match=r"does not speak of: other, rust\n"):
        nativelock._demand_crates(native(), root)
    with pytest.raises(LockError, match=r"does not speak of: other\n"):
        nativelock._demand_crates(native(**{"left-off": [{"part": "rust/", "reason": "r"}]}), root)
    with pytest.raises(LockError, match=r"does not speak of: other, rust\n"):  # a target of CMake's is no part
        nativelock._demand_crates(native(**{"left-off": [{"target": "rust", "reason": "r"}]}), root)
    both = [{"part": "rust", "reason": "r"}, {"part": "other/", "reason": "r"}]
    nativelock._demand_crates(native(**{"left-off": both}), root)


# --- the tables ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", [{}, {"target": "_C", "part": "rust/"}])
def test_what_is_left_off_is_a_target_or_a_part(given):
    with pytest.raises(ValidationError, match="one of `target` and `part` is needed"):
        LeftOffIntent(reason="r", **given)
    left = LeftOffIntent(reason="r", part="rust/")
    assert (left.target, left.part) == (None, "rust/")


def written(folder, more):
    shared = (REPO / FILE).read_text().split("[rebase]")[0].replace('default = "v0.32"', 'default = "demo"')
    demo = lockkit.TARGET.replace('lane = "wheel"', 'lane = "source"')
    demo = demo.replace(
        'distribution = "app"', f'distribution = "app"\ngit = "https://x.example/a"\ncommit = "{"ab" * 20}"'
    )
    assert tomllib.loads(shared + demo + more)
    (folder / "lock").mkdir()
    (folder / FILE).write_text(shared + demo + more)
    return folder


NATIVE = """
[targets.demo.native]
component = "app"
origin = "git"
project = "demo_ext"
sources = ["CMakeLists.txt"]
architectures = "12.1a"
requirements = ["cmake==4.1.2"]
targets = ["_C"]
"""
STUB = """
[targets.demo.native.stubs.gamma]
files = { "README" = "" }
reason = "not compiled here"
"""
SUBSTITUTE = """
[targets.demo.native.substitutes.beta]
wheel = "kit==1.0"
path = "kit/beta"
reason = "no git host in this test"
"""


@pytest.mark.parametrize("stand_ins", [STUB, SUBSTITUTE, STUB + SUBSTITUTE])
def test_a_commit_is_compiled_without_stand_ins(tmp_path, stand_ins):
    with pytest.raises(IntentError) as caught:
        read_intent(written(tmp_path, NATIVE + stand_ins))
    assert caught.value.why == (
        "targets.demo.native: a commit is compiled as it is; substitutes and stubs are for release archives"
    )


def test_an_archive_may_have_them_and_a_commit_has_none(tmp_path):
    assert read_intent(written(tmp_path, NATIVE)).targets["demo"].native.complete
    (tmp_path / "b").mkdir()
    archive = NATIVE.replace('origin = "git"', 'origin = "archive"')
    assert not read_intent(written(tmp_path / "b", archive + STUB + SUBSTITUTE)).targets["demo"].native.complete


@pytest.mark.parametrize("keys", ["", 'target = "_D"\npart = "rust/"\n'])
def test_neither_and_both_are_told_with_their_place(tmp_path, keys):
    with pytest.raises(IntentError) as caught:
        read_intent(written(tmp_path, f'{NATIVE}\n[[targets.demo.native.left-off]]\n{keys}reason = "r"\n'))
    assert caught.value.why.startswith("targets.demo.native.left-off")
    assert "one of `target` and `part` is needed" in caught.value.why
