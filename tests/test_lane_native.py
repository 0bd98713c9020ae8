"""dockerfiles/lane/native.py and hook.cmake on folders of a test: the pieces, and a small project with the real CMake.

What needs NVIDIA's compilers or an image is in tests/engine.
"""

import ctypes
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from build import determinism, jobs
from build.jobs import GIB, Memory
from build.settings import REPO

LANE, CHECKS = REPO / "dockerfiles" / "lane", REPO / "dockerfiles" / "image" / "checks"
MODULES = ("native", "ninja", "ninjaout", "oomkills", "ownsession", "layer", "fatbin")
REAL = pytest.mark.programs("cmake", "ninja", "g++", "sh")
PLAN = {
    "component": "app", "project": "demo_ext", "architectures": "12.1a", "gcc": "14", "targets": ["one", "two"],
    "heavy": [], "drop": [], "empty": [], "externals": [], "stubs": {}, "define": {},
}  # fmt: skip
ROOM = jobs.Jobs(ordinary=3, heavy=0, reason="enough")
FLAGS = ["-D__CUDA_NO_HALF_OPERATORS__", "--expt-relaxed-constexpr"]
SAMPLE = REPO / "tests" / "data" / "two.fatbin"


@pytest.fixture
def lane(monkeypatch, tmp_path):
    """The module, all of its places below a folder of the test; ``lane.site``: a site-packages with torch and CUDA."""
    monkeypatch.syspath_prepend(str(CHECKS))
    monkeypatch.syspath_prepend(str(LANE))
    monkeypatch.setitem(sys.modules, "jobs", jobs)  # in the step it lies beside
    for name, value in determinism.step_arguments().items():
        monkeypatch.setenv(name, value)
    before = os.umask(0o022)
    import native

    places = {
        "SOURCE": "mnt/source", "DEPS": "mnt/deps", "TOOLS": "mnt/tools", "COMPILE": "mnt/compile",
        "CCACHE": "mnt/ccache", "ASKED": "mnt/asked.json", "STUB": "mnt/libcuda.so", "CMAKE": "mnt/tools/cmake/data",
        "TREE": "src", "BUILD": "src/build", "SHIM": "src/shim", "OUT": "out", "CROSS": "gcc-cross",
    }  # fmt: skip
    for name, place in places.items():
        monkeypatch.setattr(native, name, tmp_path / place)
    native.site = tmp_path / "site"
    yield native
    os.umask(before)
    for name in MODULES:
        monkeypatch.delitem(sys.modules, name, raising=False)


def put(path, content=b""):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def told(capsys):
    """The facts that were told since, by their names."""
    found = {}
    for line in capsys.readouterr().out.splitlines():
        if line.startswith("LANE "):
            found |= json.loads(line.removeprefix("LANE "))
    return found


# --- the shim ------------------------------------------------------------------------------------------------------

EXTENSION = f"""
import no_such_module_in_this_world
IS_WINDOWS = no_such_module_in_this_world.ask()
COMMON_NVCC_FLAGS = {FLAGS!r}
COMMON_HIPCC_FLAGS = ["-no"]
"""
# As vLLM's CMake files ask (CMakeLists.txt and cmake/utils.cmake).
QUESTIONS = (
    "import torch; print(torch.utils.cmake_prefix_path); "
    "from torch.utils.cpp_extension import COMMON_NVCC_FLAGS; print(';'.join(COMMON_NVCC_FLAGS))"
)


def torch(site, extension=EXTENSION):
    put(site / "torch" / "share" / "cmake" / "Torch" / "TorchConfig.cmake")
    put(site / "torch" / "__init__.py", "raise ImportError('the real torch was imported')\n")
    put(site / "torch" / "utils" / "cpp_extension.py", extension)


