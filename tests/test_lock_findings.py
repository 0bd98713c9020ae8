"""`lock -- --check` asks every rule: one bad lock for each, through the doors that the command takes."""

import shutil
from dataclasses import replace

import pytest

from build import actions, deblock, lockcheck, steps
from build.intent import read_intent
from build.models import External, GitSource, Lock, Override, Settings, Wheel
from build.settings import REPO

SHA = "ab" * 32
COMMIT = "12" * 20


def wheel(name, version="1", **more):
    file = f"{name.replace('-', '_')}-{version}-py3-none-any.whl"
    return Wheel(**{"name": name, "version": version, "file": file, "sha256": SHA, "size": 1, **more})


def overriding(requirement):
    return (Override(requirement=requirement, reason="because"),)


APP, DEP = wheel("app"), wheel("dep")
NO_COMMIT = External(name="cutlass", source=GitSource(url="u", tag="v1", commit="", tree=COMMIT))
GOOD = Lock(
    target="t", intent="", epoch=1, python="3.13", platform="aarch64-manylinux_2_39",
    tools=(), wheels=(APP, DEP), patches=(), components=(),
)  # fmt: skip


# --- a lock, the requirements of its wheels, and its target ---------------------------------------------------------


def found_in(lock, requires=("dep",), *, asked=("app",), constraints=(), **more):
    update = {"requirements": asked, "constraints": constraints}
    target = read_intent(REPO).target("tiny")[1].model_copy(update=update)
    return list(lockcheck.lock_findings(lock, {"app": requires, **more}, target))


def test_a_good_lock_has_nothing():
    assert found_in(GOOD, constraints=("dep<2", "absent<2")) == []


def test_a_lock_is_checked_for_what_is_incomplete():
    found = found_in(replace(GOOD, wheels=(APP, replace(DEP, sha256=""))))
    assert found == ["dep-1-py3-none-any.whl: no sha256"]


def test_a_lock_is_checked_for_what_is_misnamed():
    assert found_in(replace(GOOD, wheels=(APP, replace(DEP, file=APP.file)))) == ["dep 1: the file is " + APP.file]


def test_a_lock_is_checked_for_mixed_cuda():
    parts = (wheel("nvidia-cuda-nvcc", "13.5.1"), wheel("nvidia-cuda-runtime", "13.0.1"))
    (found,) = found_in(replace(GOOD, wheels=(APP, *parts)), [item.name for item in parts])
    assert found.startswith("parts of more than one CUDA toolkit: ")


def test_a_lock_is_checked_against_what_its_wheels_require():
    assert found_in(GOOD, ("dep>=2",)) == ["app requires dep>=2, and locked is 1"]
    assert found_in(GOOD, ("dep", "more")) == ["app requires more, and it is not locked"]


def test_a_lock_is_checked_against_what_its_target_requires():
    assert found_in(GOOD, asked=("app>1",)) == ["lock/targets.toml requires app>1, and locked is 1"]


def test_a_lock_is_checked_against_the_constraints_of_its_target():
    assert found_in(GOOD, constraints=("dep>1",)) == ["lock/targets.toml requires dep>1, and locked is 1"]


def test_a_lock_is_checked_against_its_overrides():
    lock = replace(GOOD, overrides=overriding("dep==2"))
    assert found_in(lock) == ["an override says dep==2, and locked is 1"]


def test_a_lock_is_checked_for_overrides_of_torch_s_own_pins():
    lock = replace(GOOD, wheels=(APP, wheel("torch"), wheel("triton", "3")), overrides=overriding("triton==3"))
    found = found_in(lock, ("torch",), torch=("triton==2",))
    assert found == ["the override triton==3 replaces torch's own pin triton==2"]


def test_a_lock_is_checked_for_overrides_of_nothing():
    lock = replace(GOOD, overrides=overriding("app==1"))
    assert found_in(lock) == ["the override app==1 overrides nothing: no wheel requires it"]


def test_a_lock_is_checked_for_wheels_that_nothing_asks_for():
    lock = replace(GOOD, wheels=(APP, DEP, wheel("stray")))
    assert found_in(lock) == ["stray is locked, and nothing requires it"]


# --- a target with all its locks ------------------------------------------------------------------------------------


@pytest.fixture
def settings(tmp_path):
    for name in ("lock", "patches", "dockerfiles", ".github"):
        shutil.copytree(REPO / name, tmp_path / "repo" / name, ignore=shutil.ignore_patterns("__pycache__"))
    return Settings(repo=tmp_path / "repo", store=tmp_path / "nothing", offline=True)


@pytest.fixture
def job(settings):
    return steps.load(settings, "tiny")


def found_with(job, **more):
    return list(lockcheck.findings(job.settings, replace(job, **more)))


def test_a_target_is_checked_for_its_lock(job):
    found = found_with(job, lock=replace(job.lock, externals=(NO_COMMIT,)))
    assert found == ["tiny: external cutlass: no commit"]


