"""build/nativebuild.py: what BuildKit gets for a native build, of our own targets and of a small one that is locked here."""

import hashlib
import json
import os
import re
import shlex
import shutil
from dataclasses import replace
from types import SimpleNamespace

import pytest

from build import assemble, buildx, dockerlines, host, nativebuild, recipe, roots, steps, store, treehash, wheeltree
from build.errors import LockError
from build.models import Settings
from build.settings import REPO
from tests import indexkit, lockkit, nativekit

SOURCE_LANE = ("canary", "canary-0.32", "g27-rehearsal", "g27")
NATIVE_STAGES = re.compile(r"(?s)\A.*?(?=\nFROM --platform=linux/arm64 toolkit AS runtime\n)")


@pytest.fixture
def ours(tmp_path):
    """A target of the repository, with a store that has nothing."""
    return lambda name: steps.load(Settings(repo=REPO, store=tmp_path / "store"), name)


# --- the real targets ----------------------------------------------------------------------------------------------


def test_the_wheel_lane_has_nothing_of_it(ours):
    job = ours("tiny")
    assert nativebuild.page(job) is None
    assert nativebuild.context_names(job) == ()
    text = recipe.dockerfile(job, chain="")
    assert not re.search(r"native-|AS native|toolkit|compile\.tar|compiled|type=secret|type=cache", text)
    assert "native" not in recipe.manifest(job, chain="")


def test_the_page_of_the_canary(ours):
    page = nativebuild.page(ours("canary"))
    assert page.targets == ("_moe_C", "cumem_allocator", "spinloop")
    assert page.base == "torch"
    assert page.dependencies == (
        "from=compile,source=/usr/bin/patch,target=/usr/bin/patch",
        "from=dep-cutlass,target=/mnt/deps/cutlass",
    )
    for program in ("g++-14", "gcc-14", "as", "ld.bfd"):
        path = f"/usr/bin/aarch64-linux-gnu-{program}"
        assert f"from=compile,source={path},target={path}" in page.cross
    home = "/opt/venv/lib/python3.13/site-packages/nvidia/cu13"
    hosts = [mount for mount in page.cross if mount.startswith("from=native-host,")]
    assert hosts == [f"from=native-host,source=nvidia/cu13/{path},target={home}/{path}" for path in ("bin", "nvvm/bin")]


def test_the_compilers_are_of_one_version_on_both_machines(ours):
    job = ours("canary")
    assert nativebuild.compiler_version(job) == "14"
    assert nativebuild.compiler_version(replace(job, compilers=job.compilers[::-1])) == "14"


def test_the_plan_of_the_canary(ours):
    plan = nativebuild.plan(ours("canary"))
    assert plan["component"] == "vllm"
    assert plan["project"] == "vllm_extensions"
    assert plan["architectures"] == "12.1a"
    assert plan["gcc"] == "14"
    assert plan["drop"] == [{"target": "_moe_C", "sources": "marlin_moe_wna16/"}]
    assert plan["empty"] == []
    assert plan["externals"] == ("cutlass",)
    assert sorted(plan["stubs"]) == ["deepgemm", "flashmla", "qutlass", "triton_kernels", "vllm-flash-attn"]
    assert plan["define"]["CUTLASS_INCLUDE_DIR"] == "/src/deps/cutlass-src/include"
    assert json.loads(json.dumps(plan))["targets"] == ["_moe_C", "cumem_allocator", "spinloop"]


def test_the_plan_of_the_seed_s_image_leaves_off_a_library_and_no_part_of_another_kind(ours):
    job = ours("g27")
    plan = nativebuild.plan(job)
    assert plan["empty"] == ["_vllm_fa3_C"]
    assert plan["heavy"] == ("_C_stable_libtorch", "_C")
    assert plan["stubs"] == plan["define"] == {}
    assert nativebuild.told(job)["complete"] is True


