"""Another machine that builds, for the engine tests: a second engine with its own store, known as a Docker context.

The second engine listens on its Unix socket and, by TLS with client certificates, on loopback, as one on another machine
would. Its clients keep their files in a store of their own too, so that nothing of this changes what others use.
"""

import contextlib
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from build import deblock, dockerapi, host, private, roots
from build.models import Settings
from build.settings import REPO, default_store
from tests.engine.kit import own_settings
from tests.engine.registrytokens import AUTHORITY, SERVER, certificate

CLIENT = ("extendedKeyUsage=clientAuth",)
READY_SECONDS = 60


@dataclass(frozen=True)
class Ended:
    """What a command gave; ``log``: BuildKit's own words of it."""

    status: int
    out: str
    err: str
    log: str

    @property
    def json(self):
        return json.loads(self.out)

    def steps(self):
        """What became of each step of the Dockerfile: "cached", "run", or "pulled" where its layers were fetched."""
        titles, found = {}, {}
        for line in self.log.splitlines():
            number, _, said = line.partition(" ")
            if said.startswith("[") and not said.startswith(("[internal]", "[context", "[auth]")):
                titles[number] = said.split(" RUN ")[0]
            elif number in titles and (said == "CACHED" or said.startswith("sha256:")):
                found[titles[number]] = "cached" if said == "CACHED" else "pulled"
            elif number in titles and said.startswith("DONE"):
                found.setdefault(titles[number], "run")
        return found


@dataclass(frozen=True)
class Place:
    """A client's store, its Docker configuration, and the engine of a builder that it knows."""

    settings: Settings
    config: Path
    url: str
    tcp: str = ""

    def context(self, name: str, url: str, files: dict[str, Path] | None = None) -> str:
        """Write what `docker context create` writes (docker/cli, cli/context/store). ``files``: for TLS."""
        sha = hashlib.sha256(name.encode()).hexdigest()
        meta = self.config / "contexts" / "meta" / sha
        meta.mkdir(parents=True)
        told = {"Name": name, "Metadata": {}, "Endpoints": {"docker": {"Host": url, "SkipTLSVerify": False}}}
        (meta / "meta.json").write_text(json.dumps(told))
        for file, source in (files or {}).items():
            target = self.config / "contexts" / "tls" / sha / "docker" / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
        return name

    def build(self, *arguments, **environment) -> Ended:
        """`nox -s build` of tiny by this client, as JSON."""
        argv = [sys.executable, "-m", "build", "build", "--target", "tiny", "--json", *arguments]
        own = {"SPARK_RUNTIME_STORE": str(self.settings.store), "DOCKER_CONFIG": str(self.config)}
        log = self.settings.store / "logs" / "build-tiny.log"
        log.unlink(missing_ok=True)
        done = subprocess.run(
            argv, cwd=REPO, env={**os.environ, **own, **environment}, capture_output=True, text=True, check=False,
            timeout=600,
        )  # fmt: skip
        said = log.read_text(errors="replace") if log.exists() else ""
        return Ended(done.returncode, done.stdout, done.stderr, said)

    def prune(self):
        """Empty the build cache of the builder's engine."""
        client = dockerapi.connect(self.url)
        client.api.prune_builds(all=True)
        client.close()


def client(folder: Path) -> Settings:
    """A client's store. What is unpacked and made already is shared: it is only ever read."""
    settings = own_settings(folder)
    for name in ("rootfs", "emulation"):
        shared = default_store() / name
        shared.mkdir(exist_ok=True)
        (settings.store / name).symlink_to(shared)
    return settings


@contextlib.contextmanager
def second_engine(folder: Path):
    """A client with the context ``farm``, a second engine on its socket, and ``farm-tls``, the same by TCP."""
    settings = client(folder / "client")
    own = own_settings(folder / "farm")
    keys = folder / "keys"
    keys.mkdir()
    authority = certificate(keys, "authority", AUTHORITY)
    server = certificate(own.store, "server", SERVER, authority=authority)  # its jail sees its store
    visitor = certificate(keys, "client", CLIENT, authority=authority)
    shutil.copyfile(authority.file, own.store / "ca.pem")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    plain = private.daemon_json

    def listening(where, gid):
        config = plain(where, gid)
        tls = {"tlscacert": own.store / "ca.pem", "tlscert": server.file, "tlskey": server.key}
        return {**config, "hosts": [*config["hosts"], place], "tlsverify": True, **{k: str(v) for k, v in tls.items()}}

    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(private, "daemon_json", listening)
            running = private.up(own.store, host.tools(own))
        made = Place(settings, folder / "docker", running.url, place)
        made.context("farm", running.url)
        made.context("farm-tls", place, {"ca.pem": authority.file, "cert.pem": visitor.file, "key.pem": visitor.key})
        yield made
    finally:
        private.remove(own.store)


@contextlib.contextmanager
def old_engine(folder: Path, place: Place):
    """The context ``old``: an engine with the image store that Docker had before containerd's."""
    own = own_settings(folder / "old")
    where, plain = private.places(own.store), private.daemon_json
    old = {"features": {"containerd-snapshotter": False}, "storage-driver": "overlay2"}
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(private, "daemon_json", lambda *args: {**plain(*args), **old})
            private._start(own.store, where, host.tools(own), {})
        _answers(where, "does not use the containerd image store")
        place.context("old", where.url)
        yield
    finally:
        private.remove(own.store)


@contextlib.contextmanager
def arm_engine(folder: Path):
    """A client with the context ``arm``: an engine of arm64 on this machine, its dockerd and containerd emulated.

    The steps' own programs run by the kernel: arm64's by the emulator, and this machine's as they are, which a real
    machine of arm64 could not. Which of them a build took is to be seen in its contexts.
    """
    settings = client(folder / "client")
    own = own_settings(folder / "arm")
    foreign = deblock.read(deblock.path_of(REPO, host.TOOLS, "arm64")).debset
    host.fetch_debs(settings, foreign)
    theirs, root = roots.ensure(settings.store, foreign), folder / "root"
    shutil.copytree(host.tools(settings), root, symlinks=True, copy_function=_linked)
    for name in ("usr/sbin/dockerd", "usr/bin/containerd"):
        (root / name).unlink()
        _linked(theirs / name, root / name)
    library = "usr/lib/aarch64-linux-gnu"
    shutil.copytree(theirs / library, root / library, symlinks=True, copy_function=_linked)
    shutil.copy2(theirs / "usr/lib/ld-linux-aarch64.so.1", root / "usr/lib", follow_symlinks=False)
    where = private.places(own.store)
    try:
        private._start(own.store, where, root, {})
        _answers(where, "runs on aarch64")
        made = Place(settings, folder / "docker", where.url)
        made.context("arm", where.url)
        yield made
    finally:
        private.remove(own.store)
        _end_emulated(where)


def _answers(where, lacks):
    """Wait for an engine that :func:`private.up` would not take, for the reason that it is here for."""
    end = time.monotonic() + READY_SECONDS
    while not any(lacks in said for said in dockerapi.ask(where.url).lacks):
        assert time.monotonic() < end, where.log.read_text()
        time.sleep(0.1)


def _linked(source, target):
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:  # another file system
        shutil.copy2(source, target, follow_symlinks=False)


def _end_emulated(where):
    """End what is left: an emulated program's name is the emulator's, so that :mod:`build.private` does not know it."""
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            words = (entry / "cmdline").read_bytes() if entry.name.isdigit() else b""
            if b"qemu-aarch64" in words and f"{where.run}/".encode() in words:
                os.kill(int(entry.name), signal.SIGKILL)
