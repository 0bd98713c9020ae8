"""Contradictions that a lock can hold: each is found, and a good lock has none."""

from dataclasses import replace

import pytest

from build import consistency, steps
from build.lockfile import read_lock
from build.models import Deb, DebSet, External, GitSource, Lock, Override, PatchRef, Settings, Submodule, Wheel
from build.settings import REPO

SHA = "ab" * 32
COMMIT = "12" * 20


def wheel(name, version, tags="py3-none-any", **more):
    file = f"{name.replace('-', '_')}-{version}-{tags}.whl"
    return Wheel(**{"name": name, "version": version, "file": file, "sha256": SHA, "size": 1, **more})


def lock(*wheels, **more):
    base = Lock(
        target="t", intent="", epoch=1, python="3.13", platform="aarch64-manylinux_2_39",
        tools=(), wheels=wheels, patches=(), components=(),
    )  # fmt: skip
    return replace(base, **more)


def debset(*debs, arch="arm64"):
    found = tuple(
        Deb(name=n, version=v, arch=arch, file=f"{n}_{v}_{arch}.deb", path=f"pool/{n}", sha256=SHA, size=1)
        for n, v in debs
    )
    return DebSet(root="trixie", suite="trixie", arch=arch, epoch=1, released=1, debs=found)


@pytest.mark.parametrize("target", ["v0.32", "v0.22", "tiny"])
def test_our_own_locks_are_whole(target):
    ours = read_lock(REPO, target)
    found = [*consistency.incomplete(ours), *consistency.misnamed(ours), *consistency.mixed_cuda(ours)]
    assert found == []


def test_a_lock_without_any_wheel_is_named():
    assert list(consistency.incomplete(lock())) == ["no wheel is locked"]


def test_what_has_no_hash_or_no_size_is_named():
    found = list(consistency.incomplete(lock(wheel("a", "1", sha256="ab"), wheel("b", "1", size=0))))
    assert found == ["a-1-py3-none-any.whl: no sha256", "b-1-py3-none-any.whl: no size"]


def test_a_distribution_that_is_locked_twice_is_named():
    assert list(consistency.incomplete(lock(wheel("a", "1"), wheel("a", "2")))) == ["a: locked 2 times"]


def test_a_component_without_any_origin_is_named():
    ours = read_lock(REPO, "tiny")
    bare = replace(
        ours,
        components=tuple(replace(item, archive=None, git=None) for item in ours.components),
        unresolved=(),
    )
    assert list(consistency.incomplete(bare)) == ["component jinja2: neither a source archive nor a commit is locked"]


def test_a_commit_without_its_tree_is_named_down_to_submodules():
    inner = Submodule(path="csrc/cutlass", url="x", commit=COMMIT, tree="")
    source = GitSource(url="x", tag="v1", commit=COMMIT[:12], tree=COMMIT, submodules=(inner,))
    ours = read_lock(REPO, "tiny")
    with_git = replace(ours, components=tuple(replace(item, git=source) for item in ours.components))
    assert list(consistency.incomplete(with_git)) == [
        "component jinja2: no commit",
        "component jinja2, submodule csrc/cutlass: no tree",
    ]


def test_tools_of_the_build_need_hash_and_size_too():
    bad = lock(wheel("a", "1"), tools=(wheel("uv", "1", sha256="", size=0),))
    assert list(consistency.incomplete(bad)) == ["uv-1-py3-none-any.whl: no sha256", "uv-1-py3-none-any.whl: no size"]


def test_a_source_archive_needs_hash_and_size_too():
    ours = read_lock(REPO, "tiny")
    (item,) = ours.components
    bad = replace(ours, components=(replace(item, archive=replace(item.archive, sha256="AB" * 32, size=-1)),))
    file = item.archive.file
    assert list(consistency.incomplete(bad)) == [f"{file}: no sha256", f"{file}: no size"]


@pytest.mark.parametrize("sha256", ["", "ab", "AB" * 32, SHA + "0", SHA + "\n"])
def test_a_patch_without_its_hash_is_named(sha256):
    patches = tuple(
        PatchRef(series="s", component="vllm", file=file, sha256=SHA) for file in ("0001-a.patch", "0002-b.patch")
    )
    bad = lock(wheel("a", "1"), patches=(patches[0], replace(patches[1], sha256=sha256)))
    assert list(consistency.incomplete(bad)) == ["patch vllm/0002-b.patch: no sha256"]