@pytest.mark.parametrize("name", SOURCE_LANE)
def test_what_a_target_names_is_provided_or_stood_in_for_and_never_both(ours, name):
    job = ours(name)
    plan = nativebuild.plan(job)
    native = job.target.native
    assert not set(plan["externals"]) & set(plan["stubs"])
    assert not set(native.unused) & {*plan["externals"], *plan["stubs"]}
    fetched = {item.name for item in job.lock.native.fetched}
    open_ones = {item.what.removeprefix("externals.") for item in job.lock.unresolved}
    assert fetched <= {*plan["externals"], *plan["stubs"], *native.unused, *open_ones}
    assert set(plan["heavy"]) <= set(plan["targets"])


def test_the_image_says_what_it_lacks(ours):
    job = ours("canary")
    told = nativebuild.told(job)
    assert told["complete"] is False
    assert told["left_off"] == [{"part": "rust/", "reason": job.target.native.left_off[0].reason}]
    cutlass = told["substitutes"]["cutlass"]
    assert cutlass["wheel"] == "flashinfer_python-0.6.11.post2-py3-none-any.whl"
    assert cutlass["tree"] == job.lock.native.substitutes[0].tree
    assert told["stubs"]["deepgemm"] == "has no code for 12.x"
    assert recipe.manifest(job, chain="")["native"] == told


def test_the_chain_id_follows_the_plan_the_compilers_and_our_program_that_counts_jobs(ours, tmp_path, monkeypatch):
    job = ours("canary")
    before = recipe.chain_id(job)
    native = job.target.native.model_copy(update={"architectures": "12.0a"})
    other_plan = replace(job, target=job.target.model_copy(update={"native": native}))
    second = replace(job.compilers[1], debs=job.compilers[1].debs[1:])
    ids = {before, recipe.chain_id(other_plan), recipe.chain_id(replace(job, compilers=(job.compilers[0], second)))}
    assert len(ids) == 3
    (tmp_path / "jobs.py").write_bytes(nativebuild.JOBS.read_bytes() + b"# more\n")
    monkeypatch.setattr(nativebuild, "JOBS", tmp_path / "jobs.py")
    assert recipe.chain_id(job) not in ids


def test_the_compile_cache_is_one_for_the_same_compilers(ours):
    job = ours("canary")
    before = nativebuild.page(job).cache
    assert re.fullmatch(r"ccache-[0-9a-f]{16}", before)
    assert nativebuild.page(ours("g27-rehearsal")).cache == before, "a target finds what another one compiled"
    hosts = tuple(replace(wheel, sha256="ab" * 32) for wheel in job.lock.native.hosts)
    other = replace(job, lock=replace(job.lock, native=replace(job.lock.native, hosts=hosts)))
    assert nativebuild.page(other).cache != before
    debs = job.compilers[0].debs
    fewer = replace(job, compilers=(replace(job.compilers[0], debs=debs[1:]), job.compilers[1]))
    assert nativebuild.page(fewer).cache != before


# --- Dockerfiles ---------------------------------------------------------------------------------------------------


def logical(text):
    """Instructions with their continuations."""
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines()


def mounts(text):
    """The mounts of every step, as mappings."""
    words = [word for line in logical(text) if line.startswith("RUN") for word in shlex.split(line.partition("[")[0])]
    said = [word.removeprefix("--mount=") for word in words if word.startswith("--mount=")]
    return [dict(part.partition("=")[::2] for part in mount.split(",")) for mount in said]


@pytest.mark.parametrize("name", SOURCE_LANE)
def test_a_rendered_dockerfile_takes_in_nothing_unknown_and_has_no_network(ours, name):
    job = ours(name)
    text = recipe.dockerfile(job, chain="c" * 64)
    layers = [layer.name for layer in recipe.grouped(job)]
    assert list(dockerlines.faults(text, layers, nativebuild.context_names(job))) == []
    runs = [line for line in logical(text) if line.startswith("RUN")]
    assert len([line for line in runs if "/mnt/lane/native.py" in line]) == 4
    assert all(line.startswith("RUN --network=none ") for line in runs)
    assert text == recipe.dockerfile(job, chain="c" * 64)
    assert str(job.settings.store) not in text
    assert str(REPO) not in text


