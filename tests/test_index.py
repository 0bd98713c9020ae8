"""The index: what is made of its answers, without one."""

import pytest

from build import index
from build.errors import ResolveError

WHEEL = {
    "url": "https://u:p@index.example/a%2Bb-1-py3-none-any.whl?x=1#y",
    "size": 3,
    "hashes": {"sha256": "ab"},
}


def test_a_file_is_what_a_lock_keeps_of_it():
    found = index._file({"name": "a", "version": "1"}, WHEEL, sdist=False)
    assert (found.file, found.size, found.sha256, found.uploaded) == ("a+b-1-py3-none-any.whl", 3, "ab", 0)


def test_an_index_that_tells_too_little_is_named_for_a_lock():
    found = index._file({"name": "a", "version": "1"}, {"url": "https://x/a.whl"}, sdist=False)
    with pytest.raises(ResolveError, match="does not tell"):
        index._require([found])


def test_preferences_are_a_pylock():
    import tomllib

    said = tomllib.loads(index._preferences([("torch", "2.13.0")]))
    assert said["packages"] == [{"name": "torch", "version": "2.13.0"}]
    assert index._preferences([]) == ""
