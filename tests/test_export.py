"""Exported folders: written whole or not at all, resumed, verified, without links to the store."""

import hashlib
import signal
import subprocess
import sys
import time

import pytest

from build import download, export, exported, lockfile, store
from build.download import Download
from build.errors import HashMismatchError, SpaceError, UsageError
from build.models import Settings
from build.settings import REPO

FACTS = export.Facts(
    target="tiny", chain_id="c" * 64, lock="a" * 64, tools="b" * 64, machines=("arm64",), pythons=("3.12",)
)


def put(root, data: bytes, file: str) -> Download:
    """A file in a store, as locked."""
    sha256 = hashlib.sha256(data).hexdigest()
    path = store.blob(root, sha256)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return Download(file=file, sha256=sha256, size=len(data), urls=())


@pytest.fixture
def settings(tmp_path):
    return Settings(repo=REPO, store=tmp_path / "store")


@pytest.fixture
def wanted(settings):
    files = [put(settings.store, b"%d" % number * 1000, f"{number}.deb") for number in range(30)]
    return export.places(files, [put(settings.store, b"a wheel", "tool-1-py3-none-any.whl")])


def write(settings, folder, wanted, facts=FACTS):
    return export.write(settings, folder, wanted, (), facts)


def listed(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}


def test_a_folder_holds_plain_copies_and_says_what_it_is(settings, wanted, tmp_path):
    folder = tmp_path / "a stick"
    assert write(settings, folder, wanted) == sum(item.size for item in wanted.values())
    assert listed(folder) == {*wanted, "README.txt", "SHA256SUMS", "export-tiny.toml"}
    assert (folder / "python/tool-1-py3-none-any.whl").read_bytes() == b"a wheel"
    for path in wanted:
        assert (folder / path).stat().st_nlink == 1
        assert not (folder / path).stat().st_mode & 0o111
    said = (folder / "README.txt").read_text()
    for word in ("tiny", "c" * 64, "a" * 64, "b" * 64, "arm64", "3.12", "--offline"):
        assert word in said
    assert 'machines = [\n  "arm64",\n]' in (folder / "export-tiny.toml").read_text()


def test_what_a_folder_has_is_what_a_store_takes(settings, wanted, tmp_path):
    write(settings, tmp_path / "stick", wanted)
    files = [item for path, item in wanted.items() if path.startswith("blobs/")]
    other = tmp_path / "other"
    download.fetch(other, files, folders=[tmp_path / "stick"], offline=True)
    assert store.verify_content(other, lambda _: None) == ()
    assert store.content(other)[1] == len(files)


def test_a_wheel_may_be_wanted_by_hash_and_by_name(settings, tmp_path):
    item = put(settings.store, b"uv" * 1_000_000, "uv-1-py3-none-any.whl")
    assert write(settings, tmp_path / "stick", export.places([item], [item])) == 2 * item.size
    assert (tmp_path / "stick/python" / item.file).read_bytes() == b"uv" * 1_000_000


@pytest.mark.parametrize("name", ["../a.whl", "a/b.whl", ".a.whl", "a\n.whl", ""])
def test_a_name_that_leaves_the_folder_is_refused(name):
    with pytest.raises(UsageError, match="cannot be written"):
        export.places((), [Download(file=name, sha256="0" * 64, size=1, urls=())])


def test_a_second_export_copies_only_what_is_missing(settings, wanted, tmp_path):
    folder = tmp_path / "stick"
    write(settings, folder, wanted)
    assert write(settings, folder, wanted) == 0
    path, item = next(iter(wanted.items()))
    (folder / path).write_bytes(b"cut")
    assert write(settings, folder, wanted) == item.size


def test_another_target_joins_the_folder(settings, wanted, tmp_path):
    folder = tmp_path / "stick"
    write(settings, folder, wanted)
    more = export.places([put(settings.store, b"more", "more.deb")], [])
    other = export.Facts(target="other", chain_id="", lock="", tools="", machines=(), pythons=())
    write(settings, folder, more, other)
    assert listed(folder) >= {*wanted, *more, "export-tiny.toml", "export-other.toml"}
    assert len((folder / "SHA256SUMS").read_text().splitlines()) == len(wanted) + 1


@pytest.mark.programs("sha256sum")
def test_the_sums_are_those_of_sha256sum(settings, wanted, tmp_path):
    write(settings, tmp_path / "stick", wanted)
    check = ["sha256sum", "--check", "--quiet", "--strict", "SHA256SUMS"]
    subprocess.run(check, cwd=tmp_path / "stick", check=True, timeout=30)


