"""What CMake writes is read in every spelling, and what cannot be is refused with its place."""

import json
import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from build import compilecommands
from build.compilecommands import Roots, architectures, parse
from build.errors import CommandError
from build.units import Unit
from tests import unitkit

# Of a small project by CMake 4.1.2 and 3.25.1 with nvcc 13.0.88 (Ninja); only the folders are those of the native stage.
CMAKE_4 = r"""[
{
  "directory": "/src/build",
  "command": "/usr/local/cuda/bin/nvcc -forward-unknown-to-host-compiler -DX=\"\\\"a b\\\"\" -D_moe_C_EXPORTS -Xcompiler=-fPIC -gencode arch=compute_80,code=sm_80 -gencode arch=compute_80,code=compute_80 -x cu -c /src/vllm/csrc/a.cu -o CMakeFiles/_moe_C.dir/csrc/a.cu.o",
  "file": "/src/vllm/csrc/a.cu",
  "output": "/src/build/CMakeFiles/_moe_C.dir/csrc/a.cu.o"
},
{
  "directory": "/src/build",
  "command": "/usr/bin/c++ -DX=\"\\\"a b\\\"\" -D_moe_C_EXPORTS -march=armv8-a -fPIC -o CMakeFiles/_moe_C.dir/d.cpp.o -c /src/vllm/d.cpp",
  "file": "/src/vllm/d.cpp",
  "output": "/src/build/CMakeFiles/_moe_C.dir/d.cpp.o"
},
{
  "directory": "/src/build",
  "command": "/usr/local/cuda/bin/nvcc -forward-unknown-to-host-compiler -D_moe_C_EXPORTS -Xcompiler=-fPIC -x cu -c /src/deps/qutlass-src/qutlass/csrc/q.cu -o CMakeFiles/_moe_C.dir/src/deps/qutlass-src/qutlass/csrc/q.cu.o",
  "file": "/src/deps/qutlass-src/qutlass/csrc/q.cu",
  "output": "/src/build/CMakeFiles/_moe_C.dir/src/deps/qutlass-src/qutlass/csrc/q.cu.o"
},
{
  "directory": "/src/build",
  "command": "/usr/local/cuda/bin/nvcc -forward-unknown-to-host-compiler  \"--generate-code=arch=compute_80,code=[compute_80,sm_80]\" \"--generate-code=arch=compute_120f,code=[compute_120f,sm_120f]\" -gencode arch=compute_80,code=sm_80 -x cu -c /src/vllm/csrc/a.cu -o CMakeFiles/_cutlass.dir/csrc/a.cu.o",
  "file": "/src/vllm/csrc/a.cu",
  "output": "/src/build/CMakeFiles/_cutlass.dir/csrc/a.cu.o"
},
{
  "directory": "/src/build",
  "command": "/usr/local/cuda/bin/nvcc -forward-unknown-to-host-compiler -D_vllm_fa2_C_EXPORTS -Xcompiler=-fPIC -x cu -c /src/deps/vllm-flash-attn-src/csrc/x.cu -o vllm-flash-attn/CMakeFiles/_vllm_fa2_C.dir/csrc/x.cu.o",
  "file": "/src/deps/vllm-flash-attn-src/csrc/x.cu",
  "output": "/src/build/vllm-flash-attn/CMakeFiles/_vllm_fa2_C.dir/csrc/x.cu.o"
}
]"""
CMAKE_3 = r"""[
{
  "directory": "/src/build",
  "command": "/usr/local/cuda/bin/nvcc -forward-unknown-to-host-compiler  --generate-code=arch=compute_80,code=[compute_80,sm_80] --generate-code=arch=compute_120f,code=[compute_120f,sm_120f] -x cu -c /src/build/gen.cu -o CMakeFiles/_cutlass.dir/gen.cu.o",
  "file": "/src/build/gen.cu"
}
]"""
SPELLINGS = ["-gencode {}", "-gencode={}", "--generate-code={}", "--generate-code {}", "'-gencode={}'", '-gencode "{}"']
NAMES = st.sampled_from(["sm_80", "compute_80", "sm_90a", "sm_120", "sm_120f", "compute_120f", "lto_80"])