@pytest.mark.parametrize("name", SOURCE_LANE)
def test_what_no_key_counts_is_read_by_compiling_steps_alone(ours, name):
    """A secret and a cache: no other step may have either, or its result would hang on them."""
    for line in logical(recipe.dockerfile(ours(name), chain="")):
        odd = re.findall(r"--mount=type=(?!bind,|tmpfs,)\S+", line)
        if "/mnt/lane/native.py" in line:
            assert [re.sub("ccache-[0-9a-f]+", "ccache", mount) for mount in odd] == [
                "--mount=type=cache,id=ccache,target=/mnt/ccache",
                "--mount=type=secret,id=asked,target=/mnt/asked.json",
            ]
        else:
            assert odd == []


def test_only_the_machine_of_another_kind_gets_other_compilers(ours):
    text = recipe.dockerfile(ours("canary"), chain="")
    stages = {part.split("\n", 1)[0]: part for part in re.split(r"(?m)^FROM ", text)}
    for kind in ("native", "units"):
        cross, native = stages[f"toolkit AS {kind}-amd64"], stages[f"toolkit AS {kind}-arm64"]
        assert "from=native-host," in cross
        assert "from=native-host," not in native
        assert "gcc-cross" not in native
        more = r"(?m)^    --mount=type=bind,(from=native-host|from=compile,source=/(?!usr/bin/patch)).*\n"
        taken = re.sub(more, "", cross)
        assert taken.split("\n", 1)[1].split("\nFROM")[0].strip() == native.split("\n", 1)[1].strip()


def test_it_is_compiled_on_the_layers_up_to_torch_and_installed_after_all_wheels(ours):
    job = ours("canary")
    text = recipe.dockerfile(job, chain="")
    place = text.index("FROM toolkit AS native-arm64")
    names = [layer.name for layer in recipe.grouped(job)]
    before = [name for name in names if text.rindex(f"from=layer-{name},") < place]
    assert before == names[: names.index("torch") + 1]
    order = [text.rindex(f"from=layer-{names[-1]},")]
    order += [text.index(f"/mnt/lane/{script}.py") for script in ("compiled", "ours", "patched")]
    assert order == sorted(order)


# --- a small target, locked ----------------------------------------------------------------------------------------

