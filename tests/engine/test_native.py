"""The source lane for real, on the target canary: compiled, compiled again, patched, broken, killed, and elsewhere.

Minutes each, and some of it under emulation: `./nox -s tests -- --engine --slow tests/engine/test_native.py`.
"""

import difflib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from build import assemble, buildx, engine, making, nativebuild, recipe, steps
from build.models import Settings
from build.settings import REPO, default_store
from tests.engine.test_build import verb

pytestmark = pytest.mark.slow

TARGET = "canary"
LOG = f"build-{TARGET}.log"
FILES = 10  # that the canary compiles
WARM_SECONDS = 15  # for the compile step, where the compile cache has all
# Compiled by this machine's compilers and by the image's own, emulated ones; the last takes a minute by the first.
UNITS = (
    "CMakeFiles/spinloop.dir/csrc/spinloop.cpp.o",
    "CMakeFiles/cumem_allocator.dir/csrc/cumem_allocator.cpp.o",
    "CMakeFiles/_moe_C.dir/csrc/moe/torch_bindings.cpp.o",
    "CMakeFiles/_moe_C.dir/csrc/moe/moe_wna16.cu.o",
)
HEADER = """\
From: nobody <nobody@spark-runtime.invalid>
Subject: [PATCH] A change for a test

Origin: vendor
Forwarded: not-needed
Applied-Upstream: no
Last-Update: 2026-11-26
Behaviour-Test: router

"""


@pytest.fixture(scope="module")
def built():
    done = verb("build", "--target", TARGET, "--json")
    assert done.status == 0, done.err
    return json.loads(done.out)


@pytest.fixture
def clone(tmp_path):
    """A working tree of its own, whose store is everybody's."""
    made = tmp_path / "clone"
    shutil.copytree(REPO, made, ignore=shutil.ignore_patterns(".git", "out", ".*cache", "__pycache__"))
    return made


def patched(clone, path, change):
    """The clone with one more patch at the end of the canary's series, locked."""
    name = "0009-test.patch"
    before = (tree() / path).read_text().splitlines(keepends=True)
    after = change("".join(before)).splitlines(keepends=True)
    assert before != after
    folder = clone / "patches" / TARGET / "vllm"
    folder.mkdir(exist_ok=True)
    body = "".join(difflib.unified_diff(before, after, f"a/{path}", f"b/{path}"))
    (folder / name).write_text(f"{HEADER}diff --git a/{path} b/{path}\n{body}")
    with open(clone / "patches" / TARGET / "series", "a") as stream:
        stream.write(f"vllm/{name}\n")
    done = verb("lock", "--target", TARGET, repo=clone)
    assert done.status == 0, done.err


def tree():
    job = steps.load(Settings(repo=REPO, store=default_store()), TARGET)
    from build import madewheel, sourcetree

    return sourcetree.ensure(job.settings, madewheel.compiled(job.lock))


def told():
    """What the compile step of the last build said."""
    return buildx.facts(default_store() / "logs" / LOG)


def diff_ids(made):
    with_engine = Settings(repo=REPO, store=default_store())
    return engine.client(engine.find(with_engine)).images.get(made["digest"]).attrs["RootFS"]["Layers"]


def test_the_image_is_the_recorded_one_and_its_router_has_a_cuda_kernel(built):
    done = verb("build", "--target", TARGET, "--expect")
    assert done.status == 0, done.err
    done = verb("smoke", "--target", TARGET, "--json")
    assert done.status == 0, done.err
    checks = {item["name"]: item for item in json.loads(done.out)["checks"]}
    native = checks["native"]["evidence"]
    assert "CUDA" in native["operators"]["_moe_C::topk_softplus_sqrt"]
    assert sorted(native["loaded"]) == ["_moe_C", "cumem_allocator", "spinloop"]
    assert checks["libraries"]["evidence"]["needed"]["vllm/_moe_C.abi3.so"]["code"] == ["sm_120"]


def test_compiled_from_nothing_it_is_the_same_image(built):
    done = verb("build", "--target", TARGET, "--cold", "--expect", "--json")
    assert done.status == 0, done.err
    assert json.loads(done.out)["digest"] == built["digest"]
    assert told()["network"] == "none"
    assert told()["cache"] == {"hits": 0, "misses": 0, "off": True}


def test_a_patch_of_python_files_compiles_nothing(built, clone):
    patched(clone, "vllm/version.py", lambda text: text + "\nCHANGED = True\n")
    done = verb("build", "--target", TARGET, "--json", repo=clone)
    assert done.status == 0, done.err
    assert "nothing was to be compiled" in done.err
    assert "compile" not in told()
    made = json.loads(done.out)
    assert made["chain_id"] != built["chain_id"]
    assert diff_ids(made)[:-2] == diff_ids(built)[:-2]  # vllm's patched files, and the manifest