def test_an_external_without_commit_or_tree_is_named_down_to_submodules():
    inner = Submodule(path="third_party/x", url="x", commit="v1.0", tree=COMMIT)
    good = GitSource(url="u", tag="v1", commit=COMMIT, tree=COMMIT)
    sources = {"a": good, "b": replace(good, commit="main"), "c": replace(good, tree="", submodules=(inner,))}
    externals = tuple(External(name=name, source=source) for name, source in sources.items())
    assert list(consistency.incomplete(lock(wheel("a", "1"), externals=externals))) == [
        "external b: no commit",
        "external c: no tree",
        "external c, submodule third_party/x: no commit",
    ]


@pytest.mark.parametrize(
    ("item", "said"),
    [
        (wheel("a", "1", file="b-1-py3-none-any.whl"), "a 1: the file is b-1-py3-none-any.whl"),
        (wheel("a", "1", file="a-2-py3-none-any.whl"), "a 1: the file is a-2-py3-none-any.whl"),
        (wheel("a", "1", file="a.zip"), "a.zip: not the name of a wheel"),
        (wheel("a", "1", tags="cp313-cp313-manylinux_2_28_x86_64"), "fits"),
        (wheel("a", "1", tags="cp312-cp312-manylinux_2_28_aarch64"), "fits"),
        (wheel("a", "1", tags="cp313-cp313-manylinux_2_41_aarch64"), "fits"),
        (wheel("a", "1", tags="cp313-cp313-macosx_11_0_arm64"), "fits"),
    ],
)
def test_a_wheel_that_is_not_what_its_row_says_is_named(item, said):
    (found,) = consistency.misnamed(lock(item))
    assert said in found


@pytest.mark.parametrize(
    "tags",
    [
        "py3-none-any", "py2.py3-none-any", "cp313-cp313-manylinux2014_aarch64", "cp38-abi3-manylinux_2_28_aarch64",
        "py3-none-manylinux_2_34_aarch64", "cp313-cp313-manylinux2014_aarch64.manylinux_2_17_aarch64",
    ],
)  # fmt: skip
def test_a_wheel_for_the_target_fits(tags):
    assert list(consistency.misnamed(lock(wheel("a", "1", tags=tags)))) == []


def test_a_tool_is_what_its_row_says_for_whatever_machine_it_is():
    tools = (wheel("uv", "1", tags="py3-none-manylinux_2_17_x86_64"), wheel("uv", "2", file="uv-1-py3-none-any.whl"))
    assert list(consistency.misnamed(lock(tools=tools))) == ["uv 2: the file is uv-1-py3-none-any.whl"]


def test_two_cuda_minor_versions_are_named_with_their_parts():
    mixed = lock(
        wheel("nvidia-cuda-nvcc", "13.5.37"), wheel("nvidia-cuda-runtime", "13.0.96"), wheel("nvidia-cublas", "13.1.1")
    )
    (found,) = consistency.mixed_cuda(mixed)
    assert "CUDA 13.0: nvidia-cuda-runtime 13.0.96" in found
    assert "CUDA 13.5: nvidia-cuda-nvcc 13.5.37" in found
    assert "cublas" not in found


def test_wheels_named_for_a_cuda_major_are_parts_of_a_toolkit_too():
    mixed = lock(wheel("nvidia-cuda-nvcc-cu12", "12.8.93"), wheel("nvidia-cuda-runtime-cu12", "12.9.79"))
    (found,) = consistency.mixed_cuda(mixed)
    assert "CUDA 12.8: nvidia-cuda-nvcc-cu12 12.8.93" in found


def test_libraries_that_count_for_themselves_are_no_second_toolkit():
    assert (
        list(consistency.mixed_cuda(lock(wheel("nvidia-cuda-nvcc", "13.0.88"), wheel("nvidia-cufft", "12.0.0")))) == []
    )


