"""The image's checks of what was compiled: by files, by a torch that only tells of operators, and by the real one.

What the libraries themselves do is asked inside images (tests/engine).
"""

# ruff: noqa: E402 - the checks are no part of our package

import importlib.machinery
import json
import struct
import subprocess
import sys
import sysconfig
from pathlib import Path
from types import ModuleType

import pytest

from tests.patches import releases

IMAGE = Path(__file__).parents[1] / "dockerfiles" / "image"
sys.path.insert(0, str(IMAGE))

from checks import elf, libraries, native, plan
from checks.events import Context, Failed, Skipped

SAMPLE = (Path(__file__).parent / "data" / "two.fatbin").read_bytes()
CODE = ["sm_120f", "compute_120f", "sm_80", "compute_80", "sm_90a", "sm_121a"]  # as cuobjdump lists them
ROUTER = "_moe_C::topk_softplus_sqrt"
LOAD = native._load


@pytest.fixture
def site(tmp_path, monkeypatch):
    folder = tmp_path / "site-packages"
    (folder / "vllm").mkdir(parents=True)
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(folder))
    return folder


def context(tmp_path, **manifest):
    return Context(manifest=manifest, scratch=tmp_path)


# --- the code of a library is all that was to be compiled ----------------------------------------------------------


def asked(tmp_path, code, path="vllm/_C.so"):
    entry = {"path": path, "reason": "the kernels", **({"code": code} if code is not None else {})}
    return libraries.check_libraries(context(tmp_path, libraries=[entry])).evidence


@pytest.mark.parametrize("code", [CODE, CODE[::-1], sorted(CODE), None, []])
def test_the_code_that_a_target_names_in_any_order_or_not_at_all(site, tmp_path, code):
    (site / "vllm" / "_C.so").write_bytes(b"\x7fELF" + SAMPLE + b"between" + SAMPLE)
    assert asked(tmp_path, code)["needed"]["vllm/_C.so"]["code"] == sorted(CODE)


@pytest.mark.parametrize("code", [CODE[:-1], [*CODE, "sm_100a"], ["sm_120"], [*CODE[:-1], "sm_121"]])
def test_other_code_than_a_target_names_fails_with_both(site, tmp_path, code):
    """`sm_120` runs on a GB10 as `sm_120f` does: it would pass without the list."""
    (site / "vllm" / "_C.so").write_bytes(SAMPLE)
    with pytest.raises(Failed) as caught:
        asked(tmp_path, code)
    (fault,) = str(caught.value).split("; ")
    assert fault == f"vllm/_C.so has code for {', '.join(sorted(CODE))} and not {', '.join(code)}"
    assert caught.value.evidence["needed"]["vllm/_C.so"]["usable"]["native"] == 1


def test_a_library_without_device_code_is_told_as_such(site, tmp_path):
    (site / "vllm" / "_C.so").write_bytes(b"\x7fELF and nothing more")
    with pytest.raises(Failed, match=r"vllm/_C\.so has code for no GPU and not sm_120; vllm/_C\.so has no code for"):
        asked(tmp_path, ["sm_120"])


def test_each_library_of_a_pattern_is_held_to_it(site, tmp_path):
    (site / "vllm" / "_C.so").write_bytes(SAMPLE)
    (site / "vllm" / "_D.so").write_bytes(b"\x7fELF")
    with pytest.raises(Failed, match=r"vllm/_D\.so has code for no GPU") as caught:
        asked(tmp_path, CODE, "vllm/_*.so")
    assert "vllm/_C.so has" not in str(caught.value)


# --- loading one extension -----------------------------------------------------------------------------------------


@pytest.fixture
def extension(site):
    """A real extension of this Python, called as vLLM's are; its name."""
    folder = Path(sysconfig.get_config_var("DESTSHARED") or "none")
    suffix = importlib.machinery.EXTENSION_SUFFIXES[0]
    found = sorted(folder.glob(f"_[a-z]*{suffix}"))
    if not found:
        pytest.skip("this Python has no extension in a file")
    name = next((path for path in found if path.name.startswith("_json")), found[0])
    target = name.name.split(".")[0]
    (site / "vllm" / "deep").mkdir()
    (site / "vllm" / "deep" / f"{target}.abi3.so").write_bytes(name.read_bytes())
    return target


def test_an_extension_is_loaded_by_its_file(extension, site, monkeypatch):
    monkeypatch.delitem(sys.modules, extension, raising=False)
    for other in ("vllm.py", "vllm/__init__.py"):
        (site / other).write_text("raise ImportError('the package was imported')\n")
    (site / "vllm" / f"{extension}.py").touch()
    (site / "vllm" / f"{extension}_more.abi3.so").touch()
    assert native._load(extension) == f"vllm/deep/{extension}.abi3.so"
    assert extension not in sys.modules
    assert "vllm" not in sys.modules


