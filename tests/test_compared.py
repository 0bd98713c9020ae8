"""The words of a diff, and the names of layers."""

import shutil
from dataclasses import replace

import pytest

from build import compared, ociimage
from build.errors import ImageNotFoundError
from build.models import Settings
from build.settings import REPO
from tests.imagekit import image, tar

TINY = ("rootfs", "other", "ours", "patched jinja2", "manifest")
STEPS = (
    "ADD rootfs.tar / # buildkit",
    "install.py /mnt/wheels",
    "ours.py /mnt/image",
    "patched.py /mnt/patched jinja2 3.13",
    "manifest.py x",
)


@pytest.fixture
def settings(tmp_path):
    return Settings(repo=REPO, store=tmp_path / "store")


def built(folder, target="tiny", steps=STEPS):
    layers = [tar() + bytes(512 * n) for n in range(len(steps))]
    names = [step if step.startswith("ADD") else f"RUN /mnt/lane/{step}" for step in steps]
    config = {"config": {"Labels": {"spark-runtime.target": target}}}
    return image(*layers, names=names, config=config).folder(folder)


def names(settings, path):
    with compared.opened(settings, str(path)) as found:
        return tuple(layer.name for layer in found.layers)


def test_layers_have_the_names_of_their_target_s(settings, tmp_path):
    assert compared.layer_names(settings, "tiny") == TINY
    assert names(settings, built(tmp_path / "a")) == TINY


def test_layers_of_another_target_or_another_time_keep_what_history_says(settings, tmp_path):
    assert names(settings, built(tmp_path / "a", target="gone")) == ("rootfs", "wheels", *TINY[2:])
    turned = (STEPS[0], STEPS[2], STEPS[1], *STEPS[3:])
    assert names(settings, built(tmp_path / "b", steps=turned)) == ("rootfs", "ours", "wheels", *TINY[3:])
    assert names(settings, built(tmp_path / "c", steps=STEPS[:4])) == ("rootfs", "wheels", *TINY[2:4])


def test_what_the_lock_cannot_tell_has_no_names(settings, tmp_path):
    assert compared.layer_names(settings, "no-target") == ()
    repo = tmp_path / "repo"
    for name in ("lock", "patches", "dockerfiles"):
        shutil.copytree(REPO / name, repo / name)
    assert compared.layer_names(replace(settings, repo=repo), "tiny") == TINY
    intent = repo / "lock/targets.toml"
    intent.write_text(intent.read_text().replace('"markupsafe==3.0.3"', '"markupsafe==3.0.2"'))
    assert compared.layer_names(replace(settings, repo=repo), "tiny") == (), "the lock is stale"


def test_what_is_recorded_is_known_of_targets_alone(settings):
    assert compared.recorded(settings, "tiny").target == "tiny"
    assert compared.recorded(settings, "./tiny.tar") is None


@pytest.mark.parametrize("word", ["./none", "/none", "image.tar", "image.tar.gz"])
def test_a_word_that_can_only_be_a_path_asks_no_engine(settings, word):
    with pytest.raises(ImageNotFoundError, match="no such file"), compared.opened(settings, word):
        pass


def test_a_path_is_read_whatever_its_name(settings, tmp_path, monkeypatch):
    built(tmp_path / "plain")
    monkeypatch.chdir(tmp_path)
    assert names(settings, "plain") == TINY
    assert ociimage.read("plain", tmp_path / "plain").layers[1].name == "wheels"
