"""Smoke for real, on the image of the target tiny: green, tampered with, foreign, not there."""

import hashlib
import io
import json
import subprocess
import sys
import tarfile
import threading
import uuid
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from build import assemble, dockerapi
from build.settings import REPO, default_store

SITE = "opt/venv/lib/python3.13/site-packages"


@dataclass(frozen=True)
class Ended:
    status: int
    said: str
    reports: Path

    @property
    def report(self):
        (path,) = self.reports.glob("*.json")
        return json.loads(path.read_text())

    def status_of(self, name):
        return next(check["status"] for check in self.report["checks"] if check["name"] == name)

    def reason_of(self, name):
        return next(check["reason"] for check in self.report["checks"] if check["name"] == name)


def verb(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "build", *arguments], cwd=REPO, capture_output=True, text=True, check=False
    )


def smoke(folder, *arguments):
    done = verb("smoke", "--our-checks", "--output", str(folder), *arguments)
    return Ended(done.returncode, done.stdout + done.stderr, folder)


@pytest.fixture(scope="module")
def tiny():
    """What was built of tiny, and a client of the engine that holds it."""
    done = verb("build", "--target", "tiny")
    assert done.returncode == 0, done.stderr
    known = assemble.read_built(default_store(), "tiny")
    client = dockerapi.connect(known.engine)
    yield known, client
    client.close()


@pytest.fixture
def derived(tiny):
    """Make images from tiny: files written over it, changes to its configuration; all are removed in the end."""
    known, client = tiny
    made = []

    def derive(files, changes=()):
        name = f"spark-runtime-test:{uuid.uuid4().hex[:12]}"
        container = client.containers.create(known.image, ["true"], platform="linux/arm64")
        try:
            container.put_archive("/", tar(files))
            repository, tag = name.split(":")
            container.commit(repository, tag, changes=list(changes))
        finally:
            container.remove(v=True)
        made.append(name)
        return name

    yield derive
    for name in made:
        client.images.remove(name, force=True)


def tar(files):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), 0o644
            archive.addfile(entry, io.BytesIO(data))
    return packed.getvalue()


def test_green(tiny, tmp_path):
    known, _ = tiny
    ended = smoke(tmp_path, "--target", "tiny")
    assert ended.status == 0, ended.said
    report = ended.report
    assert (report["digest"], report["chain_id"]) == (known.digest, known.chain_id)
    assert report["execution"] in ("native", "emulated")
    statuses = {check["name"]: check["status"] for check in report["checks"]}
    assert statuses.pop("gpu-driver") == "skipped"
    assert set(statuses.values()) == {"passed"}
    assert "no NVIDIA driver" in ended.reason_of("gpu-driver")
    assert list(tmp_path.glob("*.xml"))


def test_by_digest_and_as_json(tiny, tmp_path):
    known, _ = tiny
    done = verb("smoke", "--our-checks", "--json", "--output", str(tmp_path), "--image", known.digest)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["target"] == "tiny"


def test_nothing_is_left_behind(tiny, derived, tmp_path):
    _, client = tiny
    name = derived({})
    volumes = {volume.id for volume in client.volumes.list()}
    smoke(tmp_path, "--image", name)
    assert client.containers.list(all=True, filters={"label": "spark-runtime.smoke", "ancestor": name}) == []
    assert {volume.id for volume in client.volumes.list()} <= volumes