def test_one_that_cannot_be_loaded_breaks_the_check(site):
    (site / "vllm" / "_C.abi3.so").write_bytes(b"no library")
    with pytest.raises(ImportError):
        native._load("_C")


@pytest.mark.parametrize("paths", [[], ["_D.abi3.so"], ["_C.py"], ["_C.abi3.so", "deep/_C.so"], ["../other/_C.so"]])
def test_there_must_be_one(site, paths):
    for path in paths:
        place = site / "vllm" / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
    count = 2 if len(paths) == 2 else 0
    with pytest.raises(Failed, match=f"there are {count} libraries of _C, and one was compiled") as caught:
        native._load("_C")
    assert len(caught.value.evidence["found"]) == count


# --- operators -----------------------------------------------------------------------------------------------------


class Torch:
    """What torch tells of operators. ``brings``: library → operator → where it has kernels."""

    def __init__(self, monkeypatch):
        self.there, self.brings, self.loaded = {"aten::add": ("CPU", "CUDA")}, {}, []
        inner = ModuleType("torch._C")
        inner._dispatch_get_all_op_names = lambda: list(self.there)
        inner._dispatch_has_kernel_for_dispatch_key = lambda name, key: key in self.there[name]
        monkeypatch.setitem(sys.modules, "torch", ModuleType("torch"))
        monkeypatch.setitem(sys.modules, "torch._C", inner)
        monkeypatch.setattr(native, "_load", self.load)
        monkeypatch.setattr(native, "_compiled", lambda: [f"vllm/{target}.abi3.so" for target in self.brings])

    def load(self, target):
        self.loaded.append(target)
        self.there |= self.brings[target]
        return f"vllm/{target}.abi3.so"


@pytest.fixture
def torch(monkeypatch):
    return Torch(monkeypatch)


def compiled(*targets, **more):
    return {"native": {"targets": list(targets), "complete": True, "left_off": [], **more}}


def test_an_image_of_which_nothing_was_compiled_is_a_skip(torch, tmp_path):
    with pytest.raises(Skipped, match="nothing of this image was compiled"):
        native.check_native(context(tmp_path))
    assert torch.loaded == []


def test_operators_with_kernels_are_evidence(torch, tmp_path):
    torch.brings = {
        "_C": {"_C::f": ("CUDA",), "_C::g": ("CompositeExplicitAutograd", "CPU")},
        "spin": {"_C::h": ("CompositeImplicitAutograd",)},
    }
    outcome = native.check_native(context(tmp_path, **compiled("_C", "spin", complete=False)))
    assert outcome.findings == []
    assert outcome.evidence == {
        "loaded": {"_C": "vllm/_C.abi3.so", "spin": "vllm/spin.abi3.so"},
        "operators": {
            "_C::f": ["CUDA"], "_C::g": ["CompositeExplicitAutograd"], "_C::h": ["CompositeImplicitAutograd"],
        },
        "complete": False,
    }  # fmt: skip


def test_an_operator_without_a_kernel_for_a_gpu_is_a_finding(torch, tmp_path):
    torch.brings = {"_C": {"_C::bare": (), "_C::cpu": ("CPU",), "_C::f": ("CUDA",)}}
    outcome = native.check_native(context(tmp_path, **compiled("_C")))
    assert outcome.findings == ["_C::bare is registered without a kernel", "_C::cpu is registered without a kernel"]


@pytest.mark.parametrize("kernels", [{}, {ROUTER: ()}, {ROUTER: ("CPU",)}, {ROUTER: ("CompositeExplicitAutograd",)}])
def test_a_router_without_a_kernel_for_cuda_fails(torch, tmp_path, kernels):
    torch.brings = {"_moe_C": {"_moe_C::other": ("CUDA",), **kernels}}
    with pytest.raises(Failed, match=f"{ROUTER} has no kernel for CUDA") as caught:
        native.check_native(context(tmp_path, **compiled("_moe_C")))
    assert caught.value.evidence["operators"]["_moe_C::other"] == ["CUDA"]


def test_a_router_with_one_passes(torch, tmp_path):
    torch.brings = {"_moe_C": {ROUTER: ("CUDA",)}}
    assert native.check_native(context(tmp_path, **compiled("_moe_C"))).findings == []


def test_a_target_that_has_no_router_needs_none(torch, tmp_path):
    torch.brings = {"spinloop": {}}
    assert native.check_native(context(tmp_path, **compiled("spinloop"))).evidence["operators"] == {}


