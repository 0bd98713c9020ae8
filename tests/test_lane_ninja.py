"""dockerfiles/lane/ninja.py with the real ninja: what a build says while it runs, and of every way in which it fails."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import asdict

import pytest

from build.settings import REPO

pytestmark = pytest.mark.programs("ninja", "sh")
# As ninja runs them (sh -c): `$$` is a dollar sign to ninja.
KILLED_ITSELF = "kill -9 $$$$"
KILLED_BELOW = "sh -c 'kill -9 $$$$'; exit 1"  # the shell says "Killed"
WRONG = "echo 'x.cu(3): error: expected a \";\"'; exit 2"
ENDLESS = "echo $$$$ >> pids; exec sleep 60"


@pytest.fixture
def lane(monkeypatch):
    monkeypatch.syspath_prepend(str(REPO / "dockerfiles" / "lane"))
    import ninja
    import ownsession

    monkeypatch.setattr(ownsession, "GRACE", 0.5)
    yield ninja
    for name in ("ninja", "ninjaout", "oomkills", "ownsession"):
        monkeypatch.delitem(sys.modules, name)


@pytest.fixture
def work(lane, tmp_path):
    return Work(lane, tmp_path)


class Work:
    """A build folder whose edges are shell commands, and a kernel whose counters they can reach."""

    def __init__(self, lane, root):
        self.lane, self.build, self.kernel = lane, root / "a build", root / "kernel"
        self.said = []
        self.build.mkdir()
        (self.kernel / "cgroup").mkdir(parents=True)
        self.counts(0)

    def counts(self, kills):
        (self.kernel / "vmstat").write_text(f"pgfault 7\noom_kill {kills}\n", encoding="utf-8")

    def ended(self, kills):
        """A command by which the kernel counts."""
        return f"echo oom_kill {kills} > {self.kernel}/vmstat"

    def edges(self, commands, *, pool=""):
        rule = "rule sh\n  command = $cmd\n  description = $about\n"
        text = "".join(
            f"build {made}: sh\n  cmd = {command}\n  about = Building CUDA object {made}\n"
            + (f"  pool = {pool}\n" if pool else "")
            for made, command in commands.items()
        )
        (self.build / "build.ninja").write_text(rule + text, encoding="utf-8")

    def run(self, *options, say=None, every=10.0, program="ninja", **env):
        env = {"PATH": os.environ["PATH"], "PYTEST": str(os.getpid()), "NINJA_STATUS": "<%p> ", **env}
        command = [program, "-C", os.fspath(self.build), *options]
        places = {"proc": self.kernel, "cgroup": self.kernel / "cgroup"}
        return self.lane.run(command, self.build, env, say=say or self.said.append, every=every, **places)

    def fails(self, commands, *options, **env):
        self.edges(commands)
        return self.run(*options, **env)

    def left(self):
        """Which of the processes that wrote their number to ``pids`` still run."""
        found = (self.build / "pids").read_text(encoding="utf-8").split()
        assert found
        return [pid for pid in found if os.path.exists(f"/proc/{pid}/exe")]


def obj(name):
    return f"CMakeFiles/_C.dir/csrc/{name}.o"


def untimed(text):
    return re.sub(r" after \d+ s", "", text)


def test_a_build_that_succeeds_is_no_fault_and_its_output_is_kept(work):
    work.edges({obj("a.cu"): "echo a warning", obj("b.cu"): "true"})
    assert work.run("-j", "1") is None
    assert [untimed(text) for text in work.said] == ["2 of 2, last: csrc/b.cu"]
    assert "a warning\n" in (work.build / "ninja.log").read_text(encoding="utf-8")
    work.edges({})
    assert work.run() is None
    assert untimed(work.said[1]) == "nothing finished, last: ninja: no work to do."


def test_a_command_that_fails_is_told_with_its_own_last_lines_and_can_be_replayed(work):
    noisy = "for i in `seq 9999`; do echo line $$i; done; echo 'the end' >&2; pwd >> ran; exit 3"
    fault = work.fails({obj("a.cu"): "echo not mine", obj("b.cu"): noisy}, "-k", "0")
    assert (fault.kind, fault.file, fault.others, fault.kills) == ("compiler", "csrc/b.cu", 0, 0)
    assert fault.lines == (*(f"line {number}" for number in range(9971, 10000)), "the end")
    assert "line 1\n" in (work.build / "ninja.log").read_text(encoding="utf-8")
    assert subprocess.run(["sh", "-c", fault.command], capture_output=True, check=False).returncode == 3
    assert (work.build / "ran").read_text(encoding="utf-8") == f"{work.build}\n" * 2


def test_further_failures_are_counted(work):
    fault = work.fails({obj(name): "exit 1" for name in "abc"}, "-k", "0", "-j", "1")
    assert (fault.others, fault.lines) == (2, ())
    assert "It printed nothing." in work.lane.explain(fault, 1)


def test_what_was_made_by_several_commands_at_once_is_not_mixed_up(work):
    commands = {obj(f"{n}.cu"): f"printf 'of {n}, no newline'; exit {n % 2}" for n in range(1, 20)}
    for _ in range(3):
        fault = work.fails(commands, "-k", "0", "-j", "4")
        number = fault.file.removeprefix("csrc/").removesuffix(".cu")
        assert fault.lines == (f"of {number}, no newline",)
        assert fault.others == 9


def test_a_build_inside_the_build_is_a_command_s_output(work):
    inner = "rule r\n  command = echo inner says $out; false\nbuild one two: r\nbuild three: r\n"
    (work.build / "inner.ninja").write_text(inner, encoding="utf-8")
    fault = work.fails({obj("outer"): "ninja -f inner.ninja -k 0 -j 1; echo outer says; false"})
    assert (fault.file, fault.others) == ("csrc/outer", 0)
    assert fault.lines[1].endswith(" one two ")
    assert fault.lines[3:5] == ("inner says one two", "[2/2] echo inner says three; false")
    assert fault.lines[-2:] == ("ninja: build stopped: cannot make progress due to previous errors.", "outer says")


def test_commands_at_the_console_print_as_they_go(work):
    work.edges({obj("first"): "echo mine; exit 1", obj("other"): "echo no; exit 1"}, pool="console")
    fault = work.run("-k", "0")
    assert (fault.file, fault.others) == ("csrc/first", 1)


@pytest.mark.parametrize("end", [KILLED_ITSELF, KILLED_BELOW])
def test_memory_is_to_blame_where_the_kernel_counted(work, end):
    work.counts(5)
    fault = work.fails({obj("a.cu"): WRONG, obj("b.cu"): f"{work.ended(7)}; {end}", obj("c.cu"): WRONG}, "-k", "0")
    assert (fault.kind, fault.file, fault.others, fault.kills) == ("memory", "csrc/b.cu", 2, 2)
    told = work.lane.explain(fault, 6)
    assert told.startswith(
        "With 6 jobs, the kernel ended 2 processes for lack of memory, and the command for csrc/b.cu"
    )
    assert "`--jobs 3`" in told
    assert "compile cache" in told


def test_a_source_that_is_wrong_stays_wrong_whatever_else_the_kernel_ended(work):
    fault = work.fails({obj("a.cu"): f"{work.ended(1)}; {WRONG}"})
    assert (fault.kind, fault.kills) == ("compiler", 1)
    assert "Meanwhile, with 4 jobs, the kernel ended 1 process for lack of memory." in work.lane.explain(fault, 4)


def test_a_kill_that_the_kernel_did_not_count_is_said_to_be_none_of_its(work):
    fault = work.fails({obj("a.cu"): KILLED_BELOW})
    assert (fault.kind, fault.kills) == ("compiler", 0)
    assert fault.lines == ("Killed", work.lane.NOT_BY_KERNEL)


def test_without_counters_the_words_decide(work):
    (work.kernel / "vmstat").unlink()
    fault = work.fails({obj("a.cu"): KILLED_BELOW})
    assert (fault.kind, fault.kills) == ("memory", 0)
    told = work.lane.explain(fault, 1)
    assert "was killed: for lack of memory, it seems" in told
    assert "Fewer jobs than one" in told
    assert work.fails({obj("a.cu"): WRONG}).kind == "compiler"


def test_a_full_disk_has_its_own_name(work):
    commands = {obj("a.cu"): "echo never mind; exit 1", obj("b.cu"): "cat build.ninja > /dev/full"}
    fault = work.fails(commands, "-k", "0", "-j", "1", LC_ALL="C")
    assert (fault.kind, fault.file, fault.others) == ("space", "csrc/b.cu", 1)
    assert "Free some space" in work.lane.explain(fault, 2)


def test_a_log_that_cannot_be_written_stops_nothing(work):
    (work.build / "ninja.log").symlink_to("/dev/full")
    assert work.fails({obj("a.cu"): WRONG}).file == "csrc/a.cu"


def test_it_says_how_far_it_is_while_nothing_ends(work):
    work.edges({obj("a.cu"): "true", obj("long.cu"): "sleep 1.2"})
    begun = time.monotonic()
    assert work.run("-j", "1", every=0.3) is None
    assert 3 <= len(work.said) <= (time.monotonic() - begun) / 0.3 + 1
    assert work.said[1].startswith("1 of 2 after ")
    assert work.said[1].endswith(" s, last: csrc/a.cu")
    assert work.said[-1].startswith("2 of 2 after ")


def test_ninja_by_itself_may_fail(work):
    fault = work.fails({"a": "true"}, "nowhere")
    assert (fault.kind, fault.file, fault.others) == ("ninja", "", 0)
    assert "unknown target 'nowhere'" in fault.lines[-1]
    assert fault.command == f"cd {os.getcwd()} && ninja -C '{work.build}' nowhere"
    assert work.lane.explain(fault, 2).startswith("Ninja itself failed.")


def test_a_ninja_that_is_not_there_is_a_fault_too(work):
    missing = os.path.join(os.path.dirname(sys.executable), "ninja-is-not-here")
    work.edges({"a": "true"})
    fault = work.run(program=missing)
    assert (fault.kind, fault.file, len(fault.lines)) == ("ninja", "", 1)
    assert f"{missing} cannot be started: " in fault.lines[0]
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@pytest.mark.parametrize(("counted", "kind"), [(0, "ninja"), (1, "memory")])
def test_when_ninja_is_killed_its_commands_end_too(work, counted, kind):
    wait = "until [ -s pids ]; do sleep 0.05; done"
    kill = f"{wait}; {work.ended(counted)}; kill -9 $$PPID; {ENDLESS}"
    fault = work.fails({"a": ENDLESS, "b": kill, "c": f"trap '' TERM; {ENDLESS}"}, "-j", "3")
    assert (fault.kind, fault.file, fault.kills) == (kind, "", counted)
    assert (work.lane.NOT_BY_KERNEL in fault.lines) == (kind == "ninja")
    assert work.left() == []


@pytest.mark.parametrize(
    ("name", "raised"), [("INT", KeyboardInterrupt), ("TERM", SystemExit), ("HUP", SystemExit), ("", ZeroDivisionError)]
)
@pytest.mark.parametrize("deaf", ["", "trap '' TERM; "])
def test_what_stops_us_stops_all_commands_and_goes_through(work, name, raised, deaf):
    say = work.said.append if name else lambda text: 1 // 0
    stop = f"until [ -s pids ]; do sleep 0.05; done; kill -{name} $$PYTEST" if name else "true"
    work.edges({"a": f"{deaf}{ENDLESS}", "b": stop})
    begun = time.monotonic()
    with pytest.raises(raised) as caught:
        work.run("-j", "2", say=say, every=0.5)
    assert work.left() == []
    assert time.monotonic() - begun < 5
    if raised is SystemExit:
        assert caught.value.code == 128 + getattr(signal, f"SIG{name}")
    assert signal.getsignal(signal.SIGTERM) is signal.getsignal(signal.SIGHUP) is signal.SIG_DFL


def test_a_fault_is_the_same_after_json(work):
    fault = work.fails({obj("a.cu"): WRONG})
    assert work.lane.Fault.from_dict(json.loads(json.dumps(asdict(fault)))) == fault
    assert work.lane.Fault.from_dict(asdict(fault)) == fault
    for wrong in ({"kind": "mood"}, {"more": 1}):
        with pytest.raises((ValueError, TypeError)):
            work.lane.Fault.from_dict({**asdict(fault), **wrong})


@pytest.mark.programs("ninja", "cmake", "c++")
def test_cmake_and_a_compiler_for_real(work, tmp_path):
    source = tmp_path / "src"
    for path, text in {
        "CMakeLists.txt": "cmake_minimum_required(VERSION 3.20)\nproject(p CXX)\nadd_library(m SHARED a/x.cc ../far.cc)",
        "a/x.cc": "int f() { return 1; }\n",
        "../far.cc": "int g() { return 1 }\n",
    }.items():
        (source / path).parent.mkdir(parents=True, exist_ok=True)
        (source / path).write_text(text, encoding="utf-8")
    configure = ["cmake", "-S", source, "-B", work.build, "-G", "Ninja", "-DCMAKE_EXPORT_COMPILE_COMMANDS=ON"]
    subprocess.run(configure, check=True, capture_output=True)
    fault = work.run("-k", "0", LC_ALL="C")
    assert (fault.kind, fault.file, fault.others) == ("compiler", f"{tmp_path}/far.cc", 0)
    assert any("far.cc:1:19: error: expected" in line for line in fault.lines)
    (tmp_path / "far.cc").write_text("int f() { return 2; }\n", encoding="utf-8")
    fault = work.run(LC_ALL="C")
    assert (fault.kind, fault.file) == ("compiler", "libm.so")
    (tmp_path / "far.cc").write_text("int g() { return 2; }\n", encoding="utf-8")
    assert work.run() is None
