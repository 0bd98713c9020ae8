"""Our series, applied to the locked releases: exactly, once, quickly, and with the hashes that the lock names."""

import hashlib
import time

import pytest

from build.errors import AlreadyAppliedError, PatchError
from tests.patches import releases

TARGETS = ("v0.32", "v0.22", "tiny")


def sha256(data):
    return "" if data is None else hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("target", TARGETS)
def test_the_lock_has_these_files_before_and_after(target):
    before, after = releases.sources(target), releases.patched(target)
    component, _ = releases.component(target)
    found = {path: (sha256(before.get(path)), sha256(after[path])) for path in after}
    assert found == {file.source: (file.before, file.after) for file in component.files}


@pytest.mark.parametrize("target", TARGETS)
def test_none_applies_twice(target):
    files = dict(releases.sources(target))
    for patch in releases.patches(target):
        files |= patch.apply(files.get)
        with pytest.raises(AlreadyAppliedError):
            patch.apply(files.get)


@pytest.mark.parametrize("target", TARGETS)
def test_none_applies_with_an_offset(target):
    for patch in releases.patches(target):
        touched = {change.path for change in patch.files if not change.created}
        files = dict(releases.sources(target))
        for path in touched:
            with pytest.raises(PatchError, match="does not apply exactly"):
                patch.apply({**files, path: b"# a new first line\n" + files[path]}.get)


def test_the_whole_series_applies_in_a_fraction_of_a_second():
    releases.sources("v0.32")
    start = time.monotonic()
    releases.patched("v0.32")
    assert time.monotonic() - start < 1


def test_another_version_is_refused():
    """The series of 0.32 on the files of 0.22: refused by name, where fuzz might have found a place for it."""
    with pytest.raises(PatchError) as caught:
        releases.patches("v0.32")[1].apply(releases.sources("v0.22").get)
    assert "vllm/0002-router-any-expert-count.patch does not apply exactly to vllm/_custom_ops.py" in str(caught.value)
    assert "expected" in caught.value.why
