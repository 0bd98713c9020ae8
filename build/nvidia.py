"""NVIDIA's driver on this machine, and how an engine hands its GPUs to a container.

The driver is asked by ``nvidia-smi``; where that is not there, by ``/proc/driver/nvidia/version``. Memory is not asked
for: a GB10 shares the system's, and nvidia-smi has no figure of it.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from build import proc
from build.errors import CommandError

PROGRAM = "nvidia-smi"
HOOK = "nvidia-container-runtime-hook"  # what dockerd looks for on its PATH before it takes `--gpus`
VERSION = Path("/proc/driver/nvidia/version")
TIMEOUT_SECONDS = 60.0
QUERY = ("--query-gpu=driver_version,compute_cap,name", "--format=csv,noheader")
# "CUDA Version: 13.0" in the heading; drivers from 590 on say "CUDA UMD Version".
HEADING = re.compile(r"CUDA (?:UMD )?Version\s*:\s*(\d+)\.(\d+)")
# "NVRM version: NVIDIA UNIX Open Kernel Module for aarch64  580.95.05  Release Build …"
MODULE = re.compile(r"^NVRM version:.*?\s(\d+(?:\.\d+)+)\s", re.MULTILINE)
NEEDED_CUDA = (13, 0)  # the image's toolkit
NEEDED_DRIVER = (580, 65, 6)  # the first for CUDA 13.0 (its release notes, "CUDA Toolkit and Driver Versions")
GB10 = "12.1"  # compute capability, which is what the image's own code is compiled for
CDI = "nvidia.com/gpu"


@dataclass(frozen=True, kw_only=True)
class Driver:
    """The driver: its version, the CUDA that it speaks ((0, 0) where it does not say), GPUs as (name, capability)."""

    version: str
    cuda: tuple[int, int] = (0, 0)
    gpus: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        cuda = f", CUDA {self.cuda[0]}.{self.cuda[1]}" if self.cuda[0] else ""
        return f"{self.version}{cuda}" + "".join(f", {name} (compute capability {cap})" for name, cap in self.gpus)


def driver(version: Path = VERSION) -> Driver | None:
    """The driver of this machine; None where there is none, or it does not answer."""
    program = shutil.which(PROGRAM)
    if program and (told := _asked(program)):
        return told
    try:
        found = MODULE.search(version.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return None
    return Driver(version=found[1]) if found else None


def _asked(program: str) -> Driver | None:
    try:
        rows = proc.run([program, *QUERY], timeout=TIMEOUT_SECONDS).stdout.splitlines()
        heading = HEADING.search(proc.run([program], timeout=TIMEOUT_SECONDS).stdout)
    except CommandError:
        return None
    told = [[part.strip() for part in row.split(",", 2)] for row in rows if row.count(",") >= 2]
    if not told:
        return None
    cuda = (int(heading[1]), int(heading[2])) if heading else (0, 0)
    return Driver(version=told[0][0], cuda=cuda, gpus=tuple((name, cap) for _, cap, name in told))


def lack(found: Driver) -> str:
    """Why images of CUDA 13 cannot run with this driver; empty where they can."""
    if found.cuda[0]:
        if found.cuda >= NEEDED_CUDA:
            return ""
        return f"driver {found.version} speaks CUDA {found.cuda[0]}.{found.cuda[1]}, the image is of CUDA 13"
    numbers = tuple(int(part) for part in found.version.split("."))
    if numbers >= NEEDED_DRIVER:
        return ""
    return f"driver {found.version} is older than CUDA 13.0 needs ({'.'.join(map(str, NEEDED_DRIVER[:2]))})"


def handed_over(info: Mapping[str, Any], *, local: bool) -> str:
    """How an engine would hand over GPUs, in words; empty where it would not. ``info``: what ``/info`` says.

    ``local``: it runs on this machine and sees its programs.
    """
    if _has_cdi(info):
        return "by CDI"
    if "nvidia" in (info.get("Runtimes") or {}):
        return "by NVIDIA's runtime"
    return "by NVIDIA's hook" if local and shutil.which(HOOK) else ""


def request(info: Mapping[str, Any]) -> Any:
    """What asks that engine for all GPUs, as :class:`docker.types.DeviceRequest`."""
    import docker.types  # noqa: PLC0415

    if _has_cdi(info):
        return docker.types.DeviceRequest(driver="cdi", device_ids=[f"{CDI}=all"])
    return docker.types.DeviceRequest(count=-1, capabilities=[["gpu"]])


def _has_cdi(info: Mapping[str, Any]) -> bool:
    return any(str(item.get("ID", "")).startswith(CDI) for item in info.get("DiscoveredDevices") or [])
