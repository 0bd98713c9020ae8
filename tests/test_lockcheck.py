"""`lock -- --check`: what it finds in rendered Dockerfiles, in our Python tools and between locks."""

import shutil
from dataclasses import replace

import pytest

from build import lockcheck, lockfile, requireslock, steps, toolwheels
from build.errors import LockError
from build.intent import read_intent
from build.models import RequirementChange, Settings
from build.settings import REPO


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


def test_a_template_with_a_base_image_is_found(settings):
    path = settings.repo / "dockerfiles" / "rootfs.j2"
    path.write_text(path.read_text().replace("linux/arm64 scratch", "linux/arm64 debian:trixie"))
    assert findings(settings) == ["tiny: the Dockerfile is based on debian:trixie, which no lock names"]


def tools_with(settings, old="", new="", *, stamped=True):
    """The findings once python.txt was changed, with or without the checksum of what it then says."""
    folder = settings.repo / "lock"
    wanted, path = (folder / "python.in").read_text(), folder / "python.txt"
    assert old in path.read_text()
    body = "".join(line for line in path.read_text().splitlines(True) if not line.startswith("#"))
    changed = body.replace(old, new, 1)
    path.write_text(toolwheels.text(wanted, changed) if stamped else path.read_text().replace(old, new, 1))
    return findings(settings)


def test_our_tools_as_they_are_have_no_faults(settings):
    assert tools_with(settings) == []


@pytest.mark.parametrize(
    "new", ["annotated-types==0.8.1", f"evil==1.0 \\\n    --hash=sha256:{'0' * 64}\nannotated-types==0.8.0"]
)
def test_an_edited_list_of_tools_is_seen(settings, new):
    found = tools_with(settings, "annotated-types==0.8.0", new, stamped=False)
    assert found == ["lock/python.txt is stale, or was edited: run `./nox -s tools`"]


@pytest.mark.parametrize("line", ["--extra-index-url https://evil.example/", "evil>=1", "evil @ file:///x"])
def test_what_a_list_of_tools_may_not_hold_ends_the_check(settings, line):
    with pytest.raises(LockError, match="cannot be read"):
        tools_with(settings, "annotated-types==", f"{line}\nannotated-types==")


def test_a_tool_that_is_taken_off_the_list_makes_it_stale(settings):
    path = settings.repo / "lock" / "python.in"
    path.write_text(path.read_text().replace("hypothesis ", "# "))
    assert findings(settings) == ["lock/python.txt is stale, or was edited: run `./nox -s tools`"]


def test_a_tool_that_the_lock_lacks_is_named(settings):
    path = settings.repo / "lock" / "python.in"
    path.write_text(path.read_text() + "new-tool\nnox<2\n")
    found = tools_with(settings)
    assert "lock/python.in requires new-tool, and it is not locked" in found
    assert any("lock/python.in requires nox<2, and locked is" in text for text in found)


def test_locks_of_nothing_are_named(settings):
    shutil.copy(settings.repo / "lock" / "tiny.toml", settings.repo / "lock" / "old.toml")
    shutil.copy(settings.repo / "lock" / "debs" / "tiny-arm64.toml", settings.repo / "lock" / "debs" / "old-arm64.toml")
    assert findings(settings) == [
        "lock/old.toml is of no target: delete it",
        "lock/debs/old-arm64.toml is of no root: delete it",
    ]


def test_a_machine_without_its_uv_is_named(settings):
    job = steps.load(settings, "tiny")
    without = replace(job, lock=replace(job.lock, tools=job.lock.tools[:1]))
    assert "tiny: no uv is locked for a aarch64 that builds" in list(lockcheck.findings(settings, without))


def test_uv_that_differs_between_the_three_places_is_found(settings):
    found = tools_with(settings, "uv==0.13.9", "uv==0.13.8")
    assert any("tools.uv of lock/targets.toml is 0.13.9, lock/python.txt has 0.13.8" in text for text in found)


def test_a_workflow_with_an_action_nobody_locked_is_found(settings):
    path = settings.repo / ".github" / "workflows" / "test.yml"
    path.write_text(path.read_text() + "      - uses: owner/name@v5\n")
    assert any("owner/name is not in [actions] of lock/targets.toml" in text for text in findings(settings))
    (settings.repo / "lock" / "actions.toml").unlink()
    with pytest.raises(LockError, match="actions.toml is not there"):
        findings(settings)


def test_requirements_of_another_series_are_stale(settings):
    job = steps.load(settings, "tiny")
    change = RequirementChange(before="markupsafe>=2.0", after="markupsafe>=1.0")
    loose = replace(job.lock, components=tuple(replace(item, requires=(change,)) for item in job.lock.components))
    path = requireslock.path_of(settings.repo, "tiny")
    path.write_text(requireslock.text(loose, job.target.requirements, {}))
    with pytest.raises(LockError, match="stale"):
        findings(settings)


def test_requirements_of_other_wheels_are_stale(settings):
    job = steps.load(settings, "tiny")
    path = requireslock.path_of(settings.repo, "tiny")
    path.write_text(requireslock.text(replace(job.lock, wheels=job.lock.wheels[:1]), job.target.requirements, {}))
    with pytest.raises(LockError, match="stale"):
        findings(settings)


def test_a_requirement_that_the_locked_version_does_not_meet_is_found(settings):
    job = steps.load(settings, "tiny")
    path = requireslock.path_of(settings.repo, "tiny")
    path.write_text(requireslock.text(job.lock, job.target.requirements, {"jinja2": ("markupsafe>=9",)}))
    (found,) = findings(settings)
    assert "jinja2" in found
    assert "markupsafe>=9" in found


def test_known_wheels_are_read_from_any_old_lock(settings):
    path = lockfile.lock_path(settings.repo, "tiny")
    path.write_text(path.read_text().replace("schema = 2", "schema = 1").replace("checksum", "other"))
    assert [wheel.name for wheel in lockfile.known_wheels(settings.repo, "tiny")] == ["jinja2", "markupsafe"]
    assert lockfile.known_wheels(settings.repo, "none") == ()
