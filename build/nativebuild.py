"""What BuildKit gets for a native build: sources, what CMake would fetch, tools, the plan that the step reads.

Composes. All of it is verified each time: trees and what was unpacked of wheels by git's id in the lock, patched files
by their hashes.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from build import contexts, gitsource, host, madewheel, patched, roots, sourcetree, steps, store, treehash, wheeltree
from build.buildx import Request
from build.canonical import digest, tree_files
from build.errors import LockError
from build.models import GitSource, Native
from build.render import NativePage, cuda_home
from build.tables import NativeIntent

BASE = "torch"  # the layer that native code is compiled on
MULTIARCH = "x86_64-linux-gnu"
PROGRAMS = ("g++-{gcc}", "gcc-{gcc}", "as", "ld.bfd")  # of aarch64-linux-gnu-…, by the names of a native machine
CUDA_COMPILERS = ("nvidia-cuda-crt", "nvidia-cuda-nvcc", "nvidia-nvvm")  # what is in them decides what nvcc makes
JOBS = Path(__file__).with_name("jobs.py")  # runs in the step as it is


def parts(job: steps.Job) -> tuple[NativeIntent, Native]:
    """Intent and lock of a target's native build."""
    assert job.target.native is not None
    assert job.lock.native is not None
    return job.target.native, job.lock.native


def page(job: steps.Job) -> NativePage | None:
    """What the templates show; None in the wheel lane."""
    if job.target.native is None:
        return None
    native, locked = parts(job)
    home = cuda_home(job.lock.python)
    cross = [
        "from=compile,source=/lib64,target=/lib64",
        f"from=compile,source=/usr/lib/{MULTIARCH},target=/usr/lib/{MULTIARCH}",
        "from=compile,source=/usr/libexec/gcc-cross,target=/usr/libexec/gcc-cross",
        *(
            f"from=compile,source=/usr/bin/aarch64-linux-gnu-{program},target=/usr/bin/aarch64-linux-gnu-{program}"
            for program in (name.format(gcc=compiler_version(job)) for name in PROGRAMS)
        ),
        *(f"from=native-host,source=nvidia/cu13/{path},target={home}/{path}" for path in ("bin", "nvvm/bin")),
    ]
    debs = sorted(deb.sha256 for root in (*job.compilers, job.rootfs) for deb in root.debs)
    cuda = [wheel.sha256 for wheel in (*locked.hosts, *job.lock.wheels) if wheel.name in CUDA_COMPILERS]
    return NativePage(
        targets=native.targets,
        base=BASE,
        dependencies=(
            "from=compile,source=/usr/bin/patch,target=/usr/bin/patch",
            *(f"from=dep-{name},target=/mnt/deps/{name}" for name in external_names(job)),
        ),
        cross=tuple(cross),
        cache=f"ccache-{digest([debs, cuda])[:16]}",
    )


def compiler_version(job: steps.Job) -> str:
    """The major version of GCC in the compile root, as Debian's names have it."""
    names = (re.fullmatch(r"g\+\+-(\d+)-aarch64-linux-gnu|g\+\+-(\d+)", deb.name) for deb in job.compilers[0].debs)
    return next(name[1] or name[2] for name in names if name)


def external_names(job: steps.Job) -> tuple[str, ...]:
    """What CMake would fetch and finds: locked sources and substitutes."""
    _, locked = parts(job)
    return tuple(sorted({*(item.name for item in job.lock.externals), *(item.name for item in locked.substitutes)}))


def context_names(job: steps.Job) -> tuple[str, ...]:
    """The names of :func:`named`; none in the wheel lane."""
    if job.target.native is None:
        return ()
    return ("native-source", "native-tools", "native-host", *(f"dep-{name}" for name in external_names(job)))


def plan(job: steps.Job) -> dict[str, Any]:
    """What ``dockerfiles/lane/native.py`` is told."""
    native, _ = parts(job)
    return {
        "component": native.component,
        "project": native.project,
        "architectures": native.architectures,
        "gcc": compiler_version(job),
        "targets": native.targets,
        "heavy": native.heavy,
        "drop": [{"target": item.target, "sources": item.sources} for item in native.drop],
        "empty": [item.target for item in native.left_off if item.target],
        "externals": external_names(job),
        "stubs": {name: dict(item.files) for name, item in sorted(native.stubs.items())},
        "define": {key: value for item in native.substitutes.values() for key, value in sorted(item.define.items())},
    }


def inputs(job: steps.Job) -> dict[str, Any]:
    """What enters the image and neither lock nor templates show: the plan, our program that counts jobs, compilers."""
    return {
        "plan": plan(job),
        "jobs": hashlib.sha256(JOBS.read_bytes()).hexdigest(),
        "compilers": [roots.root_id(item) for item in job.compilers],
    }


