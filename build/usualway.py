"""The same work as people usually do it, to measure ours against: one Dockerfile, one layer with everything in it.

Composes: the same root file system, the same wheels and the same patched files, by the same engine with the same
exporter's settings (zstd, level 3), offline too. What differs is the way: an installer runs inside the image's own
root, emulated on another machine as buildx does it; all wheels make one layer; patched files are copied over it and
RECORD stays as it was; an argument above the installing step, which is given the time, makes that step run again.
"""

from __future__ import annotations

import os
import statistics
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from build import buildx, contexts, download, engine, host, images, private, steps, store, toolwheels
from build.console import step
from build.errors import LockError, OfflineError
from build.measures import Measure
from build.models import Engine
from build.ourway import COMMENT, Layers, engine_cpu

INSTALLERS = {
    "pip": "PYTHONPATH=/installer /opt/venv/bin/python -m pip install --no-index --find-links /wheels --no-deps "
    "--no-cache-dir --disable-pip-version-check --quiet -r /requirements.txt",
    "uv": "/installer/uv pip install --python /opt/venv/bin/python --no-index --find-links /wheels --no-deps "
    "--no-cache --quiet -r /requirements.txt",
}
BASE = "base"  # the stage that a clock does not make again
INSTALLED = 1  # the place of the installed layer: above the root file system, below the patched files
DOCKERFILE = """\
FROM --platform=linux/arm64 scratch AS {base}
ADD rootfs.tar /

FROM {base}
ARG CACHEBUST
RUN --mount=type=bind,from=wheels,target=/wheels --mount=type=bind,from=installer,target=/installer \\
    --mount=type=bind,source=requirements.txt,target=/requirements.txt \\
    python3 -m venv --without-pip /opt/venv && {install}
COPY patched/ /opt/venv/lib/python{python}/site-packages/
ENV PATH=/opt/venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
CMD ["bash"]
"""


def dockerfile(installer: str, python: str) -> str:
    """The usual Dockerfile, for one of :data:`INSTALLERS` and a Python like ``3.13``."""
    return DOCKERFILE.format(base=BASE, install=INSTALLERS[installer], python=python)


@dataclass(frozen=True, kw_only=True)
class Made:
    """One build of the usual way: the clock's value, wall seconds, the engine's seconds of CPU, the layers."""

    clock: str
    seconds: float
    engine_cpu: float
    layers: Layers


@dataclass(frozen=True, kw_only=True)
class Usual:
    """The usual Dockerfile and all that it reads, in place."""

    job: steps.Job
    chosen: Engine
    request: buildx.Request
    patched: Mapping[str, Path]

    def build(self, *, clock: str, stage: str = "", no_cache: bool = False) -> Made:
        """One build. ``clock``: the argument's value; ``stage``: stop there, and make no image."""
        settings = self.job.settings
        argv, env = engine.buildx(self.chosen, settings)
        request = replace(self.request, values=(("CACHEBUST", clock),), no_cache=no_cache)
        if stage:
            request = replace(request, stage=stage, output="type=cacheonly")
        before, start = engine_cpu(settings, self.chosen), time.monotonic()
        made = buildx.build(argv, env, request, verbose=settings.verbose)
        seconds, cpu = time.monotonic() - start, engine_cpu(settings, self.chosen) - before
        digest = str(made.get("containerimage.digest", ""))
        content = private.places(settings.store).content
        layers = images.compressed_layers(content, digest) if digest else ()
        return Made(clock=clock, seconds=seconds, engine_cpu=cpu, layers=layers)

    def change(self, token: str) -> None:
        """Add a line to a patched file; ``token`` makes it unlike any other."""
        entries: dict[str, bytes | Path] = dict(self.patched)
        name = min(name for name in entries if name.endswith(".py"))
        entries[name] = self.patched[name].read_bytes() + f"{COMMENT.format(token)}\n".encode()
        contexts.sync(self.request.context / "patched", entries)


