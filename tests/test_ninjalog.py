"""Ninja's log: of each form that is known, as Ninja itself writes it, and nothing else."""

import pytest

from build import ninjalog, proc
from build.errors import CommandError

# By Ninja 1.11.1, of a small CMake project.
LOG = """\
# ninja log v5
1	760	1795702153831208048	CMakeFiles/_moe_C.dir/a.cu.o	ac49b5f2f4d1b0cd
761	1562	1795702154630500532	CMakeFiles/_moe_C.dir/c/b.cu.o	9d7f9ac525262e9e
762	5386	1795702158454500423	vllm-flash-attn/lib_vllm_fa2_C.so	efc138b347a3f2d8
"""
RULES = "rule touch\n  command = touch $out\nbuild a.o: touch\nbuild sub/b.o: touch a.o\n"


@pytest.mark.parametrize("version", [5, 6, 7])
def test_a_log_is_read(version):
    found = ninjalog.read(LOG.replace("v5", f"v{version}"))
    assert [(item.start, item.end) for item in found] == [(1, 760), (761, 1562), (762, 5386)]
    assert found[2].output == "vllm-flash-attn/lib_vllm_fa2_C.so"
    assert found[1].seconds == 0.801
    assert ninjalog.wall_seconds(found) == 5.386


@pytest.mark.programs("ninja")
def test_what_ninja_writes_today_is_read(tmp_path):
    (tmp_path / "build.ninja").write_text(RULES)
    proc.run(["ninja", "-C", str(tmp_path)])
    found = ninjalog.read((tmp_path / ".ninja_log").read_text())
    assert [item.output for item in found] == ["a.o", "sub/b.o"]
    assert all(0 <= item.start <= item.end for item in found)


def test_a_line_that_was_being_written_is_passed_over():
    assert len(ninjalog.read(LOG.removesuffix("d8\n"))) == 2
    assert ninjalog.read("# ninja log v6\n") == ()
    assert ninjalog.wall_seconds(()) == 0


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("v5", "v4", "begins with '# ninja log v4'"),
        ("v5", "v8", "known are v5, v6 and v7"),
        (LOG, "", "begins with ''"),
        ("761\t", "x\t", "line 3 is 'x"),
        ("\tac49b5f2f4d1b0cd", "", "line 2 is '1"),
        ("1562\t", "1562\t\t", "line 3"),
    ],
)
def test_what_is_no_log_is_refused_with_its_place(old, new, said):
    with pytest.raises(CommandError, match="Ninja's log") as caught:
        ninjalog.read(LOG.replace(old, new, 1))
    assert said in caught.value.why


def test_each_run_begins_at_zero_again():
    again = LOG + "".join(line + "\n" for line in LOG.splitlines()[1:3])
    assert ninjalog.wall_seconds(ninjalog.read(again)) == 5.386 + 1.562


def test_commands_that_end_in_the_same_moment_are_of_one_run():
    same = LOG.replace("1562", "5386", 1)
    assert ninjalog.wall_seconds(ninjalog.read(same)) == 5.386
