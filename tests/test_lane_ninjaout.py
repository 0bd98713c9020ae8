"""dockerfiles/lane/ninjaout.py: what ninja 1.11.1, 1.12.1 and 1.13.0 printed, and what words give a kill away."""

import json
import sys

import pytest

from build.settings import REPO

# As Debian's 1.11.1 and 1.12.1 print alike, of `-k 0 -j 1`; `g` is of the console pool, `h` printed no newline.
OLD = """\
ninja: Entering directory `b'
[1/7] Building A object a.o
FAILED: a.o \n\
kill -9 $$
[2/7] Building C object c.o
FAILED: c.o c2.o \n\
echo hi; echo err >&2; exit 3
hi

err
[3/7] Building D object d.o
FAILED: d.o \n\
sh -c 'kill -9 $$'; exit 5
Killed
[3/7] g
on console
FAILED: g.o \n\
echo on console; exit 4
[5/7] h
FAILED: h.o \n\
printf 'no newline'; false
no newline[6/7] i

FAILED: i.o \n\
sleep 0.2; printf last; false
lastninja: build stopped: cannot make progress due to previous errors.
"""
CODES = {"a.o": 137, "c.o": 3, "d.o": 5, "g.o": 4, "h.o": 1, "i.o": 1}


def newer(text):
    """The same as 1.13.0 prints it."""
    for name, code in CODES.items():
        text = text.replace(f"FAILED: {name} ", f"FAILED: [code={code}] {name} ")
    return text


def coloured(text):
    """The same as with CLICOLOR_FORCE=1."""
    return newer(text).replace("FAILED: [", "\x1b[31mFAILED: [").replace("] a.o", "] \x1b[0ma.o")


@pytest.fixture
def lane(monkeypatch):
    monkeypatch.syspath_prepend(str(REPO / "dockerfiles" / "lane"))
    import ninjaout

    yield ninjaout
    monkeypatch.delitem(sys.modules, "ninjaout")


def read(lane, text):
    output = lane.Output()
    for line in text.removesuffix("\n").split("\n"):
        output.feed(line)
    output.close()
    return output


@pytest.mark.parametrize("form", [str, newer, coloured])
def test_every_form_is_read_alike(lane, form):
    output = read(lane, form(OLD))
    assert (output.done, output.total, output.last) == (6, 7, "i")
    assert [(failed.outputs, failed.command, list(failed.tail)) for failed in output.failed] == [
        ("a.o", "kill -9 $$", []),
        ("c.o c2.o", "echo hi; echo err >&2; exit 3", ["hi", "", "err"]),
        ("d.o", "sh -c 'kill -9 $$'; exit 5", ["Killed"]),
        ("g.o", "echo on console; exit 4", []),
        ("h.o", "printf 'no newline'; false", ["no newline"]),
        ("i.o", "sleep 0.2; printf last; false", ["last"]),
    ]
    assert [failed.outputs for failed in output.failed if failed.killed] == (["d.o"] if form is str else ["a.o", "d.o"])
    stopped = "ninja: build stopped: cannot make progress due to previous errors."
    assert list(output.tail) == ["ninja: Entering directory `b'", "on console", stopped]


def test_a_command_line_may_hold_anything(lane):
    output = read(lane, "[1/2] x\nFAILED: x \necho '[2/2] y' ninja: build stopped: \nsaid\n")
    assert output.failed[0].command == "echo '[2/2] y' ninja: build stopped: "
    assert list(output.failed[0].tail) == ["said"]
    assert output.done == 1


def test_numbers_in_an_output_that_do_not_go_on_counting_are_no_status(lane):
    lines = ["[1/9] nested", "[30/50] nested", "see [30/41] there", "see [33/40] here", "FAILED: nested "]
    output = read(lane, "\n".join(["[29/40] x", "FAILED: x ", "cmd", *lines, "[30/40] y"]))
    assert list(output.failed[0].tail) == lines
    assert output.last == "y"


