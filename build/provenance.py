"""What an image was built from, and by whom: a predicate of SLSA provenance v1 (slsa.dev/spec/v1.0/provenance).

Composes. It hangs on the locks, on the run that is told of, and on the few variables of GitHub Actions in
:data:`VARIABLES`; no path, no name of a machine and no other variable enters it. The build type is explained in
docs/publish.md.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from build import (
    deblock,
    giturl,
    lockfile,
    profiles,
    recipe,
    requireslock,
    results,
    sbom,
    series,
    steps,
    units,
)
from build.canonical import file_sha256
from build.intent import FILE
from build.models import Component, GitSource, Settings, SourceArchive, Wheel
from build.steps import LABEL, Job

PREDICATE_TYPE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = f"urn:{LABEL}:build-type:1"
LOCAL = f"urn:{LABEL}:builder:local"
VARIABLES = (
    "GITHUB_ACTIONS", "GITHUB_REPOSITORY", "GITHUB_RUN_ATTEMPT", "GITHUB_RUN_ID", "GITHUB_SERVER_URL",
    "GITHUB_WORKFLOW_REF",
)  # fmt: skip
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:Z|\+00:00)")
PACKAGE = re.compile(r"([a-z0-9][a-z0-9+.-]+) ([0-9][A-Za-z0-9.+~:-]*)")  # of Debian, as results name an engine

Descriptor = dict[str, Any]  # in-toto's ResourceDescriptor


@dataclass(frozen=True, kw_only=True)
class Run:
    """A build that is told of. ``commit``: of this repository; ``engine``, ``buildkit``: as a result has them.

    ``started``, ``finished``: UTC, ISO 8601; empty where nobody noted them.
    """

    chain_id: str
    commit: str
    engine: str
    buildkit: str = ""
    started: str = ""
    finished: str = ""


@dataclass(frozen=True, kw_only=True)
class Actions:
    """The run of GitHub Actions that we are part of. ``repository``: its URL; ``workflow``: with path and ref."""

    repository: str
    workflow: str
    run: str


def predicate(
    job: Job, run: Run, byproducts: Mapping[str, str], *, environ: Mapping[str, str] = os.environ
) -> dict[str, Any]:
    """The predicate. ``byproducts``: what else is attached to the image, name → digest (``sha256:…``).

    ``UnresolvedError`` where the lock leaves open what the image is made of.
    """
    steps.require_resolved(job)
    actions = in_actions(environ)
    target, lock = job.target, job.lock
    return {
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": {"target": job.name},
            "internalParameters": {
                "chain_id": run.chain_id,
                "epoch": lock.epoch,
                "lane": str(target.lane),
                "platform": f"linux/{job.rootfs.arch}",
                "python": lock.python,
                "series_id": series.series_id(lock.patches),
                "wheels_for": lock.platform,
            },
            "resolvedDependencies": [_ours(run, actions), *_dependencies(job)],
        },
        "runDetails": {
            "builder": _builder(run, actions),
            **_present("metadata", _metadata(run, actions)),
            **_present("byproducts", [{"name": key, "digest": _digest(byproducts[key])} for key in sorted(byproducts)]),
        },
    }


def in_actions(environ: Mapping[str, str]) -> Actions | None:
    """The run that the variables tell of; None elsewhere, and where one of them is not of its form."""
    said = {name: environ.get(name, "") for name in VARIABLES}
    forms = {
        "GITHUB_ACTIONS": r"true",
        "GITHUB_REPOSITORY": r"[\w.-]+/[\w.-]+",
        "GITHUB_RUN_ATTEMPT": r"\d+",
        "GITHUB_RUN_ID": r"\d+",
        "GITHUB_SERVER_URL": r"https?://[\w.-]+(:\d+)?",
        "GITHUB_WORKFLOW_REF": r"[\w.-]+/[\w.-]+/[\w./-]+@[^\s@?#]+",
    }
    if not all(re.fullmatch(form, said[name], re.ASCII) for name, form in forms.items()):
        return None
    server = said["GITHUB_SERVER_URL"]
    repository = f"{server}/{said['GITHUB_REPOSITORY']}"
    return Actions(
        repository=repository,
        workflow=f"{server}/{said['GITHUB_WORKFLOW_REF']}",
        run=f"{repository}/actions/runs/{said['GITHUB_RUN_ID']}/attempts/{said['GITHUB_RUN_ATTEMPT']}",
    )


def lock_files(settings: Settings, job: Job) -> tuple[Path, ...]:
    """The files under ``lock/`` that a build of the target hangs on, on a machine of either architecture."""
    repo = settings.repo
    sets = (*job.tool_roots, *job.builders, *job.compilers, job.rootfs)
    found = {
        repo / FILE,
        lockfile.lock_path(repo, job.name),
        requireslock.path_of(repo, job.name),
        *(deblock.path_of(repo, item.root, item.arch) for item in sets),
        *(repo / profiles.FOLDER / name for name in recipe.baked(job)),
        *(path for path in (results.path_of(repo, job.name), units.path_of(repo, job.name)) if path.exists()),
    }
    return tuple(sorted(found))


def _ours(run: Run, actions: Actions | None) -> Descriptor:
    if not sbom.COMMIT.fullmatch(run.commit):
        raise ValueError(f"no commit: {run.commit!r}")
    uri = {"uri": f"git+{actions.repository}"} if actions else {}
    return {"name": LABEL, **uri, "digest": {"gitCommit": run.commit}}


def _dependencies(job: Job) -> Iterator[Descriptor]:
    """The locks, which name all else by hash; and by itself what is worth being asked for: sources, patches, vLLM."""
    repo = job.settings.repo
    for path in lock_files(job.settings, job):
        yield {"name": path.relative_to(repo).as_posix(), "digest": {"sha256": file_sha256(path)}}
    for patch in job.series.patches:
        yield {"name": patch.path.as_posix(), "digest": {"sha256": patch.ref.sha256}}
    for item in job.lock.components:
        yield from _component(job, item)
    for external in job.lock.externals:
        yield from _git(external.name, external.source)
    patched = {item.distribution for item in job.lock.components}
    for substitute in job.lock.native.substitutes if job.lock.native else ():
        if substitute.wheel not in job.lock.wheels or substitute.wheel.name not in patched:  # else it was named above
            yield _file(substitute.wheel)


def _component(job: Job, item: Component) -> Iterator[Descriptor]:
    if item.archive is not None:
        yield _file(item.archive)
    elif item.git is not None:
        yield from _git(item.name, item.git)
    for wheel in job.lock.wheels:
        if wheel.name == item.distribution and not wheel.made:  # one that is made is made from the source
            yield _file(wheel)


def _file(file: Wheel | SourceArchive) -> Descriptor:
    return {"name": file.file, "uri": sbom.pypi(file.name, file.version), "digest": {"sha256": file.sha256}}


def _git(name: str, source: GitSource) -> Iterator[Descriptor]:
    yield {"name": name, **_remote(source.url), "digest": {"gitCommit": source.commit, "gitTree": source.tree}}
    for module in source.submodules:
        digest = {"gitCommit": module.commit, "gitTree": module.tree}
        yield {"name": f"{name}/{module.path}", **_remote(module.url), "digest": digest}


def _remote(url: str) -> Descriptor:
    """Where a source is; nothing of a place on a disk, no credentials."""
    if giturl.is_local(url) or "://" not in url or giturl.shown(url) != url:
        return {}
    return {"uri": f"git+{url}"}


def _builder(run: Run, actions: Actions | None) -> Descriptor:
    told: Descriptor = {"id": actions.workflow if actions else LOCAL}
    version = {"buildkit": run.buildkit} if run.buildkit else {}
    if parts := PACKAGE.fullmatch(run.engine):
        uri = f"pkg:deb/debian/{quote(parts[1])}@{quote(parts[2], safe=':~')}"
        told["builderDependencies"] = [{"name": parts[1], "uri": uri}]
        version[parts[1]] = parts[2]
    elif run.engine:
        version["engine"] = run.engine
    return told | _present("version", version)


def _metadata(run: Run, actions: Actions | None) -> Descriptor:
    times = {"startedOn": run.started, "finishedOn": run.finished}
    for name, value in times.items():
        if value and not TIME.fullmatch(value):
            raise ValueError(f"{name} is no time in UTC: {value!r}")
    known = {name: value.replace("+00:00", "Z") for name, value in times.items() if value}
    return known | ({"invocationId": actions.run} if actions else {})


def _digest(value: str) -> dict[str, str]:
    if not sbom.DIGEST.fullmatch(value):
        raise ValueError(f"no digest: {value!r}")
    return {"sha256": value.removeprefix("sha256:")}


def _present(name: str, value: Any) -> Descriptor:
    """The field, where it says something: unset and empty mean the same."""
    return {name: value} if value else {}