def overriding(requirement):
    return lock(overrides=(Override(requirement=requirement, reason="because"),))


def test_an_override_of_what_torch_pins_is_named():
    (found,) = consistency.overruled_torch(overriding("triton==3.8.0"), {"torch": ("triton==3.7.0", "filelock")})
    assert found == "the override triton==3.8.0 replaces torch's own pin triton==3.7.0"


def test_an_override_of_a_range_of_torchs_may_be():
    assert list(consistency.overruled_torch(overriding("setuptools==80"), {"torch": ("setuptools<82",)})) == []


def test_an_override_that_overrides_nothing_is_named():
    (found,) = consistency.idle_overrides(overriding("quack_kernels==0.5"), {"vllm": ("numpy",)})
    assert "overrides nothing" in found
    assert list(consistency.idle_overrides(overriding("quack_kernels==0.5"), {"vllm": ("quack-kernels",)})) == []


def test_a_wheel_that_nothing_requires_is_named():
    ours = lock(wheel("a", "1"), wheel("b-c", "1"), wheel("d", "1"))
    found = list(consistency.idle_wheels(ours, {"a": ("B_C>=1",), "lock/targets.toml": ("a[x]",)}))
    assert found == ["d is locked, and nothing requires it"]


def test_a_root_with_another_python_or_an_older_glibc_is_named():
    good = debset(("python3.13-minimal", "3.13.5-2"), ("libc6", "2.41-12"))
    assert list(consistency.unsuitable_rootfs(lock(), good)) == []
    old = debset(("python3.11-minimal", "3.11.2"), ("libc6", "2.36-9"))
    python, glibc = consistency.unsuitable_rootfs(lock(), old)
    assert "no python3.13" in python
    assert "glibc 2.39" in glibc
    assert "2.36-9" in glibc


def test_a_deb_of_another_architecture_is_named():
    (found,) = consistency.incomplete_debs(replace(debset(("a", "1"), arch="amd64"), arch="arm64"))
    assert "for amd64" in found


def test_a_deb_without_hash_or_size_is_named():
    good = debset(("a", "1"), ("b", "2"), ("c", "3"))
    first, second, third = good.debs
    bad = replace(good, debs=(first, replace(second, sha256="ab"), replace(third, size=0)))
    assert list(consistency.incomplete_debs(bad)) == ["b_2_arm64.deb: no sha256", "c_3_arm64.deb: no size"]


def test_a_deb_for_all_architectures_is_as_good_as_one_for_the_root_s():
    good = debset(("a", "1"), ("b", "2"))
    both = replace(good, debs=(replace(good.debs[0], arch="all"), good.debs[1]))
    assert list(consistency.incomplete_debs(both)) == []


def test_the_python_that_compiles_is_the_one_that_runs():
    both = (("python3.13-minimal", "3.13.5-2"), ("libpython3.13-minimal", "3.13.5-2"))
    builders = [debset(*both, arch="amd64"), debset(*both, arch="arm64")]
    assert list(consistency.differing_python(lock(), debset(*both), builders)) == []
    newer = debset(("python3.13-minimal", "3.13.6-1"), both[1])
    assert list(consistency.differing_python(lock(), newer, builders)) == [
        f"python3.13-minimal is 3.13.5-2 in the builder root for {arch}, and 3.13.6-1 in the root trixie"
        for arch in ("amd64", "arm64")
    ]
    lacking = debset(both[0], arch="amd64")
    (found,) = consistency.differing_python(lock(), debset(*both), [lacking])
    assert found == "libpython3.13-minimal is not there in the builder root for amd64, and 3.13.5-2 in the root trixie"


# --- compilers of two machines -------------------------------------------------------------------------------------


@pytest.fixture
def canary(tmp_path):
    return steps.load(Settings(repo=REPO, store=tmp_path), "canary")


def differing(job, *, rootfs=None, compilers=None, locked=None):
    return list(consistency.differing_compilers(locked or job.lock, rootfs or job.rootfs, compilers or job.compilers))


def renewed(debset, name, version):
    debs = tuple(replace(deb, version=version) if deb.name == name else deb for deb in debset.debs)
    assert debs != debset.debs
    return replace(debset, debs=debs)


