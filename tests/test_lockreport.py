"""What `lock` says that it changed, and which package names it takes."""

from dataclasses import replace

import pytest

from build import lockreport
from build.errors import UsageError
from build.intent import read_intent
from build.lockfile import read_lock
from build.models import GitSource, Override, Settings
from build.settings import REPO

INTENT = read_intent(REPO)
LOCK = read_lock(REPO, "v0.32")


def upgraded(name, version, size):
    wheels = tuple(replace(w, version=version, size=w.size + size) if w.name == name else w for w in LOCK.wheels)
    return replace(LOCK, wheels=wheels)


def shown(capsys, tmp_path, *changes, written=True, json=False):
    lockreport.show(Settings(repo=REPO, store=tmp_path, json=json), changes, written=written)
    return capsys.readouterr().out


def test_a_package_is_shown_from_to_and_with_its_bytes(capsys, tmp_path):
    change = lockreport.of_target(INTENT, LOCK.wheels, LOCK, upgraded("torch", "9.9", 3000))
    said = shown(capsys, tmp_path, change)
    assert f"torch  {next(w.version for w in LOCK.wheels if w.name == 'torch')} → 9.9  +3.0 kB" in said
    assert "layers made anew: torch (from " in said


def test_what_comes_and_goes_is_shown():
    rows = lockreport.rows(LOCK.wheels[1:3], LOCK.wheels[2:4])
    assert [(row.before == "", row.after == "") for row in rows] == [(False, True), (True, False)]
    assert rows[0].bytes == -LOCK.wheels[1].size
    assert rows[1].bytes == LOCK.wheels[3].size


def test_a_wheel_that_only_changed_its_bytes_is_a_change():
    other = (replace(LOCK.wheels[0], sha256="0" * 64),)
    assert len(lockreport.rows(LOCK.wheels[:1], other)) == 1


def test_what_changes_besides_wheels_is_said_in_words():
    source = GitSource(url="x", tag="v1", commit="1" * 40, tree="2" * 40)
    after = replace(
        LOCK,
        patches=LOCK.patches[1:],
        epoch=1,
        overrides=(Override(requirement="a==1", reason="b"),),
        components=tuple(replace(item, git=source) for item in LOCK.components),
    )
    means = "\n".join(lockreport.of_target(INTENT, LOCK.wheels, LOCK, after).means)
    assert f"patches: {LOCK.patches[0].file}; the layer of patched files is made anew" in means
    assert "overrides: a==1" in means
    assert "vllm: commit 111111111111, tree 222222222222" in means
    assert "creation time moves" in means


def test_a_first_lock_is_a_summary_not_a_list(capsys, tmp_path):
    said = shown(capsys, tmp_path, lockreport.of_target(INTENT, (), None, LOCK))
    assert said.startswith(f"v0.32: {len(LOCK.wheels)} packages, ")
    assert "→" not in said


def test_nothing_and_a_dry_run_are_said(capsys, tmp_path):
    assert shown(capsys, tmp_path) == "nothing changed\n"
    change = lockreport.of_target(INTENT, LOCK.wheels, LOCK, upgraded("torch", "9.9", 1))
    assert "nothing was written (--dry-run)" in shown(capsys, tmp_path, change, written=False)


def test_json_has_the_same(capsys, tmp_path):
    change = lockreport.of_target(INTENT, LOCK.wheels, LOCK, upgraded("torch", "9.9", 1))
    pinned = lockreport.of_actions([("actions/checkout", "v5", "abc")], "lock/actions.toml")
    said = shown(capsys, tmp_path, change, pinned, json=True)
    assert '"package": "torch"' in said
    assert '"actions/checkout v5: abc"' in said


def test_a_package_that_no_lock_has_is_refused_with_the_nearest():
    locked = {wheel.name for wheel in LOCK.wheels}
    lockreport.require_known([lockreport.normal("Transformers")], locked)
    with pytest.raises(UsageError, match="'tranformers'") as caught:
        lockreport.require_known(["tranformers"], locked)
    assert caught.value.todo == "did you mean transformers?"
    with pytest.raises(UsageError, match="libc6") as caught:
        lockreport.require_known(["libc6"], locked)
    assert "all together" in caught.value.why
