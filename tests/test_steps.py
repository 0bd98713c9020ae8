"""The steps that stories share: a target with its locks, and the uv that runs in its build."""

import hashlib
import io
import shutil
import zipfile

import pytest

from build import steps, store
from build.errors import HashMismatchError, LockError
from build.models import Settings, Wheel
from build.settings import REPO


@pytest.fixture
def uv(tmp_path):
    """A wheel with a program in it, in a store, as uv's is."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("uv-1.data/scripts/uv", "a program")
    sha256 = hashlib.sha256(data.getvalue()).hexdigest()
    place = store.blob(tmp_path, sha256)
    place.parent.mkdir(parents=True)
    place.write_bytes(data.getvalue())
    return Settings(repo=REPO, store=tmp_path), Wheel(
        name="uv", version="1", file="uv-1.whl", sha256=sha256, size=len(data.getvalue())
    )


def test_uv_is_unpacked_once_as_a_program(uv):
    settings, wheel = uv
    made = steps.uv_program(settings, wheel)
    assert made.read_text() == "a program"
    assert made.stat().st_mode & 0o777 == 0o755
    store.blob(settings.store, wheel.sha256).unlink()
    assert steps.uv_program(settings, wheel) == made


def test_a_damaged_uv_never_becomes_a_program(uv):
    settings, wheel = uv
    blob = store.blob(settings.store, wheel.sha256)
    blob.write_bytes(blob.read_bytes().replace(b"a program", b"an attack"))
    with pytest.raises(HashMismatchError, match=r"uv-1\.whl"):
        steps.uv_program(settings, wheel)
    assert not blob.exists()
    assert not (settings.store / "roots").exists()


def test_a_changed_series_makes_the_lock_stale(tmp_path):
    for name in ("lock", "patches"):
        shutil.copytree(REPO / name, tmp_path / name)
    settings = Settings(repo=tmp_path, store=tmp_path / "store")
    assert steps.load(settings, "tiny").name == "tiny"
    patch = tmp_path / "patches/tiny/jinja2/0001-visible-constant.patch"
    patch.write_text(patch.read_text().replace('"patched"', '"other"'))
    with pytest.raises(LockError, match="stale") as caught:
        steps.load(settings, "tiny")
    assert "nox -s lock -- --target tiny" in caught.value.todo
