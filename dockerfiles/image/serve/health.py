"""Docker's health check: one small file that the watchdog writes once a second, and a program that only reads it.

A line: phase, seconds of the monotonic clock, why it is not healthy (nothing where it is). Imports next to nothing: it
runs every ten seconds for as long as the server does.
"""

import os
import time

PLACE = "/tmp/spark-serve.health"  # noqa: S108 - one container's, made anew by process 1; the only place to write
STALE = 10.0  # seconds; the watchdog writes each second
SIZE = 256  # bytes of the file, so that a line is replaced whole
NOBODY = b"/opt/spark/serve"  # in the command line of a process 1 that serves
HEALTHY, UNHEALTHY = 0, 1  # all that Docker knows


def place() -> str:
    return os.environ.get("SPARK_HEALTH", PLACE)


class State:
    """The file, for who writes it. Where it cannot be made ``error`` says why, and nothing is written."""

    def __init__(self) -> None:
        self.error = ""
        self.file = -1
        try:
            if os.path.lexists(place()):
                os.unlink(place())
            self.file = os.open(place(), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
        except OSError as error:
            self.error = str(error)

    def write(self, phase: str, fault: str) -> None:
        if self.file < 0:
            return
        line = f"{phase}\t{time.monotonic():.3f}\t{fault}\n".encode()
        try:
            os.pwrite(self.file, line[:SIZE].ljust(SIZE), 0)
        except OSError as error:
            self.error = str(error)


def ask() -> int:
    """Print how it is; 0 where that is well."""
    try:
        with open(place(), "rb") as stream:
            phase, moment, fault = stream.read(SIZE).decode().split("\t")
    except (OSError, ValueError):
        if not _serves():
            print("nothing is served here")
            return HEALTHY
        print("start-up: no word of the watchdog yet")
        return UNHEALTHY
    age = time.monotonic() - float(moment)
    if not -1 <= age <= STALE:  # what is rounded may lie ahead
        print(f"{phase}: the watchdog has said nothing for {age:.0f} s")
        return UNHEALTHY
    print(f"{phase}: {fault.strip() or 'well'}")
    return UNHEALTHY if fault.strip() else HEALTHY


def _serves() -> bool:
    try:
        with open("/proc/1/cmdline", "rb") as stream:
            words = stream.read().split(b"\0")
    except OSError:
        return False
    return NOBODY in words and b"serve" in words[words.index(NOBODY) + 1 :][:1]
