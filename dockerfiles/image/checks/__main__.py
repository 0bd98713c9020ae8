"""Run an image's checks: ``python3 -m checks [--set NAME] [--uv FILE]``; events on standard output."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from .events import Failed, emit, reason
from .plan import GROUPS, NEED_DRIVER, SETS, checks_of, planned
from .stubs import Stubs, prepare

MANIFEST = Path("/opt/spark/manifest.json")
LIMIT = 1800  # seconds for a group; under emulation on two busy cores the slowest took 900
PARALLEL = 2  # groups at once; more only compete for memory


class Run:
    """One run: its context, its lock around standard output, and which findings the target's exceptions explain."""

    def __init__(self, chosen: str, manifest: dict[str, Any], uv: str | None, scratch: Path) -> None:
        self.chosen, self.manifest, self.uv, self.scratch = chosen, manifest, uv, scratch
        self.lock = threading.Lock()
        self.used: set[int] = set()

    def send(self, event: dict[str, Any]) -> None:
        with self.lock:
            emit(sys.stdout, **event)

    def excuse(self, event: dict[str, Any]) -> dict[str, Any]:
        """An end event, passed after all where the target explains each of its findings."""
        exceptions = self.manifest.get("exceptions", [])
        for finding in event.get("findings") or []:
            for number, entry in enumerate(exceptions):
                if entry["finding"] in finding:
                    self.used.add(number)
                    event["excepted"].append({"finding": finding, "reason": entry["reason"]})
                    break
        left = [f for f in event["findings"] if f not in {e["finding"] for e in event["excepted"]}]
        if event["findings"] and not left:
            return {**event, "status": "passed", "reason": ""}
        return {**event, "reason": reason(left)} if left else event

    def group(self, group: str) -> None:
        """Run one group's process to its end; checks that it never ended are failed by name."""
        pending = checks_of(self.chosen, group, self.manifest)
        if not pending:
            return
        try:
            stubs = prepare(self.scratch) if group in NEED_DRIVER else Stubs(None, driver=False, nvml=False)
        except Failed as error:
            for name in pending:
                self.send(_end(name, f"{error} {error.evidence or ''}".strip()))
            return
        process = self._start(group, stubs)
        ender = threading.Timer(LIMIT, process.kill)
        ender.start()
        assert process.stdout is not None
        for line in process.stdout:
            event = json.loads(line)
            if event["event"] == "end":
                pending.remove(event["name"])
                event = self.excuse(event)
            self.send(event)
        ender.cancel()
        status = process.wait()
        for name in pending:
            self.send(_end(name, f"the process of the group '{group}' ended with {status} before this check did"))

    def _start(self, group: str, stubs: Stubs) -> subprocess.Popen[str]:
        folder = self.scratch / group
        folder.mkdir()
        context = {
            "manifest": self.manifest, "scratch": str(folder), "uv": self.uv,
            "stub_driver": stubs.driver, "stub_nvml": stubs.nvml,
        }  # fmt: skip
        (folder / "context.json").write_text(json.dumps(context))
        command = [sys.executable, "-m", "checks.group", self.chosen, group, str(folder / "context.json")]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=_environment(folder, stubs))


def _environment(folder: Path, stubs: Stubs) -> dict[str, str]:
    """The container's own environment with every cache in the scratch folder, and no way out to a hub."""
    paths = [stubs.folder, os.environ.get("LD_LIBRARY_PATH")]
    extra = {
        "HOME": str(folder), "XDG_CACHE_HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "TMPDIR": str(folder),
        "TRITON_CACHE_DIR": str(folder), "TORCHINDUCTOR_CACHE_DIR": str(folder),
        "FLASHINFER_WORKSPACE_BASE": str(folder),
        "PYTHONDONTWRITEBYTECODE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "HF_HUB_OFFLINE": "1",
        "LD_LIBRARY_PATH": ":".join(path for path in paths if path),
    }  # fmt: skip
    return {**os.environ, **extra}


def _end(name: str, reason: str) -> dict[str, Any]:
    return {
        "event": "end", "name": name, "status": "failed", "reason": reason, "seconds": 0.0, "evidence": {},
        "findings": [], "excepted": [],
    }  # fmt: skip


def _exceptions(run: Run) -> None:
    """The last check: an exception that explains nothing any more must go."""
    unused = [entry for number, entry in enumerate(run.manifest.get("exceptions", [])) if number not in run.used]
    event = _end("exceptions", "; ".join(f"nothing was found that says '{entry['finding']}'" for entry in unused))
    event |= {"status": "failed" if unused else "passed", "evidence": {"used": len(run.used), "unused": unused}}
    run.send(event)


def main() -> int:
    parser = argparse.ArgumentParser(prog="checks", description=__doc__)
    parser.add_argument("--set", choices=sorted(SETS), help="the checks to run (default: what the manifest names)")
    parser.add_argument("--uv", help="a uv that runs here, for the metadata check")
    parser.add_argument("--manifest", type=Path, default=MANIFEST, help="what the image says of itself")
    args = parser.parse_args()
    manifest = json.loads(args.manifest.read_text()) if args.manifest.exists() else {}
    chosen = args.set or manifest.get("smoke", "foreign")
    with tempfile.TemporaryDirectory(prefix="smoke-") as scratch:
        run = Run(chosen, manifest, args.uv, Path(scratch))
        extra = ["exceptions"] if manifest.get("exceptions") else []
        checks = [*planned(chosen, manifest), *extra]
        run.send({"event": "plan", "set": chosen, "checks": checks, "manifest": bool(manifest)})
        waiting = list(GROUPS)

        def worker() -> None:
            while True:
                with run.lock:
                    if not waiting:
                        return
                    group = waiting.pop(0)
                run.group(group)

        workers = [threading.Thread(target=worker) for _ in range(PARALLEL)]
        for thread in workers:
            thread.start()
        for thread in workers:
            thread.join()
        if extra:
            _exceptions(run)
    run.send({"event": "done", "at": time.time()})
    return 0


if __name__ == "__main__":
    sys.exit(main())
