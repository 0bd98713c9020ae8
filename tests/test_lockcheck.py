"""`lock -- --check`: what it finds in rendered Dockerfiles, in our Python tools and between locks."""

import shutil

import pytest

from build import lockcheck, lockfile, requireslock, steps
from build.errors import LockError
from build.intent import read_intent
from build.models import Settings
from build.settings import REPO

GOOD = """\
# Rendered
FROM --platform=$BUILDPLATFORM scratch AS builder
ADD builder.tar /
FROM --platform=linux/arm64 scratch AS rootfs
FROM --platform=linux/arm64 rootfs AS runtime
RUN --network=none --mount=type=bind,from=builder,target=/mnt/builder \\
    --mount=type=bind,from=layer-other,target=/mnt/wheels ["x"]
"""


@pytest.fixture
def settings(tmp_path):
    for name in ("lock", "patches", "dockerfiles", ".github"):
        shutil.copytree(REPO / name, tmp_path / "repo" / name, ignore=shutil.ignore_patterns("__pycache__"))
    return Settings(repo=tmp_path / "repo", store=tmp_path / "nothing", offline=True)


def findings(settings, target="tiny"):
    found = [*lockcheck.findings(settings, steps.load(settings, target))]
    return [*found, *lockcheck.shared_findings(settings, read_intent(settings.repo))]


@pytest.mark.parametrize("target", ["v0.32", "v0.22", "tiny"])
def test_our_own_locks_have_no_contradiction_and_need_no_store(settings, target):
    assert findings(settings, target) == []
    assert not (settings.store / "blobs").exists()


def test_a_good_dockerfile_has_no_faults():
    assert list(lockcheck.template_faults(GOOD, ["other"])) == []


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("scratch AS rootfs", "debian:trixie AS rootfs", "based on debian:trixie"),
        ("scratch AS rootfs", "debian@sha256:00 AS rootfs", "based on debian@sha256:00"),
        ("from=builder,", "from=python:3.13,", "copies from python:3.13"),
        ("ADD builder.tar /", "ADD https://example.invalid/x.tar /", "an address in it: https://example.invalid/x.tar"),
        ("ADD builder.tar /", "COPY --from=busybox /bin/sh /bin/sh", "copies from busybox"),
        ("# Rendered", "# syntax=docker/dockerfile:1", "an address in it: # syntax=docker/dockerfile:1"),
        ("from=layer-other,", "from=builder,", "no step of the Dockerfile installs the layer 'other'"),
    ],
)
def test_what_a_dockerfile_takes_in_that_no_lock_names_is_found(old, new, said):
    assert old in GOOD
    assert any(said in text for text in lockcheck.template_faults(GOOD.replace(old, new), ["other"]))


def test_a_template_with_a_base_image_is_found(settings):
    path = settings.repo / "dockerfiles" / "rootfs.j2"
    path.write_text(path.read_text().replace("linux/arm64 scratch", "linux/arm64 debian:trixie"))
    assert findings(settings) == ["tiny: the Dockerfile is based on debian:trixie, which no lock names"]


def test_python_tools_that_drifted_from_their_list_are_found():
    wanted = "nox  # why\nuv==0.13.9\nnew-tool\n\n# a comment\n"
    locked = "nox==1 \\\n    --hash=sha256:aa\nuv==0.13.8 \\\n    --hash=sha256:bb\nbare==1\n"
    found = list(lockcheck.python_faults(wanted, locked))
    assert [text.split(" (")[0] for text in found] == [
        "lock/python.txt is stale: uv is 0.13.8, lock/python.in wants ==0.13.9",
        "lock/python.txt is stale: it has no new-tool, which lock/python.in names",
        "lock/python.txt: bare==1 has no hash",
    ]


def test_uv_that_differs_between_the_three_places_is_found(settings):
    path = settings.repo / "lock" / "python.txt"
    path.write_text(path.read_text().replace("uv==0.13.9", "uv==0.13.8"))
    found = findings(settings)
    assert any("tools.uv of lock/targets.toml is 0.13.9, lock/python.txt has 0.13.8" in text for text in found)


def test_a_workflow_with_an_action_nobody_locked_is_found(settings):
    path = settings.repo / ".github" / "workflows" / "test.yml"
    path.write_text(path.read_text() + "      - uses: actions/checkout@v5\n")
    with pytest.raises(LockError, match="actions.toml is not there"):
        findings(settings)


def test_requirements_of_other_wheels_are_stale(settings):
    job = steps.load(settings, "tiny")
    path = requireslock.path_of(settings.repo, "tiny")
    path.write_text(requireslock.text("tiny", job.lock.wheels[:1], {}))
    with pytest.raises(LockError, match="stale"):
        findings(settings)


def test_a_requirement_that_the_locked_version_does_not_meet_is_found(settings):
    job = steps.load(settings, "tiny")
    path = requireslock.path_of(settings.repo, "tiny")
    path.write_text(requireslock.text("tiny", job.lock.wheels, {"jinja2": ("markupsafe>=9",)}))
    (found,) = findings(settings)
    assert "jinja2" in found
    assert "markupsafe>=9" in found


def test_known_wheels_are_read_from_any_old_lock(settings):
    path = lockfile.lock_path(settings.repo, "tiny")
    path.write_text(path.read_text().replace("schema = 2", "schema = 1").replace("checksum", "other"))
    assert [wheel.name for wheel in lockfile.known_wheels(settings.repo, "tiny")] == ["jinja2", "markupsafe"]
    assert lockfile.known_wheels(settings.repo, "none") == ()
