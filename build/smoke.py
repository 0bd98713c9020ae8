"""Run an image's own checks inside it: no network, its own user, a read-only root, nothing left behind."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from build import nvidia
from build.canonical import tree_files
from build.errors import EngineError, SmokeError

if TYPE_CHECKING:
    import docker
    from docker.models.containers import Container

PLATFORM = "linux/arm64"
LABEL = "spark-runtime"
HOME = "/opt/spark"  # where our images keep their checks and their manifest
MOUNT = "/run/smoke"  # a volume for what a run brings along
USER = "1000:1000"
TMPFS = "exec,mode=1777,size=4g"  # the checks compile and load libraries there
# OpenSSL without the CPU's SHA instructions, which QEMU emulates one by one: hashing takes two thirds of the time.
EMULATED = {"OPENSSL_armcap": "0"}

Event = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What is checked. ``reference`` names it exactly; ``user`` is its own (empty: root, so ours is taken instead)."""

    name: str
    reference: str
    user: str
    foreign: bool


@dataclass(frozen=True, kw_only=True)
class Luggage:
    """What a run brings into the container: a uv for arm64, and our checks for an image without any."""

    uv: Path | None
    checks: Path | None


def execution(client: docker.DockerClient) -> str:
    """Whether arm64 code runs natively on the engine's machine: "native" or "emulated"."""
    return "native" if client.version()["Arch"] in ("arm64", "aarch64") else "emulated"


def run(
    client: docker.DockerClient,
    subject: Subject,
    luggage: Luggage,
    *,
    gpu: bool,
    log: Path,
    heard: Callable[[Event], None],
) -> None:
    """Run the checks to their end; ``heard`` gets each event as it comes, ``log`` what the programs printed.

    ``gpu``: hand all GPUs to the container (it fails to start where there are none); otherwise they are handed over
    where the engine says that it has some. Raises :class:`SmokeError` where the checks could not be run at all.
    """
    with _container(client, subject, luggage, gpu=gpu) as container, log.open("wb") as stream:
        done = False
        for event in _events(client, container, stream):
            done = done or event["event"] == "done"
            heard(event)
        status = container.wait()["StatusCode"]
    if not done:
        tail = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-8:]
        raise SmokeError(
            f"the checks of {subject.name} ended before they were through (exit status {status})",
            why="\n       ".join(tail) or "nothing was printed",
            todo=f"see {log}; an image without Python 3.9 or newer cannot be checked from inside",
        )


@contextmanager
def _container(client: docker.DockerClient, subject: Subject, luggage: Luggage, *, gpu: bool) -> Iterator[Container]:
    """A container that is ready to start, and is gone afterwards with its volume."""
    import docker.errors  # noqa: PLC0415

    home = MOUNT if luggage.checks else HOME
    command = ["-m", "checks"] + (["--uv", f"{MOUNT}/uv"] if luggage.uv else [])
    try:
        container = client.containers.create(
            subject.reference,
            entrypoint=["python3"],
            command=command + (["--set", "foreign"] if subject.foreign else []),
            working_dir=home,
            user=subject.user or USER,
            platform=PLATFORM,
            network_mode="none",
            read_only=True,
            tmpfs={"/tmp": TMPFS},  # noqa: S108
            volumes=[MOUNT],
            cap_drop=["ALL"],
            security_opt=["no-new-privileges"],
            device_requests=_gpus(client, wanted=gpu),
            environment=EMULATED if execution(client) == "emulated" else {},
            labels={f"{LABEL}.smoke": "1"},
        )
    except docker.errors.APIError as error:
        raise SmokeError(f"no container can be made of {subject.name}", why=str(error.explanation)) from error
    try:
        container.put_archive(MOUNT, _tar(luggage))
        try:
            container.start()
        except docker.errors.APIError as error:
            raise _no_start(subject, str(error.explanation), gpu=gpu) from error
        yield container
    finally:
        container.remove(force=True, v=True)


def _no_start(subject: Subject, why: str, *, gpu: bool) -> SmokeError | EngineError:
    if gpu and ("gpu" in why.lower() or "device driver" in why or "CDI" in why):
        return EngineError(
            "the engine cannot hand a GPU to a container",
            why=why,
            todo="install the NVIDIA container toolkit on the engine's machine, or leave out --require-gpu",
        )
    return SmokeError(
        f"{subject.name} cannot be started", why=why, todo="an image without python3 cannot be checked from inside"
    )


def _gpus(client: docker.DockerClient, *, wanted: bool) -> list[Any]:
    """The request for all GPUs, where they are wanted or the engine says that it has some."""
    info = client.info()
    return [nvidia.request(info)] if wanted or nvidia.handed_over(info, local=False) else []


def _tar(luggage: Luggage) -> bytes:
    """The luggage as a tar, readable by any user."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        if luggage.uv:
            _add(archive, luggage.uv, "uv", 0o755)
        for name, path in tree_files(luggage.checks) if luggage.checks else ():
            _add(archive, Path(path), f"checks/{name}", 0o644)
    return packed.getvalue()


def _add(archive: tarfile.TarFile, path: Path, name: str, mode: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = path.stat().st_size, mode
    with path.open("rb") as stream:
        archive.addfile(entry, stream)


def _events(client: docker.DockerClient, container: Container, log: io.BufferedIOBase) -> Iterator[Event]:
    """The container's events as they come; all else that it prints goes to the log."""
    rest = b""
    api: Any = client.api
    attached = api.attach(container.id, stdout=True, stderr=True, stream=True, logs=True, demux=True)
    for out, err in attached:
        if err:
            log.write(err)
        *lines, rest = (rest + (out or b"")).split(b"\n")
        for line in lines:
            if (event := _event(line)) is not None:
                yield event
            else:
                log.write(line + b"\n")
    log.write(rest)
    log.flush()


def _event(line: bytes) -> Event | None:
    try:
        said = json.loads(line)
    except ValueError:
        return None
    return said if isinstance(said, dict) and "event" in said else None
