"""What is left out of wheels: patterns over RECORDs, every fault of them told with what is near."""

import pytest

from build.errors import PatternError
from build.leftout import contradictions, demand, find

RECORDS = {
    "vllm": {
        "vllm/__init__.py": "sha256=0",
        "vllm/attn/_fa2_C.so": "sha256=1",
        "vllm/attn/_fa3_C.so": "sha256=2",
        "vllm/cli/main.py": "sha256=3",
        "vllm-1.dist-info/RECORD": "",
        "../../../bin/vllm": "entry point=vllm.cli.main:main",
        "../../../bin/tool": "sha256=9",
    },
    "cubin": {
        "cubin/a/x.cubin": "sha256=4",
        "cubin/a/b/y.cubin": "sha256=5",
        "cubin/a/b.h": "sha256=6",
        "shared/z.so": "sha256=7",
    },
    "other": {"shared/z.so": "sha256=8"},
}


def faults(*tables):
    with pytest.raises(PatternError) as caught:
        find(RECORDS, tables)
    return caught.value.why


def test_files_are_found_for_every_distribution_that_brings_them():
    assert find(RECORDS, [["vllm/attn/_fa3*.so"], ["cubin/a/*.cubin"]]) == {
        "cubin": ("cubin/a/x.cubin",),
        "vllm": ("vllm/attn/_fa3_C.so",),
    }
    assert find(RECORDS, [["shared/*"]]) == {"cubin": ("shared/z.so",), "other": ("shared/z.so",)}
    assert find(RECORDS, [["cubin/a/**"]])["cubin"] == ("cubin/a/b.h", "cubin/a/b/y.cubin", "cubin/a/x.cubin")
    assert find(RECORDS, []) == {}


@pytest.mark.parametrize(
    ("pattern", "near"),
    [
        ("vllm/attn/_fa4_C.so", "vllm/attn/ has _fa3_C.so, _fa2_C.so"),
        ("vllmm/attn/*", "site-packages has vllm"),
        ("vllm/attn", "it is a folder: vllm/attn/** is all of it"),
        ("cubin/*.cubin", "cubin/ has nothing like *.cubin"),
        ("cubin/a/b.h/**", "cubin/a/b.h/ has nothing like **"),
    ],
)
def test_a_pattern_that_matches_nothing_is_told_with_what_is_near(pattern, near):
    assert faults([pattern]) == f"{pattern}: no wheel brings it; {near}"


def test_all_faults_are_told_at_once():
    why = faults(["gone/x", "vllm/attn/*"], ["vllm/attn/_fa2*"], ["*.dist-info/*"], ["vllm/cli/**"])
    assert why.splitlines() == [
        "gone/x: no wheel brings it; site-packages has nothing like gone",
        "       vllm/attn/_fa2* and vllm/attn/*: both leave out vllm/attn/_fa2_C.so, for two reasons",
        "       *.dist-info/*: vllm-1.dist-info/RECORD is what makes vllm a distribution",
        "       vllm/cli/**: vllm/cli/main.py is behind a program of vllm",
    ]


def test_programs_are_not_below_site_packages():
    assert "no wheel brings it" in faults(["*/*/*/bin/tool"])


def test_patterns_of_one_reason_may_overlap():
    assert find(RECORDS, [["vllm/attn/*", "vllm/attn/_fa2*"]])["vllm"] == ("vllm/attn/_fa2_C.so", "vllm/attn/_fa3_C.so")


def test_what_is_patched_or_needed_may_not_be_left_out():
    found = find(RECORDS, [["vllm/attn/*"], ["vllm/__init__.py"]])
    said = contradictions(found, ["vllm/__init__.py", "vllm/cli/main.py"], ["vllm/attn/_fa2*.so", "cubin/**"])
    assert said == [
        "vllm/__init__.py is left out, and the series patches it",
        "vllm/attn/_fa2_C.so is left out, and the target's libraries name it as needed (vllm/attn/_fa2*.so)",
    ]
    demand([])
    with pytest.raises(PatternError, match="cannot be left out") as caught:
        demand(said)
    assert caught.value.exit_code == 54
