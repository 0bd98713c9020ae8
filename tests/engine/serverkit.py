"""Engines and an image to serve with, for real: a private engine of its own store, with a bridge or without one.

The image is tiny, as this clone builds it, with a stand-in (``tests/standin_server.py``) where vLLM's program would be.
A bridge makes it an engine as people have one: it publishes ports. It has a name of its own, so that no other engine's
is touched.
"""

import contextlib
import fcntl
import io
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import tarfile
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from build import dockerapi, host, modelfolder, private
from build.modelfolder import Item, Model, State
from build.models import Settings
from build.settings import REPO, default_store
from tests import modelkit, servekit
from tests.engine.kit import own_settings

STAND_IN = Path(__file__).parents[1] / "standin_server.py"
IMAGE = "spark-runtime-test:serve"
SITE = "opt/venv/lib/python3.13/site-packages"
BRIDGE = "srtest0"
ADDRESS, MASK = "198.18.77.1", "255.255.255.0"  # of the block for benchmarks (RFC 2544): nobody's network
SIOCBRADDBR, SIOCBRDELBR, SIOCSIFFLAGS, SIOCSIFADDR, SIOCSIFNETMASK = (
    0x89A0,
    0x89A1,
    0x8914,
    0x8916,
    0x891C,
)  # sockios.h
UP = 1  # linux/if.h
NAME = "tiny-server"
PATIENCE_SECONDS = 240


@contextlib.contextmanager
def bridge():
    """A bridge of our own with an address (netdevice(7)), gone in the end."""
    name = BRIDGE.encode()
    with socket.socket() as door:
        with contextlib.suppress(FileExistsError):
            fcntl.ioctl(door, SIOCBRADDBR, name + b"\0")
        try:
            for request, value in ((SIOCSIFADDR, ADDRESS), (SIOCSIFNETMASK, MASK)):
                fcntl.ioctl(door, request, struct.pack("16sHH4s8x", name, socket.AF_INET, 0, socket.inet_aton(value)))
            fcntl.ioctl(door, SIOCSIFFLAGS, struct.pack("16sH14x", name, UP))
            yield
        finally:
            fcntl.ioctl(door, SIOCSIFFLAGS, struct.pack("16sH14x", name, 0))
            fcntl.ioctl(door, SIOCBRDELBR, name + b"\0")


@contextlib.contextmanager
def engine(folder, *, bridged, more=None):
    """A private engine of its own store that runs; its settings and its URL. ``more``: of its configuration."""
    settings = own_settings(folder)
    (settings.store / "rootfs").symlink_to(default_store() / "rootfs")
    usual = private.daemon_json
    proxy = {"userland-proxy": True, "userland-proxy-path": "/usr/sbin/docker-proxy"}
    changes = {**({"bridge": BRIDGE, **proxy} if bridged else {}), **(more or {})}
    with contextlib.ExitStack() as kept:
        if bridged:
            kept.enter_context(bridge())
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(private, "daemon_json", lambda *told: {**usual(*told), **changes})
            found = private.up(settings.store, host.tools(settings))
        kept.callback(private.remove, settings.store)
        yield settings, found.url


def build(settings):
    """Build tiny there, and make the image to serve with."""
    done = verb(settings, "build", "--target", "tiny")
    assert done.returncode == 0, done.stderr
    with contextlib.closing(dockerapi.connect(private.places(settings.store).url)) as client:
        files = {
            "opt/venv/bin/vllm": b"#!/opt/venv/bin/python\n" + STAND_IN.read_bytes(),
            **{f"{SITE}/vllm/{name}": text.encode() for name, text in servekit.PACKAGE.items()},
        }
        container = client.containers.create("spark-runtime:tiny", ["bash"], platform="linux/arm64")
        try:
            container.put_archive("/", packed(files))
            container.commit(*IMAGE.split(":"))
        finally:
            container.remove(v=True)


def packed(files):
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), 0o755 if "/bin/" in name else 0o644
            archive.addfile(entry, io.BytesIO(data))
    return made.getvalue()


def verb(settings, *words, repo=REPO, **environment):
    """A verb of ours, to its end; of another clone where that is named."""
    return subprocess.run(
        [sys.executable, "-m", "build", *words, "--store", str(settings.store)], cwd=repo, capture_output=True, text=True,
        check=False, env={**os.environ, **environment}, timeout=600, stdin=subprocess.DEVNULL,
    )  # fmt: skip


