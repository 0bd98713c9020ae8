"""The Dockerfile, from ``dockerfiles/*.j2``: a function of its arguments alone (no clock, no environment)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from build.layers import LayerPlan

VENV = "/opt/venv"


@dataclass(frozen=True, kw_only=True)
class NativePage:
    """What the templates show of a native build.

    ``base``: the layer that it is compiled on. ``dependencies``: mounts of what CMake would fetch. ``cross``: mounts
    on a machine that is not of the image's kind. ``cache``: the name of the compile cache.
    """

    targets: tuple[str, ...]
    base: str
    dependencies: tuple[str, ...]
    cross: tuple[str, ...]
    cache: str


@dataclass(frozen=True, kw_only=True)
class Page:
    """What the templates show.

    ``patched``: the distributions with patched files, a layer each. ``profiles``: those that the image carries.
    ``cuda_layer``: the layer that holds the CUDA toolkit, or none. ``arguments``: what the steps find in their
    environment.
    """

    target: str
    rootfs: str
    python: str
    platform: str
    series: str
    local_version: str
    layers: tuple[LayerPlan, ...]
    patched: tuple[str, ...]
    cuda_layer: str
    env: Mapping[str, str]
    labels: Mapping[str, str]
    arguments: Mapping[str, str]
    profiles: tuple[str, ...] = ()
    native: NativePage | None = None


def cuda_layer(layers: Sequence[LayerPlan]) -> str:
    """The layer of the wheel that holds nvcc; empty where a target has no CUDA compiler."""
    for layer in layers:
        if any(wheel.name == "nvidia-cuda-nvcc" for wheel in layer.wheels):
            return layer.name
    return ""


def cuda_home(python: str) -> str:
    """Where NVIDIA's CUDA 13 wheels install the toolkit."""
    return f"{VENV}/lib/python{python}/site-packages/nvidia/cu13"


def image_env(python: str, *, cuda: bool) -> dict[str, str]:
    """The image's environment.

    ``NVIDIA_*`` is what the NVIDIA container runtime reads to decide which of the host's driver files to bring in.
    """
    path = f"{VENV}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    env = {"PATH": path, "LANG": "C.UTF-8", "HOME": "/home/spark", "VIRTUAL_ENV": VENV}
    if cuda:
        home = cuda_home(python)
        env |= {
            "PATH": path.replace(":", f":{home}/bin:", 1),
            "CUDA_HOME": home,
            "NVIDIA_VISIBLE_DEVICES": "all",
            "NVIDIA_DRIVER_CAPABILITIES": "compute,utility",
        }
    return env


def render(templates: Path, page: Page) -> str:
    """The Dockerfile's text; an unknown name in a template is an error (StrictUndefined)."""
    import jinja2  # noqa: PLC0415 - 60 ms

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(templates),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=False,
        autoescape=False,  # noqa: S701 - a Dockerfile is not HTML
    )
    environment.policies["json.dumps_kwargs"] = {"ensure_ascii": False, "sort_keys": True}
    template = environment.get_template("Dockerfile.j2")
    values = {name: getattr(page, name) for name in page.__dataclass_fields__}
    text: str = template.render(**values)
    return text.rstrip("\n") + "\n"
