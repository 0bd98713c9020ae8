"""Every profile in the image gives a command that its vLLM takes: composed as the entry point does, asked of vLLM."""

from __future__ import annotations

import hashlib
import importlib
import os
import sys
from typing import Any

from .events import Context, Failed, Outcome, Skipped
from .vllm_imports import driver_note

HOME = "/opt/spark"  # the image's own entry point is asked, whoever brought these checks
MODEL = "/models/model"  # not looked at: only its place in the command counts


def check_serve_profile(context: Context) -> Outcome:
    """Findings: options that vLLM does not know or take. What it does not know of the environment is in the evidence.

    The evidence has the whole lists of options and variables, to be compared from release to release.
    """
    folder = os.path.join(HOME, "profiles")
    if HOME not in sys.path:
        sys.path.append(HOME)
    ask, profile = importlib.import_module("serve.ask"), importlib.import_module("serve.profile")
    names = profile.names(folder)
    expected = sorted(name.removesuffix(".toml") for name in context.manifest.get("profiles", {}))
    if names != expected:
        raise Failed(f"there are the profiles {names}, the manifest says {expected}")
    if not names:
        raise Skipped("no profile is for this image")
    told = ask.inspect([])
    if told["no_options"]:
        raise Failed(f"vLLM cannot say its options: {told['no_options']}", told)
    parser = ask.build()
    found = {name: _of(profile.read(name, folder), told, ask, parser) for name in names}
    findings = [f"profile {name}: {fault}" for name, (_, faults) in found.items() for fault in faults]
    evidence = {
        "driver": driver_note(context),
        "vllm": told["version"],
        "profiles": {name: evidence for name, (evidence, _) in found.items()},
        "options": _listed(told["options"]),
        "variables": _listed(told["variables"]),
        "variables elsewhere in vLLM": _listed(told["elsewhere"]),
    }
    return Outcome(evidence, findings)


def _of(said: dict[str, Any], told: dict[str, Any], ask: Any, parser: Any) -> tuple[dict[str, Any], list[str]]:
    """One profile: evidence, and faults."""
    compose, flags = importlib.import_module("serve.compose"), importlib.import_module("serve.flags")
    wanted, extra = compose.options(said), said["serve"]["arguments"]
    lacking = flags.unknown([*(option.name for option in wanted), *extra], told["options"])
    left_out = [name for name in lacking if name in said["serve"]["optional"]]
    taken = [word for option in wanted if option.name not in left_out for word in option.words]
    variables = compose.variables(said, [*told["variables"], *told["elsewhere"]], {})
    faults = [f"vLLM has no option {name}" for name in lacking if name not in left_out]
    if not faults and (refused := ask.refusal(parser, [MODEL, *taken, *extra])):
        faults = [f"vLLM does not take the command: {refused}"]
    evidence = {
        "command": ["vllm", "serve", MODEL, *taken, *extra],
        "environment": variables.added,
        "ignored": variables.ignored,
        "left out": left_out,
    }
    return evidence, faults


def _listed(names: list[str]) -> dict[str, Any]:
    """All of a list, with what tells at a glance whether it is the same."""
    return {"count": len(names), "sha256": hashlib.sha256("\n".join(names).encode()).hexdigest(), "names": names}
