"""Does each patch of the image's series do what it is for? A check for each behaviour that their headers name."""

from __future__ import annotations

from typing import Any

from . import cases
from .events import Context, Failed, Outcome, Skipped
from .gpu import device_count

PREFIX = "behaviour-"


def names(manifest: dict[str, Any]) -> list[str]:
    """The checks that an image's patches ask for, in the order of its series."""
    found = [entry["behaviour"] for entry in manifest.get("patches", ()) if entry.get("behaviour")]
    return [PREFIX + name for name in dict.fromkeys(found)]


def check(name: str, context: Context) -> Outcome:
    """Ask every case of a behaviour; the evidence names the patches that it proves."""
    behaviour = name.removeprefix(PREFIX)
    told = cases.run(behaviour)
    patches = [entry["file"] for entry in context.manifest.get("patches", ()) if entry.get("behaviour") == behaviour]
    evidence = {"patches": patches, "cases": told}
    asked = [case for case in told if case["status"] != cases.ABSENT]
    bad = [case for case in told if case["status"] == cases.FAILED]
    if bad:
        raise Failed(f"{len(bad)} of {len(asked)} cases; {bad[0]['name']}: {bad[0]['evidence']}", evidence)
    if not asked:
        raise Failed("no case could be asked", evidence)
    return Outcome(evidence)


def on_gpu(name: str, proves: str, context: Context) -> Outcome:
    """The same for what only a GPU shows of the behaviour ``proves``; skipped where there is none."""
    if PREFIX + proves not in names(context.manifest):
        raise Skipped(f"no patch of the series names the behaviour {proves}")
    device_count()
    told = cases.run(name)
    bad = [case for case in told if case["status"] == cases.FAILED]
    if bad:
        raise Failed(f"{bad[0]['name']}: {bad[0]['evidence']}", {"cases": told})
    return Outcome({"cases": told})


def check_gpu_router(context: Context) -> Outcome:
    """Fused kernel against fallback, CUDA graphs, and the time of each path."""
    return on_gpu("gpu-router", "router", context)


def check_gpu_hygiene(context: Context) -> Outcome:
    """What stays in torch's allocator after each layer."""
    return on_gpu("gpu-hygiene", "hygiene", context)