CODE_2 = b"def f():\n    return 2\n"
CODE_3 = b"def f():\n    return 3\n"
NEW = b"int two();\n"
GONE = (
    lockkit.HEADER
    + "diff --git a/csrc/gone.cpp b/csrc/gone.cpp\ndeleted file mode 100644\n"
    + "--- a/csrc/gone.cpp\n+++ /dev/null\n@@ -1,1 +0,0 @@\n-int gone();\n"
)
SERIES = {  # what each has beside 0001-code.patch and 0002-kernel.patch
    "base": {},
    "python": {"0003-python.patch": nativekit.patch("src/app.py", CODE_2, CODE_3)},
    "kernel": {"0002-kernel.patch": nativekit.KERNEL_PATCH.replace("return 2;", "return 4;")},
    "files": {"0003-new.patch": nativekit.patch("csrc/new.h", None, NEW), "0004-gone.patch": GONE},
}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Repositories with the target `demo` and one series each, and a store with all that they lock but .debs."""
    if shutil.which("git") is None:
        pytest.skip("not installed here: git")
    folder = tmp_path_factory.mktemp("world")
    with pytest.MonkeyPatch.context() as patch, indexkit.serve() as index:
        patch.setenv("HOME", str(folder / "home"))
        for name, value in indexkit.environment(index, folder).items():
            patch.setenv(name, value)
        made = nativekit.World(folder, index, SimpleNamespace(readouterr=lambda: None))
        made.archive(**nativekit.FILES, **{"csrc/gone.cpp": b"int gone();\n"})
        made.reach(patch, made.srv.as_uri())
        patches = made.repo / "patches" / "demo"
        shutil.copytree(patches, folder / "patches")
        for key, more in SERIES.items():
            shutil.rmtree(patches)
            shutil.copytree(folder / "patches", patches)
            for name, text in more.items():
                made.patch(name, text)
            made.lock()
            shutil.copytree(made.repo, folder / "repos" / key)
            job = steps.load(replace(made.settings, repo=folder / "repos" / key), "demo")
            machines = ("amd64", "arm64")
            steps.fetch_python(job.settings, steps.python_files(job, machines), steps.environments(job, machines))
            steps.fetch_sources(job)
        yield folder


@pytest.fixture
def demo(world, tmp_path):
    """The job of a series; each test has the store for itself."""
    shutil.copytree(world / "store", tmp_path / "own", symlinks=True)
    settings = Settings(repo=world / "repos", store=tmp_path / "own", offline=True)
    return lambda key="base": steps.load(replace(settings, repo=world / "repos" / key), "demo")


@pytest.fixture
def amd64(monkeypatch):
    monkeypatch.setattr(roots, "host_architecture", lambda: "amd64")


def content(entries):
    return {path: place if isinstance(place, bytes) else place.read_bytes() for path, place in entries.items()}


def tree_of(job):
    """The folder in the store of the component's tree."""
    (found,) = [path.parents[1] for path in (job.settings.store / "trees").glob("*/csrc/gone.cpp")]
    return found


def refused(call, *parts):
    with pytest.raises(LockError) as caught:
        call()
    for part in parts:
        assert part in str(caught.value)
    assert "nox -s clean -- trees" in caught.value.todo


def test_compilers_see_the_patched_sources_and_no_python(demo):
    found = content(nativebuild.source(demo()))
    kernel = nativekit.KERNEL.replace(b"1;", b"2;")
    assert found == {
        "CMakeLists.txt": nativekit.CMAKE, "cmake/more.cmake": nativekit.MORE, "csrc/one.cpp": kernel,
        "csrc/gone.cpp": b"int gone();\n",
    }  # fmt: skip


def test_sources_that_a_series_creates_are_there_and_deleted_ones_are_not(demo):
    found = content(nativebuild.source(demo("files")))
    assert found["csrc/new.h"] == NEW
    assert "csrc/gone.cpp" not in found


@pytest.mark.parametrize("path", ["csrc/one.cpp", "csrc/added.cpp", "src/app.py"])
def test_a_tree_that_differs_from_the_lock_is_refused(demo, path):
    """Also where what differs is patched, or where no compiler sees it."""
    job = demo()
    nativebuild.source(job)
    with open(tree_of(job) / path, "ab") as stream:
        stream.write(b"// more\n")
    refused(lambda: nativebuild.source(job), "the source tree of app", job.lock.components[0].tree)


def test_damaged_patched_sources_are_made_again(demo):
    job = demo()
    place = nativebuild.source(job)["csrc/one.cpp"]
    good = place.read_bytes()
    place.write_bytes(b"evil")
    assert content(nativebuild.source(job))["csrc/one.cpp"] == good


def test_each_context_is_there_and_verified(demo, amd64, tmp_path):
    job = demo()
    found = dict(nativebuild.named(job, tmp_path / "contexts"))
    assert set(found) == set(nativebuild.context_names(job))
    assert all(folder.is_dir() for folder in found.values())
    here = {str(path.relative_to(found["dep-beta"])): path.read_bytes() for path in found["dep-beta"].rglob("*.*")}
    assert here == {"include/beta.h": nativekit.BETA["include/beta.h"]}
    assert (found["dep-alpha"] / "alpha.h").read_bytes() == b"a\n"
    assert (found["dep-alpha"] / "deps" / "in" / "inner.h").read_bytes() == b"i\n"
    assert (found["native-tools"] / "cmake.py").is_file()
    assert (found["native-host"] / "nvidia_cuda_nvcc.py").is_file()
    assert (found["native-source"] / "csrc" / "one.cpp").read_bytes() == nativekit.KERNEL.replace(b"1;", b"2;")


