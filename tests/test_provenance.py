"""Provenance: the fields that SLSA asks for, all that a build hangs on, and nothing of the machine that writes it."""

import functools
import json
import os
import re
import socket
import subprocess
import sys
from dataclasses import replace

import pytest

from build import provenance
from build.canonical import file_sha256
from build.errors import UnresolvedError
from build.intent import read_intent
from build.models import External, GitSource, Settings, Submodule
from build.provenance import BUILD_TYPE, LOCAL, VARIABLES, Run
from build.settings import REPO
from build.steps import load

OPEN = {"g27"}  # its vLLM could not be reached when its lock was made
TARGETS = sorted(set(read_intent(REPO).targets) - OPEN)
RUN = Run(chain_id="ab" * 32, commit="c0" * 20, engine="docker.io 26.1.5+dfsg1-9+deb13u1")
BYPRODUCTS = {"sbom": f"sha256:{'1' * 64}", "lock": f"sha256:{'2' * 64}"}
ACTIONS = {
    "GITHUB_ACTIONS": "true",
    "GITHUB_REPOSITORY": "octo/spark-runtime",
    "GITHUB_RUN_ATTEMPT": "2",
    "GITHUB_RUN_ID": "4425592351",
    "GITHUB_SERVER_URL": "https://github.com",
    "GITHUB_WORKFLOW_REF": "octo/spark-runtime/.github/workflows/build.yml@refs/heads/main",
}
TYPE_URI = re.compile(r"[a-z][a-z0-9+.-]*:[^\s#]+(#\S+)?")
DIGESTS = {"sha256": 64, "gitCommit": 40, "gitTree": 40}
FIELDS = {
    "": {"buildDefinition", "runDetails"},
    "buildDefinition": {"buildType", "externalParameters", "internalParameters", "resolvedDependencies"},
    "runDetails": {"builder", "metadata", "byproducts"},
    "builder": {"id", "builderDependencies", "version"},
    "metadata": {"invocationId", "startedOn", "finishedOn"},
}
DESCRIPTOR = {"name", "uri", "digest", "content", "downloadLocation", "mediaType", "annotations"}


@pytest.fixture
def job(tmp_path):
    return functools.partial(load, Settings(repo=REPO, store=tmp_path))


def made(job, run=RUN, *, environ=None, **more):
    return provenance.predicate(
        job, run, more.get("byproducts", BYPRODUCTS), environ={} if environ is None else environ
    )


def faults(found):
    """What the specifications ask for and a predicate does not have (SLSA v1.0 provenance, in-toto v1 field types)."""
    definition, details = found["buildDefinition"], found["runDetails"]
    for name, row in (
        ("", found),
        ("buildDefinition", definition),
        ("runDetails", details),
        ("builder", details["builder"]),
        ("metadata", details.get("metadata", {})),
    ):
        if strays := set(row) - FIELDS[name]:
            yield f"{name}: {strays} are no fields"
    for uri in (definition["buildType"], details["builder"]["id"]):
        if not TYPE_URI.fullmatch(uri):
            yield f"{uri} is no TypeURI"
    if not isinstance(definition["externalParameters"], dict) or not definition["externalParameters"]:
        yield "externalParameters say nothing"
    if both := set(definition["externalParameters"]) & set(definition["internalParameters"]):
        yield f"{both} are external and internal"
    rows = [
        *definition["resolvedDependencies"],
        *details["builder"].get("builderDependencies", ()),
        *details.get("byproducts", ()),
    ]
    for row in rows:
        if set(row) - DESCRIPTOR or not {"uri", "digest", "content"} & set(row):
            yield f"{row} is no ResourceDescriptor"
        if "uri" in row and not TYPE_URI.fullmatch(row["uri"]):
            yield f"{row['uri']} is no ResourceURI"
        for name, value in row.get("digest", {}).items():
            if not re.fullmatch(rf"[0-9a-f]{{{DIGESTS.get(name, 0)}}}", value):
                yield f"{name}: {value} is no digest"
    if not all(isinstance(item, str) for pair in details["builder"].get("version", {}).items() for item in pair):
        yield "a version is no string"
    for name in ("startedOn", "finishedOn"):
        if not re.fullmatch(
            r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", details.get("metadata", {}).get(name, "2026-01-01T00:00:00Z")
        ):
            yield f"{name} is no Timestamp"


