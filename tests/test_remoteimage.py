"""An image read from a registry on loopback, as one in a folder is."""

import json

import pytest

from build import ociimage, pushing, remoteimage
from build.errors import BuildError, HashMismatchError, ImageNotFoundError, RegistryError
from build.registry import INDEX, MANIFEST
from tests import registryserver
from tests.imagekit import entry, image, sha, tar
from tests.registryserver import repository

NAME = "team/app"
LAYER = tar(entry("etc/a", bytes(range(256)) * 2000))


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    registryserver.quick(monkeypatch)


@pytest.fixture
def server():
    with registryserver.serve() as made:
        yield made


@pytest.fixture
def local(server, tmp_path):
    """What was pushed."""
    made = ociimage.read("it", image(LAYER, packed=bytes, names=["RUN x"]).folder(tmp_path))
    pushing.push(repository(server), made, pushing.manifest_of(made))
    return made


def test_it_is_the_same_as_where_it_came_from(server, local):
    found, manifest = remoteimage.opened(repository(server), local.manifest)
    assert manifest.digest == found.manifest == local.manifest
    assert (found.layers, found.config, found.config_digest) == (local.layers, local.config, local.config_digest)
    server.fault("GET", "blobs", cut=100_000)
    with found.source.open(found.layers[0].file) as stream:
        assert stream.read() == LAYER


def test_of_an_index_the_image_for_our_platform_is_read(server, local):
    row = {"digest": local.manifest, "size": 1, "platform": {"os": "linux", "architecture": "arm64"}}
    data = json.dumps({"schemaVersion": 2, "manifests": [row, {**row, "platform": {"os": "linux"}}]}).encode()
    server.repo(NAME).manifests[sha(data)] = (INDEX, data)
    found, manifest = remoteimage.opened(repository(server), sha(data))
    assert (found.manifest, manifest.digest) == (local.manifest, sha(data))


def test_what_is_not_there_is_said(server, local):
    with pytest.raises(ImageNotFoundError, match="never pushed there"):
        try:
            remoteimage.opened(repository(server), sha(b"none"))
        except ImageNotFoundError as error:
            raise ImageNotFoundError(error.why) from error
    del server.repos[NAME].blobs[local.config_digest]
    with pytest.raises(ImageNotFoundError, match="has no blob"):
        remoteimage.opened(repository(server), local.manifest)


def test_a_config_of_other_bytes_is_damaged(server, local):
    server.repos[NAME].blobs[local.config_digest] = b"{}".ljust(len(server.repos[NAME].blobs[local.config_digest]))
    with pytest.raises(HashMismatchError, match="is damaged"):
        remoteimage.opened(repository(server), local.manifest)


HEX = "0" * 64
CONFIG = {"digest": f"sha256:{HEX}", "size": 5}


@pytest.mark.parametrize(
    "told",
    [
        [], 5, "x", {}, {"config": 5, "layers": []}, {"config": CONFIG, "layers": 5}, {"config": CONFIG, "layers": [5]},
        {"config": CONFIG}, {"config": {"digest": "../../etc/passwd", "size": 1}, "layers": []},
        {"config": {**CONFIG, "size": "many"}, "layers": []}, {"config": {**CONFIG, "size": -1}, "layers": []},
        {"config": {**CONFIG, "size": 1 << 60}, "layers": []}, {"manifests": []}, {"manifests": 5},
    ],
)  # fmt: skip
def test_what_is_no_image_is_one_of_our_errors(server, told):
    data = json.dumps(told).encode()
    server.repo(NAME).manifests[sha(data)] = (MANIFEST, data)
    with pytest.raises(BuildError):
        remoteimage.opened(repository(server), sha(data))


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b"[" * 50_000])
def test_what_is_no_json_is_one_of_our_errors(server, data):
    server.repo(NAME).manifests[sha(data)] = (MANIFEST, data)
    with pytest.raises(RegistryError, match="a manifest that is none"):
        remoteimage.opened(repository(server), sha(data))
