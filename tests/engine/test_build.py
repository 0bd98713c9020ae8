"""The main job for real, on the target tiny: built, found built, rebuilt after a change, and everything that goes wrong."""

import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from dataclasses import dataclass

import pytest

from build import assemble, dockerapi, engine, host, images
from build.models import Settings
from build.settings import REPO, default_store
from build.store import blob

PATCH = "patches/tiny/jinja2/0001-visible-constant.patch"


@dataclass(frozen=True)
class Ended:
    status: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)


def verb(*arguments, repo=REPO, **environment):
    done = subprocess.run(
        [sys.executable, "-m", "build", *arguments],
        cwd=repo, env={**os.environ, **environment}, capture_output=True, text=True, check=False, timeout=3600,
    )  # fmt: skip
    return Ended(done.returncode, done.stdout, done.stderr)


def build(*arguments, **more):
    return verb("build", "--target", "tiny", "--json", *arguments, **more)


@pytest.fixture(scope="module")
def built():
    done = build()
    assert done.status == 0, done.err
    return done.json


@pytest.fixture(scope="module")
def client(built):
    found = dockerapi.connect(built["engine"])
    yield found
    found.close()


@pytest.fixture
def clone(tmp_path):
    """A copy of the repository to change, and its way back: tiny as it is here is built again afterwards."""
    copy = tmp_path / "repo"
    for name in ("build", "dockerfiles", "lock", "patches"):
        ignored = shutil.ignore_patterns("__pycache__", ".*")
        shutil.copytree(REPO / name, copy / name, ignore=ignored)
    yield copy
    assert build().status == 0


@pytest.fixture
def own_store(tmp_path, built):
    """A store of one's own for one target, whose files may be damaged; it uses the engine that runs already."""
    store = tmp_path / "store"
    for folder, _, files in os.walk(default_store() / "blobs"):
        for name in files:
            there = store / "blobs" / "sha256" / name[:2] / name
            there.parent.mkdir(parents=True, exist_ok=True)
            os.symlink(os.path.join(folder, name), there)
    for name in ("roots", "rootfs"):
        os.symlink(default_store() / name, store / name)
    return {"SPARK_RUNTIME_STORE": str(store), "DOCKER_HOST": built["engine"]}


def test_the_image_is_what_it_says(built, client):
    facts = images.facts(client, built["image"])
    labels = dict(facts.labels)
    assert facts.platform == "linux/arm64"
    assert facts.digest == built["digest"]
    assert labels["spark-runtime.target"] == "tiny"
    assert labels["spark-runtime.chain-id"] == built["chain_id"]
    assert labels["org.opencontainers.image.version"] == "3.1.6"
    assert labels["org.opencontainers.image.created"] == "2025-03-05T20:05:02Z"


def layers_of(client, image, folder):
    """Each layer of an image as an open tar, lowest first."""
    with open(folder / "saved.tar", "wb") as stream:
        stream.writelines(client.images.get(image).save())
    root = host.tools(Settings(repo=REPO, store=default_store()))
    with tarfile.open(folder / "saved.tar") as saved:
        index = json.load(saved.extractfile("index.json"))
        manifest = json.load(saved.extractfile(f"blobs/sha256/{index['manifests'][0]['digest'][7:]}"))
        for layer in manifest["layers"]:
            packed = saved.extractfile(f"blobs/sha256/{layer['digest'][7:]}").read()
            zstd = [*engine.loader(root), str(root / "usr/bin/zstd"), "-dc"]
            unpacked = subprocess.run(zstd, input=packed, stdout=subprocess.PIPE, check=True).stdout
            with tarfile.open(fileobj=io.BytesIO(unpacked)) as layer_tar:
                yield layer_tar


def test_no_path_is_in_two_layers_but_the_patched_ones(built, client, tmp_path):
    seen, twice, count = set(), set(), 0
    for number, layer in enumerate(layers_of(client, built["image"], tmp_path)):
        count += 1
        for entry in layer.getmembers():
            if not entry.isdir():
                (twice if entry.name in seen else seen).add(entry.name)
            if number:
                assert (entry.uid, entry.gid, entry.mtime) == (0, 0, 315532800), entry.name
                assert entry.name in ("opt", "cache") or entry.name.startswith("opt/"), entry.name
    assert count == len(built["layers"]) == 5
    assert twice == {"opt/venv/lib/python3.13/site-packages/jinja2/__init__.py"}


def test_nothing_changed_means_nothing_done(built):
    again = build().json
    assert again["built"] is False
    assert again["digest"] == built["digest"]
    assert again["seconds"] < 2


def test_the_same_lock_gives_the_same_digest_from_nothing(built):
    again = build("--no-cache").json
    assert again["built"] is True
    assert again["digest"] == built["digest"]


def test_an_image_is_held_against_what_is_recorded_of_it(built):
    expected = build("--expect")
    assert expected.status == 0, expected.err
    assert "as recorded in lock/results/: the same manifest" in expected.err
    assert verb("build", "--target", "tiny", "--expect", "--record").status == 2
    assert verb("build", "--target", "tiny", "--expect", "--output", "type=oci,dest=x").status == 2


