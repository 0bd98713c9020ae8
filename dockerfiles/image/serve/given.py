"""Any other command, run as it was given: same process, same environment, nothing of this Python left over."""

from __future__ import annotations

import os
import signal
import sys

NOT_FOUND, NOT_RUNNABLE = 127, 126  # as shells have it
IGNORED = (signal.SIGPIPE, signal.SIGXFSZ)  # by Python; a program would inherit that


def environment() -> dict[bytes, bytes]:
    """The environment that this process was started with: Python itself may have added LC_CTYPE (PEP 538)."""
    try:
        with open("/proc/self/environ", "rb") as stream:
            entries = stream.read().split(b"\0")
    except OSError:
        return dict(os.environb)
    return dict(entry.split(b"=", 1) for entry in entries if b"=" in entry)


def execute(arguments: list[str]) -> int:
    """Become that program; gives an exit status only where there is none of that name."""
    if not arguments:
        print("no command; to serve a model: serve --profile NAME --model FOLDER", file=sys.stderr)
        return NOT_FOUND
    for number in IGNORED:
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execvpe(arguments[0], arguments, environment())  # noqa: S606 - that is what an entry point is for
    except FileNotFoundError:
        hint = "; to serve a model: serve --profile NAME --model FOLDER" if arguments[0].startswith("-") else ""
        print(f"{arguments[0]}: there is no such program in the image{hint}", file=sys.stderr)
        return NOT_FOUND
    except OSError as error:
        print(f"{arguments[0]}: {error.strerror}", file=sys.stderr)
        return NOT_RUNNABLE