def entry(**more):
    """What CMake writes of one file, with ``more`` in place of its own."""
    return {
        "directory": "/src/build", "file": "/src/vllm/csrc/a.cu", "output": "CMakeFiles/_C.dir/csrc/a.cu.o",
        "command": "nvcc -x cu -c /src/vllm/csrc/a.cu -o CMakeFiles/_C.dir/csrc/a.cu.o", **more,
    }  # fmt: skip


def test_what_cmake_writes_is_read():
    assert parse(json.loads(CMAKE_4)) == (
        Unit(target="_cutlass", source="csrc/a.cu", architectures=("compute_120f", "compute_80", "sm_120f", "sm_80")),
        Unit(target="_moe_C", source="csrc/a.cu", architectures=("compute_80", "sm_80")),
        Unit(target="_moe_C", source="d.cpp"),
        Unit(target="_moe_C", source="deps/qutlass/qutlass/csrc/q.cu", architectures=("default",)),
        Unit(target="_vllm_fa2_C", source="deps/vllm-flash-attn/csrc/x.cu", architectures=("default",)),
    )


def test_an_older_cmake_tells_the_output_in_the_command_only():
    (unit,) = parse(json.loads(CMAKE_3))
    assert unit == Unit(
        target="_cutlass", source="build/gen.cu", architectures=("compute_120f", "compute_80", "sm_120f", "sm_80")
    )


def test_the_whole_of_a_release_comes_back():
    release = unitkit.release(fa3=True)
    found = []
    for unit in reversed(release):
        flags = [
            f"-gencode arch={name.replace('sm_', 'compute_')},code={name}"
            for name in unit.architectures
            if name != "default"
        ]
        path, output = unitkit.path_of(unit), unitkit.object_of(unit)
        command = shlex.join(["nvcc", *" ".join(flags).split(), "-c", path, "-o", output])
        found.append({"directory": "/src/build", "command": command, "file": path, "output": f"/src/build/{output}"})
    assert len(release) == 359
    assert parse(found) == release


@given(st.lists(st.tuples(st.sampled_from(SPELLINGS), st.lists(NAMES, min_size=1, max_size=3)), max_size=4))
def test_each_spelling_of_an_architecture_is_understood(options):
    words = ["/mnt/ld.so --library-path /mnt/lib /usr/bin/ccache nvcc -DA='x y'"]
    for spelling, names in options:
        listed = f"[{','.join(names)}]" if len(names) > 1 else names[0]
        words.append(spelling.format(f"arch=compute_80,code={listed}"))
    (unit,) = parse([entry(command=" ".join([*words, "-x cu -c a.cu"]))])
    assert unit.architectures == (tuple(sorted({name for _, names in options for name in names})) or ("default",))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("-arch=sm_90", ("compute_90", "sm_90")),
        ("-arch sm_90a", ("compute_90a", "sm_90a")),
        ("--gpu-architecture=compute_80", ("compute_80",)),
        ("-arch=compute_80 -code=sm_80,sm_86", ("sm_80", "sm_86")),
        ("--gpu-architecture compute_80 --gpu-code=[compute_80,sm_80]", ("compute_80", "sm_80")),
        ("-arch=native", ("native",)),
        (r"-gencode=arch=compute_80,code=\"sm_80,compute_80\"", ("compute_80", "sm_80")),
        ("-gencode arch=compute_80,code=sm_80 -gencode arch=compute_80,code=sm_80", ("sm_80",)),
        ("-Xcompiler=-march=armv8-a -Xcompiler -mcpu=neoverse-n2 --threads=1", ("default",)),
    ],
)
def test_nvccs_other_ways_to_say_it(options, expected):
    assert architectures(shlex.split(options)) == expected


def test_a_file_is_cuda_by_its_name_or_by_its_language():
    cpp = {"file": "/src/vllm/csrc/a.cpp", "output": "CMakeFiles/_C.dir/csrc/a.cpp.o"}
    assert parse([entry(command="nvcc -gencode arch=compute_80,code=sm_80 -x cu -c a.cpp", **cpp)])[0].architectures
    assert not parse([entry(command="g++ -x c++ -c a.cpp", **cpp)])[0].architectures


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("/src/vllm/csrc/moe/x.cu", "csrc/moe/x.cu"),
        ("/src/vllm/csrc/../y.cu", "y.cu"),
        ("stub.cpp", "build/stub.cpp"),
        ("/src/build/sub/gen.cu", "build/sub/gen.cu"),
        ("/src/deps/a-src-src/x.cu", "deps/a-src/x.cu"),
        ("/src/deps/vllm-flash-attn-src/hopper/x.cu", "deps/vllm-flash-attn/hopper/x.cu"),
    ],
)
def test_files_are_named_by_the_root_that_they_are_in(file, expected):
    assert parse([entry(file=file)])[0].source == expected