def clone(folder):
    """This checkout as it lies here, as a commit of its own; without records."""
    for name in ("build", "lock", "patches", "dockerfiles"):
        shutil.copytree(REPO / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "published"))
    who = ("-c", "user.name=tests", "-c", "user.email=tests@localhost", "-c", "commit.gpgSign=false")
    for words in (("init", "--quiet"), ("add", "--all"), (*who, "commit", "--quiet", "--message", "start")):
        subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True)
    return folder


def drop(folder):
    shutil.rmtree(folder)


def lay_model(settings, **changed):
    """A whole model in the store's folder for models, as `nox -s model` leaves one; its files' number of bytes."""
    files = modelkit.tiny(said=modelkit.config(n_routed_experts=8, max_position_embeddings=1000, **changed))
    model = Model(repo=modelkit.REPO, revision=modelkit.REVISION)
    folder = modelfolder.root(settings.store, None) / model.name
    modelkit.lay(folder, files)
    items = tuple(Item(path=path, size=len(data), digest="") for path, data in files.items())
    modelfolder.write(folder, State(model=model, files=items, whole=True))
    return sum(map(len, files.values()))


def until(condition, what):
    """Wait for it."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"{what} never came"
        time.sleep(1)


@dataclass
class Bench:
    """Where servers are started: settings, the engine's URL, a profile; ``behave`` says what the stand-in does."""

    settings: Settings
    url: str
    folder: Path
    bytes: int
    behaviour: dict = field(default_factory=dict)
    port: int = field(default_factory=servekit.free_port)
    drain: int = 5
    targets: str = '"tiny"'
    more: str = ""
    repo: Path = REPO

    @property
    def profile(self):
        path = self.folder / f"{NAME}.toml"
        path.write_text(
            f"environment = {{ STAND_IN = {json.dumps(json.dumps(self.behaviour))} }}\n{PROFILE.format(bytes=self.bytes, drain=self.drain, targets=self.targets, more=self.more)}"
        )
        return path

    def words(self, *more, image=IMAGE):
        return [
            "serve", "--profile", str(self.profile), "--device", "none", "--allow-foreign", "--port", str(self.port),
            *(["--image", image] if image else []), *more,
        ]  # fmt: skip

    def start(self, *more, image=IMAGE, **environment):
        return verb(self.settings, *self.words(*more, image=image), repo=self.repo, **environment)

    @contextlib.contextmanager
    def starting(self, *more):
        """A start in the background; killed in the end."""
        with open(self.folder / "said", "w+") as said:
            argv = [sys.executable, "-m", "build", *self.words(*more), "--store", str(self.settings.store)]
            process = subprocess.Popen(
                argv, cwd=REPO, stdout=said, stderr=said, stdin=subprocess.DEVNULL, start_new_session=True
            )
            try:
                yield process
            finally:
                process.kill()
                process.wait()

    @property
    def said(self):
        return (self.folder / "said").read_text()

    def until_said(self, text):
        deadline = time.monotonic() + PATIENCE_SECONDS
        while text not in self.said:
            assert time.monotonic() < deadline, self.said
            time.sleep(0.1)

    def verb(self, *words, **environment):
        return verb(self.settings, "serve", *words, repo=self.repo, **environment)

    def status(self):
        return json.loads(self.verb("status", "--json").stdout)

    def get(self, path, key=""):
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}")
        if key:
            request.add_header("Authorization", f"Bearer {key}")
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)


PROFILE = """\
schema = 1
name = "tiny-server"
summary = "a stand-in"
targets = [{targets}]
[model]
repo = "someone/Tiny-V4"
revision = "d663e8fb16809f6619000648b187b257249ed824"
served-name = "Tiny"
bytes = {bytes}
type = "deepseek_v4"
routed-experts = 8
[serve]
context = 1000
kv-cache-memory = "1M"
kv-cache-dtype = "fp8"
batched-tokens = 512
sequences = 1
gpu-memory-utilization = "0.01"
block-size = 256
thinking = false
speculative = ""
tokenizer-mode = "deepseek_v4"
reasoning-parser = "deepseek_v4"
tool-call-parser = "deepseek_v4"
auto-tool-choice = true
prefix-caching = true
cudagraph-mode = "NONE"
{more}
[watchdog]
min-available-kb = 200000
critical-kb = 100000
drain-seconds = {drain}
"""
