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
    patches = [entry["file"] for entry in context.manifest.get("patches", ()) if entry.get("behaviour") == behaviour]
    return _outcome(cases.run(behaviour), {"patches": patches})


def _outcome(told: list[dict[str, Any]], evidence: dict[str, Any]) -> Outcome:
    """What the cases come to: a failure where one failed, or where none could be asked."""
    evidence = {**evidence, "cases": told}
    asked = [case for case in told if case["status"] != cases.ABSENT]
    bad = [case for case in told if case["status"] == cases.FAILED]
    if bad:
        raise Failed(f"{len(bad)} of {len(asked)} cases; {bad[0]['name']}: {bad[0]['evidence']}", evidence)
    if not any(case["kind"] == cases.FIXES for case in asked):
        raise Failed("nothing that a patch is for could be asked", evidence)
    return Outcome(evidence)


def on_gpu(name: str, proves: str, context: Context) -> Outcome:
    """The same for what only a GPU shows of the behaviour ``proves``; skipped where there is none."""
    if PREFIX + proves not in names(context.manifest):
        raise Skipped(f"no patch of the series names the behaviour {proves}")
    device_count()
    told = cases.run(name)
    if all(case["status"] == cases.ABSENT for case in told if case["kind"] == cases.FIXES):
        raise Skipped("; ".join(dict.fromkeys(case["evidence"] for case in told)))
    return _outcome(told, {})


def check_gpu_router(context: Context) -> Outcome:
    """Fused kernel against fallback, CUDA graphs, and the time of each path."""
    return on_gpu("gpu-router", "router", context)


def check_gpu_hygiene(context: Context) -> Outcome:
    """What stays in torch's allocator after each layer."""
    return on_gpu("gpu-hygiene", "hygiene", context)