@pytest.mark.parametrize(
    "file",
    ["/src/other/x.cu", "/src/vllmx/x.cu", "/src/deps/x-build/x.cu", "/src/deps/x.cu", "/src/deps/-src/x.cu",
     "/src/deps/x-src", "/src/vllm/../x.cu", "/src/vllm/build/x.cu", "/src/vllm/deps/a/x.cu", "../x.cu"],
)  # fmt: skip
def test_a_file_outside_of_the_roots_is_refused_with_its_place(file):
    with pytest.raises(CommandError, match=r"entry 1 \(.*x.*\): /src/.* is not in /src/build, /src/deps/<name>-src"):
        parse([entry(), entry(file=file)])


def test_other_roots():
    roots = Roots(source="/s", deps="/s/.deps", build="/s/out")
    files = {"/s/a.cu": "a.cu", "/s/.deps/n-src/a.cu": "deps/n/a.cu", "/s/out/a.cu": "build/a.cu"}
    assert [parse([entry(file=file)], roots=roots)[0].source for file in files] == [*files.values()]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"command": "nvcc 'open"}, "No closing quotation"),
        ({"command": None}, "no command"),
        ({"directory": 3}, "no directory"),
        ({"file": ""}, "/src/build is not in"),
        ({"output": "a.cu.o"}, "its output 'a.cu.o' does not tell CMake's target"),
        ({"output": "", "command": "nvcc -c a.cu"}, "its output '' does not tell"),
        ({"command": "nvcc -gencode"}, "-gencode  is not understood"),
        ({"command": "nvcc -gencode arch=compute_80 -c a.cu"}, "-gencode arch=compute_80 is not understood"),
        ({"command": "nvcc -gencode=arch=compute_80,code=[] -c a.cu"}, "is not understood"),
    ],
)
def test_what_cannot_be_read_is_refused(more, said):
    with pytest.raises(CommandError) as caught:
        parse([entry(**more)])
    assert f"entry 0 ({more.get('file', '/src/vllm/csrc/a.cu')}): " in caught.value.why
    assert said in caught.value.why


def test_a_file_that_a_target_compiles_twice_is_refused():
    with pytest.raises(CommandError, match=r"entry 1 \(/src/vllm/csrc/a.cu\): _C compiles it twice"):
        parse([entry(), entry()])


def test_all_faults_are_told_as_far_as_they_can_be_read():
    with pytest.raises(CommandError) as caught:
        parse([entry(file=f"/elsewhere/{n}.cu") for n in range(374)])
    assert caught.value.why.count("entry ") == 10
    assert caught.value.why.endswith("and 364 more")
    with pytest.raises(CommandError, match="it has no entry"):
        parse([])


def test_every_object_file_of_a_release_leads_to_its_unit():
    release = unitkit.release(fa3=True)
    for unit in release:
        assert compilecommands.unit_of(unitkit.object_of(unit), release) == unit
        assert compilecommands.unit_of(f"/src/build/{unitkit.object_of(unit)}", release) == unit


def test_files_of_one_name_are_told_apart():
    near = [Unit(target=target, source=source) for target in ("_C", "_D") for source in
            ("csrc/a.cu", "csrc/b/csrc/a.cu", "deps/x/csrc/a.cu", "build/csrc/a.cu", "a.cu")]  # fmt: skip
    outputs = {"csrc/a.cu": 0, "csrc/b/csrc/a.cu": 1, "src/deps/x-src/csrc/a.cu": 2, "a.cu": 4}
    for output, place in outputs.items():
        assert compilecommands.unit_of(f"CMakeFiles/_C.dir/{output}.o", near) == near[place]
    assert compilecommands.unit_of("CMakeFiles/_C.dir/csrc/other.cu.o", near) is None
    assert compilecommands.unit_of("CMakeFiles/_E.dir/csrc/a.cu.o", near) is None
    assert compilecommands.unit_of("_C.abi3.so", near) is None
    assert not compilecommands.is_object("_C.abi3.so")
