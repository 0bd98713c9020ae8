"""A copy of the clone: what a build reads, as a checkout would have it."""

import os

import pytest

from build import clone


@pytest.fixture
def repo(tmp_path):
    for name, text in {
        "build/a.py": "a", "build/__pycache__/a.pyc": "cache", "patches/s/series": "", "nox": "#!", "README.md": "no",
        "out/smoke/x": "no", "lock/results/tiny.toml": "r", "build/commands/b.py": "b",
    }.items():  # fmt: skip
        path = tmp_path / "repo" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "repo/nox").chmod(0o755)
    return tmp_path / "repo"


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_a_clone_is_copied_as_a_checkout_under_the_umask_would_be(repo, tmp_path, umask):
    before = os.umask(umask)
    try:
        clone.copy(repo, tmp_path / "copy", backwards=True)
    finally:
        os.umask(before)
    found = sorted(str(p.relative_to(tmp_path / "copy")) for p in (tmp_path / "copy").rglob("*") if p.is_file())
    assert found == ["build/a.py", "build/commands/b.py", "lock/results/tiny.toml", "nox", "patches/s/series"]
    assert (tmp_path / "copy/nox").stat().st_mode & 0o777 == 0o777 & ~umask
    assert (tmp_path / "copy/build/a.py").stat().st_mode & 0o777 == 0o666 & ~umask