def test_a_damaged_file_of_the_store_is_not_exported(settings, wanted, tmp_path):
    path, item = next(iter(wanted.items()))
    store.blob(settings.store, item.sha256).write_bytes(b"x" * item.size)
    with pytest.raises(HashMismatchError, match=item.file):
        write(settings, tmp_path / "stick", wanted)
    assert not (tmp_path / "stick" / path).exists()
    assert not (tmp_path / "stick/export-tiny.toml").exists()
    assert not store.has(settings.store, item.sha256, item.size)


def test_a_link_in_the_folder_is_replaced_by_the_file(settings, wanted, tmp_path):
    path, item = next(iter(wanted.items()))
    place = tmp_path / "stick" / path
    place.parent.mkdir(parents=True)
    place.symlink_to(store.blob(settings.store, item.sha256))
    write(settings, tmp_path / "stick", wanted)
    assert not place.is_symlink()


def test_space_is_checked_first(settings, tmp_path):
    huge = Download(file="huge.whl", sha256="0" * 64, size=10**18, urls=())
    with pytest.raises(SpaceError, match="to export") as caught:
        write(settings, tmp_path / "stick", export.places([huge], []))
    assert "medium" in caught.value.todo


@pytest.mark.parametrize("inside", ["store", "store/blobs", "store/../store/x"])
def test_the_store_is_no_place_to_export_to(tmp_path, inside):
    with pytest.raises(UsageError, match="in the store itself"):
        export.require_folder(tmp_path / "store", tmp_path / inside)


SCRIPT = """
import sys, time
from pathlib import Path
from build import export, exported
from build.download import Download
from build.models import Settings
from tests.test_export import FACTS
store, folder, pause = Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])
plain = exported.copy
def slow(*arguments):
    time.sleep(pause)
    plain(*arguments)
exported.copy = slow
files = [Download(file=p.name, sha256=p.name, size=p.stat().st_size, urls=()) for p in store.glob("blobs/*/*/*")]
print(export.write(Settings(repo=folder, store=store), folder, export.places(files, []), (), FACTS))
"""


def start(settings, folder, pause):
    argv = [sys.executable, "-c", SCRIPT, str(settings.store), str(folder), str(pause)]
    return subprocess.Popen(argv, cwd=REPO, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_killed_export_leaves_whole_files_and_the_next_one_goes_on(settings, wanted, tmp_path):
    folder = tmp_path / "stick"
    child = start(settings, folder, 0.05)
    end = time.monotonic() + 30
    while len(list(folder.glob("blobs/*/*/*"))) < 5:
        assert time.monotonic() < end
        time.sleep(0.005)
    child.send_signal(signal.SIGKILL)
    child.communicate()
    there = list(folder.glob("blobs/*/*/*"))
    assert all(hashlib.sha256(path.read_bytes()).hexdigest() == path.name for path in there)
    assert 5 <= len(there) < len(wanted)
    assert (folder / "scratch").is_dir()
    left = sum(item.size for path, item in wanted.items() if not (folder / path).exists())
    assert write(settings, folder, wanted) == left
    assert listed(folder) >= {*wanted, "README.txt", "SHA256SUMS", "export-tiny.toml"}
    assert not (folder / "scratch").exists()


def test_two_exports_at_once_copy_once(settings, wanted, tmp_path):
    both = [start(settings, tmp_path / "stick", 0.01) for _ in range(2)]
    ends = [child.communicate(timeout=60) for child in both]
    assert [child.returncode for child in both] == [0, 0], ends
    total = sum(item.size for item in {item.sha256: item for item in wanted.values()}.values())
    assert sorted(int(out) for out, _ in ends) == [0, total]


def test_a_copy_says_what_is_wrong_with_its_source(tmp_path):
    source = tmp_path / "source"
    source.write_bytes(b"abc")
    with pytest.raises(exported.Unfit, match=r"3 B\) instead of .* \(4 B\)"):
        exported.copy(source, tmp_path / "copy", "0" * 64, 4, lambda _: None)
    with pytest.raises(exported.Unfit, match="sha256 is ba7816bf"):
        exported.copy(source, tmp_path / "copy", "0" * 64, 3, lambda _: None)
    with pytest.raises(FileNotFoundError):
        exported.copy(tmp_path / "none", tmp_path / "copy", "0" * 64, 3, lambda _: None)


def test_every_locked_file_fits_on_a_stick_with_fat():
    sizes = [
        item.size
        for path in (REPO / "lock").glob("*.toml")
        if path.stem not in ("targets", "actions")
        for item in lockfile.known_wheels(REPO, path.stem)
    ]
    assert 0 < max(sizes) < 1 << 32
