"""Debian's docker-registry on this machine, for measurements: on loopback, in a folder that is gone afterwards."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from build import proc
from build.errors import RegistryError

PROGRAM = Path("usr/bin/docker-registry")
LISTENING = re.compile(r"listening on (127\.0\.0\.1:\d+)")
READY_SECONDS = 20.0
STOP_SECONDS = 10.0


@dataclass(frozen=True, kw_only=True)
class Local:
    """A registry that runs: its place (127.0.0.1:PORT), and where it keeps what it is sent."""

    place: str
    storage: Path

    def empty(self) -> None:
        """Forget everything; it looks into its folder each time, and needs no restart."""
        shutil.rmtree(self.storage)
        self.storage.mkdir()


@contextmanager
def running(loader: Sequence[proc.Arg], root: Path, folder: Path) -> Iterator[Local]:
    """A registry that keeps things in ``folder``. ``loader``, ``root``: how programs of its root are started."""
    storage, log, config = folder / "storage", folder / "log", folder / "config.yml"
    storage.mkdir()
    told = {
        "version": 0.1,
        "log": {"level": "info", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(storage)}, "delete": {"enabled": True}},
        "http": {"addr": "127.0.0.1:0"},
    }
    config.write_text(json.dumps(told), encoding="utf-8")  # JSON is YAML
    argv = [*map(str, loader), str(root / PROGRAM), "serve", str(config)]
    with (
        open(log, "wb") as stream,
        subprocess.Popen(
            argv, env=proc.base_env(), stdin=subprocess.DEVNULL, stdout=stream, stderr=stream
        ) as process,
    ):  # fmt: skip
        try:
            yield Local(place=_place(process, log), storage=storage)
        finally:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


def _place(process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        if found := LISTENING.search(log.read_text(encoding="utf-8", errors="replace")):
            return found[1]
        time.sleep(0.02)
    tail = log.read_text(encoding="utf-8", errors="replace").splitlines()[-5:]
    raise RegistryError("the registry did not start", why="\n       ".join(tail), todo=f"read {log}")
