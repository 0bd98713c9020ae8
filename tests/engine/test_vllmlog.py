"""The lines that tell of a start are there in each vLLM that is locked: asked of the wheels in the store."""

import zipfile

import pytest

from build import lockfile, store, vllmlog
from build.settings import REPO, default_store

PACKAGES = ("vllm", "tilelang")
PARTS = ("vllm/model_executor/", "vllm/v1/", "vllm/compilation/", "vllm/entrypoints/", "tilelang/jit/")


@pytest.fixture(scope="module", params=["v0.22", "v0.32"])
def sources(request):
    """The Python files that could say it, in one text."""
    lock = lockfile.read_lock(REPO, request.param)
    texts = []
    for wheel in lock.wheels:
        if wheel.name in PACKAGES:
            if not store.has(default_store(), wheel.sha256, wheel.size):
                pytest.skip(f"{wheel.file} is not in the store")
            with zipfile.ZipFile(store.blob(default_store(), wheel.sha256)) as archive:
                names = [name for name in archive.namelist() if name.endswith(".py") and name.startswith(PARTS)]
                texts += [archive.read(name).decode("utf-8", errors="replace") for name in names]
    return "\n".join(texts)


@pytest.mark.parametrize("words", [words for words, _, _ in vllmlog.KNOWN])
def test_each_phase_is_told_by_each_vllm(sources, words):
    """As it stands there in a literal; one may be broken in two, so that one of a phase's is enough."""
    found = [text for text in words if text.strip() in sources]
    assert found, f"no line of this vLLM begins {words}"
