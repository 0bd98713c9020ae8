"""dockerfiles/lane/layer.py: what a step added gets one mode and one time, and what was there is not touched."""

import os
import stat
from pathlib import Path

import pytest

from build import determinism
from build.settings import REPO


@pytest.fixture
def layer(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(REPO / "dockerfiles" / "lane"))
    import layer

    for name, value in determinism.step_arguments().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(layer, "ROOT", tmp_path / "opt")
    monkeypatch.setattr(layer.entries, "__defaults__", (tmp_path / "opt",))
    yield layer
    monkeypatch.delitem(__import__("sys").modules, "layer")


def put(path: Path, mode: int = 0o600) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    path.chmod(mode)
    return path


def told(path: Path) -> tuple[int, int]:
    found = path.lstat()
    return stat.S_IMODE(found.st_mode), int(found.st_mtime)


def test_what_was_added_and_the_folders_around_it_are_settled(layer, tmp_path):
    root = tmp_path / "opt"
    old, beside = put(root / "venv/lib/old.py"), put(root / "spark/other")
    for folder in (root / "spark", tmp_path, old.parent):
        os.utime(folder, (7, 7))
    before = layer.entries()
    plain = put(root / "venv/lib/new/a.py", 0o640)
    program = put(root / "venv/bin/run", 0o700)
    (root / "venv/bin/link").symlink_to("run")
    plain.parent.chmod(0o700)
    layer.settle(layer.entries() - before)
    assert told(plain) == (0o644, determinism.LAYER_TIME)
    assert told(program) == (0o755, determinism.LAYER_TIME)
    assert told(root / "venv/bin/link")[1] == determinism.LAYER_TIME
    for folder in (plain.parent, program.parent, old.parent, root / "venv", root):
        assert told(folder) == (0o755, determinism.LAYER_TIME), folder
    assert told(old)[0] == told(beside)[0] == 0o600
    assert told(old)[1] != determinism.LAYER_TIME
    assert int((root / "spark").stat().st_mtime) == int(tmp_path.stat().st_mtime) == 7, (
        "no folder around what was added"
    )


def test_bytecode_is_an_error(layer, tmp_path):
    put(tmp_path / "opt/venv/__pycache__/a.cpython-313.pyc")
    with pytest.raises(SystemExit, match="bytecode in a layer"):
        layer.settle(layer.entries())


def test_a_step_begins_with_the_constants_or_not_at_all(layer, monkeypatch):
    before = os.umask(0o077)
    try:
        assert layer.begin() == dict(determinism.ENVIRONMENT)
        assert os.umask(0o077) == determinism.UMASK
    finally:
        os.umask(before)
    for name in determinism.step_arguments():
        if name != "LAYER_TIME":
            with monkeypatch.context() as without, pytest.raises(KeyError, match=name):
                without.delenv(name)
                layer.begin()
    os.umask(before)
