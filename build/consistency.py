"""Contradictions inside one target's lock: pure functions that find them, each as a sentence with both sides of it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from packaging.requirements import Requirement
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from build import wheeltags
from build.models import Artifact, DebSet, GitSource, Lock, Wheel

SHA256 = re.compile(r"[0-9a-f]{64}")
GIT_ID = re.compile(r"[0-9a-f]{40}")

# The parts of a CUDA toolkit whose versions begin with the toolkit's own (CUDA Toolkit release notes, table of
# component versions; cuBLAS, cuFFT and the like count for themselves): compiler, headers, runtime, run-time compiler.
CUDA_TOOLKIT = (
    "cuda-toolkit", "nvidia-cuda-cccl", "nvidia-cuda-crt", "nvidia-cuda-cupti", "nvidia-cuda-nvcc", "nvidia-cuda-nvrtc",
    "nvidia-cuda-runtime", "nvidia-nvjitlink", "nvidia-nvtx", "nvidia-nvvm",
)  # fmt: skip
MAJOR = re.compile(r"-cu\d+$")  # how wheels of CUDA 12 and before end


def incomplete(lock: Lock) -> Iterator[str]:
    """What has no hash, no size or no commit, and what is there twice."""
    if not lock.wheels:
        yield "no wheel is locked"
    archives = [item.archive for item in lock.components if item.archive is not None]
    yield from _artifacts((*lock.tools, *lock.wheels, *archives, *_native(lock)))
    left_open = {item.what for item in lock.unresolved}
    for item in lock.components:
        if item.archive is None and item.git is None and f"components.{item.name}.git" not in left_open:
            yield f"component {item.name}: neither a source archive nor a commit is locked"
    sources = [(f"component {item.name}", item.git) for item in lock.components if item.git is not None]
    for what, source in (*sources, *((f"external {item.name}", item.source) for item in lock.externals)):
        yield from _commits(what, source)
    counts = Counter(wheel.name for wheel in lock.wheels)
    yield from (f"{name}: locked {count} times" for name, count in sorted(counts.items()) if count > 1)
    for patch in lock.patches:
        if not SHA256.fullmatch(patch.sha256):
            yield f"patch {patch.component}/{patch.file}: no sha256"


def _native(lock: Lock) -> tuple[Artifact, ...]:
    native = lock.native
    return (*native.tools, *native.hosts, *(item.wheel for item in native.substitutes)) if native is not None else ()


def incomplete_debs(debset: DebSet) -> Iterator[str]:
    """The same for the .debs of a root; each is for the root's architecture or for all."""
    yield from _artifacts(debset.debs)
    for deb in debset.debs:
        if deb.arch not in (debset.arch, "all"):
            yield f"{deb.file}: it is for {deb.arch}, the root for {debset.arch}"


def _artifacts(artifacts: Sequence[Artifact]) -> Iterator[str]:
    for item in artifacts:
        if not SHA256.fullmatch(item.sha256):
            yield f"{item.file}: no sha256"
        if item.size <= 0:
            yield f"{item.file}: no size"


def _commits(what: str, source: GitSource) -> Iterator[str]:
    pinned = [(what, source.commit, source.tree)]
    pinned += [(f"{what}, submodule {item.path}", item.commit, item.tree) for item in source.submodules]
    for name, commit, tree in pinned:
        if not GIT_ID.fullmatch(commit):
            yield f"{name}: no commit"
        if not GIT_ID.fullmatch(tree):
            yield f"{name}: no tree"


def misnamed(lock: Lock) -> Iterator[str]:
    """Wheels whose file is of another distribution or version than their row says, or for another machine."""
    usable = wheeltags.ranks(lock.platform, lock.python)
    for wheel in lock.wheels:
        yield from _misnamed(wheel, usable)
    for tool in lock.tools:
        yield from _misnamed(tool, None)


def _misnamed(wheel: Wheel, usable: wheeltags.Ranks | None) -> Iterator[str]:
    try:
        name, version, _, found = parse_wheel_filename(wheel.file)
    except InvalidWheelFilename:
        yield f"{wheel.file}: not the name of a wheel"
        return
    if name != wheel.name or str(version) != wheel.version:
        yield f"{wheel.name} {wheel.version}: the file is {wheel.file}"
    if usable is not None and usable.keys().isdisjoint(found):
        yield f"{wheel.file}: no tag of it fits the target's Python and platform"


