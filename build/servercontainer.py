"""The container that serves a model: all that the engine is told of it, once for its API, once as ``docker run``.

What it may do: read the model, write to /tmp and to the volume of one image's caches, use the GPUs, be reached at one
address. It is not root, has no capability and gets none, and its root file system is read-only. The image's own program
is process 1 (``dockerfiles/image/serve``): it reaps, so no ``--init``; it ends what it started, so no restart.
"""

from __future__ import annotations

import hashlib
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from build.errors import EngineError, ServeError

NAME = "spark-runtime-serve"  # one server a machine: it takes nearly all memory
LABEL = "spark-runtime"
SERVE, IMAGE, URL, MODEL, STOP = (f"{LABEL}.serve{end}" for end in ("", ".image", ".url", ".model", ".stop-seconds"))
CACHE_LABEL = f"{LABEL}.cache"  # of a volume: the digest of the image that it belongs to
CACHE = "/cache"  # as the image's program knows it (serve/story.py): each library's folder is below it
PORT = 8000  # in the container (serve/compose.py)
PLATFORM = "linux/arm64"
USER = "1000:1000"
TMPFS = "exec,mode=1777,size=4g"  # compilers' intermediate files, sockets between vLLM's processes
# POSIX shared memory, for NCCL and vLLM's queues between processes; one GPU hardly uses it. A limit, no reservation.
# The host's IPC name space is not shared: other processes' segments are none of its business.
SHM_BYTES = 1 << 30
# What NVIDIA asks for its own images; memory that is locked is what the CPU and the GPU exchange without a copy.
MEMLOCK, STACK = ("memlock", -1), ("stack", 67108864)
RLIMIT = "setting rlimit"  # what runc says where the engine itself may not lift a limit, as a rootless one
LOG_DRIVER, LOG_OPTIONS = "local", {"max-file": "5", "max-size": "20m"}
MARGIN_SECONDS = 15  # beyond the watchdog's drain time: it kills by itself, and says so
# No model hub and no statistics are asked: huggingface_hub/constants.py; vllm/envs.py.
OFFLINE = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"}
API_KEY = "VLLM_API_KEY"  # vllm/envs.py


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One server. ``image``: what the engine calls it; ``digest``: its id there; ``profile_file``: of the host.

    ``bridge``: the engine has a bridge network, and publishes ports; without one it shares the host's network.
    ``gpus``: a ``DeviceRequest``, None for none. ``words``: more for vLLM's command line. ``drain``: seconds.
    ``memlock``: the limit of locked memory is lifted.
    """

    image: str
    digest: str
    target: str
    profile: str
    profile_file: Path
    model: Path
    host: str
    port: int
    bridge: bool
    gpus: Any
    drain: int
    words: tuple[str, ...] = ()
    memlock: bool = True
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def url(self) -> str:
        """Where it is reached from this machine."""
        return f"http://{reached(self.host)}:{self.port}"

    @property
    def volume(self) -> str:
        """The volume of what this image compiles at run time: another image's does not fit, and begins anew."""
        return f"{LABEL}-cache-{self.digest.removeprefix('sha256:')[:12]}"

    @property
    def command(self) -> tuple[str, ...]:
        """For the image's program."""
        listen = () if self.bridge else ("--host", self.host, "--port", str(self.port))
        more = ("--", *self.words) if self.words else ()
        return ("serve", "--profile", self.profile_place, "--model", f"/models/{self.model.name}", *listen, *more)

    @property
    def profile_place(self) -> str:
        """Where the profile is in the container: what was checked here is what is served."""
        return f"/profiles/{self.profile}.toml"

    @property
    def ulimits(self) -> tuple[tuple[str, int], ...]:
        return (MEMLOCK, STACK) if self.memlock else (STACK,)

    @property
    def stop_seconds(self) -> int:
        return self.drain + MARGIN_SECONDS

    @property
    def labels(self) -> dict[str, str]:
        return {
            SERVE: self.profile, IMAGE: self.digest, URL: self.url, MODEL: self.model.name,
            STOP: str(self.stop_seconds),
        }  # fmt: skip


def reached(host: str) -> str:
    """Where to ask for a server that listens at ``host``.

    >>> reached("0.0.0.0"), reached("::"), reached("fe80::1"), reached("192.0.2.7")
    ('127.0.0.1', '[::1]', '[fe80::1]', '192.0.2.7')
    """
    name = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - to ask, not to listen
    return f"[{name}]" if ":" in name else name


def kept(store: Path, profile: str, content: bytes) -> Path:
    """A profile's file where an engine can mount it, by its content: it does not change below a server that runs."""
    path = store / "serve" / f"{profile}-{hashlib.sha256(content).hexdigest()[:12]}.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        partial = path.with_suffix(f".{os.getpid()}")
        partial.write_bytes(content)
        partial.chmod(0o644)  # the server is another user
        os.replace(partial, path)
    return path