def test_the_context_of_the_sources_is_brought_up_to_date(demo, amd64, tmp_path):
    nativebuild.named(demo(), tmp_path)
    (tmp_path / "native-source" / "stray.cpp").write_bytes(b"x")
    nativebuild.named(demo("files"), tmp_path)
    here = {str(path.relative_to(tmp_path / "native-source")) for path in (tmp_path / "native-source").rglob("*.*")}
    assert here == {"CMakeLists.txt", "cmake/more.cmake", "csrc/one.cpp", "csrc/new.h"}


def test_a_machine_of_the_image_s_kind_unpacks_no_compilers_for_another(demo, monkeypatch, tmp_path):
    monkeypatch.setattr(roots, "host_architecture", lambda: "arm64")
    job = demo()
    for wheel in job.lock.native.hosts:
        store.blob(job.settings.store, wheel.sha256).unlink()
    found = dict(nativebuild.named(job, tmp_path / "contexts"))
    assert found["native-host"] == found["native-source"]


def test_a_substitute_that_is_not_the_locked_one_is_refused(demo, amd64, tmp_path):
    job = demo()
    found = dict(nativebuild.named(job, tmp_path / "contexts"))
    (found["dep-beta"] / "include" / "beta.h").write_bytes(b"#define BETA 2\n")
    refused(lambda: nativebuild.named(job, tmp_path / "contexts"), "the substitute for beta")


def test_the_lock_knows_what_its_tools_and_compilers_hold(demo):
    """As git would name them: what is unpacked of the very wheels of the lock."""
    job = demo()
    native = job.lock.native
    for wheels, tree in ((native.tools, native.tools_tree), (native.hosts, native.hosts_tree)):
        assert re.fullmatch("[0-9a-f]{40}", tree)
        assert treehash.tree_id(wheeltree.ensure(job.settings, wheels)) == tree
    assert native.tools_tree != native.hosts_tree
    text = (job.settings.repo / "lock" / "demo.toml").read_text()
    assert f'tools-tree = "{native.tools_tree}"\nhosts-tree = "{native.hosts_tree}"\n' in text


@pytest.mark.parametrize("name", SOURCE_LANE)
def test_so_do_our_own_locks(ours, name):
    native = ours(name).lock.native
    assert all(re.fullmatch("[0-9a-f]{40}", tree) for tree in (native.tools_tree, native.hosts_tree))


@pytest.mark.parametrize(
    ("name", "path", "what"),
    [
        ("native-tools", "cmake.py", "what CMake's wheels hold"),
        ("native-tools", "more.py", "what CMake's wheels hold"),
        ("native-host", "nvidia_cuda_nvcc.py", "what the wheels of CUDA's compilers hold"),
        ("native-host", "nvidia/more", "what the wheels of CUDA's compilers hold"),
    ],
)
def test_tools_and_compilers_that_are_not_the_locked_ones_are_refused(demo, amd64, tmp_path, name, path, what):
    job = demo()
    folder = dict(nativebuild.named(job, tmp_path / "contexts"))[name]
    assert folder.parent == job.settings.store / "trees"
    assert folder.name.startswith("wheels-")
    (folder / path).parent.mkdir(exist_ok=True)
    with open(folder / path, "ab") as stream:
        stream.write(b"# more\n")
    locked = job.lock.native.tools_tree if name == "native-tools" else job.lock.native.hosts_tree
    refused(lambda: nativebuild.named(job, tmp_path / "contexts"), what, f"expected {locked}, found ")
    shutil.rmtree(folder)
    assert dict(nativebuild.named(job, tmp_path / "contexts"))[name] == folder, "dropped, it is made again"


