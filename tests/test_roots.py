"""Roots as tars: the same bytes for the same packages, whatever happened around them."""

import os
import tarfile

from build.canonical import file_sha256
from build.roots import write_tar


def tree(root, mask):
    before = os.umask(mask)
    try:
        (root / "usr/lib").mkdir(parents=True)
        (root / "usr/lib/one.py").write_text("1\n")
        (root / "lib").symlink_to("usr/lib")
    finally:
        os.umask(before)
    for name in ("usr", "usr/lib"):
        (root / name).chmod(0o755)  # as a package has it
    (root / "usr/lib/one.py").chmod(0o644)
    return root


def test_time_and_leftovers_of_running_programs_do_not_count(tmp_path):
    for name, mask in (("a", 0o022), ("b", 0o077)):
        tree(tmp_path / name, mask)
    os.utime(tmp_path / "b/usr/lib/one.py", (1, 1))
    (tmp_path / "b/usr/lib/__pycache__").mkdir()
    (tmp_path / "b/usr/lib/__pycache__/one.pyc").write_bytes(b"cache")
    for name in ("a", "b"):
        write_tar(tmp_path / name, tmp_path / f"{name}.tar", 1_700_000_000)
    assert file_sha256(tmp_path / "a.tar") == file_sha256(tmp_path / "b.tar")
    with tarfile.open(tmp_path / "a.tar") as archive:
        assert [entry.name for entry in archive] == [".", "./lib", "usr", "usr/lib", "usr/lib/one.py"]
        assert {(entry.uid, entry.gid, entry.mtime) for entry in archive} == {(0, 0, 1_700_000_000)}