def test_a_target_that_is_nowhere_fails(torch, site, monkeypatch, tmp_path):
    monkeypatch.setattr(native, "_load", LOAD)
    torch.brings = {"_C": {}}  # it was compiled, and is gone
    with pytest.raises(Failed, match="there are 0 libraries of _C"):
        native.check_native(context(tmp_path, **compiled("_C")))


def test_the_router_is_asked_for_whatever_its_library_is_called(torch, tmp_path):
    torch.brings = {"_moe_C_stable_libtorch": {"_moe_C::other": ("CUDA",), ROUTER: ("CPU",)}}
    with pytest.raises(Failed, match=ROUTER):
        native.check_native(context(tmp_path, **compiled("_moe_C_stable_libtorch")))


def test_no_check_of_the_same_process_loads_the_libraries_before(torch, tmp_path):
    """Their operators would be no new ones, so that the router's would be missed."""
    torch.brings = {"_moe_C": {ROUTER: ("CUDA",)}}
    torch.load("_moe_C")
    with pytest.raises(Failed, match=ROUTER):
        native.check_native(context(tmp_path, **compiled("_moe_C")))
    for chosen in plan.SETS:
        names = plan.checks_of(chosen, "vllm", {})
        if "native" in names:
            assert names[0] == "native", chosen


def test_a_target_that_is_left_off_is_not_loaded(torch, tmp_path):
    torch.brings = {"_C": {"_C::f": ("CUDA",)}}
    left_off = [{"target": "_vllm_fa3_C", "reason": "has code for 9.0 only"}, {"part": "rust/", "reason": "unused"}]
    outcome = native.check_native(context(tmp_path, **compiled("_C", "_vllm_fa3_C", left_off=left_off)))
    assert list(outcome.evidence["loaded"]) == ["_C"]


# --- with the real torch -------------------------------------------------------------------------------------------

SCRIPT = """
import json, pathlib, sys
sys.path.insert(0, sys.argv[1])
from checks import native
from checks.events import Context, Failed
import torch

def ask(key):
    library = torch.library.Library("_moe_C", "DEF")

    def load(target):
        for name in ("topk_softplus_sqrt", "other", "bare"):
            library.define(f"{name}(Tensor x) -> Tensor")
        library.impl("other", lambda x: x, "CompositeExplicitAutograd")
        library.impl("topk_softplus_sqrt", lambda x: x, key)
        return target

    native._load = load
    native._compiled = lambda: ["vllm/_moe_C.abi3.so"]
    manifest = {"native": {"targets": ["_moe_C"], "complete": True, "left_off": []}}
    try:
        outcome = native.check_native(Context(manifest=manifest, scratch=pathlib.Path()))
        return {"operators": outcome.evidence["operators"], "findings": outcome.findings}
    except Failed as error:
        return {"operators": error.evidence["operators"], "failed": str(error)}
    finally:
        library._destroy()

print(json.dumps([ask(key) for key in ("CPU", "CUDA")]))
"""


def test_the_real_torch_tells_of_kernels_for_cuda_where_it_was_built_without():
    done = subprocess.run([releases.python(), "-c", SCRIPT, IMAGE], capture_output=True, text=True, check=True)
    without, with_cuda = json.loads(done.stdout.splitlines()[-1])
    others = {"_moe_C::bare": [], "_moe_C::other": ["CompositeExplicitAutograd"]}
    assert without == {"operators": {**others, ROUTER: []}, "failed": f"{ROUTER} has no kernel for CUDA"}
    assert with_cuda == {
        "operators": {**others, ROUTER: ["CUDA"]},
        "findings": ["_moe_C::bare is registered without a kernel"],
    }


# --- run paths -----------------------------------------------------------------------------------------------------


def library(*entries, names=()):
    """A library with a dynamic section: entries (tag, value), and the names of others that it asks for."""
    strings = b"\0" + b"".join(name.encode() + b"\0" for name in names)
    at = [1 + sum(len(name) + 1 for name in names[:number]) for number in range(len(names))]
    rows = [*((elf.DT_NEEDED, place) for place in at), *entries]
    rows += [(elf.DT_STRTAB, 0x200), (elf.DT_STRSZ, len(strings)), (0, 0)]
    section = b"".join(struct.pack("<QQ", *row) for row in rows)
    head = b"\x7fELF\x02\x01\x01".ljust(16, b"\0") + struct.pack(
        "<HHIQQQIHHHHHH", 3, 183, 1, 0, 64, 0, 0, 64, 56, 2, 0, 0, 0
    )
    load = struct.pack("<II6Q", elf.PT_LOAD, 4, 0, 0, 0, 0x400, 0x400, 1)
    dynamic = struct.pack("<II6Q", elf.PT_DYNAMIC, 4, 0x280, 0x280, 0x280, len(section), len(section), 8)
    return ((head + load + dynamic).ljust(0x200, b"\0") + strings).ljust(0x280, b"\0") + section