@pytest.mark.parametrize("path", ["alpha.h", "deps/in/inner.h", "new.h"])
def test_an_external_source_that_is_not_the_locked_one_is_refused(demo, amd64, tmp_path, path):
    job = demo()
    found = dict(nativebuild.named(job, tmp_path / "contexts"))
    with open(found["dep-alpha"] / path, "ab") as stream:
        stream.write(b"more\n")
    refused(lambda: nativebuild.named(job, tmp_path / "contexts"), "the external source alpha")


def test_the_plan_tells_of_externals_substitutes_and_stubs(demo):
    plan = nativebuild.plan(demo())
    assert plan["externals"] == ("alpha", "beta")
    assert plan["stubs"] == {"gamma": {"README": ""}}
    told = nativebuild.told(demo())
    assert told["externals"] == {"alpha": demo().lock.externals[0].source.commit}


# --- all that BuildKit reads is there ------------------------------------------------------------------------------


@pytest.fixture
def written(demo, amd64, monkeypatch, tmp_path):
    """The contexts of a series on the disk; only archives of .debs and uv are made up."""
    for name in ("root.tar", "builder.tar", "compile.tar", "uv"):
        (tmp_path / name).write_bytes(name.encode())
    monkeypatch.setattr(host, "compile_tar", lambda _: tmp_path / "compile.tar")
    monkeypatch.setattr(steps, "uv_program", lambda *_: tmp_path / "uv")

    def write(key="base"):
        job = demo(key)
        patched = steps.patched_files(job)
        return assemble.write(
            job, recipe.chain_id(job), patched, root_tar=tmp_path / "root.tar", builder=tmp_path / "builder.tar"
        )

    return write


def test_every_mount_and_every_archive_of_the_dockerfile_is_there(written):
    made = written()
    text = (made.main / "Dockerfile").read_text()
    contexts = dict(made.layers)
    for mount in mounts(text):
        if mount["type"] != "bind":
            continue
        name, source = mount.get("from", ""), mount.get("source", "").lstrip("/")
        if not name:
            assert (made.main / source).exists(), mount
        elif name in contexts and name != "native-host":  # the made-up wheel has no nvcc
            assert (contexts[name] / source).exists(), mount
    for line in logical(text):
        if line.startswith("ADD"):
            assert (made.main / line.split()[1]).is_file(), line


def test_the_main_context_tells_the_steps_what_the_job_says(written, demo):
    main = written().main
    assert json.loads((main / "native/plan.json").read_text()) == json.loads(json.dumps(nativebuild.plan(demo())))
    assert (main / "native/jobs.py").read_bytes() == (REPO / "build" / "jobs.py").read_bytes()
    assert (main / "native/hook.cmake").read_bytes() == (REPO / "dockerfiles/lane/hook.cmake").read_bytes()
    said = json.loads((main / "patched/app/patched.json").read_text())
    assert said == {"paths": ["app.py"], "requires": [], "compiled": True}
    there = [str(path.relative_to(main / "patched")) for path in (main / "patched").rglob("*") if path.is_file()]
    assert sorted(there) == ["app/files/app.py", "app/patched.json"], "no source of the compilers is installed"


def test_another_distribution_was_not_compiled(demo):
    job = demo()
    (component,) = job.lock.components
    second = replace(component, name="dep", distribution="dep")
    both = replace(job, lock=replace(job.lock, components=(component, second)))
    told = assemble._patched(both)
    assert (told["app"]["compiled"], told["dep"]["compiled"]) == (True, False)


# --- what changes what ---------------------------------------------------------------------------------------------


def native_part(job):
    """The Dockerfile up to the end of the stages that compile."""
    return NATIVE_STAGES.match(recipe.dockerfile(job, chain=recipe.chain_id(job)))[0]