def test_a_changed_patch_changes_its_package_s_layer_and_the_manifest_only(built, client, clone):
    patch = clone / PATCH
    patch.write_text(patch.read_text().replace('"patched"', '"patched again"'))
    stale = build(repo=clone)
    assert stale.status == 13
    assert "stale" in stale.err
    assert verb("lock", "--target", "tiny", "--offline", repo=clone).status == 0
    before = images.facts(client, built["image"])
    again = build(repo=clone)
    assert again.status == 0, again.err
    after = images.facts(client, built["image"])
    assert again.json["digest"] != built["digest"]
    assert after.layers[:-2] == before.layers[:-2]
    assert not set(after.layers[-2:]) & set(before.layers[-2:])
    said = client.containers.run(
        built["image"], ["python", "-c", "import jinja2; print(jinja2.__spark_runtime__)"],
        remove=True, network_disabled=True,
    )  # fmt: skip
    assert said.decode().strip() == "patched again"


def test_a_patch_that_does_not_apply_is_named_and_leaves_nothing(clone, own_store):
    patch = clone / PATCH
    lines = patch.read_text().splitlines(keepends=True)
    at = next(number for number, line in enumerate(lines) if line.startswith(" ") and line.strip())
    lines[at] = f" {lines[at].strip()} changed\n"
    patch.write_text("".join(lines))
    ended = verb("lock", "--target", "tiny", "--offline", repo=clone, **own_store)
    assert ended.status == 30, ended.err
    assert "0001-visible-constant.patch" in ended.err
    assert "Traceback" not in ended.err
    assert list((default_store() / "scratch").glob("*patched*")) == []


def test_an_unknown_target_is_answered_with_the_nearest():
    ended = verb("build", "--target", "tinny")
    assert ended.status == 11
    assert "tiny" in ended.err


def test_a_damaged_wheel_is_removed_and_nothing_is_built(own_store):
    store = assemble.Path(own_store["SPARK_RUNTIME_STORE"])
    line = next(row for row in (REPO / "lock/tiny.toml").read_text().splitlines() if "markupsafe" in row)
    sha256 = line.split('sha256 = "')[1].split('"')[0]
    damaged = blob(store, sha256)
    data = bytearray(damaged.read_bytes())
    data[len(data) // 2] ^= 1
    damaged.unlink()
    damaged.write_bytes(data)
    ended = build("--offline", **own_store)
    assert ended.status == 20, ended.err
    assert "markupsafe" in ended.err
    assert not damaged.exists()
    assert not (store / "built").exists()


def test_two_builds_at_once_give_one_image(built):
    both = [
        subprocess.Popen(
            [sys.executable, "-m", "build", "build", "--target", "tiny", "--json", "--no-cache"],
            cwd=REPO, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for _ in range(2)
    ]  # fmt: skip
    ended = [process.communicate(timeout=600) for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert {json.loads(out)["digest"] for out, _ in ended} == {built["digest"]}
    assert sum("waiting for 'build-tiny'" in err for _, err in ended) == 1


@pytest.mark.parametrize(("sign", "status"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130)])
def test_a_build_that_is_ended_leaves_the_next_one_whole(built, sign, status):
    process = subprocess.Popen(
        [sys.executable, "-m", "build", "build", "--target", "tiny", "--no-cache"],
        cwd=REPO, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    for line in process.stderr:
        if "build tiny" in line:
            break
    time.sleep(0.5)
    process.send_signal(sign)
    _, err = process.communicate(timeout=60)
    assert process.returncode == status
    assert "Traceback" not in err
    assert build().json["digest"] == built["digest"]


def test_no_space_is_said_before_the_work(built, tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(small)], check=True)
    try:
        ended = build(SPARK_RUNTIME_STORE=str(small / "store"), DOCKER_HOST=built["engine"])
        assert ended.status == 42, ended.err
        assert "are free" in ended.err
        assert "Traceback" not in ended.err
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_a_disk_that_fills_up_in_the_middle_is_told_and_the_next_run_goes_on(tmp_path):
    script = """
import sys, hashlib, http.server, threading
from pathlib import Path
from build import download, store
from build.__main__ import explain
root = Path(sys.argv[1])
data = bytes(6_000_000)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.send_header("Content-Length", str(len(data))); self.end_headers()
        self.wfile.write(data)
    def log_message(self, *a): pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
sha = hashlib.sha256(data).hexdigest()
item = download.Download(file="big.whl", sha256=sha, size=len(data), urls=(f"http://127.0.0.1:{server.server_port}/x",))
filler = root / "filler"
def fill(count):
    if not filler.exists():
        filler.write_bytes(bytes(3_000_000))
status = explain(lambda: download.fetch(root, [item], progress=fill))
print("first", status, store.has(root, sha, len(data)))
filler.unlink()
print("second", explain(lambda: 0 * download.fetch(root, [item])), store.has(root, sha, len(data)))
"""
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(small)], check=True)
    try:
        done = subprocess.run(
            [sys.executable, "-c", script, str(small)],
            cwd=REPO,
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
    finally:
        subprocess.run(["umount", str(small)], check=True)
    assert done.stdout.splitlines() == ["first 42 False", "second 0 True"]
    assert "the disk is full" in done.stderr


def test_the_store_that_the_tests_used_is_sound():
    """Nothing above damaged the shared store: what is in it has the names of its bytes (a sample)."""
    for path in sorted((default_store() / "blobs" / "sha256" / "13").iterdir())[:5]:
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name
