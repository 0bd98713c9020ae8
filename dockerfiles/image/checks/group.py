"""One group of checks in a process of its own: ``python3 -m checks.group SET GROUP CONTEXT.json``.

Events go to the standard output that we were given; whatever the libraries print goes to standard error.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from .events import Context, perform
from .plan import checks_of, function


def main(chosen: str, group: str, context_file: str) -> int:
    events = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    values = json.loads(Path(context_file).read_text())
    context = Context(
        manifest=values["manifest"], scratch=Path(values["scratch"]), uv=values["uv"],
        stub_driver=values["stub_driver"], stub_nvml=values["stub_nvml"],
    )  # fmt: skip
    for name in checks_of(chosen, group, context.manifest):
        perform(name, function(name), context, events)  # type: ignore[arg-type]
    events.flush()
    os._exit(0)  # libraries that were given a stub driver may fail in their own clean-up; nothing is left to do


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