def mixed_cuda(lock: Lock) -> Iterator[str]:
    """More than one CUDA minor version among compiler, headers and runtime."""
    found: dict[str, list[str]] = {}
    for wheel in lock.wheels:
        if MAJOR.sub("", wheel.name) in CUDA_TOOLKIT:
            minor = ".".join(wheel.version.split(".")[:2])
            found.setdefault(minor, []).append(f"{wheel.name} {wheel.version}")
    if len(found) > 1:
        groups = "; ".join(f"CUDA {minor}: {', '.join(names)}" for minor, names in sorted(found.items()))
        yield f"parts of more than one CUDA toolkit: {groups}"


def overruled_torch(lock: Lock, requires: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Overrides of what torch pins exactly: torch is built against those very versions."""
    overridden = {canonicalize_name(Requirement(item.requirement).name): item.requirement for item in lock.overrides}
    for text in requires.get("torch", ()):
        requirement = Requirement(text)
        exact = any(part.operator in ("==", "===") for part in requirement.specifier)
        name = canonicalize_name(requirement.name)
        if exact and name in overridden:
            yield f"the override {overridden[name]} replaces torch's own pin {requirement}"


def idle_overrides(lock: Lock, requires: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Overrides of something that nothing requires: they say what is not so."""
    wanted = {canonicalize_name(Requirement(text).name) for texts in requires.values() for text in texts}
    for item in lock.overrides:
        if canonicalize_name(Requirement(item.requirement).name) not in wanted:
            yield f"the override {item.requirement} overrides nothing: no wheel requires it"


def idle_wheels(lock: Lock, asked: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Wheels that nothing asks for. ``asked``: what each distribution, and the target itself, requires."""
    wanted = {canonicalize_name(Requirement(text).name) for texts in asked.values() for text in texts}
    for wheel in lock.wheels:
        if wheel.name not in wanted:
            yield f"{wheel.name} is locked, and nothing requires it"


def differing_python(lock: Lock, image: DebSet, builders: Sequence[DebSet]) -> Iterator[str]:
    """A builder root whose Python is not the image's very one, though the one writes bytecode that the other runs."""
    for name in (f"python{lock.python}-minimal", f"libpython{lock.python}-minimal"):
        versions = {debset.arch: _version(debset, name) for debset in builders}
        wanted = _version(image, name)
        for arch, version in versions.items():
            if version != wanted:
                yield f"{name} is {version} in the builder root for {arch}, and {wanted} in the root {image.root}"


def differing_compilers(lock: Lock, image: DebSet, compilers: Sequence[DebSet]) -> Iterator[str]:
    """Compilers of a machine that are not of the image's compilers' version: both are to make the same bytes."""
    for name in ("g++-14", "binutils"):
        wanted = _version(image, name)
        for debset in compilers:
            cross = _version(debset, f"{name}-aarch64-linux-gnu")
            if re.sub(r"cross\d+$", "", cross) != wanted:
                yield f"{name} is {cross} in the compile root for {debset.arch}, and {wanted} in the image"
    versions = {wheel.name: wheel.version for wheel in lock.wheels}
    for wheel in lock.native.hosts if lock.native is not None else ():
        if versions.get(wheel.name) != wheel.version:
            yield f"{wheel.name} is {wheel.version} for x86-64 machines, and {versions.get(wheel.name)} in the image"


def _version(debset: DebSet, name: str) -> str:
    return next((deb.version for deb in debset.debs if deb.name == name), "not there")


def unsuitable_rootfs(lock: Lock, debset: DebSet) -> Iterator[str]:
    """A root whose Python or glibc is not what the target's wheels were chosen for."""
    versions = {deb.name: deb.version for deb in debset.debs}
    if f"python{lock.python}-minimal" not in versions and f"libpython{lock.python}-minimal" not in versions:
        yield f"the wheels are for Python {lock.python}, and the root {debset.root} has no python{lock.python}"
    glibc = re.match(r"2\.(\d+)", versions.get("libc6", ""))
    asked = int(lock.platform.rpartition("_")[2])
    if glibc is None or int(glibc[1]) < asked:
        have = versions.get("libc6", "none")
        yield f"wheels may ask for glibc 2.{asked}, and the root {debset.root} has {have}"
