"""Recorded results: what is compared, and that an edit by hand is seen."""

from dataclasses import replace

import pytest

from build import results
from build.errors import LockError
from build.results import LayerResult, Result

LAYERS = tuple(LayerResult(diff_id=f"sha256:{n:064}", digest=f"sha256:{n + 9:064}", size=n) for n in range(3))
RESULT = Result(
    target="tiny", chain_id="c" * 64, engine="docker.io 1", rootfs="r" * 64, config="sha256:c", manifest="sha256:m",
    layers=LAYERS,
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


def test_manifests_are_compared_for_the_same_engine_only():
    other = replace(RESULT, manifest="sha256:n")
    assert len(results.differences(RESULT, other)) == 1
    assert results.differences(RESULT, replace(other, engine="docker.io 2")) == []