def measure(name: str, made: Sequence[Made], before: Made | None = None) -> Measure:
    """What builds came to; new layers are those that the image of ``before`` had not."""
    known = {digest for digest, _ in before.layers} if before else set()
    sizes = [sum(size for digest, size in item.layers if digest not in known) for item in made]
    return Measure(
        name=name,
        times=tuple(item.seconds for item in made),
        engine_cpu=made[0].engine_cpu,
        new_bytes=int(statistics.median(sizes)),
    )


@contextmanager
def prepared(job: steps.Job, chosen: Engine, installer: str) -> Iterator[Usual]:
    """The usual way to the same target, its installer fetched by hash; its image is gone from the engine afterwards."""
    settings = job.settings
    name = f"{steps.LABEL}-bench:{job.name}"
    with store.scratch(settings.store, "usual") as folder:
        patched = steps.patched_files(job)
        pins = "".join(f"{wheel.name}=={wheel.version}\n" for wheel in job.lock.wheels)
        main: dict[str, bytes | Path] = {
            "Dockerfile": dockerfile(installer, job.lock.python).encode(),
            "rootfs.tar": host.rootfs_tar(settings, job.target.rootfs),
            "requirements.txt": pins.encode(),
            **{f"patched/{path}": file for path, file in patched.items()},
        }
        wheels = {wheel.file: store.blob(settings.store, wheel.sha256) for wheel in job.lock.wheels}
        contexts.sync(folder / "main", main)
        contexts.sync(folder / "wheels", wheels)
        contexts.sync(folder / "installer", _uv(job) if installer == "uv" else _pip(job))
        request = buildx.Request(
            context=folder / "main",
            named=tuple((part, folder / part) for part in ("wheels", "installer")),
            epoch=job.lock.epoch,
            output=buildx.image_output([name], {}),
            metadata=folder / "metadata.json",
            log=settings.store / "logs" / f"usual-{job.name}.log",
        )
        try:
            yield Usual(job=job, chosen=chosen, request=request, patched=patched)
        finally:
            remove_image(chosen, name)


def remove_image(chosen: Engine, name: str) -> None:
    """Remove an image from the engine, if it is there."""
    import docker.errors  # noqa: PLC0415 - 200 ms that other commands do not spend

    client = engine.client(chosen)
    try:
        client.images.remove(name, force=True)
    except docker.errors.ImageNotFound:
        pass
    finally:
        client.close()


def _uv(job: steps.Job) -> dict[str, bytes | Path]:
    """The locked uv for the image's own architecture."""
    wheel = job.uv_of(host.IMAGE_ARCHITECTURE)
    environment = steps.builder_environment(steps.MACHINES[host.IMAGE_ARCHITECTURE], job.lock.python)
    steps.fetch_python(job.settings, [wheel], [environment])
    return {"uv": steps.uv_program(job.settings, wheel)}


def _pip(job: steps.Job) -> dict[str, bytes | Path]:
    """What the wheel of this project's own pip (``lock/python.txt``) installs."""
    with zipfile.ZipFile(_pip_wheel(job)) as archive:
        return {name: archive.read(name) for name in archive.namelist() if name.startswith("pip/") and name[-1] != "/"}


def _pip_wheel(job: steps.Job) -> Path:
    """That wheel in the store, fetched where it lacks it."""
    settings = job.settings
    tool = next((tool for tool in toolwheels.read(settings.repo) if tool.name == "pip"), None)
    if tool is None:
        raise LockError(f"{toolwheels.LOCK} has no pip", todo="run `nox -s tools`")
    for sha256 in sorted(tool.hashes):  # of the wheel and of the source archive
        kept = store.blob(settings.store, sha256)
        if kept.is_file() and zipfile.is_zipfile(kept):
            store.verify(settings.store, "pip's wheel", sha256)
            return kept
    if settings.offline:
        raise OfflineError(
            "pip's wheel is not in the store, and --offline was asked for",
            why="lock/python.txt names releases and hashes, not files: the index is asked",
            todo="run it with a network once, or measure with `--usual uv`",
        )
    with step("fetch pip's wheel"):
        (wheel,) = toolwheels.locate([tool], os.uname().machine, job.lock.python)
        download.fetch(settings.store, [wheel], folders=settings.exported)
    return store.blob(settings.store, wheel.sha256)
