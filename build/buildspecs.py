"""Where BuildKit sends an image, and where a build cache goes and comes from: buildx's specs, read and completed.

A spec is one line of CSV, its fields ``key=value`` (buildx hands it to Go's encoding/csv). What a user wrote stays as
it is; only what is missing is added behind it. A secret has no place in one: every command line is shown.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from build.buildx import image_output
from build.errors import UsageError

IMAGES = ("oci", "image", "registry")  # the exporters that write a manifest, and can compress as ours does
COMPRESSION = ("compression", "compression-level", "force-compression")
SECRETS = ("token", "secret_access_key", "session_token")  # of the cache's types gha, s3 and azblob
DOCKER_HUB = "docker.io"
# github.com/distribution/reference; a host that tells itself from a name by a dot, a port, or as localhost
HOST = r"(?:localhost|[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+|\[[0-9A-Fa-f:]+\])(?::\d+)?|[A-Za-z0-9-]+:\d+"
NAME = r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*"
REFERENCE = re.compile(rf"(?P<repository>(?:{HOST})(?:/{NAME})+)(?::(?P<tag>\w[\w.-]{{0,127}}))?", re.ASCII)


def fields(option: str, spec: str) -> dict[str, str]:
    """The fields of a spec; ``UsageError``, naming the option, for one that buildx could not read.

    >>> fields("--output", '"name=a:1,b:2",type=image,push')
    {'name': 'a:1,b:2', 'type': 'image', 'push': ''}
    """
    try:
        (row,) = csv.reader([spec], strict=True)
    except (csv.Error, ValueError) as error:
        raise UsageError(
            f"{option} is not one line of key=value,key=value", why=str(error), todo='quote as CSV does: "dest=a,b.tar"'
        ) from error
    pairs = (field.partition("=") for field in row)
    return {name.strip().lower(): value for name, _, value in pairs}


def output(spec: str, annotations: Mapping[str, str]) -> str:
    """An image's destination, with what makes it the same image there as in our own engine: compression, annotations.

    >>> output("type=image,name=x,compression=gzip", {"a": "1"})
    'type=image,name=x,compression=gzip,oci-mediatypes=true,annotation.a=1'
    """
    if "=" not in spec:
        return spec  # buildx takes a bare word as the folder of type=local
    told = fields("--output", spec)
    if told.get("type") not in IMAGES:
        return spec
    known = {"type", "name", *told, *(COMPRESSION if any(name in told for name in COMPRESSION) else ())}
    ours = fields("", image_output((), annotations))
    return ",".join([spec, *(_quoted(f"{name}={value}") for name, value in ours.items() if name not in known)])


def layout(spec: str) -> Path | None:
    """The file or folder that an OCI layout is written to; None where the image goes elsewhere."""
    told = fields("--output", spec) if "=" in spec else {}
    dest = told.get("dest", "-")
    return Path(dest) if told.get("type") == "oci" and dest != "-" else None


def cache_to(word: str, target: str) -> str:
    """What buildx is told for ``--cache-to``: a spec as it is, or HOST/NAME[:TAG] as a whole cache in a registry.

    Its layers are compressed as the image's, so that a registry holds each once. ``image-manifest`` because there are
    registries that take no index of layers. The tag is the target's where none is named.

    >>> cache_to("ghcr.io/o/cache", "v0.32").split(",")[:3]
    ['type=registry', 'ref=ghcr.io/o/cache:cache-v0.32', 'mode=max']
    """
    if "=" in word:
        return _as_it_is("--cache-to", word)
    ours = fields("", image_output((), {}))
    packed = (f"{name}={ours[name]}" for name in COMPRESSION)
    wanted = ("mode=max", "oci-mediatypes=true", "image-manifest=true", *packed)
    return ",".join(["type=registry", f"ref={_reference('--cache-to', word, target)}", *wanted])


def cache_from(word: str, target: str) -> str:
    """What buildx is told for ``--cache-from``, likewise.

    >>> cache_from("127.0.0.1:5000/o/cache:x", "v0.32"), cache_from("type=local,src=a", "v0.32")
    ('type=registry,ref=127.0.0.1:5000/o/cache:x', 'type=local,src=a')
    """
    if "=" in word:
        return _as_it_is("--cache-from", word)
    return f"type=registry,ref={_reference('--cache-from', word, target)}"


def hosts(specs: Iterable[str]) -> tuple[str, ...]:
    """The registries that specs speak to, each once."""
    found: dict[str, None] = {}
    for spec in specs:
        told = fields("", spec) if "=" in spec else {}
        if told.get("type") in ("registry", "image"):
            names = told.get("ref") or told.get("name") or ""
            found |= dict.fromkeys(host_of(name) for name in names.split(",") if name)
    return tuple(found)


def host_of(reference: str) -> str:
    """The registry that an image's reference names.

    >>> host_of("127.0.0.1:5000/a"), host_of("ghcr.io/o/a:1"), host_of("team/a")
    ('127.0.0.1:5000', 'ghcr.io', 'docker.io')
    """
    first, slash, _ = reference.partition("/")
    return first if slash and re.fullmatch(HOST, first) else DOCKER_HUB


def _as_it_is(option: str, spec: str) -> str:
    told = fields(option, spec)
    named = [name for name in SECRETS if told.get(name)]
    if "@" in told.get("ref", "").partition("/")[0]:
        named.append("ref")
    if named:
        raise UsageError(
            f"{option} carries a secret ({', '.join(named)}), and command lines are shown and logged",
            todo="credentials for a registry belong into Docker's configuration (`docker login`) or REGISTRY_TOKEN",
        )
    return spec


def _reference(option: str, word: str, target: str) -> str:
    match = REFERENCE.fullmatch(word)
    if match is None:
        shown = "it" if "@" in word else word
        raise UsageError(
            f"{option}: {shown} is not HOST/NAME[:TAG]",
            why="that is the registry's host first, lower case, no credentials and no digest",
            todo="name it so, or write a whole spec as buildx has it: type=registry,ref=…",
        )
    return f"{match['repository']}:{match['tag'] or f'cache-{target}'}"


def _quoted(field: str) -> str:
    return '"' + field.replace('"', '""') + '"' if any(mark in field for mark in ',"') else field