def test_the_faults_would_be_seen(job):
    found = made(job("tiny"))
    assert list(faults(found)) == []
    dependencies = found["buildDefinition"]["resolvedDependencies"]
    for spoil in (
        lambda: found["runDetails"].update(builtBy="me"),
        lambda: dependencies.append({"name": "a"}),
        lambda: dependencies.append({"uri": "a"}),
        lambda: dependencies.append({"digest": {"sha256": "a"}}),
        lambda: found["buildDefinition"]["externalParameters"].update(epoch=1),
    ):
        before = len(list(faults(found)))
        spoil()
        assert len(list(faults(found))) > before


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("environ", [{}, ACTIONS])
def test_every_target_has_a_complete_one(job, target, environ):
    of = job(target)
    run = replace(RUN, buildkit="v0.13.2", started="2026-11-26T16:00:00Z", finished="2026-11-26T16:30:00+00:00")
    found = made(of, run, environ=environ)
    assert list(faults(found)) == []
    assert len(json.dumps(found)) < 12_000
    definition = found["buildDefinition"]
    assert definition["buildType"] == BUILD_TYPE
    assert definition["externalParameters"] == {"target": target}
    assert definition["internalParameters"]["chain_id"] == RUN.chain_id
    assert definition["internalParameters"]["epoch"] == of.lock.epoch
    named = {row["name"]: row["digest"] for row in definition["resolvedDependencies"]}
    assert len(named) == len(definition["resolvedDependencies"])
    assert named["spark-runtime"] == {"gitCommit": RUN.commit}
    for path in provenance.lock_files(of.settings, of):
        assert named[path.relative_to(REPO).as_posix()] == {"sha256": file_sha256(path)}
    for patch in of.series.patches:
        assert named[patch.path.as_posix()] == {"sha256": file_sha256(REPO / patch.path)}
    for item in of.lock.components:
        assert named[item.archive.file] == {"sha256": item.archive.sha256}
        (wheel,) = [wheel for wheel in of.lock.wheels if wheel.name == item.distribution]
        assert wheel.made or named[wheel.file] == {"sha256": wheel.sha256}
    details = found["runDetails"]
    assert details["metadata"]["finishedOn"] == "2026-11-26T16:30:00Z"
    assert details["builder"]["version"] == {"buildkit": "v0.13.2", "docker.io": "26.1.5+dfsg1-9+deb13u1"}
    assert details["byproducts"] == [
        {"name": "lock", "digest": {"sha256": "2" * 64}},
        {"name": "sbom", "digest": {"sha256": "1" * 64}},
    ]


def test_elsewhere_than_in_actions(job):
    details = made(job("tiny"))["runDetails"]
    assert details["builder"] == {
        "id": LOCAL,
        "builderDependencies": [
            {"name": "docker.io", "uri": "pkg:deb/debian/docker.io@26.1.5%2Bdfsg1-9%2Bdeb13u1"},
        ],
        "version": {"docker.io": "26.1.5+dfsg1-9+deb13u1"},
    }
    assert "metadata" not in details


def test_in_actions(job):
    found = made(job("tiny"), environ=ACTIONS)
    ours = found["buildDefinition"]["resolvedDependencies"][0]
    assert ours["uri"] == "git+https://github.com/octo/spark-runtime"
    assert found["runDetails"]["builder"]["id"] == f"https://github.com/{ACTIONS['GITHUB_WORKFLOW_REF']}"
    assert found["runDetails"]["metadata"] == {
        "invocationId": "https://github.com/octo/spark-runtime/actions/runs/4425592351/attempts/2"
    }


@pytest.mark.parametrize(
    "change",
    [
        {"GITHUB_ACTIONS": "false"},
        {"GITHUB_ACTIONS": ""},
        {"GITHUB_REPOSITORY": "octo"},
        {"GITHUB_REPOSITORY": "octo/x y"},
        {"GITHUB_RUN_ID": "x"},
        {"GITHUB_SERVER_URL": "https://me:secret@github.com"},
        {"GITHUB_SERVER_URL": "file:///home/me"},
        {"GITHUB_WORKFLOW_REF": "octo/x/.github/workflows/b.yml"},
        {"GITHUB_WORKFLOW_REF": "/home/me/b.yml@main"},
        {"GITHUB_WORKFLOW_REF": "o/x/b.yml@main\nmore"},
    ],
)
def test_who_does_not_say_all_of_it_is_not_in_actions(job, change):
    found = made(job("tiny"), environ={**ACTIONS, **change})
    assert found == made(job("tiny"))


