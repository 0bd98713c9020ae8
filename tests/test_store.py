"""The store: verified blobs, scratch that goes, locks that say who holds them."""

import hashlib
import json
import os
import signal
import threading

import pytest

from build import store
from build.errors import BusyError, HashMismatchError, SpaceError


def put(root, data: bytes) -> str:
    sha256 = hashlib.sha256(data).hexdigest()
    path = store.blob(root, sha256)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return sha256


def test_has_compares_the_size(tmp_path):
    sha256 = put(tmp_path, b"abc")
    assert store.has(tmp_path, sha256, 3)
    assert not store.has(tmp_path, sha256, 4)
    assert not store.has(tmp_path, "0" * 64, 3)


def test_verify_removes_a_bad_file_and_names_it(tmp_path):
    sha256 = put(tmp_path, b"abc")
    store.verify(tmp_path, "a.whl", sha256)
    store.blob(tmp_path, sha256).write_bytes(b"abd")
    with pytest.raises(HashMismatchError, match="a.whl") as caught:
        store.verify(tmp_path, "a.whl", sha256)
    assert sha256 in caught.value.why
    assert not store.blob(tmp_path, sha256).exists()


def test_verify_all_finds_the_one_bad_file_among_many(tmp_path):
    files = [(f"{number}.whl", put(tmp_path, b"%d" % number)) for number in range(20)]
    store.verify_all(tmp_path, files)
    store.blob(tmp_path, files[13][1]).write_bytes(b"x")
    with pytest.raises(HashMismatchError, match=r"13\.whl"):
        store.verify_all(tmp_path, files)


def test_scratch_is_gone_after_a_failure(tmp_path):
    with pytest.raises(ValueError, match="stop"), store.scratch(tmp_path, "tree") as folder:
        (folder / "half").write_text("x")
        assert store.in_use(folder)
        raise ValueError("stop")
    assert list((tmp_path / "scratch").iterdir()) == []


def test_scratch_of_a_dead_process_is_not_in_use(tmp_path):
    assert not store.in_use(tmp_path / "scratch" / "tree-999999999-abcd")


class Other:
    """Another process that holds the lock ``build-tiny`` of a store until it is released or killed."""

    def __init__(self, root):
        ready, told = os.pipe()
        waits, self.free = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self.free)
            with store.locked(root, "build-tiny"):
                os.write(told, b"x")
                os.read(waits, 1)
            os._exit(0)
        os.close(told)
        os.close(waits)
        assert os.read(ready, 1) == b"x"
        os.close(ready)

    def release(self):
        os.close(self.free)
        return os.waitpid(self.pid, 0)[1]

    def kill(self):
        os.kill(self.pid, signal.SIGKILL)
        self.release()


@pytest.fixture
def other(tmp_path):
    return Other(tmp_path)


def test_a_second_run_is_told_who_holds_the_lock(tmp_path, other):
    with pytest.raises(BusyError, match="build-tiny") as caught, store.locked(tmp_path, "build-tiny", wait=0.3):
        pass
    assert str(other.pid) in caught.value.why
    assert other.release() == 0


def test_a_second_run_goes_on_when_the_first_ends(tmp_path, other):
    assert other.release() == 0
    with store.locked(tmp_path, "build-tiny", wait=5):
        pass


def test_the_lock_of_a_killed_process_is_free(tmp_path, other):
    other.kill()
    with store.locked(tmp_path, "build-tiny", wait=5):
        pass


def test_a_transient_lock_leaves_no_file_at_a_good_end(tmp_path):
    with store.locked(tmp_path, "fetch-1", transient=True):
        assert (tmp_path / "locks" / "fetch-1.lock").exists()
    assert not (tmp_path / "locks" / "fetch-1.lock").exists()


def test_the_holder_of_an_unreadable_lock_file_is_said_to_be_unknown(tmp_path):
    path = tmp_path / "x.lock"
    path.write_text("not json")
    assert "did not say" in store.holder(path)
    path.write_text(json.dumps({"pid": 7, "host": "spark"}))
    assert store.holder(path) == "process 7 on spark"


def test_space_is_checked_where_the_folder_will_be(tmp_path):
    store.require_space(tmp_path / "not" / "yet", 1, "a test")
    with pytest.raises(SpaceError, match="a test") as caught:
        store.require_space(tmp_path / "not" / "yet", 10**18, "a test")
    assert "GB" in caught.value.why
    assert os.fspath(tmp_path) in caught.value.why


def test_waiting_ends_when_told_to_stop(tmp_path, other):
    stop = threading.Event()
    stop.set()
    with pytest.raises(BusyError), store.locked(tmp_path, "build-tiny", wait=60, stop=stop):
        pass
    assert other.release() == 0


def test_a_cut_download_of_a_living_run_is_in_use(tmp_path, other):
    part = tmp_path / "partial" / ("ab" * 32)
    assert not store.in_use(part)
    assert store.is_held(tmp_path, "build-tiny")
    assert other.release() == 0
    assert not store.is_held(tmp_path, "build-tiny")
    with store.locked(tmp_path, f"fetch-{'ab' * 8}"):
        assert store.in_use(part)


def test_a_store_in_use_is_not_given_to_one_alone(tmp_path):
    with store.alone(tmp_path):
        pass
    store.hold(tmp_path)
    store.hold(tmp_path)
    with pytest.raises(BusyError, match="works with this store"), store.alone(tmp_path):
        pass
    other = tmp_path / "other"
    with store.alone(other), pytest.raises(BusyError), store.alone(other):
        pass


def test_a_store_that_cannot_be_written_to_is_no_fault_of_who_only_looks(tmp_path):
    (tmp_path / "file").write_text("a file where the store should be")
    store.hold(tmp_path / "file" / "store")


def test_every_blob_is_read_again_and_the_bad_ones_go(tmp_path):
    good = [put(tmp_path, b"%d" % number) for number in range(9)]
    bad = put(tmp_path, b"bad")
    store.blob(tmp_path, bad).write_bytes(b"bat")
    told: list[int] = []
    assert store.content(tmp_path) == (12, 10)
    assert store.verify_content(tmp_path, told.append) == (bad,)
    assert sum(told) == 12
    assert store.verify_content(tmp_path, told.append) == ()
    assert all(store.has(tmp_path, sha256, 1) for sha256 in good)


def test_a_verified_file_is_readable_by_all_in_its_place(tmp_path):
    (tmp_path / "part").write_bytes(b"abc")
    (tmp_path / "part").chmod(0o600)
    sha256 = hashlib.sha256(b"abc").hexdigest()
    store.admit(tmp_path, tmp_path / "part", sha256)
    assert store.blob(tmp_path, sha256).stat().st_mode & 0o777 == 0o644
