"""The workflows' jobs, run here step by step as a runner does: real sessions in a fresh clone, a real registry.

What is GitHub's own is stood in for (tests/workflowkit.py), the target is `tiny`, and a key signs: a job of ours has no
identity here.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from build import deblock, engine, host, rootfs, roots, steps, store
from build.models import Settings
from build.settings import REPO, default_store
from tests import workflowkit
from tests.engine import registrykit

PASSWORD = "of the tests"
NAME = "owner/name"


def linked_store(home):
    """A store below a home of its own, with what `tiny` is made from: hard links, so that it may be cleaned."""
    ours, theirs = home / ".cache/spark-runtime", Settings(repo=REPO, store=default_store())
    there = Settings(repo=REPO, store=ours)
    job = steps.load(theirs, "tiny")
    host.tools(theirs), host.builder_tar(theirs), host.publish(theirs), host.rootfs_tar(theirs, "tiny")
    steps.fetch_all(job)
    steps.uv_program(theirs, job.uv)
    arch = roots.host_architecture()
    sets = [host.locked_debs(theirs, name, arch) for name in (host.TOOLS, host.BUILDER, host.PUBLISH)]
    debs = [deb.sha256 for item in sets for deb in item.debs]
    for sha256 in {*debs, *(item.sha256 for item in steps.all_files(job))}:
        link(store.blob(theirs.store, sha256), store.blob(ours, sha256))
    for item in sets:
        link(roots.place(theirs.store, item), roots.place(ours, item))
    tar = f"{roots.root_id(sets[1])}.tar"
    for path in (f"roots/{tar}", f"roots/uv-{job.uv.sha256}", str(rootfs.place(Path(), job.rootfs))):
        link(theirs.store / path, ours / path)
    (ours / "env").mkdir()
    (ours / "env" / Path(sys.prefix).name).symlink_to(sys.prefix)
    return there


def link(source, target):
    target.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cp", "--archive", "--link", str(source), str(target)], check=True)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A registry for all jobs."""
    with registrykit.registry(tmp_path_factory.mktemp("registry")) as found:
        yield found


@pytest.fixture(scope="module")
def key(tmp_path_factory):
    """The variables that hold a private key, and the public one's file."""
    folder = tmp_path_factory.mktemp("key")
    env = {"COSIGN_PASSWORD": PASSWORD}
    registrykit.cosign("generate-key-pair", cwd=folder, env=env)
    return {"COSIGN_PRIVATE_KEY": (folder / "cosign.key").read_text(), **env}, folder / "cosign.pub"


@pytest.fixture(scope="module")
def github(tmp_path_factory, key):
    """This repository at GitHub, and its runners, whose engine is their own."""
    folder = tmp_path_factory.mktemp("github")
    there = workflowkit.Local(folder, REPO, env=key[0])
    linked = linked_store(there.home)
    yield there
    subprocess.run([sys.executable, "-m", "build", "engine", "rm", "--store", str(linked.store)], cwd=REPO, check=True)
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def publish(github, place):
    """The job that publishes, for `tiny`."""
    inputs = {"repository": f"{place.place}/{NAME}", "rehearsal": True}
    done = github.job("build", "publish", inputs=inputs, matrix={"target": "tiny"})
    assert done.conclusion == "success", done.said
    return done


def test_the_job_publishes_what_it_built(publish, place):
    print(publish.said)
