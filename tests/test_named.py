"""What an image ought to hold, by this clone's own locks and by a list of packages."""

import json
from dataclasses import replace

import pytest

from build import lockedlists, named, recipe, steps, store
from build.canonical import file_sha256
from build.claims import Patch
from build.models import Settings
from build.settings import REPO
from tests import debkit, indexkit


@pytest.fixture
def load(tmp_path):
    return lambda target: steps.load(Settings(repo=REPO, store=tmp_path / "store"), target)


def test_a_target_names_all_that_its_lock_does(load):
    job = load("v0.32")
    said = named.named(job)
    vllm, flashinfer = (next(w for w in job.lock.wheels if w.name == name) for name in ("vllm", "flashinfer-python"))
    assert said.wheels["vllm"] == f"{vllm.version}+spark"
    assert said.wheels["flashinfer-python"] == f"{flashinfer.version}+spark"
    assert len(said.wheels) == len(job.lock.wheels)
    assert said.debs == {deb.name: deb.version for deb in job.rootfs.debs}
    assert len(said.debs) == len(job.rootfs.debs)
    (ours,) = [item for item in job.lock.components if item.name == "vllm"]
    assert {path for path, patch in said.patched.items() if patch.distribution == "vllm"} == {
        file.installed for file in ours.files if file.installed
    }
    assert all(len(patch.after) == 64 for patch in said.patched.values())
    checks = REPO / "dockerfiles/image/checks/__main__.py"
    assert said.own["opt/spark/checks/__main__.py"] == file_sha256(checks)
    assert said.manifest["chain_id"] == recipe.chain_id(job)
    assert said.bytecode == tuple(job.target.bytecode)
    assert (said.native, said.lists) == ("", {})
    assert said.contradicted == {"pynvvideocodec": {}}, "the target lets stand that its RECORD lies"


def test_what_is_compiled_is_named(load):
    said = named.named(load("canary"))
    assert said.native == "vllm"
    assert said.wheels["vllm"].endswith("+spark")


def test_a_lock_alone_says_nothing_of_a_clone_s_files(load):
    job = load("tiny")
    said = named.of_lock(job.lock, job.rootfs, local="mine")
    assert said.wheels["jinja2"].endswith("+mine")
    assert not said.wheels["markupsafe"].endswith("+mine")
    assert (said.own, said.manifest, said.bytecode) == (None, None, None)
    (file,) = job.lock.components[0].files
    assert said.patched == {
        "jinja2/__init__.py": Patch(distribution="jinja2", before=file.before, after=file.after)
    }  # fmt: skip


@pytest.fixture
def stored(load):
    """`tiny` with wheels and .debs made here, in the store, which knows already what of them is left out."""
    job = load("tiny")
    root = job.settings.store
    wheels = []
    for wheel in job.lock.wheels:
        _, data, _ = indexkit.wheel(wheel.name, wheel.version)
        wheels.append(replace(wheel, sha256=debkit.put(root, data).sha256))
    debs = tuple(debkit.put(root, debkit.deb_bytes([debkit.folder(n)], name=n), name=n) for n in ("a", "b"))
    lock = replace(job.lock, wheels=tuple(wheels), components=())
    target = job.target.model_copy(update={"bytecode": []})
    made = replace(job, lock=lock, target=target, rootfs=replace(job.rootfs, debs=debs))
    tables = [item.patterns for item in target.left_out]
    known = {recipe.overlaps_name(lock.wheels): [], recipe.left_out_name(lock.wheels, tables): LEFT_OUT}
    for name, value in known.items():
        (root / "trees").mkdir(exist_ok=True)
        (root / "trees" / name).write_text(json.dumps(value), encoding="utf-8")
    return made


LEFT_OUT = {"markupsafe": ["markupsafe.py"]}


def test_lists_are_those_of_the_files_in_the_store(stored):
    root = stored.settings.store
    found = named.anchored(stored, named.named(stored)).lists
    assert set(found) == {"wheel jinja2", "wheel markupsafe", "deb a", "deb b"}
    for wheel in stored.lock.wheels:
        path = store.blob(root, wheel.sha256)
        assert found[f"wheel {wheel.name}"] == lockedlists.of_wheel(path, LEFT_OUT.get(wheel.name, ()))
    assert found["deb a"] == lockedlists.of_deb(store.blob(root, stored.rootfs.debs[0].sha256)) != found["deb b"]


def test_what_debs_list_is_worked_out_once(stored):
    first = named.anchored(stored, named.named(stored)).lists
    kept = stored.settings.store / "trees" / named.deb_lists_name(stored.rootfs)
    assert set(json.loads(kept.read_text())) == {"a", "b"}
    kept.write_text(json.dumps({"a": "known"}), encoding="utf-8")
    assert named.anchored(stored, named.named(stored)).lists["deb a"] == "known"
    kept.write_text("damaged", encoding="utf-8")
    assert named.anchored(stored, named.named(stored)).lists == first


def test_lists_of_what_is_not_in_the_store_are_not_known(load, stored):
    assert named.anchored(load("tiny"), named.named(load("tiny"))).lists == {}
    store.blob(stored.settings.store, stored.lock.wheels[0].sha256).unlink()
    assert set(named.anchored(stored, named.named(stored)).lists) == {"deb a", "deb b"}


def test_where_a_record_lies_is_looked_up_in_the_wheel(stored, monkeypatch):
    said = replace(named.named(stored), contradicted={"jinja2": {}, "other": {}})
    assert named.anchored(stored, said).contradicted == {"other": {}}, "jinja2's does not, so nothing of it is excused"
    monkeypatch.setattr(lockedlists, "contradictions", lambda path: {"x.py": path.name})
    wheel = next(wheel for wheel in stored.lock.wheels if wheel.name == "jinja2")
    assert named.anchored(stored, said).contradicted == {"jinja2": {"x.py": wheel.sha256}, "other": {}}
