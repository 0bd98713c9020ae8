"""Recorded results: what is compared, and that an edit by hand is seen."""

from dataclasses import replace

import pytest

from build import results
from build.errors import LockError
from build.results import LayerResult, Result

LAYERS = tuple(LayerResult(diff_id=f"sha256:{n:064}", digest=f"sha256:{n + 9:064}", size=n) for n in range(3))
RESULT = Result(
    target="tiny", chain_id="c" * 64, engine="docker.io 1", buildkit="v0.13", rootfs="r" * 64, config="sha256:c",
    canonical_config="k" * 64, manifest="sha256:m", layers=LAYERS,
)  # fmt: skip


def test_a_result_is_read_as_it_was_written(tmp_path):
    assert results.read(tmp_path, "tiny") is None
    assert results.write(tmp_path, RESULT)
    assert results.read(tmp_path, "tiny") == RESULT
    assert not results.write(tmp_path, RESULT)


def test_an_edited_result_is_refused(tmp_path):
    results.write(tmp_path, RESULT)
    path = results.path_of(tmp_path, "tiny")
    path.write_text(path.read_text().replace("sha256:m", "sha256:n"))
    with pytest.raises(LockError, match="edited by hand"):
        results.read(tmp_path, "tiny")


def test_the_same_image_has_no_differences():
    assert results.differences(RESULT, RESULT) == []


def test_a_layer_that_differs_is_named_by_its_place():
    other = replace(RESULT, layers=(LAYERS[0], replace(LAYERS[1], diff_id="sha256:x"), LAYERS[2]), manifest="sha256:n")
    (said,) = results.differences(RESULT, other)
    assert said.startswith("layer 2: diff id sha256:")
    assert "sha256:x is here" in said


def test_another_number_of_layers_and_another_rootfs_are_named():
    found = results.differences(RESULT, replace(RESULT, layers=LAYERS[:2], rootfs="s" * 64))
    assert [text.split(":")[0] for text in found] == ["rootfs", "3 layers were recorded, 2 are here"]


@pytest.mark.parametrize("other", [{"engine": "docker.io 2"}, {"buildkit": "v0.14"}])
def test_manifests_are_compared_for_the_same_buildkit_only(other):
    found = replace(RESULT, manifest="sha256:n")
    assert len(results.differences(RESULT, found)) == 1
    found = replace(found, **other)
    assert results.differences(RESULT, found) == []
    assert "the same diff ids and canonical configuration; " in results.held(RESULT, found)


def test_another_configuration_is_another_image_whatever_built_it():
    found = replace(RESULT, canonical_config="l" * 64, engine="docker.io 2", manifest="sha256:n")
    assert [text.split(":")[0] for text in results.differences(RESULT, found)] == ["configuration"]


def test_an_engine_that_does_not_show_the_configuration_is_believed_no_more_than_it_shows():
    found = replace(RESULT, canonical_config="", config="", engine="Docker Engine 28", manifest="sha256:n")
    assert results.differences(RESULT, found) == []
    assert "does not show" in results.held(RESULT, found)
    assert "equal to the byte" in results.held(RESULT, replace(found, manifest=RESULT.manifest))


def test_the_canonical_configuration_leaves_out_what_buildkit_says_of_itself_and_nothing_else():
    config = {"os": "linux", "config": {"Env": ["A=1", "B=2"]}, "rootfs": {"diff_ids": ["sha256:0"]}}
    same = {**config, "history": [{"created_by": "RUN"}], "moby.buildkit.buildinfo.v1": "e30="}
    assert results.canonical_config(same) == results.canonical_config(config)
    others = [{**config, "os": "wasi"}, {**config, "config": {"Env": ["B=2", "A=1"]}}, {**config, "mobyx": 1}]
    assert len({results.canonical_config(item) for item in [config, *others]}) == 4
