"""What happens, one JSON object a line on standard error, each with the memory of the seconds before it."""

from __future__ import annotations

import contextlib
import json
import os
import select
import time
from collections import deque
from typing import Any

STDERR = 2
TOLD = 120  # samples of the history in one event: a line stays below the 4096 bytes that a pipe takes at once


class Events:
    """``seconds``: how much of the past is told, one sample for each."""

    def __init__(self, seconds: int, descriptor: int = STDERR) -> None:
        self.history: deque[int] = deque(maxlen=seconds)
        self.descriptor = descriptor
        self.began = time.monotonic()
        self.room = select.poll()
        self.room.register(descriptor, select.POLLOUT)

    def tell(self, event: str, **fields: Any) -> None:
        """Write an event. It is lost where nobody reads: a watchdog must not wait for whoever keeps the log."""
        step = max(1, -(-len(self.history) // TOLD))
        past = list(self.history)[::-1][::step][::-1]
        line = {
            "spark": "watchdog", "event": event, "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "uptime": round(time.monotonic() - self.began, 1), **fields,
            "history_kb": past, "history_step_seconds": step,
        }  # fmt: skip
        data = json.dumps(line, separators=(",", ":")).encode() + b"\n"
        if self.room.poll(0):
            with contextlib.suppress(OSError):  # whoever read it may be gone
                os.write(self.descriptor, data)