def test_a_patch_of_a_kernel_compiles_what_it_touches(built, clone, tmp_path):
    """The first build fills the compile cache where it was empty; the second one is what is asked about."""
    other = tmp_path / "other"
    shutil.copytree(clone, other)
    moment = int(time.time())
    for number, repo in ((moment, clone), (moment + 1, other)):
        patched(
            repo,
            "csrc/spinloop.cpp",
            lambda text, number=number: text.replace("SUPPORT_NONE 0", f"SUPPORT_NONE {number}"),
        )
        done = verb("build", "--target", TARGET, repo=repo)
        assert done.status == 0, done.err
    assert told()["cache"] == {"hits": FILES - 1, "misses": 1}
    assert told()["compile"]["seconds"] <= WARM_SECONDS


def test_a_file_that_does_not_compile_is_told_by_its_name_and_its_command(built, clone):
    patched(
        clone, "csrc/spinloop.cpp", lambda text: text.replace("#include <time.h>", "#include <time.h>\nno such type;")
    )
    done = verb("build", "--target", TARGET, repo=clone)
    assert done.status == 55
    error = done.err[done.err.index("error: ") :]
    assert "csrc/spinloop.cpp does not compile" in error
    assert "no such type" in error
    assert "cd /src/build && " in error
    assert len(error.splitlines()) < 50
    again = verb("build", "--target", TARGET, "--json")
    assert json.loads(again.out)["digest"] == built["digest"]


def test_a_hook_that_finds_nothing_to_leave_out_is_an_error(built, clone):
    intent = clone / "lock/targets.toml"
    text = intent.read_text()
    assert 'target = "_moe_C"\nsources = "marlin_moe_wna16/"' in text
    intent.write_text(
        text.replace('target = "_moe_C"\nsources = "marlin_moe_wna16/"', 'target = "_moe_C"\nsources = "gone/"', 1)
    )
    assert verb("lock", "--target", TARGET, repo=clone).status == 0
    done = verb("build", "--target", TARGET, repo=clone)
    assert done.status == 55
    assert "no source of _moe_C matches gone/" in done.err


def test_a_killed_build_goes_on_from_the_compile_cache(built, clone):
    line = "#pragma once\n"
    patched(
        clone, "csrc/cuda_compat.h", lambda text: text.replace(line, f"{line}\nextern int of_{time.time_ns()};\n", 1)
    )
    with subprocess.Popen(
        [sys.executable, "-m", "build", "build", "--target", TARGET],
        cwd=clone, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True,
    ) as running:  # fmt: skip
        seen = []
        for line in running.stderr:
            seen.append(line)
            if re.search(r" of 13 after 1[2-9]\d s", line):  # two of the four that include it are done then
                os.killpg(running.pid, signal.SIGINT)  # as Ctrl-C does: to all of it
                break
        running.stderr.read()
    assert running.returncode == 130, seen
    assert "13 of 13" not in seen[-1], "it was over before it could be killed"
    time.sleep(5)  # BuildKit ends the step when its client is gone
    done = verb("build", "--target", TARGET, repo=clone)
    assert done.status == 0, done.err
    assert FILES - 4 < told()["cache"]["hits"] < FILES


def test_the_images_own_compilers_make_the_same_objects(built, tmp_path):
    """Emulated: about ten times as slow. Claimed is what is compared here, no more."""
    settings = Settings(repo=REPO, store=default_store())
    job = steps.load(settings, TARGET)
    if job.compiler.arch == "arm64":
        pytest.skip("this machine's compilers are the image's own: there is nothing to compare")
    chain = recipe.chain_id(job)
    contexts = making.prepare(job, chain, assemble.read_built(settings.store, job.name))
    text = (contexts.main / "Dockerfile").read_text()
    listed = "".join(f', "{unit}"' for unit in UNITS)
    assert text.count('"3.13", "configure"]') == 2
    file = contexts.main / "Dockerfile.objects"
    file.write_text(text.replace('"3.13", "configure"]', f'"3.13", "objects"{listed}]'))
    found = {}
    try:
        for machine in steps.MACHINES:
            folder = tmp_path / machine
            request = assemble.request(job, contexts, chain, output=f"type=local,dest={folder}")
            stage = f"FROM scratch AS objects\nCOPY --from=units-{machine} /out /\n"
            file.write_text(text.replace('"3.13", "configure"]', f'"3.13", "objects"{listed}]') + stage)
            argv, env = engine.buildx(engine.find(settings), settings)
            with nativebuild.asked(job, jobs=2, cold=True) as asked:
                ready = replace(asked(request), stage="objects", dockerfile=file.name, fresh=())
                buildx.build(argv, env, ready)
            found[machine] = {unit: (folder / unit).read_bytes() for unit in UNITS}
    finally:
        file.unlink()
    for unit in UNITS:
        assert found["amd64"][unit] == found["arm64"][unit], unit
