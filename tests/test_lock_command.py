"""lock: what it keeps, what it refuses, without a network."""

import argparse
import shutil

import pytest

from build.commands import lock
from build.errors import NewerLockError, OfflineError
from build.models import Settings
from build.settings import REPO


@pytest.fixture
def settings(tmp_path):
    for name in ("lock", "patches", "dockerfiles"):
        shutil.copytree(REPO / name, tmp_path / "repo" / name, ignore=shutil.ignore_patterns(".*", "__pycache__"))
    return Settings(repo=tmp_path / "repo", store=tmp_path / "store", offline=True)


def run(settings, **more):
    asked = {"target": "tiny", "upgrade": False, "check": False, "dry_run": False, **more}
    return lock.run(argparse.Namespace(**asked), settings)


def test_check_is_content_with_what_is_here(settings, capsys):
    assert run(settings, target=None, check=True) == 0
    assert "v0.32" in capsys.readouterr().out


def test_offline_is_kept_where_something_must_be_looked_up(settings):
    with pytest.raises(OfflineError, match="--offline"):
        run(settings, upgrade=True)


def test_a_changed_intent_is_not_resolved_offline(settings):
    targets = settings.repo / "lock" / "targets.toml"
    targets.write_text(targets.read_text().replace('"markupsafe==3.0.3"', '"markupsafe==3.0.2"'))
    with pytest.raises(OfflineError) as caught:
        run(settings)
    assert "tiny" in caught.value.why


def test_a_lock_of_a_newer_tool_is_not_written_over(settings):
    path = settings.repo / "lock" / "tiny.toml"
    path.write_text(path.read_text().replace("schema = 1", "schema = 9"))
    before = path.read_bytes()
    with pytest.raises(NewerLockError):
        run(settings)
    assert path.read_bytes() == before


def test_the_report_says_from_to_and_bytes(capsys):
    lock.report("x", [("torch", "2.0", 1000), ("gone", "1", 5)], [("torch", "2.1", 3000), ("new", "1", 7)])
    said = capsys.readouterr().out
    assert "torch  2.0 → 2.1  +2.0 kB" in said
    assert "gone  1 → -  -5 B" in said
    assert "new  - → 1  +7 B" in said
