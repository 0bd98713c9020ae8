"""The list of units: read as it was written, readable as a diff, and every change told."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from build import units
from build.errors import LockError, NewerLockError
from build.units import Unit, Units
from tests import unitkit

RELEASE = Units(
    target="v0.22-source", complete=False, units=unitkit.release(),
    absent=(("cutlass", "the copy that flashinfer bundles"), ("qutlass", "a stub")),
)  # fmt: skip
NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
SETS = st.sampled_from([(), ("default",), ("sm_120",), ("compute_80", "sm_80"), ("sm_120", "sm_120f")])


def listed(*found, **more):
    return Units(**{"target": "t", "complete": True, "absent": (), "units": tuple(sorted(found)), **more})


def cuda(source, *architectures, target="_C"):
    return Unit(target=target, source=source, architectures=architectures)


def test_a_list_is_read_as_it_was_written(tmp_path):
    assert units.read(tmp_path, RELEASE.target) is None
    assert units.write(tmp_path, RELEASE)
    assert units.read(tmp_path, RELEASE.target) == RELEASE
    assert not units.write(tmp_path, RELEASE)
    assert (tmp_path / "lock/units/v0.22-source.toml").is_file()


@given(st.dictionaries(st.tuples(NAMES, NAMES), SETS), st.dictionaries(NAMES, NAMES), st.booleans())
def test_any_list_is_read_as_it_was_written(tmp_path_factory, found, absent, complete):
    one = listed(
        *(Unit(target=target, source=source, architectures=sets) for (target, source), sets in found.items()),
        absent=tuple(sorted(absent.items())), complete=complete,
    )  # fmt: skip
    repo = tmp_path_factory.mktemp("repo")
    units.write(repo, one)
    assert units.read(repo, "t") == one
    assert units.compare(one, one) == []


def test_each_file_has_a_line_of_its_own_below_its_target_and_architectures():
    lines = units.text(RELEASE).splitlines()
    for unit in RELEASE.units:
        assert f'  "{unit.source}",' in lines
    assert max(map(len, lines)) <= 120
    start = lines.index("[units._moe_C]")
    assert lines[start + 1 : start + 4] == ["host = [", '  "csrc/moe/torch_bindings.cpp",', "]"]
    assert lines[start + 4] == '"compute_80 sm_80" = ['


def test_one_file_more_is_one_line_more():
    more = replace(RELEASE, units=tuple(sorted([*RELEASE.units, cuda("csrc/new.cu", "sm_120")])))
    before, after = (units.text(item).splitlines() for item in (RELEASE, more))
    new = [line for line in after if line not in before]
    assert len(after) == len(before) + 1
    assert [line.split(" = ")[0] for line in new] == ["checksum", '  "csrc/new.cu",']


def test_the_order_in_which_units_came_does_not_matter():
    assert units.text(replace(RELEASE, units=RELEASE.units[::-1], absent=RELEASE.absent[::-1])) == units.text(RELEASE)


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ("csrc/topk.cu", "csrc/topk2.cu", LockError),
        ("complete = false", "complete = true", LockError),
        ("schema = 1", "schema = 99", NewerLockError),
        ("host = [", "host = ", LockError),
    ],
)
def test_a_spoilt_list_is_refused(tmp_path, old, new, error):
    units.write(tmp_path, RELEASE)
    path = units.path_of(tmp_path, RELEASE.target)
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(error, match="nox -s configure|update this checkout"):
        units.read(tmp_path, RELEASE.target)


def test_changes_are_told_by_target_with_their_counts():
    before = listed(
        cuda("a.cu", "sm_120"), cuda("b.cu", "sm_120"), cuda("c.cu", "compute_80", "sm_80"), cuda("d.cpp"),
        cuda("m.cu", "sm_120", target="_moe_C"), cuda("same.cu", "sm_120", target="_same"),
    )  # fmt: skip
    after = listed(
        cuda("a.cu", "sm_120f"), cuda("c.cu", "compute_80", "sm_80"), cuda("d.cpp"), cuda("e.cu", "default"),
        cuda("f.cpp"), cuda("b.cu", "sm_120", target="_new"), cuda("same.cu", "sm_120", target="_same"),
    )  # fmt: skip
    assert units.compare(before, after) == [
        "_C: 4 -> 5 units (2 added, 1 gone, 1 for other architectures)",
        "  + e.cu (default)",
        "  + f.cpp (host)",
        "  - b.cu (sm_120)",
        "  ~ a.cu: sm_120 -> sm_120f",
        "_moe_C: 1 -> 0 units (0 added, 1 gone, 0 for other architectures)",
        "  - m.cu (sm_120)",
        "_new: 0 -> 1 units (1 added, 0 gone, 0 for other architectures)",
        "  + b.cu (sm_120)",
    ]


def test_how_whole_a_list_is_is_compared_too():
    before = listed(complete=False, absent=(("a", "a stub"), ("b", "a stub"), ("c", "a stub")))
    after = listed(complete=True, absent=(("a", "a stub"), ("b", "a substitute"), ("d", "a stub")))
    told = ["b: absent for another reason: a substitute", "c: not absent any more", "d: absent: a stub"]
    assert units.compare(before, after) == ["the list is complete now, and was not", *told]
    assert units.compare(after, before)[0] == "the list is not complete any more"


def test_the_table_counts_files_and_architectures():
    table = units.rows(replace(RELEASE, units=unitkit.release(fa3=True)))
    ptx = "78 compute_80+sm_80"
    assert all(len(row) == len(units.COLUMNS) for row in table)
    assert table == [
        ["_C", "45", "3", "20 sm_120, 11 compute_80+sm_80, 7 compute_90+sm_90, 7 sm_120f"],
        ["_C_stable_libtorch", "30", "2", "18 sm_120, 10 sm_120f, 1 compute_89+sm_89, 1 compute_90+sm_90"],
        ["_moe_C", "27", "1", "15 compute_80+sm_80, 12 sm_120"],
        ["_vllm_fa2_C", "52", "3", "52 compute_80+sm_80"],
        ["_vllm_fa3_C", "192", "2", "192 default"],
        ["cumem_allocator", "0", "1", ""],
        ["spinloop", "0", "1", ""],
        ["all", "346", "13", f"192 default, {ptx}, 50 sm_120, 17 sm_120f, 8 compute_90+sm_90, 1 compute_89+sm_89"],
    ]
