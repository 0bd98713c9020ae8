"""A Docker Engine in small with one container: what it logs, how it is, how it ends; over a Unix socket."""

import datetime as dt
import json
import struct
import threading
from dataclasses import dataclass, field

from tests import enginekit


@dataclass
class Container:
    """``lines``: (text, stream) with the nanosecond that they are dated at; ``step`` is called before each answer."""

    state: dict = field(default_factory=lambda: {"Status": "running", "ExitCode": 0})
    labels: dict = field(default_factory=dict)
    lines: list = field(default_factory=list)
    gone: bool = False
    asked: list = field(default_factory=list)
    step: object = None
    clock: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def say(self, *texts, same_moment=False):
        for text in texts:
            self.clock += 0 if same_moment else 1
            self.lines.append((self.clock, text))

    def end(self, code, **more):
        self.state = {"Status": "exited", "ExitCode": code, **more}


class Engine(enginekit.Engine):
    """With that container, ``f…f``."""

    def __init__(self, container, **more):
        super().__init__(**more)
        self.container = container

    def answer(self, path, query):
        container = self.container
        with container.lock:
            container.asked.append(path)
            if container.step and path.endswith("/json"):
                container.step(container)
            if container.gone and "/containers/" in path:
                return 404, {"message": "No such container"}
            if path.endswith("/containers/json"):
                return 200, [{"Id": "f" * 64, "Labels": container.labels, "Mounts": []}]
            if path.endswith("/logs"):
                return 200, self._logs(query)
            if "/containers/" in path and path.endswith("/json"):
                config = {"Labels": container.labels, "Tty": False}
                return 200, {"Id": "f" * 64, "Config": config, "State": container.state}
        return super().answer(path, query)

    def _logs(self, query):
        since = float(query.get("since", ["0"])[0])
        stamps = query.get("timestamps") == ["1"] or query.get("timestamps") == ["True"]
        tail = query.get("tail", ["all"])[0]
        rows = [(moment, text) for moment, text in self.container.lines if moment / 1e3 + START >= since]
        rows = rows if tail == "all" else rows[-int(tail) :]
        return b"".join(frame(f"{stamp(moment)} {text}" if stamps else text) for moment, text in rows)


START = 1_800_000_000


def stamp(moment):
    """A moment, in milliseconds from the start, as Docker dates a line."""
    there = dt.datetime.fromtimestamp(START, dt.UTC) + dt.timedelta(milliseconds=moment)
    return f"{there:%Y-%m-%dT%H:%M:%S}.{there.microsecond * 1000:09}Z"


def frame(text):
    """One line of a stream, as the API sends them where there is no terminal."""
    data = text.encode() + b"\n"
    return struct.pack(">BxxxL", 2, len(data)) + data


def event(name, *history, **more):
    """A line of the watchdog's."""
    told = {
        "spark": "watchdog", "event": name, "phase": "serving", "available_kb": history[-1] if history else 0,
        "threshold_kb": 8388608, "history_kb": list(history), "history_step_seconds": 1, **more,
    }  # fmt: skip
    return json.dumps(told, separators=(",", ":"))
