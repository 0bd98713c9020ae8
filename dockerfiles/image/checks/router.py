"""The patched router's semantics at 144 and 160 experts, on the CPU, through the installed vLLM."""

from __future__ import annotations

import importlib

from .events import Context, Failed, Outcome, Skipped


def check_semantics(context: Context) -> Outcome:
    """Wraps ``router_semantics.run()``: a case is a dict of name, ok, evidence and seconds."""
    if not any("router" in str(patch) for patch in context.manifest.get("patches", [])):
        raise Skipped("the target's series has no router patch")
    cases = importlib.import_module(".router_semantics", __package__).run()
    if not cases:
        raise Failed("the semantics module ran no case")
    bad = [case for case in cases if not case["ok"]]
    evidence = {"cases": len(cases), "failed": bad, "all": cases}
    if bad:
        raise Failed(f"{len(bad)} of {len(cases)} cases; {bad[0]['name']}: {bad[0]['evidence']}", evidence)
    return Outcome(evidence)