def test_a_target_is_checked_for_the_requirements_of_its_own_wheels(job):
    found = found_with(job, target=job.target.model_copy(update={"constraints": ("jinja2<1",)}))
    assert found == [f"tiny: lock/targets.toml requires jinja2<1, and locked is {job.lock.wheels[0].version}"]


def test_a_target_is_checked_for_its_root(job):
    without = tuple(deb for deb in job.rootfs.debs if "python" not in deb.name)
    found = found_with(job, rootfs=replace(job.rootfs, debs=without))
    assert found[0].startswith("tiny: the wheels are for Python 3.13, and the root ")
    assert {text.partition(" is ")[0] for text in found[1:]} == {
        "tiny: python3.13-minimal",
        "tiny: libpython3.13-minimal",
    }


def test_a_target_without_bytecode_may_be_built_by_another_python(job):
    older = tuple(replace(deb, version="3.13.0-1") if "python" in deb.name else deb for deb in job.builders[0].debs)
    builders = (replace(job.builders[0], debs=older), *job.builders[1:])
    found = found_with(job, builders=builders)
    assert [text.partition(",")[0] for text in found] == [
        f"tiny: {name}3.13-minimal is 3.13.0-1 in the builder root for amd64" for name in ("python", "libpython")
    ]
    assert found_with(job, builders=builders, target=job.target.model_copy(update={"bytecode": ()})) == []


def test_a_target_is_checked_for_uv_of_the_intent_s_version(job):
    tools = job.intent.tools.model_copy(update={"uv": "0.1"})
    found = found_with(job, intent=job.intent.model_copy(update={"tools": tools}))
    assert found == [f"tiny: tools.uv is 0.1, locked is {tool.file}" for tool in job.lock.tools]


def test_a_target_is_checked_for_uv_on_every_machine_that_builds(job):
    without = tuple(tool for tool in job.lock.tools if "x86_64" not in tool.file)
    (found,) = found_with(job, lock=replace(job.lock, tools=without))
    assert "no uv is locked" in found
    assert "x86_64" in found


def test_a_target_is_checked_for_its_dockerfile(job):
    path = job.settings.repo / "dockerfiles" / "rootfs.j2"
    path.write_text(path.read_text().replace("linux/arm64 scratch", "linux/arm64 debian:trixie"))
    assert found_with(job) == ["tiny: the Dockerfile is based on debian:trixie, which no lock names"]


# --- what all targets share -----------------------------------------------------------------------------------------


def found_shared(settings, **more):
    return list(lockcheck.shared_findings(settings, read_intent(settings.repo).model_copy(update=more)))


def relocked(settings, change):
    """The root of `tiny` locked anew, with other packages."""
    path = deblock.path_of(settings.repo, "tiny", "arm64")
    locked = deblock.read(path)
    deblock.write(path, replace(locked, debset=replace(locked.debset, debs=change(locked.debset.debs))))
    return found_shared(settings)


def test_roots_are_checked_for_what_is_incomplete(settings):
    (found,) = relocked(settings, lambda debs: (replace(debs[0], size=0), *debs[1:]))
    assert found.startswith("lock/debs/tiny-arm64.toml: ")
    assert found.endswith(": no size")


def test_roots_are_checked_for_the_packages_that_were_asked_for(settings):
    wanted = read_intent(settings.repo).rootfs["tiny"].packages[0]
    found = relocked(settings, lambda debs: tuple(deb for deb in debs if deb.name != wanted))
    assert found == [f"lock/debs/tiny-arm64.toml: {wanted} is not in it"]


def test_our_python_tools_are_checked(settings):
    path = settings.repo / "lock" / "python.in"
    path.write_text(path.read_text() + "new-tool\n")
    assert any("new-tool" in text and "lock/python.in" in text for text in found_shared(settings))


def test_our_python_tools_are_checked_for_edits(settings):
    path = settings.repo / "lock" / "python.in"
    path.write_text(path.read_text() + "# one more comment\n")
    assert found_shared(settings) == ["lock/python.txt is stale, or was edited: run `./nox -s tools`"]


def test_our_own_uv_is_checked(settings):
    tools = read_intent(settings.repo).tools.model_copy(update={"uv": "0.1"})
    (found,) = found_shared(settings, tools=tools)
    assert found.startswith("tools.uv of lock/targets.toml is 0.1, lock/python.txt has ")


def test_stray_locks_are_looked_for(settings):
    shutil.copy(settings.repo / "lock" / "tiny.toml", settings.repo / "lock" / "old.toml")
    shutil.copy(deblock.path_of(settings.repo, "tiny", "arm64"), deblock.path_of(settings.repo, "old", "arm64"))
    said = ["lock/old.toml is of no target: delete it", "lock/debs/old-arm64.toml is of no root: delete it"]
    assert found_shared(settings) == said


def test_actions_are_checked(settings):
    (settings.repo / actions.FILE).write_text(actions.text({}, ()))
    found = found_shared(settings, actions={"owner/action": "v1"})
    assert "lock/actions.toml is stale: [actions] of lock/targets.toml has changed since it was made" in found
