"""The image's own program on the host: one code composes vLLM's command in both places."""

import sys

import pytest

from build import entrycode, profiles
from build.errors import ProfileError
from build.settings import REPO


@pytest.mark.parametrize("name", ["k144-nospec-200k", "k160-mtp2-200k"])
def test_the_command_of_a_profile(name):
    content = (REPO / profiles.FOLDER / f"{name}.toml").read_bytes()
    said = entrycode.vllm_command(REPO, content, "/models/x", ["--seed=1"], None)
    profile = profiles.parse(content, name)
    for text in (
        "vllm serve /models/x", f"--served-model-name {profile.model.served_name}", "--max-model-len 200000",
        f"--kv-cache-memory-bytes {profile.serve.kv_cache_memory}", "--host 0.0.0.0", "--port 8000", "--seed=1",
        "VLLM_TRITON_MLA_SPARSE_ALLOW_CUDAGRAPH=1",
    ):  # fmt: skip
        assert text in said
    assert "--port 9000" in entrycode.vllm_command(REPO, content, "/models/x", [], ("127.0.0.1", 9000))


def test_what_the_program_would_refuse():
    content = (REPO / profiles.FOLDER / "k144-nospec-200k.toml").read_bytes() + b"[serve2]\n"
    with pytest.raises(ProfileError) as caught:
        entrycode.vllm_command(REPO, content, "/models/x", [], None)
    assert "serve2" in caught.value.why


def test_it_is_the_program_itself():
    assert entrycode.module(REPO, "exits") is sys.modules["spark_serve.exits"]
    assert entrycode.module(REPO, "exits").__file__ == str(REPO / "dockerfiles/image/serve/exits.py")
