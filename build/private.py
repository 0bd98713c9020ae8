"""The private Docker Engine: dockerd from the tools root, in a jail, with its own socket, data and cgroup.

It disturbs no other engine: no bridge, no firewall rules, no forwarding (builds are offline; what needs a network
uses the host's), its own containerd, its own folders. Its data is in the store, its socket and pid files are in
``/run`` under a name made from the store's path, so that a reboot leaves nothing stale and the path stays short.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from build import dockerapi, jail, proc, processes
from build import store as stores
from build.errors import EngineError
from build.models import Engine

READY_SECONDS = 60.0
STOP_SECONDS = 40.0
KILL_SECONDS = 5.0
LOG_LINES = 15
RUN = Path("/run/spark-runtime")
CA_BUNDLES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem")
JAIL_CA_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
# Go's collector runs each time the heap has doubled. Of the 100 MB that an engine holds while gigabytes of wheels
# stream in, that is all the time: nearly half of its processor time then (pprof). Five times 100 MB is no matter.
GO = (("GOGC", "400"),)
PROGRAMS = ("dockerd", "containerd", "containerd-shim-runc-v2")
PURPOSE = "the private engine"
KILL = """
import os, sys
for pid in sys.argv[2:]:
    try:
        os.kill(int(pid), int(sys.argv[1]))
    except ProcessLookupError:
        pass
"""


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where the engine of one store keeps things. ``home`` is in the store, ``run`` is gone after a reboot."""

    home: Path
    run: Path

    @property
    def socket(self) -> Path:
        return self.run / "docker.sock"

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    @property
    def pid_file(self) -> Path:
        return self.run / "docker.pid"

    @property
    def log(self) -> Path:
        return self.home / "log"

    @property
    def root_file(self) -> Path:
        """Holds the path of the tools root that the engine was started in."""
        return self.home / "root"

    @property
    def content(self) -> Path:
        """Its content store: manifests and compressed layers by digest."""
        return self.home / "data" / "containerd" / "daemon" / "io.containerd.content.v1.content" / "blobs"


@dataclass(frozen=True, kw_only=True)
class Status:
    """What the private engine is doing: ``running`` where its process lives, ``engine`` where it also answers."""

    running: bool
    pid: int | None
    engine: Engine | None
    places: Places


def places(store: Path) -> Places:
    """The folders of the private engine that belongs to ``store``."""
    name = hashlib.sha256(os.fsencode(os.path.realpath(store))).hexdigest()[:12]
    return Places(home=store / "engine", run=RUN / name)


def status(store: Path) -> Status:
    """What is there now; starts nothing and needs no root.

    An engine whose tools root was removed still answers, but has lost its programs and its mounts: it is running
    and is no engine, and :func:`up` starts it anew.
    """
    where = places(store)
    pid = _daemon(where)
    engine = dockerapi.ask(where.url, private=True).engine if pid and _has_root(where) else None
    return Status(running=pid is not None, pid=pid, engine=engine, places=where)


def up(store: Path, tools: Path, *, network: Mapping[str, str] | None = None) -> Engine:
    """The running private engine, started if it is not. ``tools``: the tools root. Needs root or sudo to start.

    ``network``: proxies and the like for what it pulls. Raises :class:`EngineError` with its last words.
    """
    now = status(store)
    if now.engine:
        return now.engine
    with stores.locked(store, "engine", wait=2 * READY_SECONDS):
        now = status(store)
        if now.engine:
            return now.engine
        _end(now.places)  # one that hangs, and what a killed one left: shims of containers live on in the old namespace
        _start(store, now.places, tools, network or {})
        return _ready(now.places)


def down(store: Path) -> bool:
    """Stop the engine and wait for its end; whether there was one."""
    with stores.locked(store, "engine", wait=2 * READY_SECONDS):
        return _end(places(store))


def remove(store: Path) -> None:
    """Stop the engine and delete its images, its build cache and its folders."""
    with stores.locked(store, "engine", wait=2 * READY_SECONDS):
        where = places(store)
        _end(where)
        shutil.rmtree(store / "built", ignore_errors=True)  # nothing that was built is there any more
        present = [folder for folder in (where.home, where.run) if folder.exists()]
        if present:
            _as_root(["rm", "-rf", "--one-file-system", "--", *map(str, present)])


def daemon_json(where: Places, gid: int) -> dict[str, Any]:
    """The daemon's configuration. No garbage collection: a target's build cache is 30 GB and is ours to keep."""
    return {
        "hosts": [where.url],
        "group": str(gid),
        "data-root": "/var/lib/docker",
        "exec-root": str(where.run / "exec"),
        "features": {"containerd-snapshotter": True},
        "exec-opts": ["native.cgroupdriver=cgroupfs"],
        "cgroup-parent": "/spark-runtime",
        "bridge": "none",
        "iptables": False,
        "ip6tables": False,
        "ip-forward": False,
        "ip-masq": False,
        "userland-proxy": False,
        "builder": {"gc": {"enabled": False}},
    }