def test_the_shim_answers_what_cmake_asks_and_the_real_torch_is_not_run(lane):
    torch(lane.site)
    lane.shim(lane.site)
    env = {"PYTHONPATH": f"{lane.SHIM}{os.pathsep}{lane.site}"}
    done = subprocess.run([sys.executable, "-c", QUESTIONS], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [f"{lane.site}/torch/share/cmake", ";".join(FLAGS)]


def test_a_torch_without_its_cmake_files_ends_it(lane):
    torch(lane.site)
    (lane.site / "torch/share/cmake/Torch/TorchConfig.cmake").unlink()
    with pytest.raises(SystemExit, match="torch has no .*TorchConfig.cmake"):
        lane.shim(lane.site)
    assert not lane.SHIM.exists()


@pytest.mark.parametrize(
    "extension",
    [
        "", "OTHER = []\n", "COMMON_NVCC_FLAGS: list = []\n", "def f():\n    COMMON_NVCC_FLAGS = []\n",
        "COMMON_NVCC_FLAGS = []\nCOMMON_NVCC_FLAGS = ['-x']\n", "A = COMMON_NVCC_FLAGS = []\n",
        "COMMON_NVCC_FLAGS = []\nCOMMON_NVCC_FLAGS = []\n", "x.COMMON_NVCC_FLAGS = []\n",
    ],
)  # fmt: skip
def test_flags_that_torch_does_not_state_once_end_it(lane, extension):
    torch(lane.site, extension)
    with pytest.raises(SystemExit, match="does not state COMMON_NVCC_FLAGS once"):
        lane.shim(lane.site)
    assert not lane.SHIM.exists()


def test_flags_that_cannot_be_read_off_end_it(lane):
    torch(lane.site, "COMMON_NVCC_FLAGS = ['-a'] + more()\n")
    with pytest.raises(ValueError, match="malformed node"):
        lane.shim(lane.site)
    assert not lane.SHIM.exists()


# --- links ---------------------------------------------------------------------------------------------------------


def cuda(site):
    """A toolkit as its wheels have it."""
    home = site / "nvidia" / "cu13"
    for name in ("libcudart.so.13", "libnvrtc.so.13.0.88", "libcublas.so.13", "libcublas.so", "libnvptx.a", "x.so.txt"):
        put(home / "lib" / name, name)
    return home


def test_the_toolkit_gets_the_names_that_linkers_look_for(lane):
    home = cuda(lane.site)
    put(lane.STUB, b"\x7fELF stub")
    lane.toolkit(home)
    links = {path.name: os.readlink(path) for path in (home / "lib").iterdir() if path.is_symlink()}
    assert links == {"libcudart.so": "libcudart.so.13", "libnvrtc.so": "libnvrtc.so.13.0.88"}
    assert os.readlink(home / "lib64") == "lib"
    assert (home / "lib64" / "libcudart.so").read_text() == "libcudart.so.13"
    assert (home / "lib" / "libcublas.so").read_text() == "libcublas.so"
    assert (home / "lib64" / "stubs" / "libcuda.so").read_bytes() == b"\x7fELF stub"


@pytest.fixture
def elsewhere(lane, monkeypatch, tmp_path):
    """What the module writes at a machine's own places lies below a folder; ``links()``: those there."""
    root = tmp_path / "machine"
    monkeypatch.setattr(lane, "Path", lambda place: root / str(place).lstrip("/"))
    listdir = os.listdir
    below = lambda place: listdir(root / str(place).lstrip("/"))  # noqa: E731
    monkeypatch.setattr(lane.os, "listdir", below)
    (root / "usr/include/c++/14").mkdir(parents=True)

    def links():
        paths = [path for path in root.rglob("*") if path.is_symlink()]
        return {str(path.relative_to(root)): os.readlink(path) for path in paths}

    return links


def test_a_cross_compiler_finds_what_a_native_one_does(lane, elsewhere):
    lane.CROSS.mkdir()
    lane.cross_links()
    assert elsewhere() == {
        "usr/lib/gcc-cross/aarch64-linux-gnu": "/usr/lib/gcc/aarch64-linux-gnu",
        "usr/aarch64-linux-gnu/lib": "/usr/lib/aarch64-linux-gnu",
        "usr/aarch64-linux-gnu/include/c++": "/usr/include/c++",
        "usr/include/c++/14/aarch64-linux-gnu": "/usr/include/aarch64-linux-gnu/c++/14",
    }


def test_a_machine_of_the_image_s_kind_gets_no_such_links(lane, elsewhere):
    lane.cross_links()
    assert elsewhere() == {}


# --- sources at their places ---------------------------------------------------------------------------------------


@pytest.fixture
def sources(lane, monkeypatch, tmp_path):
    """What a step finds; ``plan.json`` is whatever a test says."""
    torch(lane.site)
    cuda(lane.site)
    put(lane.STUB, b"stub")
    put(lane.SOURCE / "CMakeLists.txt", "project(demo_ext)\n")
    put(lane.SOURCE / "csrc" / "one.cu", "one")
    put(lane.SOURCE / "csrc" / "run.sh", "#!/bin/sh\n").chmod(0o755)
    (lane.SOURCE / "csrc" / "link.cu").symlink_to("one.cu")
    put(lane.DEPS / "cutlass" / "include" / "c.h", "c")
    put(tmp_path / "plan" / "hook.cmake", "# hook\n")
    monkeypatch.setattr(sys, "argv", ["native.py", str(tmp_path / "plan")])
    return lane


def test_everything_is_at_its_fixed_place(sources):
    stubs = {"deepgemm": {"README": ""}, "flashmla": {"flash_mla/api.py": "import it\n", "two words.txt": "ü"}}
    sources.lay_out({**PLAN, "externals": ["cutlass"], "stubs": stubs}, sources.site)
    tree = sources.TREE
    assert (tree / "app" / "csrc" / "one.cu").read_text() == "one"
    assert os.access(tree / "app" / "csrc" / "run.sh", os.X_OK)
    assert os.readlink(tree / "app" / "csrc" / "link.cu") == "one.cu"
    assert (tree / "deps" / "cutlass-src" / "include" / "c.h").read_text() == "c"
    assert (tree / "deps" / "deepgemm-src" / "README").read_text() == ""
    assert (tree / "deps" / "flashmla-src" / "flash_mla" / "api.py").read_text() == "import it\n"
    assert (tree / "deps" / "flashmla-src" / "two words.txt").read_text(encoding="utf-8") == "ü"
    assert (tree / "hook.cmake").read_text() == "# hook\n"
    assert (sources.site / "nvidia/cu13/lib64/stubs/libcuda.so").read_bytes() == b"stub"
    assert (sources.SHIM / "torch" / "__init__.py").is_file()
    assert sorted(path.name for path in (tree / "deps").iterdir()) == ["cutlass-src", "deepgemm-src", "flashmla-src"]


def test_an_external_source_that_is_empty_ends_it(sources):
    (sources.DEPS / "qutlass").mkdir()
    with pytest.raises(SystemExit, match="the external source qutlass is empty"):
        sources.lay_out({**PLAN, "externals": ["cutlass", "qutlass"]}, sources.site)
    with pytest.raises(FileNotFoundError, match="never-mounted"):
        sources.lay_out({**PLAN, "component": "again", "externals": ["never-mounted"]}, sources.site)


# --- no network ----------------------------------------------------------------------------------------------------

ASK = f"""
import sys
sys.path[:0] = [{str(LANE)!r}, {str(CHECKS)!r}]
from build import jobs
sys.modules["jobs"] = jobs
import native
native.require_no_network()
"""
ROUTES = ["ip route add 192.0.2.0/24 dev lo", "ip -6 route add 2001:db8::/32 dev lo", "ip route add default dev lo"]


def asks(*around, command=""):
    """Ask in a process of its own, since the guard of fast tests knows no route either."""
    inside = command or f'{sys.executable} -c "$1"'
    argv = [*around, "sh", "-c", inside, "sh", ASK]
    return subprocess.run(argv, cwd=REPO, capture_output=True, text=True, check=False)


@pytest.fixture
def namespace():
    """The words that put a program into a network namespace of its own, where such a thing may be made."""
    words = ("unshare", "--net") if os.geteuid() == 0 else ("unshare", "--map-root-user", "--net")
    if subprocess.run([*words, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("no network namespace may be made here")
    return words


@pytest.mark.programs("unshare", "sh", "ip")
@pytest.mark.parametrize("before", ["", "ip link set lo up; "])
def test_a_step_without_a_network_goes_on(namespace, before):
    done = asks(*namespace, command=f'{before}{sys.executable} -c "$1"')
    assert (done.returncode, done.stdout) == (0, 'LANE {"network": "none"}\n'), done.stderr


@pytest.mark.programs("unshare", "sh", "ip")
@pytest.mark.parametrize("route", ROUTES)
def test_a_step_with_any_way_out_ends(namespace, route):
    done = asks(*namespace, command=f'ip link set lo up; {route} || exit 7; {sys.executable} -c "$1"')
    if done.returncode == 7:
        pytest.skip(f"this kernel has no such route: {done.stderr.strip()}")
    assert done.returncode == 1
    assert "this step has a network, and must not have one" in done.stderr
    assert "LANE" not in done.stdout


@pytest.mark.programs("sh")
def test_with_this_machine_s_own_network_it_ends():
    routes = Path("/proc/net/route").read_text(encoding="ascii").splitlines()[1:]
    if not any(line.split()[1] == "00000000" for line in routes):
        pytest.skip("this machine has no default route")
    assert "this step has a network" in asks().stderr


# --- how many compilers --------------------------------------------------------------------------------------------


@pytest.fixture
def memory(lane, monkeypatch):
    """Call it to say how much memory there is; four cores."""

    def there_is(gib):
        found = Memory(available=int(gib * GIB), said_by="a test", unified=False)
        monkeypatch.setattr(lane.jobs, "memory", lambda: found)

    monkeypatch.setattr(lane.os, "sched_getaffinity", lambda _: {0, 1, 2, 3})
    return there_is


def test_as_many_compilers_as_fit_and_the_reason(lane, memory, capsys):
    memory(32)
    assert lane.count(PLAN, {}).ordinary == 4
    found = told(capsys)
    assert found["jobs"]["heavy"] == 0
    assert "32.0 GiB of memory by a test" in found["jobs"]["reason"]
    assert lane.count({**PLAN, "heavy": ["two"]}, {}).heavy >= 1
    assert lane.count(PLAN, {"jobs": 9, "cold": False}).ordinary == 9


@pytest.mark.parametrize(("gib", "heavy"), [(6, []), (11, ["two"])])
def test_where_not_one_fits_it_ends_with_the_numbers(lane, memory, capsys, gib, heavy):
    memory(gib)
    with pytest.raises(SystemExit, match="not enough memory to compile: one compiler takes up to"):
        lane.count({**PLAN, "heavy": heavy}, {})
    (fact,) = told(capsys).items()
    assert fact[0] == "no-room"
    assert f"{gib}.0 GiB of memory by a test" in fact[1]
    assert lane.count({**PLAN, "heavy": heavy}, {"jobs": 1}).ordinary == 1  # at the user's risk


# --- what compilers find -------------------------------------------------------------------------------------------


def test_nothing_of_the_machine_reaches_the_compilers(lane, monkeypatch):
    monkeypatch.setenv("CXXFLAGS", "-march=native")
    monkeypatch.setenv("CCACHE_DISABLE", "1")
    found = lane.environment(PLAN, lane.site, {})
    assert found["CXXFLAGS"] == f"-ffile-prefix-map={lane.TREE}=."
    assert (found["CC"], found["CXX"]) == ("/usr/bin/aarch64-linux-gnu-gcc-14", "/usr/bin/aarch64-linux-gnu-g++-14")
    assert found["CUDAHOSTCXX"] == found["CXX"]
    assert found["PATH"].split(":")[0] == f"{lane.site}/nvidia/cu13/bin"
    assert found["TORCH_CUDA_ARCH_LIST"] == "12.1a"
    assert {name: found[name] for name in determinism.ENVIRONMENT} == determinism.ENVIRONMENT
    assert "CCACHE_DISABLE" not in found


def test_what_one_run_asks_for_is_seen_by_the_cache_alone(lane):
    plain = lane.environment(PLAN, lane.site, {})
    assert lane.environment(PLAN, lane.site, {"jobs": 7, "cold": False}) == plain
    assert lane.environment(PLAN, lane.site, {"jobs": 7, "cold": True}) == {**plain, "CCACHE_DISABLE": "1"}


# Of ccache 4.11.2, the compile root's: what one call of a compiler wrote to its statistics log.
MISS = """\
# a.cpp
cache_miss
direct_cache_miss
local_storage_miss
local_storage_read_miss
local_storage_read_miss
local_storage_write
local_storage_write
preprocessed_cache_miss
"""
HIT = "# a.cpp\ndirect_cache_hit\nlocal_storage_hit\nlocal_storage_read_hit\nlocal_storage_read_hit\n"
LATER_HIT = "# a.cpp\nlocal_storage_hit\nlocal_storage_read_hit\npreprocessed_cache_hit\n"
COLD = "# a.cpp\nlocal_storage_write\nlocal_storage_write\nrecache\n"
BROKEN = "# b.cpp\ncompile_failed\ndirect_cache_miss\nlocal_storage_read_miss\npreprocessed_cache_miss\n"


@pytest.mark.parametrize(
    ("log", "hits", "misses"),
    [
        (MISS, 0, 1), (HIT, 1, 0), (LATER_HIT, 1, 0), (COLD, 0, 0), (BROKEN, 0, 0), ("", 0, 0), (None, 0, 0),
        (MISS * 3 + HIT + LATER_HIT + BROKEN, 2, 3), (COLD * 2, 0, 0), ("# cache_miss\n# recache\n", 0, 0),
    ],
)  # fmt: skip
def test_what_the_cache_had_is_counted_a_file_once(lane, tmp_path, log, hits, misses):
    if log is not None:
        put(tmp_path / "log", log)
    assert lane.cache_figures({"CCACHE_STATSLOG": str(tmp_path / "log")}) == {"hits": hits, "misses": misses}


# --- what was made -------------------------------------------------------------------------------------------------


def elf(machine=183, rest=b""):
    return b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x03\x00" + machine.to_bytes(2, "little") + bytes(44) + rest


def test_a_library_is_told_with_its_code(lane, tmp_path):
    data = elf(rest=SAMPLE.read_bytes())
    found = lane.examine(put(tmp_path / "_C.abi3.so", data))
    assert found == {
        "bytes": len(data),
        "code": ["compute_120f", "compute_80", "sm_120f", "sm_121a", "sm_80", "sm_90a"],
    }
    assert lane.examine(put(tmp_path / "host.so", elf())) == {"bytes": 64, "code": []}


def test_of_other_files_only_the_size_is_told(lane, tmp_path):
    assert lane.examine(put(tmp_path / "a.py", b"x = 1\n")) == {"bytes": 6}


@pytest.mark.parametrize("data", [b"", b"text", b"\x7fEL", elf(62), elf(190), elf(0xB7B7)])
def test_what_is_no_library_for_aarch64_ends_it(lane, tmp_path, data):
    with pytest.raises(SystemExit, match=r"x\.so is no library for aarch64"):
        lane.examine(put(tmp_path / "x.so", data))


def test_a_name_of_a_temporary_file_ends_it(lane, tmp_path):
    data = elf(rest=b"\0/tmp/tmpxft_00000a1b_00000000-6_one.cudafe1.cpp\0")
    with pytest.raises(SystemExit, match=r"x\.so holds the name of a temporary file: tmpxft_"):
        lane.examine(put(tmp_path / "x.so", data))


def test_files_are_named_below_their_root_and_sorted(lane, tmp_path):
    for path in ("b/z.so", "b/a.so", "a.so"):
        put(tmp_path / path)
    assert lane.files_below(tmp_path) == ["a.so", "b/a.so", "b/z.so"]


# --- the real CMake ------------------------------------------------------------------------------------------------

CMAKE = """\
cmake_minimum_required(VERSION 3.25)
project(demo_ext LANGUAGES CXX)
add_library(one SHARED csrc/one.cpp csrc/dropped.cpp csrc/deep/dropped.cpp)
add_library(two SHARED csrc/two.cpp)
add_subdirectory(sub)
foreach(name one two)
  set_target_properties(${name} PROPERTIES PREFIX "")
  install(TARGETS ${name} LIBRARY DESTINATION app COMPONENT ${name})
endforeach()
message(STATUS "asked for ${TORCH}")
"""
FILES = {
    "CMakeLists.txt": CMAKE,
    "sub/CMakeLists.txt": "add_library(three SHARED three.cpp gone.cpp)\n",
    "sub/three.cpp": 'extern "C" int three() { return 3; }\n',
    "sub/gone.cpp": 'extern "C" int gone() { return 0; }\n',
    "csrc/one.cpp": '#include "one.h"\nextern "C" int one() { return ONE; }\n',
    "csrc/one.h": "#define ONE 1\n",
    "csrc/dropped.cpp": 'extern "C" int dropped() { return 0; }\n',
    "csrc/deep/dropped.cpp": 'extern "C" int deeper() { return 0; }\n',
    "csrc/two.cpp": 'extern "C" int two() { return 2; }\n',
}
LAUNCHER = """\
#!/bin/sh
# In place of the compile root's loader, which would run its ccache: the compiler, and a line as ccache writes it.
shift 3
case " $* " in *" -c "*) [ -z "$CCACHE_STATSLOG" ] || echo "cache_miss" >> "$CCACHE_STATSLOG";; esac
exec "$@"
"""


@pytest.fixture
def project(sources, monkeypatch, tmp_path):
    """A small C++ project, and this machine's CMake, ninja and compiler in place of the step's."""
    if missing := [path for path in ("/usr/bin/ninja", "/usr/bin/g++") if not os.path.exists(path)]:
        pytest.skip(f"not where the step has it: {', '.join(missing)}")
    for path, text in FILES.items():
        put(sources.SOURCE / path, text)
    (sources.CMAKE / "bin").mkdir(parents=True)
    (sources.CMAKE / "bin" / "cmake").symlink_to(shutil.which("cmake"))
    put(sources.COMPILE / "ld.so", LAUNCHER).chmod(0o755)
    put(tmp_path / "plan" / "hook.cmake", (LANE / "hook.cmake").read_bytes())
    monkeypatch.setattr(sources, "COMPILER", "/usr/bin/{0}")
    monkeypatch.setattr(sources, "require_no_network", lambda: None)  # the guard is around this test
    monkeypatch.setattr(sources, "site_packages", lambda _: sources.site)
    monkeypatch.setattr(sources.jobs, "memory", lambda: Memory(available=64 * GIB, said_by="a test", unified=False))
    this = Path(sys.executable).resolve().read_bytes()[18:20]
    monkeypatch.setattr(sources, "AARCH64", int.from_bytes(this, "little"))
    return Project(sources, tmp_path / "plan")


class Project:
    def __init__(self, lane, folder):
        self.lane, self.folder = lane, folder

    def main(self, *what, asked=None, **plan):
        put(self.folder / "plan.json", json.dumps({**PLAN, **plan}))
        self.lane.ASKED.unlink(missing_ok=True)
        if asked is not None:
            put(self.lane.ASKED, json.dumps(asked))
        self.lane.main(self.folder, "3.13", "".join(what[:1]), what[1:])

    def configure(self, chosen=ROOM, **plan):
        """Lay the sources out and let CMake configure them; the build folder."""
        self.lane.lay_out({**PLAN, **plan}, self.lane.site)
        env = self.lane.environment({**PLAN, **plan}, self.lane.site, {})
        self.lane.configure({**PLAN, **plan}, chosen, env)
        return self.lane.BUILD

    def make(self, *wanted, **plan):
        """Configure and compile; library → the functions that it has, of those that the sources define."""
        build = self.configure(**plan)
        env = self.lane.environment({**PLAN, **plan}, self.lane.site, {})
        self.lane.compile_all(wanted, ROOM, env)
        names = ("one", "two", "three", "gone", "dropped", "deeper")
        found = {path.stem: ctypes.CDLL(str(path)) for path in build.rglob("*.so")}
        return {key: {name for name in names if hasattr(library, name)} for key, library in found.items()}

    def stopped(self, **plan):
        """CMake ends with an error; what it said."""
        with pytest.raises(SystemExit, match="cmake ended with 1"):
            self.configure(**plan)


def pools(build):
    """Object → its pool, and pool → its depth, as ninja is told."""
    edges = re.findall(r"(?ms)^build (\S+\.o): .*?^  pool = (\S+)", (build / "build.ninja").read_text())
    text = (build / "CMakeFiles" / "rules.ninja").read_text() + (build / "build.ninja").read_text()
    return dict(edges), dict(re.findall(r"(?m)^pool (\S+)\n  depth = (\d+)", text))


@REAL
def test_without_rules_all_is_compiled_in_one_pool(project):
    build = project.configure()
    edges, depths = pools(build)
    assert len(edges) == 6
    assert set(edges.values()) == {"compile"}
    assert depths == {"compile": "3", "heavy": "1"}  # CMake would refuse a pool of no job


@REAL
def test_rules_drop_sources_empty_targets_and_choose_pools(project):
    drop = [{"target": "one", "sources": r"(deep|csrc)/dropped\.cpp$"}, {"target": "three", "sources": "gone"}]
    chosen = jobs.Jobs(ordinary=5, heavy=2, reason="")
    build = project.configure(chosen=chosen, drop=drop, empty=["two"], heavy=["three"])
    edges, depths = pools(build)
    assert edges == {
        "CMakeFiles/one.dir/csrc/one.cpp.o": "compile",
        "CMakeFiles/two.dir/lane_empty_two.cpp.o": "compile",
        "sub/CMakeFiles/three.dir/three.cpp.o": "heavy",
    }
    assert depths == {"compile": "5", "heavy": "2"}


@REAL
def test_libraries_are_linked_without_what_was_dropped_and_from_one_empty_file(project):
    made = project.make("one", "two", "three", drop=[{"target": "one", "sources": "deep/"}], empty=["two"])
    assert made == {"one": {"one", "dropped"}, "two": set(), "libthree": {"three", "gone"}}


@REAL
@pytest.mark.parametrize(
    ("rules", "fault"),
    [
        ({"drop": [{"target": "none_such", "sources": "x"}]}, "native.drop: there is no target none_such"),
        ({"drop": [{"target": "one", "sources": "matches/nothing"}]}, "no source of one matches matches/nothing"),
        ({"drop": [{"target": "one", "sources": "dropped"}, {"target": "one", "sources": "deep/"}]}, "matches deep/"),
        ({"empty": ["two", "none_such"]}, "native.empty: there is no target none_such"),
        ({"heavy": ["none_such"]}, "native.heavy: there is no target none_such"),
    ],
)
def test_a_rule_that_finds_nothing_ends_it_with_its_name(project, capsys, rules, fault):
    project.stopped(**rules)
    said = told(capsys)["unconfigured"]
    assert said[0].startswith("CMake Error")
    assert fault in " ".join(line.strip() for line in said)


@REAL
def test_rules_for_a_project_of_another_name_end_it(project):
    """None of them would be applied."""
    with pytest.raises(SystemExit):
        project.configure(project="misspelt", drop=[{"target": "one", "sources": "dropped"}])


@REAL
def test_of_much_that_cmake_says_the_first_error_is_told(project, capsys):
    said = "".join(f"message(STATUS line-{number})\n" for number in range(99))
    put(project.lane.SOURCE / "CMakeLists.txt", CMAKE + said + 'message(FATAL_ERROR "it is wrong")\n')
    project.stopped()
    told_of_it = told(capsys)["unconfigured"]
    assert told_of_it[0].startswith("CMake Error at CMakeLists.txt:")
    assert "it is wrong" in " ".join(told_of_it)
    assert len(told_of_it) <= project.lane.TAIL


@REAL
def test_a_cmake_that_ends_without_an_error_is_told_by_its_last_words(project, capsys, tmp_path):
    (project.lane.CMAKE / "bin" / "cmake").unlink()
    lines = "".join(f"echo line-{number}\n" for number in range(40))
    put(project.lane.CMAKE / "bin" / "cmake", f"#!/bin/sh\n{lines}exit 1\n").chmod(0o755)
    project.stopped()
    assert told(capsys)["unconfigured"] == [f"line-{number}" for number in range(10, 40)]


@REAL
def test_cmake_fetches_nothing(project, capsys):
    fetch = "include(FetchContent)\nFetchContent_Declare(alpha URL http://127.0.0.1:1/a.tgz)\nFetchContent_MakeAvailable(alpha)\n"
    put(project.lane.SOURCE / "CMakeLists.txt", CMAKE + fetch + "message(STATUS at:${alpha_SOURCE_DIR})\n")
    project.configure(stubs={"alpha": {"CMakeLists.txt": 'message(STATUS "alpha is read")\n'}})
    shown = capsys.readouterr().out
    assert "alpha is read" in shown
    assert f"at:{project.lane.TREE}/deps/alpha-src" in shown


@REAL
def test_a_source_that_is_nowhere_is_not_fetched_either(project):
    fetch = "include(FetchContent)\nFetchContent_Declare(alpha URL http://127.0.0.1:1/a.tgz)\nFetchContent_MakeAvailable(alpha)\n"
    put(project.lane.SOURCE / "CMakeLists.txt", CMAKE + fetch + "add_subdirectory(${alpha_SOURCE_DIR})\n")
    project.stopped()


@REAL
def test_variables_of_substitutes_reach_cmake(project, capsys):
    project.configure(define={"TORCH": "/src/deps/some where"})
    assert "asked for /src/deps/some where" in capsys.readouterr().out


# --- a whole step --------------------------------------------------------------------------------------------------


def made(lane):
    return {path: (lane.OUT / path).read_bytes() for path in lane.files_below(lane.OUT)}


@REAL
def test_a_step_leaves_libraries_and_figures_and_tells_of_itself(project, capsys):
    project.main(drop=[{"target": "one", "sources": "dropped"}], empty=["two"])
    found = made(project.lane)
    assert sorted(found) == ["files/app/one.so", "files/app/two.so", "native.json"]
    figures = json.loads(found["native.json"])
    assert figures == {
        f"app/{name}.so": {"bytes": len(found[f"files/app/{name}.so"]), "code": []} for name in ("one", "two")
    }
    facts = told(capsys)
    assert {"jobs", "configure", "compile", "cache", "ninja-log", "libraries", "says"} == facts.keys()
    assert facts["libraries"] == figures
    assert facts["cache"] == {"hits": 0, "misses": 2}
    assert "CMakeFiles/one.dir/csrc/one.cpp.o" in facts["ninja-log"]
    assert facts["compile"]["seconds"] > 0
    assert facts["compile"]["cpu"] > 0


@REAL
def test_what_a_run_asks_for_changes_no_byte(project):
    project.main(asked={"jobs": 1, "cold": False})
    first = made(project.lane)
    for folder in (project.lane.TREE, project.lane.OUT, project.lane.site / "nvidia"):
        shutil.rmtree(folder)
    cuda(project.lane.site)
    project.main(asked={"jobs": 7, "cold": True})
    assert made(project.lane) == first
    assert str(project.lane.TREE).encode() not in first["files/app/one.so"]


@REAL
def test_to_configure_compiles_nothing(project, capsys):
    project.main("configure")
    assert list(made(project.lane)) == ["compile_commands.json"]
    listed = json.loads((project.lane.OUT / "compile_commands.json").read_text())
    sources = sorted(os.path.relpath(entry["file"], project.lane.TREE / "app") for entry in listed)
    assert sources == sorted(path for path in FILES if path.endswith(".cpp"))
    assert list(project.lane.BUILD.rglob("*.o")) == []
    assert not {"compile", "jobs"} & told(capsys).keys()


@REAL
def test_to_configure_takes_no_memory_that_counts(project, monkeypatch):
    monkeypatch.setattr(project.lane.jobs, "memory", lambda: Memory(available=GIB, said_by="a test", unified=False))
    project.main("configure", heavy=["two"])
    assert list(made(project.lane)) == ["compile_commands.json"]


@REAL
def test_single_objects_are_compiled_and_nothing_else(project, capsys):
    wanted = ("CMakeFiles/one.dir/csrc/one.cpp.o", "sub/CMakeFiles/three.dir/three.cpp.o")
    project.main("objects", *wanted)
    assert sorted(made(project.lane)) == sorted(wanted)
    assert {str(path.relative_to(project.lane.BUILD)) for path in project.lane.BUILD.rglob("*.o")} == {*wanted}
    assert list(project.lane.BUILD.rglob("*.so")) == []
    assert "libraries" not in told(capsys)


@REAL
def test_an_object_that_nothing_makes_ends_it(project, capsys):
    with pytest.raises(SystemExit):
        project.main("objects", "CMakeFiles/one.dir/none_such.cpp.o")
    fault = told(capsys)["fault"]
    assert fault["kind"] == "ninja"
    assert any("none_such" in line for line in fault["lines"])


@REAL
def test_a_source_that_does_not_compile_is_named(project, capsys):
    put(project.lane.SOURCE / "csrc" / "two.cpp", "int two() { return }\n")
    with pytest.raises(SystemExit, match=r"csrc/two\.cpp"):
        project.main()
    fault = told(capsys)["fault"]
    assert fault["kind"] == "compiler"
    assert fault["file"].endswith("csrc/two.cpp")
    assert "native.json" not in made(project.lane)


@REAL
def test_a_library_of_another_machine_leaves_no_figures(project, monkeypatch):
    monkeypatch.setattr(project.lane, "AARCH64", 4711)
    with pytest.raises(SystemExit, match="is no library for aarch64"):
        project.main()
    assert "native.json" not in made(project.lane)


@REAL
def test_a_target_that_installs_nothing_ends_it(project):
    with pytest.raises(SystemExit):
        project.main(targets=["one", "three"])
