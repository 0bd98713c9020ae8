"""Images read from folders and tars: what is found, and what is no image, not whole, or not what its digest says."""

import json

import pytest

from build import ociimage
from build.errors import HashMismatchError, ImageNotFoundError
from tests.imagekit import Made, entry, gz, image, old_save, sha, tar, written

LAYER = tar(entry("etc/a", b"a\n"))
OTHER = tar(entry("etc/b", b"b\n"))


def read(path):
    return ociimage.read("it", path)


@pytest.mark.parametrize("name", ["layout", "image.tar"])
def test_a_layout_is_read_from_a_folder_and_from_a_tar(tmp_path, name):
    made = image(LAYER, OTHER, names=["ADD rootfs.tar / # buildkit", "RUN x # buildkit"], annotations={"k": "v"})
    found = read(written(tmp_path / name, made))
    assert [(layer.number, layer.name, layer.diff_id, layer.packed) for layer in found.layers] == [
        (1, "rootfs", sha(LAYER), "zstd"), (2, "RUN x", sha(OTHER), "zstd"),
    ]  # fmt: skip
    assert found.annotations == {"k": "v"}
    assert found.config["config"] == {"Env": ["A=1"]}
    with found.source.open(found.layers[0].file) as stream:
        data = stream.read()
    assert (sha(data), len(data)) == (found.layers[0].digest, found.layers[0].size)
    manifest = json.loads(made.files["index.json"])["manifests"][0]
    assert found.manifest == manifest["digest"]
    assert found.overhead > manifest["size"]


def test_layers_without_a_history_have_no_names(tmp_path):
    assert [layer.name for layer in read(image(LAYER, history=False).folder(tmp_path)).layers] == [""]


def test_an_old_docker_save_is_read(tmp_path):
    found = read(old_save(LAYER, OTHER).archive(tmp_path / "old.tar"))
    assert found.manifest == ""
    assert [(layer.diff_id, layer.size) for layer in found.layers] == [
        (sha(LAYER), len(LAYER)),
        (sha(OTHER), len(OTHER)),
    ]
    with found.source.open(found.layers[1].file) as stream:
        assert stream.read() == OTHER


def test_a_tar_that_is_no_image_is_a_root_file_system_of_one_layer(tmp_path):
    (tmp_path / "rootfs.tar").write_bytes(LAYER)
    found = read(tmp_path / "rootfs.tar")
    assert [(layer.name, layer.diff_id) for layer in found.layers] == [("rootfs.tar", sha(LAYER))]
    with found.source.open(found.layers[0].file) as stream:
        assert stream.read() == LAYER


def index(made, *rows):
    made.files["index.json"] = json.dumps({"manifests": list(rows)}).encode()
    return made


def test_of_an_index_the_image_for_our_platform_is_taken_and_no_attestation(tmp_path):
    made = image(LAYER)
    (ours,) = json.loads(made.files["index.json"])["manifests"]
    foreign = {**made.json({}), "platform": {"os": "linux", "architecture": "amd64"}}
    proof = {**made.json({"x": 1}), "annotations": {"vnd.docker.reference.type": "attestation-manifest"}}
    inner = made.json({"manifests": [foreign, proof, ours]})
    assert read(index(made, inner).folder(tmp_path / "nested")).manifest == ours["digest"]
    with pytest.raises(ImageNotFoundError, match="0 images for linux/arm64 among 2"):
        read(index(made, foreign, foreign).folder(tmp_path / "foreign"))


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ({}, "no index.json"),
        ({"index.json": b"[]"}, "JSON of another kind"),
        ({"index.json": b"{"}, "no JSON"),
        ({"index.json": b"{}"}, "lists no manifests"),
        ({"index.json": b'{"manifests": [{"digest": "sha256:../../../etc/passwd"}]}'}, "no digest that we know"),
    ],
)
def test_a_folder_that_is_no_image_is_refused(tmp_path, files, why):
    with pytest.raises(ImageNotFoundError, match=why):
        read(Made(files).folder(tmp_path))


def test_what_is_not_there_and_what_is_no_tar_is_refused(tmp_path):
    with pytest.raises(ImageNotFoundError, match="no such file"):
        read(tmp_path / "none.tar")
    (tmp_path / "text.tar").write_text("not a tar\n" * 100)
    with pytest.raises(ImageNotFoundError, match="it is no tar"):
        read(tmp_path / "text.tar")
    (tmp_path / "image.tar.gz").write_bytes(gz(LAYER))
    with pytest.raises(ImageNotFoundError, match="decompressed first"):
        read(tmp_path / "image.tar.gz")


def test_a_manifest_of_something_else_is_refused(tmp_path):
    made = Made()
    row = made.json({"config": made.json({}), "layers": []})
    with pytest.raises(ImageNotFoundError, match="no manifest of an image"):
        read(index(made, row).folder(tmp_path))


def test_a_manifest_that_is_not_its_digest_is_an_error(tmp_path):
    made = image(LAYER)
    (row,) = json.loads(made.files["index.json"])["manifests"]
    made.files[f"blobs/{row['digest'].replace(':', '/')}"] += b" "
    with pytest.raises(HashMismatchError, match="damaged"):
        read(made.folder(tmp_path))


def test_a_manifest_that_is_missing_is_an_error(tmp_path):
    made = image(LAYER)
    (row,) = json.loads(made.files["index.json"])["manifests"]
    del made.files[f"blobs/{row['digest'].replace(':', '/')}"]
    with pytest.raises(HashMismatchError, match="not whole"):
        read(made.folder(tmp_path))


@pytest.mark.parametrize(
    "config",
    [{"history": ["x"]}, {"rootfs": []}, {"rootfs": {"diff_ids": "x"}}, {"rootfs": {"diff_ids": []}}, {"history": 1}],
)
def test_a_config_that_makes_no_sense_is_refused(tmp_path, config):
    with pytest.raises(ImageNotFoundError, match="no manifest of an image"):
        read(image(LAYER, config=config).folder(tmp_path))


@pytest.mark.parametrize("config", ["text", {"Labels": ["x"]}, None])
def test_labels_that_make_no_sense_are_none(tmp_path, config):
    assert read(image(LAYER, config={"config": config}).folder(tmp_path)).labels == {}