def seen(written, key):
    """All that the compiling steps see of the contexts of a series: path → sha256."""
    made = written(key)
    folders = dict(made.layers)
    found = {}
    for mount in mounts(native_part_text(made)):
        if mount["type"] == "bind" and (mount.get("from", "") in ("", *folders)):
            root = folders.get(mount.get("from", ""), made.main) / mount.get("source", "").lstrip("/")
            paths = [root] if root.is_file() else sorted(path for path in root.rglob("*") if path.is_file())
            for path in paths:
                name = f"{mount.get('from', 'main')}:{mount.get('source', '')}:{os.path.relpath(path, root)}"
                found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def native_part_text(made):
    return NATIVE_STAGES.match((made.main / "Dockerfile").read_text())[0]


def test_a_patch_of_python_files_compiles_nothing(written, demo):
    before, after = demo(), demo("python")
    assert recipe.chain_id(before) != recipe.chain_id(after)
    assert nativebuild.inputs(before) == nativebuild.inputs(after)
    assert native_part(before) == native_part(after)
    assert content(nativebuild.source(before)) == content(nativebuild.source(after))
    assert seen(written, "base") == seen(written, "python")


@pytest.mark.parametrize(("key", "path"), [("kernel", "csrc/one.cpp"), ("files", "csrc/new.h")])
def test_a_patch_of_a_compiled_source_is_seen_by_the_steps_and_nothing_else_is(written, demo, key, path):
    assert native_part(demo()) == native_part(demo(key))
    base, other = seen(written, "base"), seen(written, key)
    changed = {name for name in base.keys() | other.keys() if base.get(name) != other.get(name)}
    assert f"native-source::{path}" in changed
    assert all(name.startswith("native-source::csrc/") for name in changed)


# --- what one run asks for -----------------------------------------------------------------------------------------


@pytest.fixture
def request_(tmp_path):
    return buildx.Request(context=tmp_path, named=(), epoch=7, output="o", metadata=tmp_path / "m", log=tmp_path / "l")


def test_a_secret_carries_it_and_is_gone_afterwards(ours, request_):
    job = ours("canary")
    with nativebuild.asked(job, jobs=3, cold=True) as carry:
        ((name, file),) = carry(request_).secrets
        assert name == "asked"
        assert json.loads(file.read_text()) == {"jobs": 3, "cold": True}
        assert carry(request_).fresh == ("native-amd64", "native-arm64")
    assert not file.exists()
    assert list((job.settings.store / "scratch").iterdir()) == []


def test_a_build_that_fails_leaves_no_secret_either(ours, request_):
    job = ours("canary")
    with pytest.raises(ZeroDivisionError), nativebuild.asked(job, jobs=0, cold=False) as carry:
        assert carry(request_).fresh == ()
        raise ZeroDivisionError
    assert list((job.settings.store / "scratch").iterdir()) == []


def test_a_target_of_the_wheel_lane_asks_for_nothing(ours, request_):
    with nativebuild.asked(ours("tiny"), jobs=0, cold=False) as carry:
        assert carry(request_) == request_


def test_the_stages_that_are_made_afresh_are_there(ours, request_):
    text = recipe.dockerfile(ours("canary"), chain="")
    with nativebuild.asked(ours("canary"), jobs=0, cold=True) as carry:
        for stage in carry(request_).fresh:
            assert f"\nFROM toolkit AS {stage}\n" in text


def test_how_many_jobs_is_no_part_of_what_buildkit_counts(ours, request_):
    """The command line names a file for it, and neither its number nor anything else of it."""
    job = ours("canary")
    said = []
    for number in (1, 9731):
        with nativebuild.asked(job, jobs=number, cold=False) as carry:
            argv = buildx.arguments(carry(request_))
            ((_, file),) = carry(request_).secrets
            said.append([word.replace(str(file), "FILE") for word in argv])
    assert said[0] == said[1]
    assert "id=asked,src=FILE" in said[0]
    assert "9731" not in recipe.dockerfile(job, chain="") + json.dumps(nativebuild.inputs(job))
