"""NVIDIA's driver, as its own program and the kernel tell of it, and what an engine is asked for."""

import pytest

from build import nvidia
from build.nvidia import Driver
from tests.guard import GUARD

HEADING = "| NVIDIA-SMI {0}   Driver Version: {0}   {1} |"
MODULE = "NVRM version: NVIDIA UNIX Open Kernel Module for aarch64  580.95.05  Release Build  (dvs-builder@U22)\nGCC version: 13\n"
NONE = "/nowhere/version"


@pytest.fixture
def smi(tmp_path, monkeypatch):
    """An nvidia-smi that prints this heading and these rows, or fails."""
    monkeypatch.setattr(GUARD, "programs", frozenset({"nvidia-smi"}))
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    def smi(heading="", rows="", status=0):
        program = tmp_path / "nvidia-smi"
        program.write_text(f'#!/bin/sh\n[ $# = 0 ] && echo "{heading}" || printf "{rows}"\nexit {status}\n')
        program.chmod(0o755)

    return smi


@pytest.mark.parametrize("cuda", ["CUDA Version: 13.0", "KMD Version: 590.44   CUDA UMD Version: 13.0"])
def test_as_nvidia_smi_tells(smi, cuda):
    smi(HEADING.format("580.95.05", cuda), "580.95.05, 12.1, NVIDIA GB10\\n")
    found = nvidia.driver()
    assert found == Driver(version="580.95.05", cuda=(13, 0), gpus=(("NVIDIA GB10", "12.1"),))
    assert nvidia.lack(found) == ""
    assert str(found) == "580.95.05, CUDA 13.0, NVIDIA GB10 (compute capability 12.1)"


@pytest.mark.parametrize(
    ("rows", "status"), [("", 0), ("No devices were found\\n", 0), ("580.95.05, 12.1, NVIDIA GB10\\n", 9)]
)
def test_an_nvidia_smi_that_fails_leaves_the_kernel_s_word(smi, tmp_path, rows, status):
    smi("", rows, status)
    (tmp_path / "version").write_text(MODULE)
    assert nvidia.driver(tmp_path / "version") == Driver(version="580.95.05")
    assert nvidia.driver(tmp_path / "none") is None


@pytest.mark.parametrize("text", ["", "NVRM version: something else\n"])
def test_a_kernel_that_tells_no_version(monkeypatch, tmp_path, text):
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "version").write_text(text)
    assert nvidia.driver(tmp_path / "version") is None


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (Driver(version="570.1", cuda=(12, 8)), "speaks CUDA 12.8"),
        (Driver(version="575.57.08"), "is older than CUDA 13.0 needs (580.65)"),
        (Driver(version="580.65.05"), "is older"),
        (Driver(version="580.65.06"), ""),
        (Driver(version="590.44", cuda=(13, 1)), ""),
        (Driver(version="610.1"), ""),
    ],
)
def test_what_cuda_13_needs(found, why):
    told = nvidia.lack(found)
    assert (why in told) if why else told == ""


CDI = {"DiscoveredDevices": [{"Source": "cdi", "ID": "nvidia.com/gpu=all"}]}


@pytest.mark.parametrize(
    ("info", "how"),
    [
        (CDI, "by CDI"),
        ({"Runtimes": {"runc": {}, "nvidia": {}}}, "by NVIDIA's runtime"),
        ({"Runtimes": {"runc": {}}, "DiscoveredDevices": [{"ID": "vendor.com/net=0"}]}, ""),
        ({"Runtimes": None, "DiscoveredDevices": None}, ""),
    ],
)
def test_how_an_engine_hands_over_gpus(monkeypatch, tmp_path, info, how):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert nvidia.handed_over(info, local=True) == how
    (tmp_path / nvidia.HOOK).write_text("")
    (tmp_path / nvidia.HOOK).chmod(0o755)
    assert nvidia.handed_over(info, local=True) == (how or "by NVIDIA's hook")
    assert nvidia.handed_over(info, local=False) == how


def test_what_is_asked_for():
    by_cdi, plain = nvidia.request(CDI), nvidia.request({"Runtimes": {"nvidia": {}}})
    assert (by_cdi["Driver"], by_cdi["DeviceIDs"]) == ("cdi", ["nvidia.com/gpu=all"])
    assert (plain["Count"], plain["Capabilities"]) == (-1, [["gpu"]])
