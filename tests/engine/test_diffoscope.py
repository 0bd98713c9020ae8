"""diffoscope for real, in its box: what it explains, and what the box keeps from it."""

import json
import pickle
import socket
import zipfile

import pytest

from build import diffoscope, host, proc, steps, store
from build.models import Settings
from build.settings import REPO, default_store

SETTINGS = Settings(repo=REPO, store=default_store())
RETURN = bytes.fromhex("c0035fd6")  # AArch64: ret


@pytest.fixture(scope="module")
def root():
    return host.diffoscope(SETTINGS)


@pytest.fixture
def folder(tmp_path):
    """A folder that anybody may look into, as the box's user must."""
    (tmp_path / "files").mkdir(mode=0o755)
    return tmp_path / "files"


@pytest.fixture
def explain(root, folder):
    def explain(name, a, b):
        names = (f"a{name}", f"b{name}")
        for file, data in zip(names, (a, b), strict=True):
            (folder / file).write_bytes(data)
        told = diffoscope.explain(root, folder, names, ("A: it", "B: it"))
        assert told.note == ""
        assert "--- A: it" in told.text
        return told.text

    return explain


def test_text(explain):
    assert "-built at 1\n+built at 2\n" in explain(".txt", b"built at 1\n", b"built at 2\n")


def test_json_is_explained_by_its_keys(explain):
    said = explain(".json", *(json.dumps({"b": 1, "time": n}).encode() for n in (1, 2)))
    assert '-    "time": 1' in said
    assert "Pretty-printed" in said


def test_a_pickle_is_explained_by_its_bytes(explain):
    said = explain("", *(pickle.dumps({"time": text}) for text in ("one", "two")))
    assert "ime...one.s." in said
    assert "ime...two.s." in said


def test_an_archive_is_explained_by_what_is_in_it(explain, tmp_path):
    packed = []
    for content in ("one\n", "two\n"):
        with zipfile.ZipFile(tmp_path / "z", "w") as archive:
            archive.writestr(zipfile.ZipInfo("inside/file.txt"), content)
        packed.append((tmp_path / "z").read_bytes())
    said = explain(".zip", *packed)
    assert "── inside/file.txt" in said
    assert "-one" in said


def test_native_code_of_the_image_is_explained_by_its_instructions(explain):
    """A module for aarch64, one bit of an instruction before a return turned over."""
    job = steps.load(SETTINGS, "tiny")
    wheel = next(wheel for wheel in job.lock.wheels if wheel.name == "markupsafe")
    steps.fetch_python(SETTINGS, [wheel], [job.environment])
    with zipfile.ZipFile(store.blob(SETTINGS.store, wheel.sha256)) as archive:
        module = archive.read(next(name for name in archive.namelist() if name.endswith(".so")))
    place = module.index(RETURN, 0x1000) - 4
    other = bytearray(module)
    other[place] ^= 1
    said = explain(".so", module, bytes(other))
    assert "objdump" in said
    assert "ldp\tx29, x30" in said
    assert "ldp\tx28, x30" in said


def run(root, folder, code):
    done = proc.run(diffoscope.boxed(root, folder, ["python3", "-c", code]), check=False)
    return done.returncode, done.stdout.strip(), done.stderr


def test_the_box_has_no_rights_no_network_and_no_other_files(root, folder):
    (folder / "seen").write_text("x")
    seen = "import os; print(os.listdir('/mnt'), os.getuid(), os.getgid(), os.getgroups())"
    assert run(root, folder, seen)[1] == "['seen'] 65534 65534 []"
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        status, _, err = run(root, folder, f"import socket; socket.create_connection(('127.0.0.1', {port}), 5)")
    assert (status, "Network is unreachable" in err) == (1, True)
    for place in ("/usr/x", "/mnt/x", "/mnt/seen"):
        status, _, err = run(root, folder, f"open({place!r}, 'w')")
        assert (status, "Permission denied" in err or "Read-only" in err) == (1, True), place
    assert "MemoryError" in run(root, folder, "bytes(8 << 30)")[2]


def test_what_takes_too_long_is_ended(root, folder, monkeypatch):
    monkeypatch.setattr(diffoscope, "SECONDS", 1)
    assert run(root, folder, "import time; time.sleep(60)")[0] == diffoscope.TOO_LONG