def told(job: steps.Job) -> dict[str, Any]:
    """What the image says of its native build (``manifest.json``)."""
    native, locked = parts(job)
    return {
        "component": native.component,
        "complete": native.complete,
        "architectures": native.architectures,
        "targets": native.targets,
        "drop": [item.model_dump() for item in native.drop],
        "left_off": [item.model_dump(exclude_none=True) for item in native.left_off],
        "externals": {item.name: item.source.commit for item in job.lock.externals},
        "substitutes": {
            item.name: {
                "wheel": item.wheel.file,
                "sha256": item.wheel.sha256,
                "path": item.path,
                "tree": item.tree,
                "reason": native.substitutes[item.name].reason,
            }
            for item in locked.substitutes
        },
        "stubs": {name: item.reason for name, item in sorted(native.stubs.items())},
    }


def main_entries(job: steps.Job) -> dict[str, bytes | Path]:
    """The native build's part of the main context."""
    text = json.dumps(plan(job), indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    return {
        "compile.tar": host.compile_tar(job.settings),
        "native/plan.json": text.encode(),
        "native/jobs.py": JOBS.read_bytes(),
        "native/hook.cmake": job.settings.repo / "dockerfiles" / "lane" / "hook.cmake",
    }


def named(job: steps.Job, root: Path) -> list[tuple[str, Path]]:
    """The named contexts of a native build; that of the component's sources is brought up to date in ``root``."""
    _, locked = parts(job)
    settings = job.settings
    contexts.sync(root / "native-source", source(job))
    tools = wheeltree.ensure(settings, locked.tools)
    _demand_tree("what CMake's wheels hold", locked.tools_tree, treehash.tree_id(tools))
    hosts = root / "native-source"  # stands there, and no stage of this machine takes it
    if is_cross(job):
        hosts = wheeltree.ensure(settings, locked.hosts)
        _demand_tree("what the wheels of CUDA's compilers hold", locked.hosts_tree, treehash.tree_id(hosts))
    found = [("native-source", root / "native-source"), ("native-tools", tools), ("native-host", hosts)]
    found += [(f"dep-{item.name}", _external(job, item.name, item.source)) for item in job.lock.externals]
    for item in locked.substitutes:
        folder = wheeltree.ensure(settings, [item.wheel], item.path)
        _demand_tree(f"the substitute for {item.name}", item.tree, treehash.tree_id(folder))
        found.append((f"dep-{item.name}", folder))
    return found


def is_cross(job: steps.Job) -> bool:
    """Whether this machine's own compilers stand in for the image's."""
    return job.compiler.arch != "arm64"


def by_whom(job: steps.Job) -> str:
    """In words: whose compilers run here."""
    if is_cross(job):
        return f"this machine's own compilers ({job.compiler.arch}) for aarch64, in the image's userland"
    return "the image's own compilers"


def _external(job: steps.Job, name: str, source: GitSource) -> Path:
    folder = gitsource.ensure(job.settings, name, source)
    if fault := gitsource.difference(folder, source):
        raise _other_tree(f"the external source {name}", fault)
    return folder


@contextmanager
def asked(job: steps.Job, *, jobs: int, cold: bool) -> Iterator[Callable[[Request], Request]]:
    """What this run alone decides, as a secret of the step: no cache key and no byte of the image hangs on it.

    Gives what makes a request one that carries it.
    """
    if job.target.native is None:
        yield lambda request: request
        return
    with store.scratch(job.settings.store, "asked") as folder:
        file = folder / "asked.json"
        file.write_text(json.dumps({"jobs": jobs, "cold": cold}), encoding="utf-8")
        stages = tuple(f"native-{machine}" for machine in steps.MACHINES) if cold else ()
        yield lambda request: replace(request, secrets=(("asked", file),), fresh=stages)


def source(job: steps.Job) -> dict[str, bytes | Path]:
    """What compilers see of the patched tree, by repository path; the whole tree is compared with the lock before."""
    native, _ = parts(job)
    component = madewheel.compiled(job.lock)
    assert component is not None
    tree = sourcetree.ensure(job.settings, component)
    _demand_tree(
        f"the source tree of {component.name}", component.tree, treehash.tree_id(tree, sourcetree.pins(component))
    )
    found: dict[str, bytes | Path] = {
        path: Path(place) for path, place in tree_files(tree) if path.startswith(native.sources)
    }
    for path, file in patched.compiled_files(job.settings, job.lock, job.series).items():
        if file is None:
            found.pop(path, None)
        else:
            found[path] = file
    return found


def _demand_tree(what: str, locked: str, found: str) -> None:
    if locked != found:
        raise _other_tree(what, f"expected {locked}, found {found}")


def _other_tree(what: str, why: str) -> LockError:
    return LockError(
        f"{what} is not what was locked", why=why, todo="drop it from the store (`nox -s clean -- trees`), then again"
    )