@pytest.mark.parametrize(
    ("engine", "version"),
    [
        ("Docker Engine 28.5.2", {"engine": "Docker Engine 28.5.2"}),
        ("another engine", {"engine": "another engine"}),
        ("", {}),
    ],
)
def test_engines_that_are_no_package(job, engine, version):
    builder = made(job("tiny"), replace(RUN, engine=engine))["runDetails"]["builder"]
    assert "builderDependencies" not in builder
    assert builder.get("version", {}) == version


def test_git_sources_are_named_without_places_of_ours(job):
    of = job("canary")
    modules = (
        Submodule(path="third/c", url="git@git.example:org/c", commit="a" * 40, tree="b" * 40),
        Submodule(path="third/d", url="/home/me/d", commit="c" * 40, tree="d" * 40),
        Submodule(path="third/e", url="https://me:secret@git.example/e", commit="e" * 40, tree="f" * 40),
    )
    source = GitSource(
        url="https://github.com/nvidia/cutlass", mirrors=("/srv/mirror/cutlass", "https://mirror.example/c"), tag="v4",
        commit="1" * 40, tree="2" * 40, submodules=modules,
    )  # fmt: skip
    component = replace(of.lock.components[0], archive=None, git=replace(source, url="file:///home/me/vllm"))
    lock = replace(
        of.lock, components=(component,), externals=(External(name="cutlass", source=source),), unresolved=()
    )
    found = made(replace(of, lock=lock))
    assert list(faults(found)) == []
    named = {row["name"]: row for row in found["buildDefinition"]["resolvedDependencies"]}
    assert named["cutlass"] == {
        "name": "cutlass",
        "uri": "git+https://github.com/nvidia/cutlass",
        "digest": {"gitCommit": "1" * 40, "gitTree": "2" * 40},
    }
    assert [name for name in named if name.startswith("vllm") and "uri" in named[name]] == []
    assert named["cutlass/third/e"]["digest"]["gitCommit"] == "e" * 40
    assert not re.search(r"secret|/home|/srv|mirror|git\.example", json.dumps(found))


class Recording(dict):
    """An environment that notes what is asked of it, and can only be asked by name."""

    def __init__(self, values):
        super().__init__(values)
        self.asked = set()

    def get(self, name, default=None):
        self.asked.add(name)
        return super().get(name, default)

    def __getitem__(self, name):
        self.asked.add(name)
        return super().__getitem__(name)

    def _all(self, *_):
        raise AssertionError("all of the environment was read")

    __iter__ = keys = values = items = copy = _all


def test_only_the_named_variables_are_read(job):
    environ = Recording(ACTIONS)
    made(job("tiny"), environ=environ)
    assert environ.asked == set(VARIABLES)


SECRETS = (
    "GITHUB_TOKEN", "REGISTRY_TOKEN", "REGISTRY_USER", "COSIGN_PASSWORD", "COSIGN_PRIVATE_KEY", "HF_TOKEN",
    "ACTIONS_ID_TOKEN_REQUEST_TOKEN", "ACTIONS_RUNTIME_TOKEN", "AWS_SECRET_ACCESS_KEY", "GITHUB_ACTOR", "GITHUB_ENV",
    "GITHUB_OUTPUT", "GITHUB_SHA", "HOSTNAME", "USER", "LOGNAME", "RUNNER_NAME",
)  # fmt: skip
PLACES = (
    "HOME", "PATH", "PWD", "TMPDIR", "GITHUB_WORKSPACE", "RUNNER_TEMP", "RUNNER_TOOL_CACHE", "DOCKER_CONFIG",
    "SPARK_RUNTIME_STORE", "SPARK_RUNTIME_EXPORTED", "XDG_CACHE_HOME",
)  # fmt: skip


@pytest.mark.parametrize("actions", [{}, ACTIONS])
@pytest.mark.parametrize("target", ["tiny", "canary"])
def test_nothing_of_the_machine_is_in_it(job, target, actions, monkeypatch, tmp_path):
    of = job(target)
    for name in (*SECRETS, *PLACES):
        monkeypatch.setenv(name, f"{'/home/' if name in PLACES else ''}very-secret-9d41")
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name, value in actions.items():
        monkeypatch.setenv(name, value)
    text = json.dumps(provenance.predicate(of, RUN, BYPRODUCTS))
    assert "9d41" not in text
    assert str(REPO) not in text
    assert str(tmp_path) not in text
    assert socket.gethostname() not in text
    assert not re.search(r'["\s=](/|file:|~)', text)
    assert text.count("://") == (3 if actions else 0)  # our repository, the workflow, the run


