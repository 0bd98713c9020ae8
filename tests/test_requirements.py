"""Requirements: their normal form, what a series changes, what holds for a GB10, what locked versions satisfy."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from build import requirements
from build.errors import PatchError, ResolveError
from build.index import Environment
from build.models import RequirementChange
from build.requirements import normal

GB10 = Environment(platform="aarch64-manylinux_2_39", python="3.13")
ARM = 'platform_machine == "aarch64"'
INTEL = 'platform_machine == "x86_64"'


@dataclass(frozen=True)
class Said:
    requires: tuple[str, ...]


def said(**lines):
    return {name.replace("_", "-"): Said(tuple(found)) for name, found in lines.items()}


def change(before, after):
    return RequirementChange(before=before, after=after)


# --- normal form ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("PyNvVideoCodec == 2.0.4", "pynvvideocodec==2.0.4"),
        ("outlines_core==0.2.14", "outlines-core==0.2.14"),
        ("fastapi[standard] >= 0.133.0, < 0.137.0", "fastapi[standard]<0.137.0,>=0.133.0"),
        ("a[Z_z,b] (>=1)", "a[b,z-z]>=1"),
        ("six>=1; python_version > '3.11'", 'six>=1; python_version > "3.11"'),
        ("a; extra=='x'", 'a; extra == "x"'),
        (
            "a @ https://x.example/a.whl ; sys_platform=='linux'",
            'a @ https://x.example/a.whl ; sys_platform == "linux"',
        ),
    ],
)
def test_two_ways_to_write_a_requirement_have_one_form(text, form):
    assert normal(text) == form
    assert normal(form) == form


@given(
    st.sampled_from(["a", "A_b", "a.B-c"]),
    st.sets(st.sampled_from(["x", "Y_z"])),
    st.sets(st.sampled_from([">=1", "<2", "!=1.5.*", "==1.0+local"])),
    st.sampled_from(["", "; python_version<'3.14'", " ;(os_name=='nt' or sys_platform=='linux')"]),
)
def test_a_form_is_its_own_form(name, extras, specifiers, marker):
    form = normal(f"{name}{'[' + ','.join(extras) + ']' if extras else ''}{','.join(specifiers)}{marker}")
    assert normal(form) == form


def test_what_is_no_requirement_is_told():
    with pytest.raises(ResolveError, match="'a=1' is no requirement"):
        normal("a=1")


# --- what a series changes -----------------------------------------------------------------------------------------


def test_changes_pair_lines_of_one_distribution():
    before = ["torch == 2.11.0", "same>=1", "gone", f"x==1; {ARM}", f"x==2; {INTEL}"]
    after = ["torch==2.13.0", "same >= 1", "new[e]==1", f"x==4; {INTEL}", f"x==3; {ARM}"]
    assert requirements.changes(before, after) == (
        change("gone", ""),
        change("", "new[e]==1"),
        change("torch==2.11.0", "torch==2.13.0"),
        change(f"x==1; {ARM}", f"x==3; {ARM}"),
        change(f"x==2; {INTEL}", f"x==4; {INTEL}"),
    )
    assert requirements.changes(before, reversed(before)) == ()


def test_what_a_resolver_is_told_of_changes_is_what_holds_here():
    found = [
        change("a==1", "a[cu13]==2"), change(f"x==1; {ARM}", f"x==2; {ARM}"), change(f"y==1; {INTEL}", f"y==2; {INTEL}"),
        change("gone", ""), change("", "new"), change("", f"other; {INTEL}"),
    ]  # fmt: skip
    assert requirements.overrides_for(found, GB10) == ("a[cu13]==2", "x==2")
    assert requirements.additions_for(found, GB10) == ("new",)


def test_metadata_changes_in_its_own_words():
    lines = ["Torch (==2.11.0)", "b>=1", 'b>=2; extra == "more"', "gone"]
    found = [change("torch==2.11.0", "torch==2.13.0"), change("b>=1", "b>=3"), change("gone", ""), change("", "new")]
    assert requirements.edits(lines, found) == (
        ("Torch (==2.11.0)", "torch==2.13.0"), ("b>=1", "b>=3"), ("gone", ""), ("", "new"),
    )  # fmt: skip
    assert requirements.changed(lines, found) == ("torch==2.13.0", "b>=3", 'b>=2; extra == "more"', "new")
    assert requirements.changed(lines, ()) == tuple(lines)


@pytest.mark.parametrize(("lines", "seen"), [([], "does not have"), (["a ==1", "a==1"], "has 2 times")])
def test_a_change_of_a_line_that_metadata_does_not_have_once(lines, seen):
    with pytest.raises(PatchError, match=f"METADATA {seen}: a==1"):
        requirements.edits(lines, [change("a==1", "a==2")])


def test_differences_count_where_they_hold():
    stated = ["torch==2.11.0", f"x; {INTEL}", "only-here", "same >= 1"]
    metadata = ["torch==2.12.0", "same>=1", 'extra-one; extra == "e"', f"arm-only; {ARM}"]
    assert requirements.differences(stated, metadata, GB10) == (
        "arm-only: the requirement files say nothing, METADATA arm-only",
        "only-here: the requirement files say only-here, METADATA nothing",
        "torch: the requirement files say torch==2.11.0, METADATA torch==2.12.0",
    )


# --- what is asked for and what is locked --------------------------------------------------------------------------


def test_active_follows_what_is_reached_with_its_extras():
    stated = said(
        a=["b[Fast]>=1", f"c; {INTEL}", 'd; extra == "never"'],
        b=["e", 'f==1; extra == "fast"', 'b[all]; extra == "fast"', 'g; extra == "all"', 'h; extra == "other"'],
        e=[], f=["a"], g=[], c=["x"], unreached=["y"],
    )  # fmt: skip
    assert requirements.active(stated, ["A==1", f"c; {INTEL}"], GB10) == {
        "a": ("b[fast]>=1",), "b": ("b[all]", "e", "f==1", "g"), "e": (), "f": ("a",), "g": (),
    }  # fmt: skip


def test_markers_are_evaluated_for_the_target_and_not_for_this_machine():
    lines = [
        f"machine; {ARM}", "python; python_full_version >= '3.13' and python_version < '3.14'",
        "linux; sys_platform == 'linux' and platform_system == 'Linux' and os_name == 'posix'",
        "cpython; implementation_name == 'cpython' and platform_python_implementation == 'CPython'",
        "windows; sys_platform == 'win32'", "old; python_version < '3.13'", "release; platform_release >= '1'",
    ]  # fmt: skip
    assert requirements.active(said(a=lines), ["a"], GB10)["a"] == ("cpython", "linux", "machine", "python")


def test_what_is_not_satisfied_says_who_asks():
    requires = {"vllm": ("torch==2.13.0", "numpy<3,>=2", "absent"), "x": ("torch>=2",)}
    versions = {"torch": "2.13.0", "numpy": "3.0"}
    assert requirements.unsatisfied(requires, versions, ()) == (
        "vllm requires numpy<3,>=2, and locked is 3.0",
        "vllm requires absent, and it is not locked",
    )


@pytest.mark.parametrize(
    ("requirement", "version", "satisfied"),
    [
        ("a==2.13.0", "2.13.0+cu130", True),
        ("a==2.13.0+cu130", "2.13.0", False),
        ("a>=1", "2.0rc1", True),
        ("a<2", "2.0rc1", False),
        ("a==1.*", "1.5.post2", True),
        ("a==0.6.11.post2", "0.6.11", False),
        ("a==1.0", "1", True),
        ("a", "1.dev3", True),
    ],
)
def test_versions_satisfy_what_pep_440_says(requirement, version, satisfied):
    assert (requirements.unsatisfied({"b": (requirement,)}, {"a": version}, ()) == ()) is satisfied


def test_an_override_stands_for_all_that_is_asked_of_its_distribution():
    requires = {"a": ("x==1", "y"), "b": ("x==2",)}
    assert requirements.unsatisfied(requires, {"x": "3", "y": "1"}, ["X==3"]) == ()
    assert requirements.unsatisfied(requires, {"x": "3", "y": "1"}, ["x==4"]) == (
        "an override says x==4, and locked is 3",
    )
    assert requirements.unsatisfied(requires, {"y": "1"}, ["x; python_version < '0'"]) == ()


def test_disagreements_are_of_what_is_asked_not_of_its_order():
    locked = {"a": ("x", "y"), "b": ("z",), "c": ()}
    assert requirements.disagreements(locked, {"a": ("y", "x"), "b": ("z",)}) == ()
    assert requirements.disagreements(locked, {"a": ("x",), "b": ("z",), "d": ("w",)}) == (
        "a requires x; locked was x and y",
        "d requires w; locked was nothing",
    )