@pytest.mark.parametrize(
    ("path", "data", "check", "reason"),
    [
        (f"{SITE}/markupsafe/_native.py", b"# tampered\n", "record", "is not as in its RECORD"),
        (f"{SITE}/stray.py", b"", "record", "belongs to no distribution"),
        (f"{SITE}/markupsafe/_speedups.c", b"", "left-out", "is there, though left out"),
        (f"{SITE}/jinja2/__pycache__/utils.cpython-313.pyc", b"", "bytecode", "is for another Python"),
        ("usr/local/lib/foreign.so", b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x03\x00\x3e\x00", "elf", "x86-64"),
        (
            f"{SITE}/markupsafe-3.0.3.dist-info/METADATA",
            b"Name: markupsafe\nVersion: 9\n",
            "versions",
            "markupsafe is 9",
        ),
    ],
)
def test_tampered(derived, tmp_path, path, data, check, reason):
    ended = smoke(tmp_path, "--image", derived({path: data}))
    assert ended.status == 60, ended.said
    assert ended.status_of(check) == "failed"
    assert reason in ended.reason_of(check)
    assert f"{check}:" in ended.said


def test_a_patch_that_was_undone(tiny, derived, tmp_path):
    _, client = tiny
    manifest = json.loads(client.containers.run(tiny[0].image, ["cat", "/opt/spark/manifest.json"], remove=True))
    patched = manifest["patched"][0]["installed"]
    ended = smoke(tmp_path, "--image", derived({f"{SITE}/{patched}": b"# as it never was\n"}))
    assert ended.status == 60, ended.said
    assert "neither as released nor as patched" in ended.reason_of("patches")


def test_foreign(derived, tmp_path):
    ended = smoke(tmp_path, "--image", derived({}, ['LABEL spark-runtime.target=""']))
    assert ended.status == 0, ended.said
    assert "it is foreign" in ended.said
    report = ended.report
    assert (report["foreign"], report["target"], report["checks_set"]) == (True, "", "foreign")
    assert {check["name"] for check in report["checks"]} == {"platform-of-image", "elf", "gpu-driver"}


def test_a_required_gpu_that_is_not_there(tiny, tmp_path):
    _, client = tiny
    if "nvidia" in client.info().get("Runtimes", {}) or client.info().get("DiscoveredDevices"):
        pytest.skip("this engine has a GPU")
    ended = smoke(tmp_path, "--target", "tiny", "--require-gpu")
    assert ended.status == 40, ended.said
    assert "cannot hand a GPU" in ended.said


def test_not_there_and_offline(tmp_path):
    ended = smoke(tmp_path, "--image", "spark-runtime:no-such-tag", "--offline")
    assert ended.status == 61, ended.said
    assert "there is no image spark-runtime:no-such-tag" in ended.said


class Registry(BaseHTTPRequestHandler):
    """A read-only registry (OCI distribution specification) of what `docker save` wrote."""

    default_request_version = "HTTP/1.1"  # so that the engine's try with TLS is answered as Go's servers do

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        blobs, index = self.server.blobs, self.server.index
        reference = self.path.rsplit("/", 1)[-1]
        digest = index["digest"] if reference == "1" else reference
        if self.path == "/v2/":
            return self.answer(b"{}", "application/json")
        if digest not in blobs:
            return self.send_error(404)
        kind = index["mediaType"] if digest == index["digest"] else "application/octet-stream"
        if "/manifests/" in self.path and kind == "application/octet-stream":
            kind = json.loads(blobs[digest])["mediaType"]
        return self.answer(blobs[digest], kind, digest)

    def answer(self, data, kind, digest=""):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Docker-Content-Digest", digest)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)

    def log_message(self, *_):
        pass


@pytest.fixture
def registry(tiny):
    """The place of a registry on this machine that has tiny as `tiny:1`."""
    known, client = tiny
    saved = io.BytesIO(b"".join(client.api.get_image(known.image)))
    with tarfile.open(fileobj=saved) as archive:
        index = json.load(archive.extractfile("index.json"))["manifests"][0]
        files = [archive.extractfile(member).read() for member in archive if member.isfile()]
    server = ThreadingHTTPServer(("127.0.0.1", 0), Registry)
    server.index = index
    server.blobs = {f"sha256:{hashlib.sha256(data).hexdigest()}": data for data in files}
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_from_a_registry(tiny, registry, tmp_path):
    known, client = tiny
    name = f"{registry}/tiny:1"
    try:
        ended = smoke(tmp_path, "--image", name)
        assert ended.status == 0, ended.said
        assert (ended.report["image"], ended.report["digest"]) == (name, known.digest)
        missing = smoke(tmp_path / "missing", "--image", f"{registry}/tiny:2")
        assert missing.status == 61, missing.said
    finally:
        if client.images.list(name):
            client.images.remove(name, force=True)


def test_a_registry_that_does_not_answer(tmp_path):
    ended = smoke(tmp_path, "--image", "127.0.0.1:1/none:1")
    assert ended.status == 21, ended.said
    assert "cannot be reached" in ended.said


def test_an_unknown_target(tmp_path):
    ended = smoke(tmp_path, "--target", "tinny")
    assert ended.status == 11, ended.said


def test_an_image_without_python(tmp_path, derived):
    ended = smoke(tmp_path, "--image", derived({}, ["ENV PATH=/nowhere", 'LABEL spark-runtime.target=""']))
    assert ended.status == 60, ended.said
    assert "without python3" in ended.said
