"""`nox -s lock` follows patches, overrides and METADATA: what wheels require is what is locked and checked."""

import shutil

import pytest

from build import recipe, requireslock, steps
from build.errors import (
    InconsistentLockError,
    LockError,
    OfflineError,
    PatchError,
)
from build.index import Environment
from build.lockfile import read_lock
from build.models import Settings
from tests.lockkit import CODE_PATCH, PIN_PATCH


def test_a_patch_that_changes_a_pin_is_followed(world):
    world.lock()
    world.index.add("dep", "2.0")
    world.patch("0002-pin.patch", PIN_PATCH)
    out = world.lock().out
    assert "dep  1.0 → 2.0" in out
    (component,) = read_lock(world.repo, "demo").components
    assert [(item.before, item.after) for item in component.requires] == [("dep==1.0", "dep==2.0")]
    assert [(file.source, file.installed) for file in component.files] == [
        ("requirements/run.txt", ""),
        ("src/app.py", "app.py"),
    ]
    before = world.files()
    assert world.lock().out == "nothing changed\n"
    assert world.files() == before
    world.lock(check=True)


def test_a_requirement_that_a_patch_takes_out_is_not_installed(world):
    world.lock()
    gone = PIN_PATCH.replace("@@ -1,3 +1,3 @@", "@@ -1,3 +1,2 @@").replace("+dep==2.0\n", "")
    world.patch("0002-pin.patch", gone)
    assert "dep  1.0 → -" in world.lock().out
    assert world.versions() == {"app": "1.0", "other": "1.0"}
    before = world.files()
    assert world.lock().out == "nothing changed\n"
    assert world.files() == before
    world.lock(check=True)


def test_a_requirement_that_a_patch_adds_is_installed(world):
    world.index.add("more", "1.0")
    world.patch("0002-pin.patch", PIN_PATCH.replace("+1,3 @@", "+1,4 @@").replace("+dep==2.0\n", "+dep==1.0\n+more\n"))
    world.lock()
    assert world.versions()["more"] == "1.0"


def test_looser_requirements_of_the_same_wheels_are_written_anew(world):
    world.lock()
    path = world.repo / "lock" / "requires" / "demo.toml"
    old = path.read_bytes()
    world.patch("0002-pin.patch", PIN_PATCH.replace("+dep==2.0", "+dep>=1.0"))
    world.lock()
    assert path.read_bytes() != old
    path.write_bytes(old)
    with pytest.raises(LockError, match="stale"):
        world.lock(check=True)
    world.lock()
    assert path.read_bytes() != old


def test_a_pin_that_is_taken_back_is_followed_too(world):
    world.index.add("dep", "2.0")
    world.patch("0002-pin.patch", PIN_PATCH)
    world.lock()
    (world.repo / "patches" / "demo" / "app" / "0002-pin.patch").unlink()
    world.patch("0001-code.patch", CODE_PATCH)
    assert "dep  2.0 → 1.0" in world.lock().out


def test_a_followed_pin_that_another_wheel_forbids_is_refused(world):
    world.index.add("other", "0.9")
    world.index.files["other"].clear()
    world.index.add("other", "1.0", requires=["dep<2"])
    world.index.add("dep", "2.0")
    world.lock()
    before = world.files()
    world.patch("0002-pin.patch", PIN_PATCH)
    with pytest.raises(InconsistentLockError, match="not written") as caught:
        world.lock()
    assert "other requires dep<2" in caught.value.why
    after = world.files()
    assert after["lock/demo.toml"] == before["lock/demo.toml"]


def test_metadata_wins_and_the_difference_is_shown(world):
    world.archive(**{"requirements/run.txt": b"dep==1.0\nother>=5\n"})
    err = world.lock().err
    assert "other: the requirement files say other>=5, METADATA other>=1" in err
    assert world.versions()["other"] == "1.0"


def test_an_override_overrules_wheels_and_is_named(world):
    world.index.add("dep", "2.0")
    world.edit("constraints = []", 'constraints = []\noverrides = [{ requirement = "dep==2.0", reason = "a test" }]')
    world.lock()
    assert world.versions()["dep"] == "2.0"
    assert read_lock(world.repo, "demo").overrides[0].reason == "a test"
    world.lock(check=True)


def test_an_override_of_nothing_is_refused(world):
    world.index.add("lone", "1.0")
    world.edit("constraints = []", 'constraints = []\noverrides = [{ requirement = "lone==1.0", reason = "a test" }]')
    with pytest.raises(InconsistentLockError) as caught:
        world.lock()
    assert "overrides nothing" in caught.value.why


def test_a_changed_patch_stops_the_check_and_is_locked_offline(world):
    world.lock()
    world.patch("0001-code.patch", CODE_PATCH.replace("return 2", "return 3"))
    with pytest.raises(LockError, match="stale"):
        world.lock(check=True)
    world.index.fault = "500"
    assert "patches: 0001-code.patch; the layer of patched files is made anew" in world.lock().out


def test_a_patch_that_does_not_apply_changes_nothing(world):
    world.lock()
    before = world.files()["lock/demo.toml"]
    world.patch("0001-code.patch", CODE_PATCH.replace("return 1", "return 7"))
    with pytest.raises(PatchError, match="0001-code"):
        world.lock()
    assert world.files()["lock/demo.toml"] == before


def test_wheels_that_are_not_in_the_store_need_the_network_and_say_so(world):
    world.lock()
    (world.repo / "lock" / "requires" / "demo.toml").unlink()
    shutil.rmtree(world.settings.store / "blobs")
    world.settings = Settings(repo=world.repo, store=world.settings.store, offline=True)
    with pytest.raises(OfflineError):
        world.lock()


def test_an_index_that_hands_out_no_parts_of_files_gives_the_whole_wheel(world):
    world.index.serves_ranges = False
    world.lock()
    world.lock(check=True)
    assert requireslock.read(world.repo, read_lock(world.repo, "demo"), ["app==1.0"])["app"] == (
        "dep==1.0",
        "other>=1",
    )


def test_requirements_that_are_not_the_wheels_are_read_again_and_stop_a_build(world):
    world.lock()
    locked = read_lock(world.repo, "demo")
    environment = Environment(platform=locked.platform, python=locked.python)
    steps.fetch_python(world.settings, locked.wheels, [environment])
    path = requireslock.path_of(world.repo, "demo")
    whole = path.read_text()
    path.write_text(requireslock.text(locked, ["app==1.0"], {"app": ("dep==1.0",)}))
    with pytest.raises(LockError, match="do not require what was locked") as caught:
        recipe.demand_requires(steps.load(world.settings, "demo"))
    assert "app requires dep==1.0 and other>=1; locked was dep==1.0" in caught.value.why
    world.lock()
    assert path.read_text() == whole
    recipe.demand_requires(steps.load(world.settings, "demo"))
