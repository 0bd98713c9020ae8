"""Pushing measured: beside skopeo from the same files, in turns; after a change of one line; and verifying.

Composes. Everything goes to a registry of our own on this machine, and is dropped: nothing is published.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from build import compared, engine, host, localregistry, ourway, private, proc, pushing, steps, store
from build.console import step
from build.cosign import PROGRAM as COSIGN
from build.errors import PublishError, UsageError
from build.localregistry import Local
from build.models import Settings
from build.registry import Repository

TURNS = 3
NAME = "bench/image"
SKOPEO = Path("usr/bin/skopeo")


@dataclass(frozen=True, kw_only=True)
class Times:
    """Seconds of each turn: the image's blobs and manifest, by ``push`` and by skopeo; ``size``: their bytes."""

    push: tuple[float, ...]
    skopeo: tuple[float, ...]
    size: int


@contextmanager
def place(settings: Settings) -> Iterator[tuple[Path, Local]]:
    """A folder of the store with a registry in it, gone afterwards."""
    root = host.registry(settings)
    with (
        store.scratch(settings.store, "push") as folder,
        localregistry.running(engine.loader(root), root, folder) as local,
    ):
        yield folder, local


def race(job: steps.Job, folder: Path, local: Local) -> Times:
    """Push all of an image into an empty registry, by our own code and by skopeo, in turns."""
    times: dict[str, list[float]] = {"push": [], "skopeo": []}
    with compared.opened(job.settings, job.name) as image:
        layout = _layout(job.settings, image.manifest, folder)
        manifest = pushing.manifest_of(image)
        for turn in range(TURNS):
            for way in sorted(times, reverse=bool(turn % 2)):
                local.empty()
                start = time.monotonic()
                if way == "push":
                    with Repository(*local_name(local), None, write=True) as repository:
                        pushing.push(repository, image, manifest)
                else:
                    _skopeo(job.settings, layout, local)
                times[way].append(time.monotonic() - start)
        size = sum(layer.size for layer in image.layers)
    return Times(push=tuple(times["push"]), skopeo=tuple(times["skopeo"]), size=size)


def local_name(local: Local) -> tuple[str, str]:
    return local.place, NAME


def _layout(settings: Settings, digest: str, folder: Path) -> Path:
    """The engine's content store as an OCI layout: the very files that our own code reads."""
    content = private.places(settings.store).content
    file = content / digest.replace(":", "/")
    if not file.is_file():
        raise UsageError(
            "--push needs the private engine", why="another engine does not show its files", todo="unset DOCKER_HOST"
        )
    layout = folder / "layout"
    layout.mkdir()
    (layout / "blobs").symlink_to(content)
    row = {"mediaType": json.loads(file.read_bytes())["mediaType"], "digest": digest, "size": file.stat().st_size}
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [row]}), encoding="utf-8")
    (layout / "oci-layout").write_text(json.dumps({"imageLayoutVersion": "1.0.0"}), encoding="utf-8")
    return layout


def _skopeo(settings: Settings, layout: Path, local: Local) -> None:
    root = host.registry(settings)
    argv: list[proc.Arg] = [*engine.loader(root), root / SKOPEO, "--insecure-policy", "copy", "--preserve-digests"]
    proc.run([*argv, "--dest-tls-verify=false", f"oci:{layout}", f"docker://{local.place}/{NAME}:bench"])


@dataclass(frozen=True, kw_only=True)
class Key:
    """A key pair of the measurement's own."""

    private: Path
    public: Path


def key_pair(settings: Settings, folder: Path) -> Key:
    root = host.publish(settings)
    env = {"COSIGN_PASSWORD": "bench"}
    proc.run([*engine.loader(root), root / COSIGN, "generate-key-pair"], cwd=folder, env=env)
    return Key(private=folder / "cosign.key", public=folder / "cosign.pub")


def push(job: steps.Job, repo: Path, local: Local, key: Key, report: Path) -> tuple[float, Mapping[str, Any]]:
    """The whole command, in a clone: its seconds and what it told."""
    argv = [sys.executable, "-m", "build", "push", "--target", job.name, "--json", "--allow-dirty", "--allow-unfit"]
    argv += ["--repo", f"{local.place}/{NAME}", "--key", str(key.private), "--report", str(report)]
    env = {**ourway.environment(job.settings), "COSIGN_PASSWORD": "bench"}
    start = time.monotonic()
    done = proc.run(argv, cwd=repo, env=env, verbose=job.settings.verbose)
    return time.monotonic() - start, dict(json.loads(done.stdout))


def verify(job: steps.Job, repo: Path, key: Key, image: str) -> float:
    """The whole command: its seconds."""
    argv = [sys.executable, "-m", "build", "verify", image, "--json", "--key", str(key.public)]
    start = time.monotonic()
    proc.run(argv, cwd=repo, env=ourway.environment(job.settings), verbose=job.settings.verbose)
    return time.monotonic() - start


def as_commit(repo: Path) -> None:
    """Make a copy of the repository a checkout with a commit, as `push` wants one."""
    name = ["-c", "user.name=bench", "-c", "user.email=bench@localhost"]
    for argv in (["init", "--quiet"], ["add", "--all"], [*name, "commit", "--quiet", "--message=bench"]):
        proc.run(["git", *argv], cwd=repo)


def report_for(job: steps.Job, digest: str, chain: str, folder: Path) -> Path:
    """A smoke report of about the size of a real one: the one of the image as it is, under another's name.

    It is good for a measurement that nobody else will ever see.
    """
    known = sorted(
        (job.settings.repo / "out" / "smoke").glob(f"{job.name}-*.json"), key=lambda path: path.stat().st_mtime
    )
    if not known:
        raise PublishError(
            f"there is no smoke report of {job.name} to measure with", todo=f"nox -s smoke -- --target {job.name}"
        )
    told = json.loads(known[-1].read_bytes())
    made = folder / f"{digest[7:19]}.json"
    made.write_text(json.dumps({**told, "digest": digest, "chain_id": chain}, indent=1), encoding="utf-8")
    return made


def record(job: steps.Job, repo: Path) -> Mapping[str, Any]:
    """Note the image that a clone's build gave, as `push` wants it."""
    with step("note the changed image"):
        return ourway.build(job.settings, job.name, repo, "--record")
