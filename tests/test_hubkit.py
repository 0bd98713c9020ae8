"""The hub of the tests is one to huggingface_hub itself: its own snapshot_download works with it."""

import huggingface_hub
import pytest
from huggingface_hub import constants

from tests import hubkit, modelkit


@pytest.fixture
def hub(monkeypatch):
    with hubkit.serve() as made:
        hubkit.environment(made, monkeypatch)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        yield made


def test_the_librarys_own_client_downloads_a_snapshot(hub, tmp_path):
    files = modelkit.tiny()
    hub.put(modelkit.REPO, modelkit.REVISION, files)
    hub.branches["main"] = modelkit.REVISION
    got = huggingface_hub.snapshot_download(
        modelkit.REPO, endpoint=hub.url, token="hf_x", local_dir=tmp_path / "got", cache_dir=tmp_path / "cache"
    )
    assert {path: (tmp_path / "got" / path).read_bytes() for path in files} == files
    assert got == str(tmp_path / "got")
    assert {"HEAD", "GET"} == {one.method for one in hub.asked}
    assert all("authorization" not in one.headers for one in hub.asked if one.cdn), "the token stays with the hub"
    assert any(one.headers.get("authorization") == "Bearer hf_x" for one in hub.asked)


def test_a_gated_repository_is_one_to_the_library(hub):
    hub.put(modelkit.REPO, modelkit.REVISION, modelkit.tiny())
    hub.gated.add(modelkit.REPO)
    with pytest.raises(huggingface_hub.errors.GatedRepoError, match="restricted"):
        url = huggingface_hub.hf_hub_url(modelkit.REPO, "config.json", revision=modelkit.REVISION, endpoint=hub.url)
        huggingface_hub.get_hf_file_metadata(url, token=False)
