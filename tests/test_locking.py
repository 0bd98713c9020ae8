"""`nox -s lock` as a whole: real uv against an index on loopback, real patches, a repository of its own."""

import argparse
import json

import pytest

from build import drafts, lockcheck
from build.commands import lock
from build.errors import (
    IntentError,
    LockError,
    NewerLockError,
    OfflineError,
    ResolveError,
    UsageError,
)
from build.intent import read_intent
from build.lockfile import SCHEMA, read_lock
from build.models import Settings
from tests.lockkit import EARLY, LATE, TARGET


def test_a_lock_is_made_and_is_consistent(world):
    assert "demo: 3 packages" in world.lock().out
    locked = read_lock(world.repo, "demo")
    assert world.versions() == {"app": "1.0", "dep": "1.0", "other": "1.0"}
    assert [file.source for file in locked.components[0].files] == ["src/app.py"]
    assert locked.components[0].archive.file == "app-1.0.tar.gz"
    assert "fresh, whole and consistent: demo" in world.lock(check=True).out


def test_locking_twice_leaves_everything_unchanged(world):
    world.lock()
    before = world.files()
    world.index.add("dep", "1.1")
    world.index.add("other", "1.1")
    assert world.lock().out == "nothing changed\n"
    assert world.files() == before


def test_nothing_but_locks_is_written_and_no_host_is_in_them(world):
    before = world.files()
    world.lock()
    after = world.files()
    changed = {name for name in after if after[name] != before.get(name)}
    assert changed == {"lock/demo.toml", "lock/requires/demo.toml"}
    assert not any(b"127.0.0.1" in after[name] for name in changed)


def test_an_upgrade_of_one_package_moves_only_that(world):
    world.lock()
    world.index.add("other", "1.1")
    world.index.add("dep", "1.1")
    world.edit("app==1.0", 'app==1.0", "third')
    world.index.add("third", "1.0")
    world.lock()
    world.index.add("third", "2.0")
    out = world.lock(upgrade=["Third"]).out
    assert "third  1.0 → 2.0" in out
    assert "other  " not in out
    assert world.versions()["other"] == "1.0"


def test_an_upgrade_takes_what_the_intent_allows(world, monkeypatch):
    monkeypatch.setattr(drafts, "of_debs", lambda *_, **__: [])
    world.lock()
    world.index.add("other", "1.1")
    world.index.add("dep", "1.1")
    out = world.lock(upgrade=[]).out
    assert "other  1.0 → 1.1" in out
    assert "layers made anew: other" in out
    assert world.versions() == {"app": "1.0", "dep": "1.0", "other": "1.1"}


def test_a_package_that_nobody_locked_cannot_be_upgraded(world):
    world.lock()
    with pytest.raises(UsageError, match="'ohter'") as caught:
        world.lock(upgrade=["ohter"])
    assert caught.value.todo == "did you mean other?"


def test_a_dry_run_says_the_same_and_writes_nothing(world):
    world.lock()
    before = world.files()
    world.index.add("other", "1.1")
    out = world.lock(upgrade=["other"], dry_run=True).out
    assert "other  1.0 → 1.1" in out
    assert world.files() == before


def test_the_index_as_it_stood(world, monkeypatch):
    monkeypatch.setattr(drafts, "of_debs", lambda *_, **__: [])
    world.index.add("other", "1.1", uploaded=LATE)
    world.lock()
    assert world.versions()["other"] == "1.1"
    world.lock(as_of=lock.instant("2026-05-31"))
    assert world.versions()["other"] == "1.0"
    world.lock(as_of=lock.instant("2026-06-01"))
    assert world.versions()["other"] == "1.1"


def test_an_index_that_cannot_tell_when_is_refused(world):
    world.lock()
    before = world.files()
    world.index.tells_time = False
    with pytest.raises(ResolveError, match="time"):
        world.lock(as_of=lock.instant("2026-05-31"))
    assert world.files() == before


