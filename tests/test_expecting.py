"""build/expecting.py: whether an image that was sent elsewhere is the recorded one. Real layouts, in small."""

import json
from dataclasses import replace

import pytest

from build import canonical, expecting, results, rootfs, steps
from build.errors import LockError, ReproduceError
from build.models import Settings
from build.settings import REPO
from tests import imagekit

A, B = imagekit.tar(imagekit.entry("a", b"a")), imagekit.tar(imagekit.entry("b", b"b"))


@pytest.fixture
def job(tmp_path):
    """tiny, with results of its own and a made-up root file system, sent to the builder farm."""
    repo = tmp_path / "repo"
    (repo / "lock/results").mkdir(parents=True)
    job = steps.load(Settings(repo=REPO, store=tmp_path / "store"), "tiny")
    place = rootfs.place(job.settings.store, job.rootfs)
    place.parent.mkdir(parents=True)
    place.write_bytes(b"root")
    return replace(job, settings=replace(job.settings, repo=repo, builder="farm"))


@pytest.fixture
def sent(job, tmp_path):
    """An image as a file, and what was recorded of it, where it differs as ``changed`` says."""

    def make(*layers, chain="c", **changed):
        config = {"config": {"Labels": {f"{steps.LABEL}.chain-id": chain}}}
        made = imagekit.image(*layers, config=config)
        file = imagekit.written(tmp_path / "image.tar", made)
        (row,) = json.loads(made.files["index.json"])["manifests"]
        manifest = json.loads(made.files[f"blobs/{row['digest'].replace(':', '/')}"])
        told = json.loads(made.files[f"blobs/{manifest['config']['digest'].replace(':', '/')}"])
        rows = zip(told["rootfs"]["diff_ids"], manifest["layers"], strict=True)
        whole = results.Result(
            target="tiny", chain_id=chain, engine="docker.io 1", buildkit="",
            rootfs=canonical.file_sha256(rootfs.place(job.settings.store, job.rootfs)),
            config=manifest["config"]["digest"], canonical_config=results.canonical_config(told), manifest=row["digest"],
            layers=tuple(results.LayerResult(diff_id=d, digest=x["digest"], size=x["size"]) for d, x in rows),
        )  # fmt: skip
        results.write(job.settings.repo, replace(whole, **changed))
        metadata = {expecting.MANIFEST: whole.manifest, expecting.CONFIG: whole.config}
        return f"type=oci,dest={file}", metadata

    return make


def demand(job, spec, metadata, chain="c"):
    expecting.demand_sent(job, chain, spec, metadata, buildkit="v0.1")


def test_a_file_is_compared_layer_by_layer(job, sent, capsys):
    demand(job, *sent(A, B))
    assert "as recorded in lock/results/: the same manifest" in capsys.readouterr().err
    demand(job, *sent(A, B, manifest="sha256:other"))
    said = capsys.readouterr().err
    assert "the same diff ids and canonical configuration; the builder farm (BuildKit v0.1) compressed" in said


def test_another_layer_is_named(job, sent):
    other = (results.LayerResult(diff_id="sha256:x", digest="", size=0),) * 2
    with pytest.raises(ReproduceError, match="tiny is not what was recorded") as caught:
        demand(job, *sent(A, B, layers=other))
    assert "layer 2: diff id sha256:x was recorded" in caught.value.why


def test_another_configuration_is_named(job, sent):
    with pytest.raises(ReproduceError) as caught:
        demand(job, *sent(A, canonical_config="0" * 64))
    assert "configuration: 000" in caught.value.why


REGISTRY = "type=registry,name=h:1/x"


def test_of_what_went_to_a_registry_digests_are_compared(job, sent, capsys):
    _, metadata = sent(A)
    demand(job, REGISTRY, metadata)
    assert "the same manifest" in capsys.readouterr().err
    demand(job, REGISTRY, {**metadata, expecting.MANIFEST: "sha256:other"})
    assert "the same configuration, and so the same diff ids" in capsys.readouterr().err
    for told in ({}, {expecting.MANIFEST: "sha256:m", expecting.CONFIG: "sha256:c"}):
        with pytest.raises(ReproduceError) as caught:
            demand(job, REGISTRY, told)
        assert metadata[expecting.CONFIG] in caught.value.why
    _, metadata = sent(A, config="")
    with pytest.raises(ReproduceError):
        demand(job, REGISTRY, {})


def test_of_other_inputs_nothing_is_expected(job, sent):
    spec, metadata = sent(A)
    with pytest.raises(ReproduceError, match="does not say what tiny should be") as caught:
        demand(job, spec, metadata, chain="another")
    assert "chain id c is recorded, and this is another" in caught.value.why
    results.path_of(job.settings.repo, "tiny").unlink()
    with pytest.raises(ReproduceError, match="does not say"):
        demand(job, spec, metadata)


def test_an_edited_result_is_an_error_unless_it_is_written_over(job, sent):
    sent(A)
    path = results.path_of(job.settings.repo, "tiny")
    path.write_text(path.read_text().replace('chain_id = "c"', 'chain_id = "d"'))
    with pytest.raises(LockError):
        expecting.recorded_before(job, rewrite=False)
    assert expecting.recorded_before(job, rewrite=True) is None


@pytest.mark.parametrize(
    ("spec", "can"),
    [("type=oci,dest=a", True), ("type=registry,name=a", True), ("type=image,name=a", True), ("type=oci", False),
     ("type=local,dest=a", False), ("type=docker,dest=a", False), ("out", False), ("type=cacheonly", False)],
)  # fmt: skip
def test_where_an_image_can_be_seen(spec, can):
    assert expecting.tellable(spec) is can