def _start(store: Path, where: Places, tools: Path, network: Mapping[str, str]) -> None:
    etc = where.home / "etc"
    etc.mkdir(parents=True, exist_ok=True)
    uid, gid = (int(os.environ.get(name, own)) for name, own in (("SUDO_UID", os.getuid()), ("SUDO_GID", os.getgid())))
    (etc / "daemon.json").write_text(json.dumps(daemon_json(where, gid), indent=1) + "\n", encoding="utf-8")
    data = where.home / "data"
    _as_root(["mkdir", "-p", str(data), str(where.run)])
    # The socket is as good as root: its folder is its user's alone, whoever else is in the socket's group.
    _as_root(["chown", f"{uid}:{gid}", str(where.run)])
    _as_root(["chmod", "700", str(where.run)])
    binds = [
        (where.run, str(where.run)),
        (data, "/var/lib/docker"),
        (etc, "/etc/docker"),
        (store, str(store)),  # what a container mounts from the store has the same path for us and for the engine
        *_host_files(),
    ]
    box = jail.Jail(root=tools, binds=tuple(binds), tmpfs=("/tmp", "/run", "/opt"), env=(*GO, *network.items()))  # noqa: S108
    argv = ["dockerd", "--config-file=/etc/docker/daemon.json", f"--pidfile={where.pid_file}"]
    where.log.write_bytes(b"")
    where.root_file.write_bytes(os.fsencode(tools))
    _as_root(jail.command(box, argv, log=where.log))


def _host_files() -> list[tuple[Path, str]]:
    """Name resolution and trusted certificates are the host's: they matter to pulls only."""
    found = []
    if Path("/etc/resolv.conf").is_file():
        found.append((Path("/etc/resolv.conf"), "/etc/resolv.conf"))
    candidates = (os.environ.get("SSL_CERT_FILE", ""), *CA_BUNDLES)
    bundle = next((path for path in candidates if path and os.path.isfile(path)), None)
    if bundle:
        found.append((Path(bundle), JAIL_CA_BUNDLE))
    return found


def _ready(where: Places) -> Engine:
    deadline = time.monotonic() + READY_SECONDS
    started = time.monotonic()
    while time.monotonic() < deadline:
        pid = _daemon(where)
        if pid and where.socket.exists():
            answer = dockerapi.ask(where.url, private=True)
            if answer.engine:
                return answer.engine
            if answer.lacks and "no engine answers" not in answer.lacks[0]:
                break
        if pid is None and time.monotonic() - started > 3 and not _ours(where):
            break
        time.sleep(0.05)
    raise EngineError(
        "the private engine did not start",
        why="its last words:\n" + _tail(where.log),
        todo=f"read {where.log}; `nox -s engine -- rm` starts it afresh (its images and build cache are lost)",
    )


def _tail(log: Path) -> str:
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return "\n".join(f"       {line}" for line in lines[-LOG_LINES:])


def _end(where: Places) -> bool:
    """End the daemon gently, then whatever else of it lives; the stale files of a dead one are removed."""
    pid = _daemon(where)
    if pid:
        _signal([pid], signal.SIGTERM)
        processes.wait_for_end([pid], STOP_SECONDS)
    for sign in (signal.SIGTERM, signal.SIGKILL):
        left = _ours(where)
        if left:
            _signal(left, sign)
            processes.wait_for_end(left, KILL_SECONDS)
    if where.run.exists():
        _as_root(["rm", "-rf", "--one-file-system", "--", str(where.run)])
    return pid is not None


def _signal(pids: Sequence[int], sign: signal.Signals) -> None:
    """Signal processes, by Python: a minimal Debian has no ``kill`` program."""
    _as_root([sys.executable, "-I", "-c", KILL, str(int(sign)), *map(str, pids)], check=False)


def _daemon(where: Places) -> int | None:
    """The daemon's pid, if the process that its pid file names is really it (pids are used again)."""
    try:
        pid = int(where.pid_file.read_bytes())
    except PermissionError as error:
        raise EngineError(
            "the private engine of this store is another user's",
            why=str(error),
            todo="keep a store of your own (--store DIR), or stop theirs: nox -s engine -- down, as that user",
        ) from error
    except (OSError, ValueError):
        return None
    return pid if f"--pidfile={where.pid_file}" in processes.arguments(pid) else None


def _has_root(where: Places) -> bool:
    try:
        return os.path.isdir(where.root_file.read_bytes())
    except OSError:
        return False


def _ours(where: Places) -> list[int]:
    """Every process of this engine: all name its run folder."""
    return processes.naming(f"{where.run}/", programs=PROGRAMS)


def _as_root(argv: Sequence[str], *, check: bool = True) -> None:
    proc.run(proc.as_root(argv, purpose=PURPOSE), check=check)