def test_a_time_to_come_cannot_be_meant(world):
    with pytest.raises(UsageError, match="yet to come"):
        world.lock(as_of=lock.instant("2999-01-01"))
    for text in ("yesterday", "20260901", "2026-W36", "9999-12-31", "2026-13-01", ""):
        with pytest.raises(argparse.ArgumentTypeError, match="no date"):
            lock.instant(text)
    with pytest.raises(UsageError, match="looks nothing up"):
        world.lock(check=True, upgrade=[])


def test_the_epoch_is_the_releases(world):
    world.lock()
    assert read_lock(world.repo, "demo").epoch == int(lock.instant(EARLY).timestamp())


def test_where_one_target_cannot_be_locked_no_other_is_written(world):
    world.lock()
    text = world.intent.read_text()
    second = TARGET.replace("demo", "second", 1).replace("[targets.demo.", "[targets.second.")
    world.intent.write_text(text.replace("dep", "dep") + second.replace('"app==1.0"', '"app==1.0", "dep==9"'))
    world.edit("constraints = []\nsmoke", 'constraints = ["dep<9"]\nsmoke')
    before = world.files()
    with pytest.raises(ResolveError):
        world.lock()
    assert world.files() == before


def test_what_cannot_be_had_together_is_explained_and_changes_nothing(world):
    world.lock()
    before = world.files()
    world.edit('requirements = ["app==1.0"]', 'requirements = ["app==1.0", "dep==9"]')
    with pytest.raises(ResolveError) as caught:
        world.lock()
    assert "dep" in str(caught.value)
    assert {**world.files(), "lock/targets.toml": b""} == {**before, "lock/targets.toml": b""}


def test_a_stale_lock_stops_the_check(world):
    world.lock()
    world.edit("constraints = []", 'constraints = ["dep<9"]')
    with pytest.raises(LockError, match="stale"):
        world.lock(check=True)


def test_offline_is_kept_where_something_must_be_looked_up(world):
    world.lock()
    world.settings = Settings(repo=world.repo, store=world.settings.store, offline=True)
    assert world.lock().out == "nothing changed\n"
    for asked in ({"upgrade": ["dep"]}, {"upgrade": []}, {"as_of": lock.instant("2026-05-31")}):
        with pytest.raises(OfflineError, match="--offline"):
            world.lock(**asked)


def test_a_lock_of_a_newer_tool_is_not_written_over(world):
    world.lock()
    path = world.repo / "lock" / "demo.toml"
    path.write_text(path.read_text().replace(f"schema = {SCHEMA}", f"schema = {SCHEMA + 1}"))
    before = world.files()
    with pytest.raises(NewerLockError):
        world.lock()
    assert world.files() == before


def test_an_edited_lock_is_refused_by_the_check_and_made_anew_with_its_versions(world):
    world.lock()
    path = world.repo / "lock" / "demo.toml"
    whole = path.read_bytes()
    path.write_text(path.read_text().replace('"aarch64-manylinux_2_39"', '"aarch64-manylinux_2_38"'))
    with pytest.raises(LockError, match="edited by hand"):
        world.lock(check=True)
    world.index.add("other", "1.1")
    assert "its versions are kept" in world.lock().err
    assert path.read_bytes() == whole


def test_a_misspelt_key_is_named_with_its_place(world):
    world.edit("requirement-files", "requirements-files")
    with pytest.raises(IntentError) as caught:
        world.lock()
    assert (
        "targets.demo.components.app.requirements-files: unknown key; did you mean 'requirement-files'?"
        in caught.value.why
    )


def test_a_locked_version_that_the_target_itself_forbids_is_found(world):
    world.lock()
    intent = read_intent(world.repo)
    target = intent.targets["demo"].model_copy(update={"constraints": ("dep<1", "absent==1"), "requirements": ("app",)})
    found = list(lockcheck.lock_findings(read_lock(world.repo, "demo"), {}, target))
    assert "lock/targets.toml requires dep<1, and locked is 1.0" in found
    assert not any("absent" in text for text in found)


def test_json_tells_the_changes_and_the_findings(world):
    world.settings = Settings(repo=world.repo, store=world.settings.store, json=True)
    changes = json.loads(world.lock().out)["changes"]
    assert changes[0]["title"] == "demo"
    assert json.loads(world.lock(check=True).out) == {"targets": ["demo"], "findings": [], "unresolved": []}