def create(api: Any, plan: Plan) -> str:
    """Make the container, ready to be started; its id. Raises :class:`ServeError`, and makes nothing then."""
    import docker.errors  # noqa: PLC0415
    import docker.types  # noqa: PLC0415

    mounts = [
        docker.types.Mount(f"/models/{plan.model.name}", str(plan.model), type="bind", read_only=True),
        docker.types.Mount(plan.profile_place, str(plan.profile_file), type="bind", read_only=True),
        docker.types.Mount(CACHE, plan.volume, type="volume", labels={CACHE_LABEL: plan.digest}),
    ]
    settings = api.create_host_config(
        network_mode="bridge" if plan.bridge else "host",
        port_bindings={PORT: (plan.host, plan.port)} if plan.bridge else None,
        mounts=mounts,
        read_only=True,
        tmpfs={"/tmp": TMPFS},  # noqa: S108
        ipc_mode="private",
        shm_size=SHM_BYTES,
        ulimits=[docker.types.Ulimit(name=name, soft=value, hard=value) for name, value in plan.ulimits],
        cap_drop=["ALL"],
        security_opt=["no-new-privileges"],
        device_requests=[plan.gpus] if plan.gpus else None,
        restart_policy={"Name": "no"},
        log_config=docker.types.LogConfig(type=LOG_DRIVER, config=dict(LOG_OPTIONS)),
    )
    try:
        made = api.create_container(
            plan.image, list(plan.command), name=NAME, user=USER, platform=PLATFORM, labels=plan.labels,
            environment={**OFFLINE, **plan.environment}, host_config=settings, stop_timeout=plan.stop_seconds,
            ports=[PORT] if plan.bridge else None, use_config_proxy=False,
        )  # fmt: skip
    except docker.errors.APIError as error:
        raise refused(str(error.explanation)) from error
    return str(made["Id"])


def start(api: Any, container: str) -> None:
    """Start it; where that fails it is removed. Raises :class:`ServeError` or :class:`EngineError`."""
    import docker.errors  # noqa: PLC0415

    try:
        api.start(container)
    except docker.errors.APIError as error:
        api.remove_container(container, force=True)
        raise refused(str(error.explanation)) from error


def forbids_memlock(error: ServeError | EngineError) -> bool:
    """Whether a container did not start because the engine may not lift the limit of locked memory."""
    return RLIMIT in error.why


def refused(why: str) -> ServeError | EngineError:
    """The error for what an engine says where it does not make or start a container."""
    plain = why.lower()
    if "is already in use by container" in plain:
        return ServeError("a server is being started already", why=why, todo="see `nox -s serve -- status`")
    if "bind source path does not exist" in plain:
        return EngineError(
            "the engine does not see a folder of this machine",
            why=why,
            todo="the private engine sees the store alone: keep models there (no --models), or use your own engine",
        )
    if "address already in use" in plain or "port is already allocated" in plain:
        return ServeError("the port is taken", why=why, todo="name another: --port N")
    if any(word in plain for word in ("gpu", "nvidia", "device driver", "cdi ")):
        return EngineError(
            "the engine cannot hand a GPU to a container",
            why=why,
            todo="repair NVIDIA's container toolkit: nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml",
        )
    return ServeError("the engine does not start the container", why=why)


def docker_run(plan: Plan) -> list[str]:
    """The same as a command. Secrets are named without their value: docker takes that from its own environment."""
    where = f"[{plan.host}]" if ":" in plan.host else plan.host
    network = ["--publish", f"{where}:{plan.port}:{PORT}/tcp"] if plan.bridge else ["--network", "host"]
    words = [
        "docker", "run", "--detach", "--name", NAME, "--platform", PLATFORM, "--user", USER,
        *network, *_gpus(plan.gpus),
        "--mount", f"type=bind,src={plan.model},dst=/models/{plan.model.name},readonly",
        "--mount", f"type=bind,src={plan.profile_file},dst={plan.profile_place},readonly",
        "--mount", f"type=volume,src={plan.volume},dst={CACHE},volume-label={CACHE_LABEL}={plan.digest}",
        "--read-only", "--tmpfs", f"/tmp:{TMPFS}", "--ipc", "private", "--shm-size", str(SHM_BYTES),  # noqa: S108
    ]  # fmt: skip
    for name, limit in plan.ulimits:
        words += ["--ulimit", f"{name}={limit}:{limit}"]
    words += ["--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--restart", "no"]
    words += ["--log-driver", LOG_DRIVER]
    for name, value in LOG_OPTIONS.items():
        words += ["--log-opt", f"{name}={value}"]
    words += ["--stop-timeout", str(plan.stop_seconds)]
    for name, value in {**OFFLINE, **plan.environment}.items():
        words += ["--env", name if name == API_KEY else f"{name}={value}"]
    for name, value in plan.labels.items():
        words += ["--label", f"{name}={value}"]
    return [*words, plan.image, *plan.command]


def shown(words: Sequence[str]) -> str:
    """A command as one can paste it into a shell, an option a line."""
    lines: list[str] = []
    for word in words:
        if word.startswith("--") or not lines:
            lines.append(shlex.quote(word))
        else:
            lines[-1] += f" {shlex.quote(word)}"
    return " \\\n  ".join(lines)


def _gpus(request: Any) -> list[str]:
    if request is None:
        return []
    devices = request["DeviceIDs"]
    return ["--device", devices[0]] if request["Driver"] == "cdi" and devices else ["--gpus", "all"]
