"""dockerfiles/lane/manifest.py and ours.py: the last layer with the profiles in it, and the place for a volume."""

import json
import os
import shutil
import stat
import sys

import pytest

from build import determinism
from build.settings import REPO
from tests import servekit


@pytest.fixture
def lane(monkeypatch, tmp_path):
    """The steps' modules, with /opt elsewhere."""
    monkeypatch.syspath_prepend(str(REPO / "dockerfiles" / "lane"))
    for name, value in determinism.step_arguments().items():
        monkeypatch.setenv(name, value)
    names = ("layer", "manifest", "ours")
    for name in names:
        sys.modules.pop(name, None)
    import layer
    import manifest
    import ours

    monkeypatch.setattr(layer, "ROOT", tmp_path / "opt")
    monkeypatch.setattr(manifest, "SPARK", tmp_path / "opt" / "spark")
    monkeypatch.setattr(ours, "CACHE", tmp_path / "cache")
    (tmp_path / "opt" / "spark").mkdir(parents=True)
    (tmp_path / "opt" / "spark" / "own.json").write_text('["a"]')
    (tmp_path / "manifest.json").write_text('{"target": "t"}')
    yield manifest, ours
    for name in names:
        monkeypatch.delitem(sys.modules, name)


def test_profiles_are_beside_the_manifest(lane, tmp_path):
    manifest, _ = lane
    given = tmp_path / "given"
    shutil.copytree(servekit.PROFILES, given)
    for path in given.iterdir():
        path.chmod(0o600)
    manifest.main(tmp_path / "manifest.json", given)
    spark = tmp_path / "opt" / "spark"
    assert json.loads((spark / "manifest.json").read_text()) == {"own": ["a"], "target": "t"}
    made = sorted((spark / "profiles").iterdir())
    assert [path.name for path in made] == ["k144-nospec-200k.toml", "k160-mtp2-200k.toml"]
    for path in made:
        assert path.read_bytes() == (servekit.PROFILES / path.name).read_bytes()
        assert stat.S_IMODE(path.stat().st_mode) == 0o644
    for path in (*made, spark / "profiles", spark):
        assert int(path.stat().st_mtime) == determinism.LAYER_TIME


def test_without_profiles(lane, tmp_path):
    manifest, _ = lane
    manifest.main(tmp_path / "manifest.json", None)
    assert not (tmp_path / "opt" / "spark" / "profiles").exists()


def test_the_place_for_a_volume_is_everybodys(lane, tmp_path):
    """A new volume takes over its mode: whoever the container runs as can write there."""
    _, ours = lane
    ours.cache()
    assert stat.S_IMODE(os.stat(tmp_path / "cache").st_mode) == 0o1777
    for path in (tmp_path / "cache", tmp_path):
        assert int(path.stat().st_mtime) == determinism.LAYER_TIME