def test_what_is_of_no_form_is_refused(job):
    of = job("tiny")
    for run in (
        replace(RUN, commit=""),
        replace(RUN, commit="main"),
        replace(RUN, started="yesterday"),
        replace(RUN, finished="2026-11-26T16:30:00+01:00"),
    ):
        with pytest.raises(ValueError, match="no (commit|time)"):
            made(of, run)
    with pytest.raises(ValueError, match="no digest"):
        made(of, byproducts={"sbom": "latest"})
    for target in OPEN:
        with pytest.raises(UnresolvedError):
            made(job(target))


def test_nothing_is_said_where_nothing_is_known(job):
    assert "byproducts" not in made(job("tiny"), byproducts={})["runDetails"]


# Which files of lock/ a build hangs on

READS = """
import sys
from pathlib import Path
lock, found = sys.argv[1] + "/lock/", set()
sys.addaudithook(lambda event, args: found.add(str(args[0])) if event == "open" and str(args[0]).startswith(lock) else None)
from build import nativeplan, recipe, requireslock, nativelock, results, steps
from build.models import Settings
settings = Settings(repo=Path(sys.argv[1]), store=Path(sys.argv[2]))
job = steps.load(settings, sys.argv[3])
recipe.chain_id(job)
requireslock.read(settings.repo, job.lock, nativelock.asked(job.target, job.lock))
results.read(settings.repo, job.name)
if job.target.native is not None:
    nativeplan.compiled(job)
print(*sorted(found), sep="\\n")
"""


@pytest.mark.parametrize("target", TARGETS)
def test_lock_files_are_those_that_a_build_reads(job, target, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", READS, REPO, tmp_path, target], cwd=REPO, check=True, capture_output=True, text=True
    )
    read = set(done.stdout.split())
    named = {str(path) for path in provenance.lock_files(job(target).settings, job(target))}
    assert named <= read
    looked_at = {path for path in read - named if not path.startswith(f"{REPO}/lock/profiles/")}  # those of others
    others = {path.removeprefix(f"{REPO}/lock/debs/").rpartition("-")[0] for path in looked_at}
    assert others <= {"trixie", "tiny", "diffoscope", "publish", "registry", "compile"}  # looked at, whether fresh


def test_lock_files_of_both_architectures(job):
    names = [path.relative_to(REPO).as_posix() for path in provenance.lock_files(job("v0.32").settings, job("v0.32"))]
    assert names == [
        "lock/debs/builder-amd64.toml", "lock/debs/builder-arm64.toml", "lock/debs/tools-amd64.toml",
        "lock/debs/tools-arm64.toml", "lock/debs/trixie-arm64.toml", "lock/profiles/k144-nospec-200k.toml",
        "lock/profiles/k160-mtp2-200k.toml", "lock/requires/v0.32.toml",
        "lock/results/v0.32.toml", "lock/targets.toml", "lock/v0.32.toml",
    ]  # fmt: skip
    names = [path.relative_to(REPO).as_posix() for path in provenance.lock_files(job("canary").settings, job("canary"))]
    assert {"lock/debs/compile-amd64.toml", "lock/debs/compile-arm64.toml", "lock/units/canary.toml"} <= set(names)


PROGRAM = """
import json, sys
from pathlib import Path
from build import provenance, steps
from build.models import Settings
job = steps.load(Settings(repo=Path(sys.argv[1]), store=Path(sys.argv[2])), "canary")
run = provenance.Run(chain_id="a", commit="c0" * 20, engine="docker.io 1")
print(json.dumps(provenance.predicate(job, run, {"b": "sha256:" + "1" * 64, "a": "sha256:" + "2" * 64})))
"""


def test_it_is_the_same_in_every_process(tmp_path):
    environ = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    runs = [
        subprocess.run(
            [sys.executable, "-c", PROGRAM, REPO, tmp_path], cwd=REPO, check=True, capture_output=True,
            env={**environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("0", "1")
    ]  # fmt: skip
    assert runs[0] == runs[1]
    assert json.loads(runs[0])["buildDefinition"]["buildType"] == BUILD_TYPE