@pytest.mark.parametrize(
    "line",
    [
        "nvcc error   : 'cicc' died due to signal 9 (Kill signal)",
        "g++: fatal error: Killed signal terminated program cc1plus",
        "gcc: internal compiler error: Killed (program cc1)",
        "collect2: fatal error: ld terminated with signal 9 [Killed]",
        "clang: error: unable to execute command: Killed",
        "sccache: Compiler killed by signal 9",
        "Killed",
        "/bin/bash: line 1: 12345 Killed                  cc -c x.c",
        "make[2]: *** [Makefile:3: x] Killed",
        "process didn't exit successfully: `rustc` (signal: 9, SIGKILL: kill)",
        "subprocess.CalledProcessError: Command 'cc' died with <Signals.SIGKILL: 9>.",
    ],
)
def test_words_that_tell_of_a_kill(lane, line):
    (failed,) = read(lane, f"[1/2] x\nFAILED: x \ncmd\n{line}\nmore\n").failed
    assert failed.killed
    assert not failed.diagnosed


@pytest.mark.parametrize(
    "line",
    [
        "a/x.cc:3:4: error: 'Killed' was not declared in this scope",
        'x.cu(12): error: identifier "Killed" is undefined',
        "x.cu(12): catastrophic error: cannot open source file",
        "x.h:1:10: fatal error: y.h: No such file or directory",
        "ptxas /tmp/x.ptx, line 5; error   : Feature 'x' requires .target sm_121a",
        "x.o: undefined reference to `g()'",
        "ld: x.o: multiple definition of `f()'",
    ],
)
def test_words_that_tell_what_is_wrong_in_a_source(lane, line):
    (failed,) = read(lane, f"[1/2] x\nFAILED: x \ncmd\n{line}\n").failed
    assert failed.diagnosed
    assert not failed.killed
    assert not failed.full


@pytest.mark.parametrize(
    ("description", "expected"),
    [
        ("Building CUDA object CMakeFiles/_moe_C.dir/csrc/moe/x.cu.o", "csrc/moe/x.cu"),
        ("Building CXX object sub/CMakeFiles/s.dir/__/far/x.cc.o", "far/x.cc"),
        ("Building CXX object CMakeFiles/s.dir/__/far/x.cc.o", "../far/x.cc"),
        ("Linking CXX shared module _C.abi3.so", "Linking CXX shared module _C.abi3.so"),
        ("c" * 101, "c" * 99 + "…"),
        ("", ""),
    ],
)
def test_what_a_description_is_about(lane, description, expected):
    assert lane.subject(description) == expected


OBJECT = "CMakeFiles/m.dir/far/x.cu.o"
CALL = f"/usr/bin/nvcc -DX='a b' -o {OBJECT} -c /far/x.cu"


@pytest.mark.parametrize(
    "entry",
    [
        {"command": CALL, "file": "/far/x.cu"},
        {"command": "nvcc", "output": OBJECT, "file": "/far/x.cu"},
        {"command": "nvcc", "output": f"BUILD/{OBJECT}", "file": "/far/x.cu"},
        {"arguments": ["nvcc", "-o", OBJECT], "file": "../../../../../../../../../far/x.cu"},
    ],
)
def test_the_source_is_the_one_that_cmake_lists(lane, tmp_path, entry):
    other = {"command": CALL.replace("/x.cu", "/y.cu"), "file": "/far/y.cu"}
    text = json.dumps([{**row, "directory": "BUILD"} for row in (other, entry)]).replace("BUILD", str(tmp_path))
    (tmp_path / "compile_commands.json").write_text(text, encoding="utf-8")
    assert lane.source(f"{OBJECT} {OBJECT}.d", tmp_path) == "/far/x.cu"
    assert lane.source("libm.so", tmp_path) == "libm.so"


@pytest.mark.parametrize("text", [None, "", "{", "[7]", "7", '[{"command": "x.cu.o \'"}]', '[{"file": "x"}]', '"x"'])
def test_without_a_list_of_use_the_name_of_the_object_tells(lane, tmp_path, text):
    if text is not None:
        (tmp_path / "compile_commands.json").write_text(text, encoding="utf-8")
    assert lane.source(OBJECT, tmp_path) == "far/x.cu"
    assert lane.source("gen/x.h gen/x.cc", tmp_path) == "gen/x.h"
    assert lane.source("", tmp_path) == ""
