"""How two images differ apart from their layers: what their configs say, and what does not count."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from build import results
from build.canonical import canonical_json
from build.imagediff import Fact
from build.ociimage import Image


def configs(a: Image, b: Image) -> tuple[Fact, ...]:
    """Where the configs differ in what counts; layers are told elsewhere."""
    was, now = ({**_flat(results.counted(image.config)), "rootfs.diff_ids": ""} for image in (a, b))
    return tuple(
        Fact(name=name, a=was.get(name, ""), b=now.get(name, ""))
        for name in sorted(was.keys() | now.keys())
        if was.get(name) != now.get(name)
    )


def _flat(value: Any, name: str = "") -> dict[str, str]:
    """Objects by the path of their keys; all else as JSON."""
    if isinstance(value, Mapping) and value:
        inner = (_flat(below, f"{name}.{key}".strip(".")) for key, below in value.items())
        return {path: text for found in inner for path, text in found.items()}
    return {name: canonical_json(value).decode("utf-8", "replace")}


def forms(a: Image, b: Image) -> tuple[str, ...]:
    """What differs outside of an image's identity, in words."""
    said = []
    if a.config_digest != b.config_digest and not configs(a, b):
        keys = {key for image in (a, b) for key in image.config.keys() - results.counted(image.config).keys()}
        other = sorted(key for key in keys if a.config.get(key) != b.config.get(key))
        if other or a.config == b.config:  # else the layers made it another one
            said.append(f"config: {', '.join(other) or 'the same JSON in other bytes'}")
    if a.annotations != b.annotations:
        names = a.annotations.keys() | b.annotations.keys()
        other = sorted(name for name in names if a.annotations.get(name) != b.annotations.get(name))
        said.append(f"annotations of the manifest: {', '.join(other)}")
    same_files = a.config_digest == b.config_digest and [x.digest for x in a.layers] == [x.digest for x in b.layers]
    if not said and same_files and a.manifest != b.manifest:
        said.append("manifest: media types, or the same JSON in other bytes")
    return tuple(said)