@pytest.mark.parametrize("target", ["canary", "canary-0.32", "g27-rehearsal", "g27"])
def test_the_compilers_of_our_own_locks_agree(tmp_path, target):
    job = steps.load(Settings(repo=REPO, store=tmp_path), target)
    assert {debset.arch for debset in job.compilers} == {"amd64", "arm64"}
    assert differing(job) == []


def test_another_gcc_for_one_machine_is_named(canary):
    name = "g++-14-aarch64-linux-gnu"
    for number, debset in enumerate(canary.compilers):
        compilers = list(canary.compilers)
        compilers[number] = renewed(debset, name, "14.3.0-1cross1")
        (found,) = differing(canary, compilers=compilers)
        wanted = next(deb.version for deb in canary.rootfs.debs if deb.name == "g++-14")
        assert found == (f"g++-14 is 14.3.0-1cross1 in the compile root for {debset.arch}, and {wanted} in the image")


def test_debians_own_suffix_for_compilers_of_other_machines_is_no_difference(canary):
    amd64 = next(debset for debset in canary.compilers if debset.arch == "amd64")
    versions = {deb.name: deb.version for deb in amd64.debs}
    assert versions["g++-14-aarch64-linux-gnu"].endswith("cross1")
    again = renewed(amd64, "g++-14-aarch64-linux-gnu", versions["g++-14-aarch64-linux-gnu"] + "2")
    assert differing(canary, compilers=[again]) == []


def test_another_assembler_or_another_image_is_named(canary):
    other = [renewed(debset, "binutils-aarch64-linux-gnu", "2.45-1") for debset in canary.compilers]
    assert [text.split(",")[0] for text in differing(canary, compilers=other)] == [
        f"binutils is 2.45-1 in the compile root for {debset.arch}" for debset in canary.compilers
    ]
    found = differing(canary, rootfs=renewed(canary.rootfs, "g++-14", "14.2.0-20"))
    assert len(found) == len(canary.compilers)
    assert all(text.endswith("and 14.2.0-20 in the image") for text in found)


def test_one_that_is_not_there_is_named(canary):
    (first, *others) = canary.compilers
    less = replace(first, debs=tuple(deb for deb in first.debs if not deb.name.startswith("g++-14")))
    (found,) = differing(canary, compilers=[less, *others])
    assert found.startswith(f"g++-14 is not there in the compile root for {first.arch}, and ")


def test_another_nvcc_for_machines_of_another_kind_is_named(canary):
    native = canary.lock.native
    for number, wheel in enumerate(native.hosts):
        hosts = list(native.hosts)
        hosts[number] = replace(wheel, version="13.1.0")
        locked = replace(canary.lock, native=replace(native, hosts=tuple(hosts)))
        found = differing(canary, locked=locked)
        assert found == [f"{wheel.name} is 13.1.0 for x86-64 machines, and {wheel.version} in the image"]
    gone = replace(canary.lock, wheels=tuple(w for w in canary.lock.wheels if w.name != "nvidia-nvvm"))
    (found,) = differing(canary, locked=gone)
    assert found.endswith("and None in the image")


def test_the_wheel_lane_has_no_compilers_to_compare(tmp_path):
    job = steps.load(Settings(repo=REPO, store=tmp_path), "tiny")
    assert list(consistency.differing_compilers(job.lock, job.rootfs, job.compilers)) == []


@pytest.mark.parametrize("kind", ["tools", "hosts", "substitutes"])
@pytest.mark.parametrize(("key", "value", "said"), [("sha256", "", "no sha256"), ("size", 0, "no size")])
def test_wheels_of_a_native_build_need_hash_and_size_too(canary, kind, key, value, said):
    native = canary.lock.native
    first, *others = getattr(native, kind)
    wheel = first.wheel if kind == "substitutes" else first
    bad = replace(wheel, **{key: value})
    changed = replace(first, wheel=bad) if kind == "substitutes" else bad
    locked = replace(canary.lock, native=replace(native, **{kind: (changed, *others)}))
    assert list(consistency.incomplete(canary.lock)) == []
    assert list(consistency.incomplete(locked)) == [f"{wheel.file}: {said}"]