RUNPATH, RPATH = (elf.DT_RUNPATH, 1), (elf.DT_RPATH, 1)


@pytest.mark.parametrize(
    ("entries", "faulty"),
    [((), False), ((RUNPATH,), True), ((RPATH,), True), ((RPATH, RUNPATH), True), (((14, 1),), False)],
)
def test_a_compiled_library_with_a_run_path_is_a_finding(torch, site, tmp_path, entries, faulty):
    torch.brings = {"_C": {"_C::f": ("CUDA",)}}
    (site / "vllm" / "_C.abi3.so").write_bytes(library(*entries, names=("libtorch.so", "libc.so.6")))
    (site / "vllm" / "other.so").write_bytes(library(RUNPATH))  # of a wheel: not ours to judge
    outcome = native.check_native(context(tmp_path, **compiled("_C")))
    assert outcome.findings == (["vllm/_C.abi3.so has a run path, to where it was made"] if faulty else [])
    assert elf.needed(str(site / "vllm" / "_C.abi3.so")) == ["libtorch.so", "libc.so.6"]


def test_what_is_no_library_or_left_out_of_the_image_has_none(site, tmp_path, monkeypatch):
    made = ["vllm/_C.abi3.so", "vllm/gone.so", "vllm/text.so", "vllm/tiny.so", "vllm/more.py"]
    monkeypatch.setattr(native, "COMPILED", tmp_path / "compiled.json")
    native.COMPILED.write_text(json.dumps(made))
    for path in ("_C.abi3.so", "more.py"):
        (site / "vllm" / path).write_bytes(library(RUNPATH))
    (site / "vllm" / "text.so").write_bytes(b"INPUT(libx.so.1)\n" * 9)
    (site / "vllm" / "tiny.so").write_bytes(b"\x7fELF")
    assert native._with_run_path() == ["vllm/_C.abi3.so"]
    assert elf.dynamic(str(site / "vllm" / "text.so")) == elf.dynamic(str(site / "vllm" / "tiny.so")) == []


@pytest.mark.parametrize("head", [{4: 1}, {5: 2}, {18: 190}])
def test_a_file_of_another_kind_has_no_dynamic_section(tmp_path, head):
    """32 bits, big-endian, code for a GPU."""
    data = bytearray(library(RUNPATH, names=("libc.so.6",)))
    for place, value in head.items():
        data[place] = value
    (tmp_path / "x.so").write_bytes(data)
    assert elf.dynamic(str(tmp_path / "x.so")) == elf.needed(str(tmp_path / "x.so")) == []


@pytest.mark.programs("gcc")
@pytest.mark.parametrize(
    ("options", "tag"),
    [
        ((), None),
        (("-Wl,-rpath,/build/deps", "-Wl,--enable-new-dtags"), elf.DT_RUNPATH),
        (("-Wl,-rpath,$ORIGIN/..", "-Wl,--disable-new-dtags"), elf.DT_RPATH),
    ],
)
def test_of_a_real_library(site, tmp_path, monkeypatch, options, tag):
    """Linked from nothing, so that no header and no start file is needed; and without section headers, as by strip."""
    (tmp_path / "x.c").write_text("int one(void) { return 1; }\n")
    (tmp_path / "y.c").write_text("int one(void); int two(void) { return 2 * one(); }\n")
    build = ["gcc", "-shared", "-fPIC", "-nostdlib", "-s"]
    subprocess.run([*build, "-o", tmp_path / "libone.so", tmp_path / "x.c"], check=True)
    place = site / "vllm" / "_C.abi3.so"
    more = [tmp_path / "y.c", f"-L{tmp_path}", "-lone", *options]
    subprocess.run([*build, "-o", place, *more], check=True)
    monkeypatch.setattr(native, "_compiled", lambda: ["vllm/_C.abi3.so"])
    assert native._with_run_path() == (["vllm/_C.abi3.so"] if tag else [])
    assert {elf.DT_RPATH, elf.DT_RUNPATH} & {kind for kind, _ in elf.dynamic(str(place))} == ({tag} if tag else set())
    assert elf.needed(str(place)) == ["libone.so"]
    assert elf.needed(str(tmp_path / "libone.so")) == []
