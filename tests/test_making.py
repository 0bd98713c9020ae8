"""build/making.py and build/assemble.py: what a build's steps run, where another machine's BuildKit builds."""

from pathlib import Path

import pytest

from build import assemble, contexts, host, making, nativebuild, recipe, roots, steps
from build.errors import UsageError
from build.models import Settings
from build.settings import REPO


@pytest.fixture
def job(tmp_path, monkeypatch):
    monkeypatch.setattr(roots, "host_architecture", lambda: "amd64")
    return lambda target: steps.load(Settings(repo=REPO, store=tmp_path / "store", builder="farm"), target)


@pytest.fixture
def fetched(monkeypatch):
    found = []
    monkeypatch.setattr(host, "fetch_debs", lambda _, debset: found.append((debset.root, debset.arch)))
    monkeypatch.setattr(steps, "fetch_python", lambda _, files, where: found.append((files[0].file, where[0].platform)))
    return found


@pytest.mark.parametrize(("target", "more"), [("tiny", []), ("canary", [("compile", "arm64")])])
def test_what_the_other_machine_runs_is_fetched(job, fetched, target, more):
    making.fetch_for(job(target), "arm64")
    (uv, platform), *debs = fetched
    assert uv.startswith("uv-")
    assert "aarch64" in uv
    assert platform == "aarch64-manylinux_2_39"
    assert debs == [("builder", "arm64"), *more]


def test_what_only_a_machine_of_its_kind_prepares_is_refused_by_its_reason(job, fetched):
    making.fetch_for(job("tiny"), "amd64")
    fetched.clear()
    with pytest.raises(UsageError, match="canary cannot be compiled on a builder of amd64") as caught:
        making.fetch_for(job("canary"), "amd64")
    assert "a builder of arm64" in caught.value.todo
    assert fetched == []


@pytest.mark.parametrize(("machine", "arch", "compilers"), [("", "x86_64", "own"), ("arm64", "aarch64", "arm64")])
def test_a_context_holds_the_programs_of_the_machine_that_builds(job, monkeypatch, machine, arch, compilers):
    written = {}
    for module, name, instead in (
        (contexts, "sync", lambda place, entries: written.update({place.name: entries})),
        (assemble, "verify", lambda *_: None), (assemble, "_patched", lambda _: {}), (recipe, "planned", lambda _: ()),
        (nativebuild, "main_entries", lambda _: {"compile.tar": Path("own")}), (nativebuild, "named", lambda *_: []),
        (steps, "uv_program", lambda _, wheel: Path(wheel.file)),
        (roots, "ensure_tar", lambda _, debset: Path(debset.arch)),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, instead)
    assemble.write(job("canary"), "c", {}, root_tar=Path("r"), builder=Path("b"), machine=machine)
    main = written["main"]
    assert (main["builder.tar"], main["compile.tar"]) == (Path("b"), Path(compilers))
    assert arch in str(main["uv"])


def test_a_builder_of_its_own_takes_its_disk_elsewhere(job, tmp_path):
    here = steps.load(Settings(repo=REPO, store=tmp_path / "store"), "v0.32")
    wheels = sum(wheel.size for wheel in here.lock.wheels)
    assert assemble.disk_needed(here, None) - assemble.disk_needed(job("v0.32"), None) == 5 * wheels
